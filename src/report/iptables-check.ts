import type { IptFamily, IptRuleSet } from "../iptables/ruleset";
import { notARuleSet } from "./text";

/**
 * A rule that names a set or a chain which is not there would not load.
 *
 * @throws SpecError
 */
export function checkIptables({ families }: IptRuleSet): void {
  for (const family of families) {
    checkSets(family);
    checkChains(family);
  }
}

function checkSets({ sets, tables }: IptFamily): void {
  const known = new Set(sets.map(({ name }) => name));
  for (const { rules } of tables)
    for (const { matches, target } of rules)
      for (const part of [...matches, target])
        if ("set" in part && !known.has(part.set)) throw notARuleSet(`names ${part.set}, which is not there`);
}

function checkChains({ tables }: IptFamily): void {
  for (const { chains, rules } of tables) {
    const known = new Set(chains);
    for (const { target } of rules)
      if (target.kind === "goto" && !known.has(target.to))
        throw notARuleSet(`goes to ${target.to}, which is not there`);
  }
}
