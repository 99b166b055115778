import type { Plan, Pool } from "../plan/plan";
import { firstMatchWins, probabilityOf } from "../plan/probability";
import { hex } from "../spec/check";
import { formatPorts } from "../spec/ports";
import type { TargetSpec } from "../spec/types";

/**
 * What a reviewer reads. Rule text does not scale (with 200 backends one changed weight is a thousand lines), so the component's
 * inputs say it in a sentence a backend, keyed by the backend: a preview's diff shows the keys that changed.
 */
export interface Description {
  listeners: Record<string, string>;
  backends: Record<string, string>;
  algorithm: string;
  sourceNat: string;
}

export function describe(plan: Plan): Description {
  const listeners: Record<string, string> = {};
  for (const { address, protocol, ports } of plan.pools.flatMap(({ services }) => services)) {
    const key = `${address} ${protocol}`;
    const text =
      protocol === "all" || (ports.from === 0 && ports.to === 65535) ? "every port" : formatPorts(ports);
    listeners[key] = listeners[key] === undefined ? text : `${listeners[key]}, ${text}`;
  }
  return {
    listeners,
    backends: perBackend(plan, (pool, index) => {
      const { weight, share, mark } = pool.backends[index]!;
      return `weight ${weight}, share ${formatShare(share / pool.total)}, mark ${hex(mark)}`;
    }),
    algorithm: plan.algorithm,
    sourceNat: plan.sourceNat.kind === "address" ? plan.sourceNat.to.text : plan.sourceNat.kind,
  };
}

/** `nftables`, or `iptables, layout zevenet, interface eth0`. */
export function describeTarget({ dataPlane, layout, interface: from, markMask }: TargetSpec): string {
  return [
    dataPlane,
    ...(layout === undefined ? [] : [`layout ${layout}`]),
    ...(from === undefined ? [] : [`interface ${from}`]),
    ...(markMask === undefined ? [] : [`mark mask ${hex(markMask)}`]),
  ].join(", ");
}

/** Backend to its share of the connections of its address family, 0 to 1. */
export function sharesOf(plan: Plan): Record<string, number> {
  return perBackend(plan, (pool, index) => pool.backends[index]!.share / pool.total);
}

export function marksOf(plan: Plan): Record<string, number> {
  return perBackend(plan, (pool, index) => pool.backends[index]!.mark);
}

/**
 * Backend to the probability that a list of rules carries for it, as the kernel keeps it: 1/n, 1/(n−1) … 1 where the weights are
 * equal. (A list in which the last match wins carries the same, in reverse order.)
 */
export function probabilitiesOf(plan: Plan): Record<string, number> {
  const thresholds = new Map(
    plan.pools.map((pool) => [pool, firstMatchWins(pool.backends.map(({ share }) => share))]),
  );
  return perBackend(plan, (pool, index) => probabilityOf(thresholds.get(pool)![index]!));
}

function perBackend<T>(plan: Plan, value: (pool: Pool, index: number) => T): Record<string, T> {
  return Object.fromEntries(
    plan.pools.flatMap((pool) => pool.backends.map(({ key }, index) => [key, value(pool, index)])),
  );
}

/** Four significant digits, at least two decimals: `0.75`, `0.60`, `0.3333`, `0.0009766`. */
function formatShare(share: number): string {
  const text = String(Number(share.toPrecision(4)));
  return /^\d\.\d$/.test(text) ? `${text}0` : text === "1" ? "1.00" : text;
}
