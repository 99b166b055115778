import type { Plan } from "../plan/plan";
import { parseAddress } from "../spec/address";
import { canonicalKey } from "../spec/check";
import { type Problem, show } from "../spec/problem";
import type { Arrival, Limit, Packet } from "./packet";

/** What a packet is said to find on the gateway: a remembered client, limits that are reached. */

export function problem(field: string, text: string): Problem {
  return { path: [field], text };
}

export function checkMemory(packet: Packet, plan: Plan): Problem[] {
  const { affinity } = packet;
  if (affinity === undefined) return [];
  if (!plan.affinity)
    return [problem("affinity", `${show(affinity)} goes with a farm that has affinity; leave it out`)];
  if (typeof affinity === "string" && rememberedBy(packet, plan)) return [];
  const keys = plan.pools.flatMap(({ backends }) => backends.map(({ key }) => key));
  return [problem("affinity", `${show(affinity)} is no backend of the farm; give ${someOf(keys)}`)];
}

/** The backend that affinity remembers for the packet's client. */
export function rememberedBy({ affinity, destination }: Packet, { pools }: Plan): Arrival["remembered"] {
  if (affinity === undefined) return undefined;
  // It may be anything yet.
  const family = typeof destination === "string" ? parseAddress(destination)?.family : undefined;
  const key = canonicalKey(affinity);
  return pools
    .filter((pool) => family === undefined || pool.family === family)
    .flatMap(({ backends }) => backends)
    .find((backend) => backend.key === key);
}

function someOf(texts: readonly string[]): string {
  return `${texts.slice(0, 3).join(", ")}${texts.length > 3 ? " …" : ""}`;
}

export function checkOver({ over }: Packet, { limits, pools }: Plan): Problem[] {
  if (over === undefined) return [];
  if (!Array.isArray(over)) return [problem("over", `${show(over)} is not a list of limits`)];
  const known: Record<Limit, boolean> = {
    connections: limits.connections !== undefined,
    backendConnections: pools.some(({ backends }) =>
      backends.some(({ maxConnections }) => maxConnections !== undefined),
    ),
    rate: limits.rate !== undefined,
    sourceRate: limits.sourceRate !== undefined,
  };
  const limited = (Object.keys(known) as Limit[]).filter((limit) => known[limit]);
  return over.flatMap((limit, i) =>
    limited.includes(limit)
      ? []
      : [
          {
            path: ["over", i],
            text: `${show(limit)} is no limit of this farm; ${limited.length > 0 ? `it has ${limited.join(", ")}` : "it has none: leave over out"}`,
          },
        ],
  );
}
