import type { Family } from "../spec/address";
import type { WhenEmpty } from "../spec/types";
import type { Difference } from "./difference";

const ANSWERS: Record<WhenEmpty, string> = {
  reject: "are rejected (a TCP reset, or ICMP port unreachable)",
  drop: "are dropped",
};

/** Address families that lose or get their last active backend, or have none: the worst that can be said of a change. */
export function sayEmpty({ before, after }: Difference): string[] {
  const farm = after ?? before!;
  const families = (["ip", "ip6"] as const).filter((family) => serves(farm.services, family));
  const said = families.map((family) =>
    sayFamily(before?.empty[family], after?.empty[family], family, { before, after }),
  );
  const [first] = said;
  if (said.every((one) => one === first)) return first === undefined ? [] : [`${first}.`];
  return said.flatMap((one, i) => (one === undefined ? [] : [`${NAMES[families[i]!]}: ${one}.`]));
}

const NAMES: Record<Family, string> = { ip: "IPv4", ip6: "IPv6" };

function serves(services: readonly { family: Family }[], family: Family): boolean {
  return services.some((service) => service.family === family);
}

function sayFamily(
  old: WhenEmpty | undefined,
  now: WhenEmpty | undefined,
  family: Family,
  { before, after }: Pick<Difference, "before" | "after">,
): string | undefined {
  if (!after || old === now) return undefined;
  const served = before !== undefined && serves(before.services, family);
  if (now === undefined) return served ? "New connections are served again: a backend is active" : undefined;
  if (!served || old !== undefined) return `No backend is active: new connections ${ANSWERS[now]}`;
  return `No backend is active any more: new connections ${ANSWERS[now]}`;
}
