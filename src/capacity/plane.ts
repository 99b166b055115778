import type { Plan } from "../plan/plan";
import { formatCount } from "../spec/count";
import type { TargetSpec } from "../spec/types";
import type { CapacityWarning } from "./warning";

/**
 * Rules of a flat list with which a new connection takes half as long again as one look-up of a map: 8.9 µs against 5.8
 * (`npm run bench -- B1`).
 */
const LONG_LIST = 64;

/** Sets that a client without an entry is looked for in, one after the other. */
const MANY_SETS = 16;

/** What an iptables gateway does by the number of backends, and an nftables one in one look-up. */
export function planeWarnings({ pools, affinity }: Plan, target: TargetSpec): CapacityWarning[] {
  if (target.dataPlane === "nftables") return [];
  const listed = Math.max(...pools.map(({ chosen }) => chosen.length));
  const sets = affinity ? Math.max(...pools.map(({ remembered }) => remembered.length)) : 0;
  return [
    ...(target.layout === "zevenet" && listed > LONG_LIST
      ? [
          advised(
            ["layout"],
            `zevenet asks all ${formatCount(listed)} rules of its list about every new connection; ` +
              "take layout nat (a tree), or dataPlane nftables (one look-up)",
            "measured, npm run bench -- B1 (docs/performance.md)",
          ),
        ]
      : []),
    ...(sets > MANY_SETS
      ? [
          advised(
            ["dataPlane"],
            `iptables has a set of clients for each of ${formatCount(sets)} backends, and looks a new client up in all of them; ` +
              "nftables has one map: take dataPlane nftables",
            "docs/rule-set.md, a farm's chain; ipset(8)",
          ),
        ]
      : []),
  ];
}

function advised(path: string[], text: string, source: string): CapacityWarning {
  return { code: "nftables-advised", of: "gateway", path, text, source };
}
