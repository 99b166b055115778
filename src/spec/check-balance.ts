import { FAMILY_NAME, type Family } from "./address";
import { greatestCommonDivisor } from "./check";
import { type Entry, familiesOf, familyOf, type Known } from "./entry";
import type { Problem } from "./problem";
import type { BackendSpec } from "./types";

/** More turns a round than that make a rule set that no one reads and the kernel takes seconds to load. */
const MAX_TURNS = 16_384;

/** What the choice of a backend contradicts: hashes, turns and tiers. */
export function checkBalance(farm: Known): Problem[] {
  return [
    ...(farm.sound("algorithm") ? checkAlgorithm(farm, farm.spec.algorithm ?? "random") : []),
    ...checkPrefixFamilies(farm),
    ...checkTiers(farm),
  ];
}

function checkAlgorithm(farm: Known, algorithm: string): Problem[] {
  const isHash = algorithm === "sourceHash" || algorithm === "flowHash";
  const misplaced = (field: "prefixLength" | "prefixLength6" | "slots", goesWith: string, remedy: string) =>
    farm.sound(field) && farm.spec[field] !== undefined
      ? [
          {
            path: [field],
            text: `${farm.spec[field]} goes with ${goesWith}, but algorithm is ${algorithm}; ${remedy}`,
          },
        ]
      : [];
  return [
    ...(algorithm === "sourceHash"
      ? []
      : PREFIX_FIELDS.flatMap(([field]) =>
          misplaced(field, "sourceHash", "take that, or leave the field out"),
        )),
    ...(isHash ? [] : misplaced("slots", "sourceHash and flowHash", "take one, or leave the field out")),
    ...(isHash && farm.sound("slots") ? checkSlots(farm) : []),
    ...(algorithm === "roundRobin" ? checkTurns(farm) : []),
  ];
}

const PREFIX_FIELDS = [
  ["prefixLength", "ip"],
  ["prefixLength6", "ip6"],
] as const;

function checkPrefixFamilies({ spec, sound, listeners, allListeners }: Known): Problem[] {
  if (!allListeners) return [];
  const families = familiesOf(listeners);
  return PREFIX_FIELDS.filter(
    ([field, family]) => sound(field) && spec[field] !== undefined && !families.includes(family),
  ).map(([field, family]) => ({
    path: [field],
    text: `${spec[field]} goes with ${FAMILY_NAME[family]}, but no listener is; write ${field === "prefixLength" ? "prefixLength6" : "prefixLength"}`,
  }));
}

/**
 * The backends of a tier, whatever their state: what is allowed must not depend on which of them are drained, since a
 * farm that is refused in the middle of an outage is of no help.
 */
interface Tier {
  family: Family;
  priority: number;
  members: Entry<BackendSpec>[];
}

function tiersOf(backends: Entry<BackendSpec>[]): Tier[] {
  const tiers = new Map<string, Tier>();
  for (const entry of backends) {
    const [family, priority] = [familyOf(entry), entry.value.priority ?? 0];
    const tier = tiers.get(`${family} ${priority}`) ?? { family, priority, members: [] };
    tier.members.push(entry);
    tiers.set(`${family} ${priority}`, tier);
  }
  return [...tiers.values()];
}

/** `IPv4 backends`, `IPv4 backends of priority 10`. */
function describe({ family, priority }: Tier): string {
  return `${FAMILY_NAME[family]} backends${priority === 0 ? "" : ` of priority ${priority}`}`;
}

function checkSlots({ spec, backends }: Known): Problem[] {
  const slots = spec.slots ?? 4096;
  return tiersOf(backends)
    .filter(({ members }) => members.length > slots)
    .map((tier) => ({
      path: ["slots"],
      text:
        `${slots}${spec.slots === undefined ? ", the default," : ""} are fewer than the ${tier.members.length} ` +
        `${describe(tier)}; take several for each`,
    }));
}

function checkTurns({ backends }: Known): Problem[] {
  return tiersOf(backends).flatMap((tier) => {
    const weights = tier.members.map(({ value }) => value.weight ?? 1);
    const turns = weights.reduce((sum, weight) => sum + weight, 0) / weights.reduce(greatestCommonDivisor, 0);
    if (turns <= MAX_TURNS) return [];
    return [
      {
        path: ["backends"],
        text:
          `weights of the ${describe(tier)} make a round of ${turns} turns; ${MAX_TURNS} are allowed with roundRobin: ` +
          "take smaller weights, or random",
      },
    ];
  });
}

function checkTiers({ spec, sound, backends, allBackends }: Known): Problem[] {
  const least = spec.minActive;
  if (!allBackends || !sound("minActive") || least === undefined) return [];
  const tiers = tiersOf(backends).sort((a, b) => a.priority - b.priority);
  return familiesOf(backends).flatMap((family) => {
    const largest = tiers
      .filter((tier) => tier.family === family)
      .reduce((a, b) => (b.members.length > a.members.length ? b : a));
    if (largest.members.length >= least) return [];
    return [
      {
        path: ["minActive"],
        text:
          `${least} is more than any tier of ${FAMILY_NAME[family]} backends has; the largest, priority ${largest.priority}, ` +
          `has ${largest.members.length}`,
      },
    ];
  });
}
