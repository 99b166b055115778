import { FAMILY_NAME, type Family, parseAddress } from "./address";
import { familiesOf, familyOf, type Known } from "./entry";
import { type AddressRange, mergedRanges, type Prefix, parsePrefix, withoutNested } from "./prefix";
import type { Problem } from "./problem";

/** What the lists of clients contradict: who is served, and who is seen under which address. */
export function checkClients(farm: Known): Problem[] {
  return [...checkSourceNat(farm), ...checkLocalNetworks(farm), ...checkServed(farm)];
}

function checkSourceNat({ spec, sound, listeners }: Known): Problem[] {
  const source =
    sound("sourceNat") && spec.sourceNat !== undefined ? parseAddress(spec.sourceNat) : undefined;
  if (!source) return [];
  const stranger = listeners.find((listener) => familyOf(listener) !== source.family);
  if (!stranger) return [];
  return [
    {
      path: ["sourceNat"],
      text:
        `"${spec.sourceNat}" is ${FAMILY_NAME[source.family]}, but listeners[${stranger.index}] is not; ` +
        "take masquerade or vip, or make a farm for each family",
    },
  ];
}

function checkLocalNetworks({ spec, sound }: Known): Problem[] {
  const { localNetworks, sourceNat = "none" } = spec;
  if (localNetworks === undefined || !sound("sourceNat") || sourceNat === "auto") return [];
  return [
    {
      path: ["localNetworks"],
      text: `goes with sourceNat auto, but sourceNat is ${sourceNat}; take that, or leave the field out`,
    },
  ];
}

const LISTS = ["localNetworks", "allow", "deny"] as const;
type List = (typeof LISTS)[number];

/** Lists against the families of the listeners, and `deny` against `allow`. */
function checkServed({ spec, sound, listeners, allListeners }: Known): Problem[] {
  if (!allListeners) return [];
  const networks = new Map(
    LISTS.filter((list) => sound(list)).map((list) => [list, spec[list]?.map((text) => parsePrefix(text)!)]),
  );
  const families = familiesOf(listeners);
  return [
    ...LISTS.flatMap((list) => checkStrangers(list, networks.get(list) ?? [], families)),
    ...families.flatMap((family) => {
      const listener = listeners.find((entry) => familyOf(entry) === family)!.index;
      const within = (list: List) => networks.get(list)?.filter((network) => network.family === family);
      const allow = within("allow");
      if (allow?.length === 0) return [nobodyAllowed(family, listener)];
      const served = allow ?? (networks.has("allow") ? [parsePrefix(EVERYBODY[family])!] : []);
      if (served.length === 0 || !areHeld(served, mergedRanges(within("deny") ?? []))) return [];
      return [everybodyDenied(family, listener, allow !== undefined)];
    }),
  ];
}

const EVERYBODY: Record<Family, string> = { ip: "0.0.0.0/0", ip6: "::/0" };

function nobodyAllowed(family: Family, listener: number): Problem {
  return {
    path: ["allow"],
    text:
      `has no ${FAMILY_NAME[family]} network, so listeners[${listener}] would serve nobody; ` +
      `name one, such as ${EVERYBODY[family]}`,
  };
}

function everybodyDenied(family: Family, listener: number, limited: boolean): Problem {
  return {
    path: ["deny"],
    text:
      `holds every ${FAMILY_NAME[family]} address${limited ? " that allow lets in" : ""}, so listeners[${listener}] ` +
      "would serve nobody; deny less",
  };
}

/** One problem a list, since it may have thousands of such networks. */
function checkStrangers(list: List, networks: readonly Prefix[], families: readonly Family[]): Problem[] {
  const strangers = networks.filter(({ family }) => !families.includes(family));
  const [first] = strangers;
  if (!first) return [];
  return [
    {
      path: [list, networks.indexOf(first)],
      text:
        `${first.text} is ${FAMILY_NAME[first.family]}, but no listener is; ` +
        `${strangers.length === 1 ? "leave it out" : `leave all ${strangers.length} such networks out`}`,
    },
  ];
}

/** Whether every network lies in one of the ranges. @param ranges lowest first, none next to another */
function areHeld(networks: readonly Prefix[], ranges: readonly AddressRange[]): boolean {
  let at = 0;
  return withoutNested(networks).every(({ first, last }) => {
    while (at < ranges.length && ranges[at]!.last < first) at++;
    const range = ranges[at];
    return range !== undefined && range.first <= first && last <= range.last;
  });
}
