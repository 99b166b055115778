import { Fraction } from "../plan/fraction";
import type { PlannedAffinity } from "../plan/plan";
import type { Difference, Forgotten } from "./difference";
import { isReached, reachesAny } from "./reached";
import type { ReadBackend, ReadFarm } from "./read";
import { sayShare } from "./share";

/**
 * Given that each backend is remembered in proportion to its share before: for each address family in which affinity remembered any.
 * An entry goes with its backend's mark, and with every backend that clients cannot come to any more.
 */
export function forgottenBetween(before: ReadFarm, after: ReadFarm): Forgotten[] {
  if (!before.affinity) return [];
  const kept = isKept(before, after);
  const reached = new Set(after.backends.filter((one) => isReached(after, one)).map(identity));
  return (["ip", "ip6"] as const).flatMap((family) => {
    const held = before.backends.filter((one) => one.family === family && !one.share.isZero());
    if (held.length === 0) return [];
    if (!kept) return [{ family, fraction: Fraction.ONE }];
    const lost = held.filter((one) => !reached.has(identity(one)));
    return [{ family, fraction: lost.reduce((sum, { share }) => sum.plus(share), Fraction.ZERO) }];
  });
}

/** Whether entries stay where they are, or go along: nftables has another map for another size, ipset takes as many along as fit. */
function isKept(before: ReadFarm, after: ReadFarm): boolean {
  const [old, now] = [before.affinity, after.affinity];
  if (!old || !now || old.by !== now.by || before.dataPlane !== after.dataPlane) return false;
  return old.maxEntries === now.maxEntries || after.dataPlane !== "nftables";
}

function identity({ family, key, mark }: ReadBackend): string {
  return `${family} ${key} ${mark}`;
}

/** What clients that affinity remembers experience. */
export function sayForgotten({ before, after, moved, forgotten }: Difference): string[] {
  if (!before || !after || !reachesAny(before) || !reachesAny(after)) return [];
  if (!before.affinity)
    return after.affinity ? ["Affinity remembers each client from its next new connection on."] : [];
  if (!after.affinity)
    return ["Affinity ends: the next new connection of each client is spread like any other."];
  const [first, ...others] = forgotten;
  const alike = others.every(({ fraction }) => first!.fraction.equals(fraction));
  const said = (alike ? forgotten.slice(0, 1) : forgotten).flatMap(({ family, fraction }) => {
    const which = alike ? "" : ` of ${family === "ip" ? "IPv4" : "IPv6"}`;
    if (fraction.isZero()) return [];
    if (fraction.equals(Fraction.ONE))
      return [
        `Affinity forgets all that it remembers${which}: the next new connection of each client is spread like any other.`,
      ];
    return [
      `Of what affinity remembers${which}, ${sayShare(fraction)} is forgotten (in proportion to the shares before): those clients find another backend.`,
    ];
  });
  const shrinks = isKept(before, after) && after.affinity.maxEntries < before.affinity.maxEntries;
  const drained = before.backends.filter(
    ({ role, key, family }) =>
      role === "drain" && !after.backends.some((one) => one.key === key && one.family === family),
  );
  return [
    ...said,
    ...(said.length === 0 && moved.some(({ fraction }) => !fraction.isZero())
      ? ["Clients that affinity remembers keep their backend."]
      : []),
    ...(shrinks ? ["What affinity remembers beyond its new size is forgotten."] : []),
    ...(drained.length > 0
      ? ["Clients that affinity still has at a backend that drained, and now leaves, find another one."]
      : []),
  ];
}

/** `by client address, for 300 s, 65536 entries at most`. */
export function sayAffinity({ affinity, dataPlane }: ReadFarm): string {
  if (!affinity) return "none";
  const { by, timeout, maxEntries } = affinity;
  // A set of ipset remembers the clients of one backend.
  const each = dataPlane === "nftables" ? "" : " for each backend";
  return `by ${KEYS[by]}, for ${timeout} s, ${maxEntries} entries at most${each}`;
}

const KEYS = {
  sourceIp: "client address",
  sourceIpPort: "client address and port",
  destinationIp: "dialled address",
} as const satisfies Record<PlannedAffinity["by"], string>;
