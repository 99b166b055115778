import type { IptRule, IptRuleSet, IptSet } from "../iptables/ruleset";
import type { Family } from "../spec/address";
import { memo } from "./memo";

/** `nat web.201` to the rules of that chain, in each family. */
export const chainsOf = memo((set: IptRuleSet) => ({ ip: index(set, "ip"), ip6: index(set, "ip6") }));

/** `web.deny` to that set, in each family. */
export const setsOf = memo((set: IptRuleSet) => ({ ip: named(set, "ip"), ip6: named(set, "ip6") }));

function named({ families }: IptRuleSet, family: Family): ReadonlyMap<string, IptSet> {
  const sets = families.find((one) => one.family === family)?.sets ?? [];
  return new Map(sets.map((set) => [set.name, set]));
}

function index({ families }: IptRuleSet, family: Family): ReadonlyMap<string, readonly IptRule[]> {
  const chains = new Map<string, IptRule[]>();
  for (const { name, rules } of families.find((one) => one.family === family)?.tables ?? []) {
    for (const rule of rules) {
      const key = `${name} ${typeof rule.chain === "string" ? rule.chain : rule.chain.own}`;
      const list = chains.get(key);
      if (list) list.push(rule);
      else chains.set(key, [rule]);
    }
  }
  return chains;
}
