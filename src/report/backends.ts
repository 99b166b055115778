import { hex } from "../spec/check";
import type { Comparison } from "./comparison";
import type { Difference } from "./difference";
import type { ReadRole } from "./features";
import { isReached } from "./reached";
import type { ReadBackend, ReadFarm } from "./read";
import { sayShare } from "./share";

/** What becomes of each backend. One that is down is not in a rule set: it leaves, or comes in. */
export function sayBackends(change: Comparison["change"], difference: Difference): string[] {
  return difference.backends.flatMap(({ key, before, after }) => {
    if (!after)
      return [`Backend ${key} ${change === "removed" ? "is removed" : "leaves"}; ${sayWas(before!)}.`];
    if (!before)
      return [
        `Backend ${key} ${change === "created" ? "is added" : "comes in"}${IN[after.role](after)}, mark ${hex(after.mark)}.`,
        ...sayLimit(key, undefined, limitOf(difference.after!, after)),
      ];
    return [
      ...sayRole(key, before, after),
      ...(before.mark === after.mark
        ? []
        : [`Backend ${key}: mark ${hex(before.mark)} → ${hex(after.mark)}.`]),
      ...sayLimit(key, limitOf(difference.before!, before), limitOf(difference.after!, after)),
    ];
  });
}

/** Whether a backend that stood by carries connections now, or the other way round. */
export function changesTier({ backends }: Difference): boolean {
  return backends.some(
    ({ before, after }) =>
      before && after && before.role !== after.role && isActiveOrStandby(before) && isActiveOrStandby(after),
  );
}

function isActiveOrStandby({ role }: ReadBackend): boolean {
  return role === "active" || role === "standby";
}

const IN: Record<ReadRole, (backend: ReadBackend) => string> = {
  active: ({ share }) => `: share ${sayShare(share)}`,
  standby: () => " and stands by: no new connections",
  drain: () => " and drains: no new clients",
};

function sayWas({ role, share }: ReadBackend): string {
  if (role === "active") return `its share was ${sayShare(share)}`;
  return role === "drain" ? "it drained" : "it stood by";
}

function sayRole(key: string, before: ReadBackend, after: ReadBackend): string[] {
  if (before.role === after.role) {
    if (before.share.equals(after.share)) return [];
    return [`Backend ${key}: share ${sayShare(before.share)} → ${sayShare(after.share)}.`];
  }
  switch (after.role) {
    case "drain":
      return [`Backend ${key} drains: no new clients; ${sayWas(before)}.`];
    case "standby":
      return [`Backend ${key} stands by: no new connections; ${sayWas(before)}.`];
    case "active":
      return [
        `Backend ${key} ${before.role === "standby" ? "takes over" : "is active again"}: share ${sayShare(after.share)}; ${sayWas(before)}.`,
      ];
    default:
      throw after.role satisfies never;
  }
}

/** Undefined where no rule tells. */
export function limitOf(farm: ReadFarm, backend: ReadBackend): number | "none" | undefined {
  return isReached(farm, backend) ? (backend.maxConnections ?? "none") : undefined;
}

function sayLimit(key: string, before: Limit, after: Limit): string[] {
  if (after === undefined || after === (before ?? "none")) return [];
  return [
    `Backend ${key}: limit of connections at a time ${before === undefined ? "" : `${before} → `}${after}.`,
  ];
}

type Limit = ReturnType<typeof limitOf>;
