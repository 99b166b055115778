import { createHash } from "node:crypto";
import { LINE_LENGTH } from "../plan/header";
import type { Plan, PlannedBackend, PlannedHash, Pool, RateLimit } from "../plan/plan";
import { firstMatchWins, probabilityOf } from "../plan/probability";
import { FAMILY_NAME } from "../spec/address";
import { hex } from "../spec/check";
import { formatCount } from "../spec/count";
import { formatPorts } from "../spec/ports";
import type { TargetSpec } from "../spec/types";

/**
 * What a reviewer reads. Rule text does not scale (with 200 backends one changed weight is a thousand lines), so the component's
 * inputs say it in a sentence a backend, keyed by the backend: a preview's diff shows the keys that changed.
 */
export interface Description extends Partial<Features> {
  listeners: Record<string, string>;
  backends: Record<string, string>;
  algorithm: string;
  sourceNat: string;
}

/** What only some farms have. */
interface Features {
  affinity: string;
  /** Client network to backend. */
  pins: Record<string, string>;
  limits: string;
  allow: string;
  deny: string;
  whenEmpty: string;
  onRemoval: string;
  looseTcp: string;
  helper: string;
  log: string;
}

/** The features by the names of the arguments that ask for them. */
export const FEATURES = [
  "affinity",
  "pins",
  "limits",
  "allow",
  "deny",
  "whenEmpty",
  "onRemoval",
  "looseTcp",
  "helper",
  "log",
] as const satisfies readonly (keyof Features)[];

export function describe(plan: Plan): Description {
  return {
    listeners: describeListeners(plan),
    backends: perBackend(plan, (pool, index) => describeBackend(pool.backends[index]!, pool)),
    algorithm: plan.hash ? describeHash(plan, plan.hash) : plan.algorithm,
    sourceNat: describeSourceNat(plan),
    ...describeFeatures(plan),
  };
}

/**
 * A farm in a line, where many stand below each other: `web at 203.0.113.10 tcp 80, 443 to 10.0.0.3 (0.75), 10.0.0.4 (0.25); random,
 * masquerade; rules 9f31c2d4`. What would make it too long to be shown is counted instead. The hash is that of the rule set on the first gateway, so that
 * every change shows. (No colon behind the name: the engine would read YAML, and print every line of it.)
 */
export function describeShortly(plan: Plan, ruleSet: string): string {
  const listeners = Object.entries(describeListeners(plan)).map((entry) => entry.join(" "));
  const backends = plan.pools.flatMap((pool) =>
    pool.backends.map((backend) => `${backend.key} (${formatShare(shareOf(backend, pool.total))})`),
  );
  const { algorithm, sourceNat } = describe(plan);
  const line = (from: string, to: string) =>
    `${plan.name} at ${from} to ${to}; ${algorithm}, ${sourceNat}; rules ${sha256(ruleSet).slice(0, 8)}`;
  const counted = `${formatCount(backends.length)} backends`;
  const lines = [
    line(listeners.join(", "), backends.join(", ")),
    line(listeners.join(", "), counted),
    line(`${formatCount(listeners.length)} listeners`, counted),
  ];
  return lines.find(({ length }) => length <= LINE_LENGTH) ?? lines.at(-1)!;
}

function describeListeners({ pools }: Plan): Record<string, string> {
  const listeners: Record<string, string> = {};
  for (const { address, protocol, ports } of pools.flatMap(({ services }) => services)) {
    const key = `${address} ${protocol}`;
    const text =
      protocol === "all" || (ports.from === 0 && ports.to === 65535) ? "every port" : formatPorts(ports);
    listeners[key] = listeners[key] === undefined ? text : `${listeners[key]}, ${text}`;
  }
  return listeners;
}

/** `weight 3, share 0.75, mark 0x201`, and what else is to be said of it. */
function describeBackend(backend: PlannedBackend, { total }: Pool): string {
  const { weight, mark, role, priority, maxConnections } = backend;
  return [
    `weight ${weight}`,
    `share ${formatShare(shareOf(backend, total))}`,
    `mark ${hex(mark)}`,
    ...(role === "active" ? [] : [role === "standby" ? `standby (priority ${priority})` : role]),
    ...(maxConnections === undefined ? [] : [`at most ${formatCount(maxConnections)} connections`]),
  ].join(", ");
}

/** `sourceHash of IPv4 /24 and IPv6 /64, 4,096 slots`. */
function describeHash({ algorithm, pools }: Plan, { prefix, slots }: PlannedHash): string {
  const networks = pools
    .map(({ family }) => family)
    .filter((family) => prefix[family] < (family === "ip" ? 32 : 128))
    .map((family) => `${FAMILY_NAME[family]} /${prefix[family]}`);
  return `${algorithm}${networks.length === 0 ? "" : ` of ${networks.join(" and ")}`}, ${formatCount(slots)} slots`;
}

function describeSourceNat({ sourceNat, pools }: Plan): string {
  if (sourceNat.kind === "address") return sourceNat.to.text;
  if (sourceNat.kind !== "auto") return sourceNat.kind;
  return `auto, masquerade for ${formatNetworks(pools.flatMap(({ localNetworks }) => localNetworks))}`;
}

function describeFeatures(plan: Plan): Partial<Features> {
  const { affinity, helper, log, pools } = plan;
  return {
    ...(affinity && {
      affinity: `by ${affinity.by}, ${formatCount(affinity.timeout)} s, at most ${formatCount(affinity.maxEntries)} clients`,
    }),
    pins: Object.fromEntries(
      pools.flatMap(({ pins }) => pins.map(({ source, backend }) => [source.text, backend.key])),
    ),
    limits: describeLimits(plan),
    allow: formatNetworks(pools.flatMap(({ allow }) => allow ?? [])) || "everybody",
    deny: formatNetworks(pools.flatMap(({ deny }) => deny)) || "nobody",
    whenEmpty: plan.whenEmpty,
    onRemoval: plan.onRemoval,
    looseTcp: String(plan.looseTcp),
    ...(helper && { helper }),
    ...(log && { log: `${log.prefix} at most ${formatRate(log, "lines")}` }),
  };
}

function describeLimits({ limits: { connections, rate, sourceRate } }: Plan): string {
  return [
    ...(connections === undefined ? [] : [`at most ${formatCount(connections)} connections`]),
    ...(rate === undefined ? [] : [formatRate(rate, "new")]),
    ...(sourceRate === undefined ? [] : [`${formatRate(sourceRate, "new")} from each client`]),
  ].join(", ");
}

/** `100 new a second (burst 200)`. */
function formatRate({ perSecond, burst }: RateLimit, what: string): string {
  return `${formatCount(perSecond)} ${what} a second (burst ${formatCount(burst)})`;
}

/** Lists up to this long are written out. */
const FEW = 8;

/** `192.0.2.0/24, 198.51.100.7`, or `4,096 networks, sha256 9f31c2d4`, so that a change shows. */
function formatNetworks(networks: readonly string[]): string {
  if (networks.length <= FEW) return networks.join(", ");
  return `${formatCount(networks.length)} networks, sha256 ${sha256(networks.join("\n")).slice(0, 8)}`;
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
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

/** Backend to its share of the new connections of its address family, 0 to 1. */
export function sharesOf(plan: Plan): Record<string, number> {
  return perBackend(plan, ({ backends, total }, index) => shareOf(backends[index]!, total));
}

function shareOf({ share }: PlannedBackend, total: number): number {
  return share === 0 ? 0 : share / total;
}

export function marksOf(plan: Plan): Record<string, number> {
  return perBackend(plan, (pool, index) => pool.backends[index]!.mark);
}

/**
 * Backend to the probability that a list of rules carries for it, as the kernel keeps it: 1/n, 1/(n−1) … 1 where the weights are
 * equal; 0 where new connections are not given to it, and where none is drawn for. (A list in which the last match wins carries
 * the same, in reverse order.)
 */
export function probabilitiesOf(plan: Plan): Record<string, number> {
  const drawn = plan.algorithm === "random" ? plan.pools.map(({ chosen }) => chosen) : [];
  const thresholds = new Map(
    drawn.flatMap((chosen) => {
      const values = firstMatchWins(chosen.map(({ share }) => share));
      return chosen.map((backend, index) => [backend, values[index]!] as const);
    }),
  );
  return perBackend(plan, ({ backends }, index) => probabilityOf(thresholds.get(backends[index]!) ?? 0));
}

function perBackend<T>(plan: Plan, value: (pool: Pool, index: number) => T): Record<string, T> {
  return Object.fromEntries(
    plan.pools.flatMap((pool) => pool.backends.map(({ key }, index) => [key, value(pool, index)])),
  );
}

/** Four significant digits, at least two decimals: `0.75`, `0.60`, `0.3333`, `0.0009766`. */
function formatShare(share: number): string {
  const text = String(Number(share.toPrecision(4)));
  return /^\d$/.test(text) ? `${text}.00` : /^\d\.\d$/.test(text) ? `${text}0` : text;
}
