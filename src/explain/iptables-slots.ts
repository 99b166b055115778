import type { IptRule } from "../iptables/ruleset";
import { Fraction } from "../plan/fraction";
import { memo } from "./memo";

/** Slots of a hash that lead to one leaf. */
export interface SlotGroup {
  /** One of them. */
  slot: number;
  count: number;
  /** What part of all they are. */
  chance: Fraction;
}

/**
 * The slots of the hash that `rule` takes, by the leaf that the rules behind it lead them to.
 *
 * @param chains `nat web.h1` to the rules of that chain
 */
export function slotGroups(rule: IptRule, chains: ReadonlyMap<string, readonly IptRule[]>): SlotGroup[] {
  return groupsOf(chains).get(rule)!;
}

const groupsOf = memo((chains: ReadonlyMap<string, readonly IptRule[]>) => {
  const groups = new Map<IptRule, SlotGroup[]>();
  for (const rules of chains.values())
    for (const [i, rule] of rules.entries())
      if (rule.target.kind === "hashMark")
        groups.set(rule, group(rule.target.modulus, rules.slice(i + 1), chains));
  return groups;
});

function group(
  modulus: number,
  behind: readonly IptRule[],
  chains: ReadonlyMap<string, readonly IptRule[]>,
): SlotGroup[] {
  const groups = new Map<string, { slot: number; count: number }>();
  for (let slot = 0; slot < modulus; slot++) {
    const leaf = leafOf(slot, behind, chains) ?? "";
    const known = groups.get(leaf);
    if (known) known.count++;
    else groups.set(leaf, { slot, count: 1 });
  }
  return [...groups.values()].map(({ slot, count }) => ({
    slot,
    count,
    chance: Fraction.of(count, modulus),
  }));
}

/** Where the tree of a hash ends: the first chain that does not only go on by the mark. Undefined where it ends in nothing. */
export function leafOf(
  slot: number,
  tree: readonly IptRule[],
  chains: ReadonlyMap<string, readonly IptRule[]>,
): string | undefined {
  for (let rules = tree; ; ) {
    const found = rules.find(({ matches }) =>
      matches.every((match) => match.kind === "mark" && (slot & match.mask) >>> 0 === match.mark),
    );
    if (found?.target.kind !== "goto") return undefined;
    const next = chains.get(`nat ${found.target.to}`);
    if (next?.[0]?.target.kind !== "goto") return next && found.target.to;
    rules = next;
  }
}
