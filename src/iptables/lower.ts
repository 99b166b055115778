import type { Plan, Pool } from "../plan/plan";
import type { Layout } from "../spec/types";
import { filterTable, guards } from "./guard";
import { natTable } from "./nat";
import type { IptRule, IptRuleSet, IptTable } from "./ruleset";
import { toServices } from "./service";
import { setsOf } from "./sets";
import { zevenetTables } from "./zevenet";

/** Plan to iptables rules: the layout's choice and translation, and around it what every layout has. */
export function lower(plan: Plan, layout: Layout): IptRuleSet {
  return {
    families: plan.pools.map((pool) => ({
      family: pool.family,
      sets: setsOf(plan, pool),
      tables: lowerPool(plan, pool, layout),
    })),
  };
}

function lowerPool(plan: Plan, pool: Pool, layout: Layout): IptTable[] {
  const { mangle, nat } = lowerChoice(plan, pool, layout);
  return [
    { name: "raw", chains: [], rules: helpers(plan, pool) },
    { ...mangle, rules: [...guards(plan, pool), ...mangle.rules] },
    nat,
    filterTable(plan, pool),
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

/** Bind the farm's helper to its connections, before connection tracking sees them. */
function helpers(plan: Plan, { services }: Pool): IptRule[] {
  const { helper } = plan;
  return helper === undefined ? [] : toServices(plan, services, { kind: "helper", name: helper });
}
