import type { Plan } from "../plan/plan";
import { formatCount } from "../spec/count";
import type { CapacitySpec } from "../spec/types";
import { CONNTRACK_ENTRY_BYTES, CONNTRACK_MAX_OF_MEMORY } from "./facts";
import { atATime, type Load, longestEntrySeconds, sayLoad } from "./load";
import type { CapacityWarning } from "./warning";

/** Connection tracking, which every farm of a gateway shares with all else that it forwards. */
export interface ConntrackCapacity {
  /** Entries that it holds: `net.netfilter.nf_conntrack_max`. */
  max: number;
  /** Of memory, when it is full. */
  bytes: number;
  /** How long a connection of this farm has an entry, in seconds. */
  entrySeconds: number;
  /** New connections a second that fill it, and no more. */
  newConnectionsPerSecond: number;
  /** Entries of this farm at a time; undefined where no load is given. */
  expected: number | undefined;
}

/** The part of connection tracking that one farm should fill at most; peaks and other traffic want the rest. */
const FULL = 3 / 4;

export function conntrackOf(plan: Plan, machine: CapacitySpec, load: Load): ConntrackCapacity {
  const max = machine.conntrackMax ?? kernelsMax(machine.memoryBytes);
  const seconds = longestEntrySeconds(load, plan);
  return {
    max,
    bytes: max * CONNTRACK_ENTRY_BYTES,
    entrySeconds: seconds,
    newConnectionsPerSecond: Math.floor(max / seconds),
    expected: load.newPerSecond === undefined ? undefined : atATime(load.newPerSecond, seconds),
  };
}

/** What the kernel takes by itself; without a word about memory, that of a machine with more than 4 GiB. */
function kernelsMax(memoryBytes = Number.POSITIVE_INFINITY): number {
  const found = CONNTRACK_MAX_OF_MEMORY.find(([above]) => memoryBytes > above);
  return found?.[1] ?? Math.max(1024, Math.floor(memoryBytes / 16_384 / 8));
}

export function conntrackWarnings(
  { max, expected, entrySeconds }: ConntrackCapacity,
  load: Load,
): CapacityWarning[] {
  if (expected === undefined || expected <= max * FULL) return [];
  const enough = Math.ceil(expected / FULL);
  return [
    {
      code: "conntrack-full",
      of: "gateway",
      path: ["capacity", "newConnectionsPerSecond"],
      text:
        `${sayLoad(load.newPerSecond!, load)} are ${formatCount(expected)} entries of connection tracking at a time ` +
        `(each stays ${entrySeconds} s), and it holds ${formatCount(max)}: ` +
        (expected > max
          ? "it will be full, and the kernel drops new connections of all that the gateway forwards"
          : "over three quarters, so a peak fills it, and the kernel then drops new connections") +
        `; set net.netfilter.nf_conntrack_max to ${formatCount(enough)} or more there (and conntrackMax here), ` +
        "or carry the farm on more gateways",
      source:
        "net/netfilter/nf_conntrack_core.c (__nf_conntrack_alloc); Documentation/networking/nf_conntrack-sysctl.rst",
    },
  ];
}
