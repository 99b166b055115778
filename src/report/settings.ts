import type { RateLimit } from "../plan/plan";
import { sayAffinity } from "./affinity";
import type { Difference } from "./difference";
import { sayListChange, sayNetworks } from "./lists";
import { sayPins } from "./pins";
import { reachesAny } from "./reached";
import type { ReadFarm } from "./read";

/** One thing that a farm says about all of its backends. */
interface Setting {
  what: string;
  /** Undefined where the rules do not tell, since nothing depends on it. */
  say: (farm: ReadFarm) => string | undefined;
  /** What goes without saying of a new farm. Undefined: all of it, since the first sentence has it. */
  usual?: string;
  /** A rule set tells it even where no connection can come to any backend. */
  always?: true;
}

const SETTINGS: readonly Setting[] = [
  { what: "Data plane", say: ({ dataPlane }) => dataPlane, always: true },
  { what: "Algorithm", say: ({ algorithm }) => algorithm },
  { what: "Source NAT", say: ({ sourceNat }) => sourceNat },
  {
    what: "Interface at which connections are balanced",
    say: (farm) => farm.interface ?? "any",
    always: true,
  },
  {
    what: "Slots of the hash",
    say: ({ hash }) => text((hash.ip ?? hash.ip6)?.slots.length),
    usual: "4096",
  },
  { what: "Hashed part of a client's IPv4 address", say: ({ hash }) => prefix(hash.ip), usual: "/32" },
  { what: "Hashed part of a client's IPv6 address", say: ({ hash }) => prefix(hash.ip6), usual: "/128" },
  { what: "Affinity", say: sayAffinity, usual: "none" },
  {
    what: "Established connections of a backend that leaves",
    say: ({ onRemoval }) => (onRemoval === "cut" ? "are cut" : "go on"),
    usual: "go on",
  },
  {
    what: "Limit of connections at a time",
    say: ({ limits }) => text(limits.connections) ?? "none",
    usual: "none",
  },
  { what: "Limit of new connections a second", say: ({ limits }) => rate(limits.rate), usual: "none" },
  {
    what: "Limit of new connections a second from one client address",
    say: ({ limits }) => rate(limits.sourceRate),
    usual: "none",
  },
  {
    what: "TCP connections that are under way when the gateway first sees them",
    say: ({ looseTcp }) => (looseTcp === undefined ? undefined : looseTcp ? "are balanced" : "are dropped"),
    usual: "are dropped",
  },
  { what: "Connection helper", say: ({ helper }) => helper ?? "none", usual: "none" },
  {
    what: "Log of new connections",
    say: ({ log }) => (log ? `prefix ${log.prefix}, at most ${rate(log)}` : "none"),
    usual: "none",
  },
];

/** What changes of the farm as a whole. */
export function saySettings(difference: Difference): string[] {
  const { before, after } = difference;
  if (!before || !after) return [];
  const always = sayChanges(
    SETTINGS.filter((setting) => setting.always),
    before,
    after,
  );
  if (!reachesAny(after)) return always;
  if (!reachesAny(before)) return [...always, ...sayUnusual(after)];
  return [
    ...sayChanges(SETTINGS, before, after),
    ...sayLists(before, after),
    ...sayPins(difference.pins, after.pins.length),
  ];
}

function sayChanges(settings: readonly Setting[], before: ReadFarm, after: ReadFarm): string[] {
  return settings.flatMap(({ what, say }) => {
    const [old, now] = [say(before), say(after)];
    return old === undefined || now === undefined || old === now ? [] : [`${what}: ${old} → ${now}.`];
  });
}

/** What a new farm has that farms do not always have. */
export function sayUnusual(farm: ReadFarm): string[] {
  const lists: [string, readonly string[]][] = [
    ["Clients that are masqueraded", farm.localNetworks],
    ["Clients that alone are served (allow)", farm.allow ?? []],
    ["Clients that are not served (deny)", farm.deny],
  ];
  return [
    ...SETTINGS.flatMap(({ what, say, usual }) => {
      const value = say(farm);
      return usual === undefined || value === undefined || value === usual ? [] : [`${what}: ${value}.`];
    }),
    ...lists.flatMap(([what, networks]) =>
      networks.length === 0 ? [] : [`${what}: ${sayNetworks(networks)}.`],
    ),
    ...sayPins({ added: farm.pins, removed: [] }, farm.pins.length),
  ];
}

function sayLists(before: ReadFarm, after: ReadFarm): string[] {
  const change = (what: string, old: readonly string[], now: readonly string[]) => {
    const said = sayListChange(old, now);
    return said === undefined ? [] : [`${what}: ${said}.`];
  };
  return [
    ...(before.sourceNat === "auto" && after.sourceNat === "auto"
      ? change("Clients that are masqueraded", before.localNetworks, after.localNetworks)
      : []),
    ...(before.allow && after.allow
      ? change("Clients that alone are served (allow)", before.allow, after.allow)
      : []),
    ...(!before.allow && after.allow
      ? [`Clients that alone are served (allow): everybody → ${sayNetworks(after.allow)}.`]
      : []),
    ...(before.allow && !after.allow
      ? [`Clients that alone are served (allow): ${sayNetworks(before.allow)} → everybody.`]
      : []),
    ...change("Clients that are not served (deny)", before.deny, after.deny),
  ];
}

function text(value: number | undefined): string | undefined {
  return value === undefined ? undefined : String(value);
}

function prefix(hash: ReadFarm["hash"]["ip"]): string | undefined {
  return hash?.of === "source" ? `/${hash.prefix}` : undefined;
}

/** `100, or 200 at once`. */
function rate(limit: RateLimit | undefined): string {
  return limit ? `${limit.perSecond} a second, ${limit.burst} at once` : "none";
}
