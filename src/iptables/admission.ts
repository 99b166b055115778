import { createHash } from "node:crypto";
import { FULL_MASK } from "../plan/mark";
import type { Plan, Pool, RateLimit } from "../plan/plan";
import { idleTimeout } from "../plan/rate";
import type { IptMatch, IptRule, IptTarget } from "./ruleset";
import { listName } from "./sets";

/**
 * What a connection must pass before a backend is chosen. A connection that does not returns untranslated, and the guards
 * drop it: nat knows no DROP.
 */
export function admission(plan: Plan, pool: Pool): IptRule[] {
  const { sourceRate, rate, connections } = plan.limits;
  const refused: IptMatch[][] = [
    ...(checksSyn(plan, pool) ? [NOT_SYN] : []),
    ...(pool.deny.length > 0 ? [[inList(plan, pool, "deny")]] : []),
    ...(pool.allow ? [[{ ...inList(plan, pool, "allow"), kind: "notInSet" } as const]] : []),
    ...(sourceRate ? [[rateAbove(plan, sourceRate, "source")]] : []),
    ...(rate ? [[rateAbove(plan, rate, "all")]] : []),
    ...(connections === undefined ? [] : [[{ kind: "connectionsAbove", limit: connections } as const]]),
  ];
  return [...refused.map((matches) => rule(plan, matches, { kind: "return" })), ...logging(plan)];
}

/** Whether a connection of the pool may be TCP, and must begin as TCP does. */
export function checksSyn({ looseTcp }: Plan, { services }: Pool): boolean {
  return !looseTcp && services.some(({ protocol }) => protocol === "tcp" || protocol === "all");
}

/** A TCP packet under way that the kernel takes for a connection's first (nf_conntrack_tcp_loose). */
export const NOT_SYN: IptMatch[] = [
  { kind: "protocol", protocol: "tcp", ports: undefined },
  { kind: "notSyn" },
];

/**
 * The packet's mark that asks filter for an answer, where no backend is active: `nflb` in ASCII, so that nobody else has it.
 * The packet is on its way to nowhere, so its mark routes nothing.
 */
export const REJECT_MARK = 0x6e666c62;

export const REJECTED: IptTarget = { kind: "setMark", mark: REJECT_MARK, mask: FULL_MASK };

function inList(plan: Plan, pool: Pool, list: "allow" | "deny") {
  return { kind: "inSet", set: listName(plan, pool, list), key: "src" } as const;
}

function rateAbove({ shortName }: Plan, { perSecond, burst }: RateLimit, of: "source" | "all"): IptMatch {
  const kept = keptRate(perSecond, HASHLIMIT_STEPS);
  // The kernel finds a table by its name, and one that is there keeps its parameters: so they are in the name.
  const name =
    of === "all" ? `${shortName}.all.${kept}.${burst}` : shortened(`${shortName}.${kept}.${burst}`);
  return {
    kind: "rateAbove",
    perSecond: kept,
    burst,
    of,
    name,
    timeout: idleTimeout({ perSecond: kept, burst }),
  };
}

function logging(plan: Plan): IptRule[] {
  if (!plan.log) return [];
  const { prefix, perSecond, burst } = plan.log;
  const limit: IptMatch = { kind: "rateUpTo", perSecond: keptRate(perSecond, LIMIT_STEPS), burst };
  return [rule(plan, [limit], { kind: "log", prefix })];
}

function rule({ shortName }: Plan, matches: IptMatch[], target: IptTarget): IptRule {
  return { chain: { own: shortName }, matches, target };
}

/** XT_HASHLIMIT_SCALE_v2 (linux/netfilter/xt_hashlimit.h). */
const HASHLIMIT_STEPS = 1_000_000;

/** XT_LIMIT_SCALE (linux/netfilter/xt_limit.h). */
const LIMIT_STEPS = 10_000;

/**
 * A rate as the kernel keeps it, and `iptables-save` prints it: the time between two is a whole number of steps, rounded down.
 *
 * @param steps in a second
 */
function keptRate(perSecond: number, steps: number): number {
  return Math.floor(steps / Math.floor(steps / perSecond));
}

/** Longest name of a table of sources with which no line has more than 150 characters. */
const TABLE_NAME_LENGTH = 14;

/** In the way of a farm's `shortName`. */
function shortened(name: string): string {
  if (name.length <= TABLE_NAME_LENGTH) return name;
  return `${name.slice(0, 2)}--${createHash("sha256").update(name).digest("hex").slice(0, 8)}`;
}
