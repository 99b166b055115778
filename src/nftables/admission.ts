import type { Plan, Pool } from "../plan/plan";
import { idleTimeout } from "../plan/rate";
import { namesOf } from "./objects";
import { protocolsOf, takes } from "./protocols";
import type { NftRule } from "./ruleset";

/** What a new connection meets before a backend is chosen: who is let in, how many, and what is noted down. */
export function admit(plan: Plan, pool: Pool): NftRule[] {
  const { limits, helper, log, looseTcp } = plan;
  const names = namesOf(plan);
  const rules: NftRule[] = [];
  if (!looseTcp && takes(pool, "tcp")) rules.push({ kind: "requireSyn" });
  if (pool.deny.length > 0) rules.push({ kind: "deny", sources: pool.deny });
  if (pool.allow) rules.push({ kind: "allow", sources: pool.allow });
  if (limits.sourceRate) {
    const rate = limits.sourceRate;
    rules.push({ kind: "limitSources", set: names.rate(rate), rate, timeout: idleTimeout(rate) });
  }
  if (limits.rate) rules.push({ kind: "limitRate", set: names.rateAll(limits.rate), rate: limits.rate });
  if (limits.connections !== undefined)
    rules.push({
      kind: "limitConnections",
      set: names.connections(limits.connections),
      limit: limits.connections,
    });
  if (helper)
    for (const protocol of protocolsOf(pool))
      rules.push({ kind: "bindHelper", object: names.helper(helper, protocol), helper, protocol });
  if (log) rules.push({ kind: "log", ...log });
  return rules;
}
