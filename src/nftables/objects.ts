import type { Plan, Pool, RateLimit } from "../plan/plan";
import type { AffinityKey, Helper } from "../spec/types";
import { protocolsOf } from "./protocols";
import type { NftObject, NftObjectKind, PortProtocol } from "./ruleset";

/** The names of a farm's objects, each with its parameters. */
export function namesOf({ shortName }: Pick<Plan, "shortName">) {
  return {
    affinity: (by: AffinityKey, size: number) => `${shortName}.affinity.${KEY_NAMES[by]}.${size}`,
    connections: (limit: number) => `${shortName}.connections.${limit}`,
    backendConnections: (limit: number) => `${shortName}.backend-connections.${limit}`,
    rate: ({ perSecond, burst }: RateLimit) => `${shortName}.rate.${perSecond}.${burst}`,
    rateAll: ({ perSecond, burst }: RateLimit) => `${shortName}.rate-all.${perSecond}.${burst}`,
    counters: `${shortName}.counters`,
    helper: (helper: Helper, protocol: PortProtocol) => `${shortName}.${helper}.${protocol}`,
  };
}

/** What a client is remembered by, in the name of a map. */
export const KEY_NAMES: Record<AffinityKey, string> = {
  sourceIp: "source",
  sourceIpPort: "source-port",
  destinationIp: "destination",
};

/** The objects that the rules of a pool use. Those by which it learns stay where no backend is active for a time. */
export function lowerObjects(plan: Plan, pool: Pool): NftObject[] {
  const { affinity, limits, helper } = plan;
  const names = namesOf(plan);
  const objects: ({ name: string } & NftObjectKind)[] = [];
  if (affinity)
    objects.push({
      name: names.affinity(affinity.by, affinity.maxEntries),
      kind: "affinity",
      by: affinity.by,
      size: affinity.maxEntries,
    });
  if (limits.connections !== undefined)
    objects.push({ name: names.connections(limits.connections), kind: "connections" });
  for (const limit of backendLimits(pool))
    objects.push({ name: names.backendConnections(limit), kind: "backendConnections" });
  if (limits.sourceRate) objects.push({ name: names.rate(limits.sourceRate), kind: "rate" });
  if (limits.rate) objects.push({ name: names.rateAll(limits.rate), kind: "rateAll" });
  objects.push({ name: names.counters, kind: "counters" });
  if (helper)
    for (const protocol of protocolsOf(pool))
      objects.push({ name: names.helper(helper, protocol), kind: "helper", helper, protocol });
  return objects.map((object) => ({ family: pool.family, ...object }));
}

/** The limits that backends of a pool have, lowest first. Backends of one limit share a set. */
export function backendLimits({ reachable }: Pool): number[] {
  const limits = new Set(
    reachable.flatMap(({ maxConnections }) => (maxConnections === undefined ? [] : [maxConnections])),
  );
  return [...limits].sort((a, b) => a - b);
}
