import type { Plan } from "../plan/plan";
import { idleTimeout } from "../plan/rate";
import type { Family } from "../spec/address";
import { formatCount } from "../spec/count";
import type { DataPlane } from "../spec/types";
import { CLIENT_BYTES, LIMITED_SOURCES, SOURCE_RATE_BYTES } from "./facts";
import { atATime, type Load, sayLoad } from "./load";
import type { CapacityWarning } from "./warning";

/** Where it stands what a dynamic set does that is full. */
const NFT_SIZE = "nft(8), sets: size; net/netfilter/nft_set_hash.c (nft_rhash_update)";

/** What a gateway remembers clients by. */
export interface SetCapacity {
  /** What for: affinity, or the limit of each source. */
  purpose: "affinity" | "sourceRate";
  family: Family;
  /** How many of this kind there are: in iptables affinity has a set a backend. */
  sets: number;
  /** Clients that each holds. */
  entries: number;
  /** Of memory, when all of them are full. */
  bytes: number;
}

export function setsOf(plan: Plan, dataPlane: DataPlane): SetCapacity[] {
  const { affinity, limits } = plan;
  return plan.pools.flatMap(({ family, remembered }): SetCapacity[] => {
    const sets = dataPlane === "iptables" ? remembered.length : Math.min(1, remembered.length);
    const clientBytes = CLIENT_BYTES[dataPlane][family];
    const sourceBytes = SOURCE_RATE_BYTES[dataPlane][family];
    return [
      ...(affinity
        ? [
            {
              purpose: "affinity" as const,
              family,
              sets,
              entries: affinity.maxEntries,
              bytes: sets * affinity.maxEntries * clientBytes,
            },
          ]
        : []),
      ...(limits.sourceRate
        ? [
            {
              purpose: "sourceRate" as const,
              family,
              sets: 1,
              entries: LIMITED_SOURCES,
              bytes: LIMITED_SOURCES * sourceBytes,
            },
          ]
        : []),
    ];
  });
}

/** If every connection is of a client of its own: who comes twice takes one entry. */
export function setWarnings(plan: Plan, dataPlane: DataPlane, load: Load): CapacityWarning[] {
  if (load.newPerSecond === undefined) return [];
  return [
    ...affinityWarnings(plan, dataPlane, load.newPerSecond, load),
    ...sourceWarnings(plan, dataPlane, load.newPerSecond, load),
  ];
}

function affinityWarnings(
  { affinity, pools }: Plan,
  dataPlane: DataPlane,
  newPerSecond: number,
  load: Load,
): CapacityWarning[] {
  if (!affinity || affinity.by === "destinationIp") return [];
  const clients = atATime(newPerSecond, affinity.timeout);
  // In iptables each backend has a set of its own, of that size.
  const room = Math.max(
    ...pools.map(
      ({ remembered }) => affinity.maxEntries * (dataPlane === "iptables" ? remembered.length : 1),
    ),
  );
  if (clients <= room) return [];
  return [
    {
      code: "affinity-full",
      of: "farm",
      path: ["affinity", "maxEntries"],
      text:
        `${sayLoad(newPerSecond, load)} are up to ${formatCount(clients)} clients within ` +
        `${formatCount(affinity.timeout)} s, and ${formatCount(room)} are remembered: further ones are spread without ` +
        "affinity; take a larger maxEntries or a shorter timeoutSeconds",
      source: dataPlane === "iptables" ? "ipset(8), maxelem" : NFT_SIZE,
    },
  ];
}

function sourceWarnings(
  { limits: { sourceRate } }: Plan,
  dataPlane: DataPlane,
  newPerSecond: number,
  load: Load,
): CapacityWarning[] {
  if (!sourceRate) return [];
  const seconds = idleTimeout(sourceRate);
  const sources = atATime(newPerSecond, seconds);
  if (sources <= LIMITED_SOURCES) return [];
  return [
    {
      code: "sources-full",
      of: "farm",
      path: ["limits", "perSource"],
      text:
        `${sayLoad(newPerSecond, load)} are up to ${formatCount(sources)} clients within ${formatCount(seconds)} s, ` +
        `and ${formatCount(LIMITED_SOURCES)} can be told apart: ` +
        (dataPlane === "iptables"
          ? "the kernel drops the new connections of further ones; leave perSource out, or carry the farm on nftables " +
            "gateways, which do not limit those"
          : "further ones are not limited; carry the farm on more gateways"),
      source:
        dataPlane === "iptables"
          ? "net/netfilter/xt_hashlimit.c (htable_create, dsthash_alloc_init)"
          : NFT_SIZE,
    },
  ];
}
