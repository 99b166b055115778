import { FULL_MASK } from "../plan/mark";
import type { Plan, PlannedBackend, Pool } from "../plan/plan";
import { backendLimits, namesOf } from "./objects";
import { protocolsOf } from "./protocols";
import type { NftRule, PortProtocol } from "./ruleset";

/** What a connection meets that has its backend's mark. */
export function deliver(plan: Plan, pool: Pool): NftRule[] {
  const { affinity } = plan;
  const names = namesOf(plan);
  if (pool.reachable.length === 0) return [];
  return [
    ...backendLimits(pool).map(
      (limit): NftRule => ({
        kind: "limitBackends",
        set: names.backendConnections(limit),
        limit,
        backends: pool.reachable.filter(({ maxConnections }) => maxConnections === limit),
      }),
    ),
    ...(affinity ? [remember(plan, affinity)] : []),
    { kind: "count", set: names.counters, mask: FULL_MASK },
    ...translate(pool),
  ];
}

/** The same for one backend alone, whose mark shares its 32 bits with other software. */
export function deliverTo(plan: Plan, pool: Pool, backend: PlannedBackend): NftRule[] {
  const { mark, port, maxConnections: limit } = backend;
  const names = namesOf(plan);
  const mask = plan.markMask;
  return [
    { kind: "setMark", mark, mask },
    ...(limit === undefined
      ? []
      : [{ kind: "limitBackend", set: names.backendConnections(limit), limit, mask } as const]),
    { kind: "count", set: names.counters, mask },
    { kind: "translate", protocols: port === undefined ? [] : protocolsOf(pool), target: backend },
  ];
}

function remember(plan: Plan, { by, maxEntries, timeout }: NonNullable<Plan["affinity"]>): NftRule {
  return { kind: "remember", by, map: namesOf(plan).affinity(by, maxEntries), timeout };
}

/** A map with ports, then one without for the backends that keep the dialled port. */
function translate(pool: Pool): NftRule[] {
  const { reachable } = pool;
  const groups: { targets: PlannedBackend[]; protocols: PortProtocol[] }[] = [
    { targets: reachable.filter(({ port }) => port !== undefined), protocols: protocolsOf(pool) },
    { targets: reachable.filter(({ port }) => port === undefined), protocols: [] },
  ];
  return groups.flatMap(({ targets, protocols }): NftRule[] => {
    if (targets.length === 0) return [];
    if (reachable.length === 1) return [{ kind: "translate", protocols, target: targets[0]! }];
    return [{ kind: "translateByMark", protocols, targets }];
  });
}

/** The source address that backends see; undefined: every client's own. */
export function lowerSource({ sourceNat }: Plan, { localNetworks }: Pool): NftRule | undefined {
  switch (sourceNat.kind) {
    case "none":
      return undefined;
    case "masquerade":
      return { kind: "masquerade" };
    case "auto":
      return localNetworks.length === 0 ? undefined : { kind: "masqueradeFrom", networks: localNetworks };
    case "vip":
      return { kind: "sourceVip" };
    case "address":
      return { kind: "sourceAddress", address: sourceNat.to.text };
    default:
      throw sourceNat satisfies never;
  }
}
