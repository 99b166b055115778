import type { Plan, Pool } from "../plan/plan";
import type { Layout } from "../spec/types";
import { natTable } from "./nat";
import type { IptRuleSet, IptTable } from "./ruleset";
import { accepts, guards, outputGuards } from "./service";
import { zevenetTables } from "./zevenet";

/** Plan to iptables rules: the layout's choice and translation, and around it what every layout has. */
export function lower(plan: Plan, layout: Layout): IptRuleSet {
  return {
    families: plan.pools.map((pool) => ({ family: pool.family, tables: lowerPool(plan, pool, layout) })),
  };
}

function lowerPool(plan: Plan, pool: Pool, layout: Layout): IptTable[] {
  const { mangle, nat } = lowerChoice(plan, pool, layout);
  return [
    { ...mangle, rules: [...guards(plan, pool.services), ...mangle.rules] },
    nat,
    { name: "filter", chains: [], rules: [...accepts(pool.services), ...outputGuards(plan, pool.services)] },
  ];
}

function lowerChoice(plan: Plan, pool: Pool, layout: Layout): { mangle: IptTable; nat: IptTable } {
  switch (layout) {
    case "nat":
      return { mangle: { name: "mangle", chains: [], rules: [] }, nat: natTable(plan, pool) };
    case "zevenet":
      return zevenetTables(plan, pool);
    default:
      throw layout satisfies never;
  }
}
