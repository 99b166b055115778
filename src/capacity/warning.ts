/** What a gateway or a farm will run short of. */
export const CapacityWarningCode = {
  /** An active backend that no slot of the hash leads to. */
  NoSlot: "no-slot",
  /** The slots of the hash give a backend another share than its weight asks for. */
  CoarseShare: "coarse-share",
  /** What nftables does in one look-up takes iptables many. */
  NftablesAdvised: "nftables-advised",
  /** Connection tracking will be full. */
  ConntrackFull: "conntrack-full",
  /** Connection tracking and the farm's sets, when full, take a large part of the machine's memory. */
  Memory: "memory",
  /** Source ports towards a backend will run out. */
  SourcePorts: "source-ports",
  /** More clients come within the time of affinity than it remembers. */
  AffinityFull: "affinity-full",
  /** More clients come than the limit of each source can tell apart. */
  SourcesFull: "sources-full",
  /** A limit is below what is expected. */
  LimitBelowLoad: "limit-below-load",
  /** Connection tracking is full before a limit is reached. */
  LimitOutOfReach: "limit-out-of-reach",
} as const;
export type CapacityWarningCode = (typeof CapacityWarningCode)[keyof typeof CapacityWarningCode];

export interface CapacityWarning {
  code: CapacityWarningCode;
  /** The field to look at, in the farm (`["backends", 2, "weight"]`) or the gateway (`["capacity", "conntrackMax"]`). */
  path: (string | number)[];
  /** Whose path it is. */
  of: "farm" | "gateway";
  /** The numbers, what comes of it, and the remedy. */
  text: string;
  /** Where the numbers are from: a file of the kernel, its documentation, an RFC, or a measurement of this package. */
  source: string;
}
