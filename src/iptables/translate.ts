import type { PlannedBackend, Pool } from "../plan/plan";
import type { IptMatch, IptTarget } from "./ruleset";

/** What translates to a backend: one rule, or one for each protocol where the port changes, because that needs `-p`. */
export function dnats(
  pool: Pool,
  { address, port }: PlannedBackend,
  matches: IptMatch[],
): { matches: IptMatch[]; target: IptTarget }[] {
  const target: IptTarget = { kind: "dnat", address, port };
  if (port === undefined) return [{ matches, target }];
  const protocols = new Set(pool.services.map(({ protocol }) => protocol));
  return [...protocols].map((protocol) => {
    if (protocol === "all")
      throw new Error(`backend ${address} has a port, but its listener takes every protocol`);
    return { matches: [{ kind: "protocol", protocol, ports: undefined }, ...matches], target };
  });
}
