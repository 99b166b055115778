import { formatCount } from "../spec/count";
import type { CapacitySpec } from "../spec/types";
import type { ConntrackCapacity } from "./conntrack";
import type { SetCapacity } from "./sets";
import type { CapacityWarning } from "./warning";

/** The part of a machine's memory that may go to connections and clients without a word. */
const MUCH = 1 / 4;

export function memoryWarnings(
  { memoryBytes }: CapacitySpec,
  conntrack: ConntrackCapacity,
  sets: readonly SetCapacity[],
): CapacityWarning[] {
  if (memoryBytes === undefined) return [];
  const learned = sets.reduce((sum, { bytes }) => sum + bytes, 0);
  if (conntrack.bytes + learned <= memoryBytes * MUCH) return [];
  return [
    {
      code: "memory",
      of: "gateway",
      path: ["capacity", "memoryBytes"],
      text:
        `connection tracking takes ${mebibytes(conntrack.bytes)} of the machine's ${mebibytes(memoryBytes)} when it is full` +
        `${learned === 0 ? "" : `, and the clients that the farm remembers ${mebibytes(learned)}`}: over a quarter; ` +
        `${learned > conntrack.bytes ? "take a smaller affinity.maxEntries" : "set net.netfilter.nf_conntrack_max lower"}, or take a larger machine`,
      source:
        "sizeof struct nf_conn and NF_CT_EXT_PREALLOC (net/netfilter/nf_conntrack_extend.c); elements measured, test/traffic/capacity.test.ts",
    },
  ];
}

/** `98 MiB`. */
function mebibytes(bytes: number): string {
  return `${formatCount(Math.ceil(bytes / 2 ** 20))} MiB`;
}
