import type { Plan } from "../plan/plan";
import { backendKey } from "../spec/check";
import { formatCount } from "../spec/count";
import type { CapacitySpec, FarmSpec } from "../spec/types";
import type { ConntrackCapacity } from "./conntrack";
import { atATime, type Load, sayLoad } from "./load";
import type { CapacityWarning } from "./warning";

const COUNTED = "net/netfilter/nf_conncount.c, which counts no connection behind its end";

/** Limits that the expected load meets all the time, and one that connection tracking keeps out of reach. */
export function limitWarnings(
  plan: Plan,
  spec: FarmSpec,
  machine: CapacitySpec,
  conntrack: ConntrackCapacity,
  load: Load,
): CapacityWarning[] {
  return [...outOfReach(plan, machine, conntrack), ...belowLoad(plan, spec, load)];
}

function outOfReach({ limits }: Plan, machine: CapacitySpec, { max }: ConntrackCapacity): CapacityWarning[] {
  const known = machine.conntrackMax !== undefined || machine.memoryBytes !== undefined;
  if (!known || limits.connections === undefined || limits.connections < max) return [];
  return [
    {
      code: "limit-out-of-reach",
      of: "farm",
      path: ["limits", "maxConnections"],
      text:
        `connection tracking holds ${formatCount(max)} entries, so it is full before ${formatCount(limits.connections)} ` +
        "connections are there, and drops those of the whole gateway; take a lower limit, or raise net.netfilter.nf_conntrack_max",
      source: "net/netfilter/nf_conntrack_core.c (__nf_conntrack_alloc)",
    },
  ];
}

function belowLoad(plan: Plan, spec: FarmSpec, load: Load): CapacityWarning[] {
  const { newPerSecond, seconds } = load;
  if (newPerSecond === undefined) return [];
  const { connections, rate } = plan.limits;
  const alive = atATime(newPerSecond, seconds);
  const remedy = "raise it, or carry the farm on more gateways";
  return [
    ...(rate !== undefined && newPerSecond > rate.perSecond
      ? [
          below(
            ["limits", "newConnectionsPerSecond"],
            `lets ${formatCount(rate.perSecond)} a second in, and ${formatCount(newPerSecond)} are expected: ` +
              `${percent(1 - rate.perSecond / newPerSecond)} of them are dropped; ${remedy}`,
            "net/netfilter/xt_limit.c, nft_limit.c: a token bucket",
          ),
        ]
      : []),
    ...(connections !== undefined && alive > connections
      ? [
          below(
            ["limits", "maxConnections"],
            `${sayLoad(newPerSecond, load)} are ${formatCount(alive)} at a time, over ${formatCount(connections)}: ` +
              `what comes then is dropped; ${remedy}`,
            COUNTED,
          ),
        ]
      : []),
    ...fullBackends(plan, spec, newPerSecond, load),
  ];
}

/** The backend whose own limit is exceeded most; the others are counted. */
function fullBackends(plan: Plan, spec: FarmSpec, newPerSecond: number, load: Load): CapacityWarning[] {
  const full = plan.pools
    .flatMap(({ chosen, total }) =>
      chosen.map(({ key, share, maxConnections }) => ({
        key,
        limit: maxConnections ?? Number.POSITIVE_INFINITY,
        alive: atATime((newPerSecond * share) / total, load.seconds),
      })),
    )
    .filter(({ limit, alive }) => alive > limit)
    .sort((a, b) => b.alive / b.limit - a.alive / a.limit);
  const [worst] = full;
  if (!worst) return [];
  const index = spec.backends.findIndex((backend) => backendKey(backend) === worst.key);
  return [
    below(
      ["backends", index, "maxConnections"],
      `${worst.key} gets ${formatCount(worst.alive)} connections at a time of ${sayLoad(newPerSecond, load)}, over ` +
        `${formatCount(worst.limit)}${full.length === 1 ? "" : ` (${full.length === 2 ? "1 more backend gets" : `${full.length - 1} more backends get`} too many)`}: ` +
        "what comes then is dropped; raise it, or take more backends",
      COUNTED,
    ),
  ];
}

function below(path: CapacityWarning["path"], text: string, source: string): CapacityWarning {
  return { code: "limit-below-load", of: "farm", path, text, source };
}

function percent(part: number): string {
  return `${Number((100 * part).toPrecision(2))} %`;
}
