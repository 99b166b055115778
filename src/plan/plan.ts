import { type Address, type Family, parseAddress } from "../spec/address";
import { backendKey, canonicalKey, greatestCommonDivisor } from "../spec/check";
import { shortName } from "../spec/name";
import { networkOf, type Prefix, parsePrefix, withoutNested } from "../spec/prefix";
import { type Service, servicesOf } from "../spec/service";
import type {
  AffinityKey,
  Algorithm,
  BackendSpec,
  FarmSpec,
  Helper,
  LimitsSpec,
  OnRemoval,
  PinSpec,
  WhenEmpty,
} from "../spec/types";
import { assignMarks, FULL_MASK } from "./mark";
import { assignSlots } from "./slots";

/**
 * A farm, worked out: what each backend gets and how it is marked. No word of nftables or iptables; both data planes
 * start from here.
 */
export interface Plan {
  name: string;
  /** The name as chains bear it. */
  shortName: string;
  algorithm: Algorithm;
  /** With `sourceHash` and `flowHash`. */
  hash: PlannedHash | undefined;
  affinity: PlannedAffinity | undefined;
  limits: PlannedLimits;
  whenEmpty: WhenEmpty;
  onRemoval: OnRemoval;
  /** Whether a TCP connection may begin with a packet that is no SYN. */
  looseTcp: boolean;
  helper: Helper | undefined;
  log: PlannedLog | undefined;
  sourceNat: PlannedSourceNat;
  /** Balance only what enters here; undefined: any interface, and the gateway's own connections. */
  interface: string | undefined;
  markMask: number;
  /** One for each address family in use, IPv4 first: a connection stays in its family. */
  pools: Pool[];
}

/** The services and backends of one address family. */
export interface Pool {
  family: Family;
  services: Service[];
  /** All of the family, in the user's order. */
  backends: PlannedBackend[];
  /** Those that new connections are given to, in the user's order: the active ones of the tier that carries them. */
  chosen: PlannedBackend[];
  /** Those that a new connection can come to at all: chosen, pinned, or remembered by affinity; in the user's order. */
  reachable: PlannedBackend[];
  /** Those that affinity may lead to: chosen and draining ones, in the user's order; empty without affinity. */
  remembered: PlannedBackend[];
  /** What the backends' shares add up to; 0 where none is chosen. */
  total: number;
  /** With a hash: each slot's index into `chosen`. */
  slots: number[] | undefined;
  /** Longest prefix first: the first that holds a source counts. Pins to a backend that is down are left out. */
  pins: PlannedPin[];
  /** Canonical, ordered, none inside another; undefined: everybody. */
  allow: string[] | undefined;
  deny: string[];
  /** With `sourceNat: auto`. */
  localNetworks: string[];
}

export interface PlannedBackend {
  /** `10.0.0.3`, `10.0.0.3:80`, `[2001:db8::3]:80`. */
  key: string;
  /** Canonical text. */
  address: string;
  /** Undefined: the port that was dialled. */
  port: number | undefined;
  /** As the user wrote it. */
  weight: number;
  priority: number;
  role: Role;
  maxConnections: number | undefined;
  /** Its exact share is this over the pool's `total`; 0 where it is not chosen. Of a hash, the number of its slots. */
  share: number;
  mark: number;
}

/** `standby`: active, but another tier carries the connections. */
export type Role = "active" | "standby" | "drain" | "down";

export interface PlannedHash {
  /** What is hashed: the source address, or addresses, ports and protocol. */
  of: "source" | "flow";
  /** How much of the source address counts, in bits. */
  prefix: Record<Family, number>;
  /** How many slots there are. */
  slots: number;
}

export interface PlannedAffinity {
  by: AffinityKey;
  /** In seconds, from a client's last new connection. */
  timeout: number;
  /** Of each address family. */
  maxEntries: number;
}

/** Undefined: no limit. */
export interface PlannedLimits {
  connections: number | undefined;
  rate: RateLimit | undefined;
  sourceRate: RateLimit | undefined;
}

export interface RateLimit {
  perSecond: number;
  burst: number;
}

export interface PlannedLog extends RateLimit {
  prefix: string;
}

export interface PlannedPin {
  source: Prefix;
  backend: PlannedBackend;
}

/** `to` is an address where the kind is `address`. */
export type PlannedSourceNat =
  | { kind: "none" | "masquerade" | "vip" | "auto" }
  | { kind: "address"; to: Address };

/** What of a gateway a plan depends on. */
export interface PlanOptions {
  interface?: string | undefined;
  markMask?: number | undefined;
}

/** @param spec checked by `assertValid` */
export function makePlan(name: string, spec: FarmSpec, options: PlanOptions = {}): Plan {
  const markMask = options.markMask ?? FULL_MASK;
  const services = spec.listeners.flatMap(servicesOf);
  const keyed = spec.backends.map((backend) => ({ ...backend, key: backendKey(backend) }));
  const marks = assignMarks(keyed, markMask);
  const hash = planHash(spec);

  const pools = FAMILIES.map((family): Pool => {
    const members = keyed.filter(({ address }) => parseAddress(address)!.family === family);
    const roles = rolesOf(members, spec.minActive ?? 1);
    const weights = members.map(({ weight = 1 }, i) => (roles[i] === "active" ? weight : 0));
    const active = members.flatMap(({ key, weight = 1 }, i) =>
      roles[i] === "active" ? [{ key, weight }] : [],
    );
    const slots = hash && active.length > 0 ? assignSlots(active, hash.slots) : undefined;
    const shares = slots ? slotCounts(slots, weights) : inLowestTerms(weights);
    const backends = members.map(
      ({ key, address, port, weight = 1, priority = 0, maxConnections }, i): PlannedBackend => ({
        key,
        address: parseAddress(address)!.text,
        port,
        weight,
        priority,
        role: roles[i]!,
        maxConnections,
        share: shares[i]!,
        mark: marks.get(key)!,
      }),
    );
    const chosen = backends.filter(({ role }) => role === "active");
    const pins = planPins(spec.pins ?? [], backends);
    const remembered = spec.affinity
      ? backends.filter(({ role }) => role === "active" || role === "drain")
      : [];
    const reachable = new Set([...chosen, ...remembered, ...pins.map(({ backend }) => backend)]);
    return {
      family,
      services: services.filter((service) => service.family === family).sort(byPlace),
      backends,
      chosen,
      reachable: backends.filter((one) => reachable.has(one)),
      remembered,
      total: shares.reduce((sum, share) => sum + share, 0),
      slots,
      pins,
      allow: spec.allow && networks(spec.allow, family),
      deny: networks(spec.deny ?? [], family),
      localNetworks: spec.sourceNat === "auto" ? localNetworks(spec, backends, family) : [],
    };
  });

  return {
    name,
    shortName: shortName(name),
    algorithm: spec.algorithm ?? "random",
    hash,
    affinity: spec.affinity && {
      by: spec.affinity.by,
      timeout: spec.affinity.timeoutSeconds,
      maxEntries: spec.affinity.maxEntries ?? 65_536,
    },
    limits: planLimits(spec.limits ?? {}),
    whenEmpty: spec.whenEmpty ?? "reject",
    onRemoval: spec.onRemoval ?? "keep",
    looseTcp: spec.looseTcp ?? false,
    helper: spec.helper,
    log: spec.log && {
      prefix: spec.log.prefix ?? `${shortName(name)}:`,
      perSecond: spec.log.perSecond ?? 10,
      burst: spec.log.burst ?? 5,
    },
    sourceNat: planSourceNat(spec.sourceNat ?? "none"),
    interface: options.interface,
    markMask,
    pools: pools.filter((pool) => pool.services.length > 0),
  };
}

const FAMILIES: readonly Family[] = ["ip", "ip6"];

/**
 * The tier that carries new connections is the one with the lowest number that has `minActive` active members; where
 * none has so many, the one with the lowest number that has any.
 */
function rolesOf(members: readonly BackendSpec[], minActive: number): Role[] {
  const counts = new Map<number, number>();
  for (const { state = "active", priority = 0 } of members)
    if (state === "active") counts.set(priority, (counts.get(priority) ?? 0) + 1);
  const tiers = [...counts.keys()].sort((a, b) => a - b);
  const carrying = tiers.find((tier) => counts.get(tier)! >= minActive) ?? tiers[0];
  return members.map(({ state = "active", priority = 0 }) =>
    state === "active" && priority !== carrying ? "standby" : state,
  );
}

function inLowestTerms(weights: readonly number[]): number[] {
  const divisor = weights.reduce(greatestCommonDivisor, 0);
  return weights.map((weight) => weight / (divisor || 1));
}

/** How many slots each backend has. @param weights 0 for backends that share in none */
function slotCounts(slots: readonly number[], weights: readonly number[]): number[] {
  const counts = new Map<number, number>();
  for (const index of slots) counts.set(index, (counts.get(index) ?? 0) + 1);
  let next = 0;
  return weights.map((weight) => (weight === 0 ? 0 : (counts.get(next++) ?? 0)));
}

function planHash({ algorithm, prefixLength, prefixLength6, slots }: FarmSpec): PlannedHash | undefined {
  if (algorithm !== "sourceHash" && algorithm !== "flowHash") return undefined;
  return {
    of: algorithm === "sourceHash" ? "source" : "flow",
    prefix: { ip: prefixLength ?? 32, ip6: prefixLength6 ?? 128 },
    slots: slots ?? 4096,
  };
}

function planLimits({
  maxConnections,
  newConnectionsPerSecond,
  burst,
  perSource,
}: LimitsSpec): PlannedLimits {
  const rate = (perSecond: number | undefined, most: number | undefined) =>
    perSecond === undefined ? undefined : { perSecond, burst: most ?? perSecond };
  return {
    connections: maxConnections,
    rate: rate(newConnectionsPerSecond, burst),
    sourceRate: rate(perSource?.newConnectionsPerSecond, perSource?.burst),
  };
}

function planPins(pins: readonly PinSpec[], backends: readonly PlannedBackend[]): PlannedPin[] {
  const live = new Map(
    backends.filter(({ role }) => role !== "down").map((backend) => [backend.key, backend]),
  );
  return pins
    .flatMap(({ source, backend: key }) => {
      const backend = live.get(canonicalKey(key)!);
      return backend ? [{ source: parsePrefix(source)!, backend }] : [];
    })
    .sort((a, b) => compare(size(a.source), size(b.source)) || compare(a.source.first, b.source.first));
}

function size({ first, last }: Prefix): bigint {
  return last - first;
}

/** Canonical texts of the networks of one family. */
function networks(texts: readonly string[], family: Family): string[] {
  const prefixes = texts.map((text) => parsePrefix(text)!).filter((prefix) => prefix.family === family);
  return withoutNested(prefixes).map(({ text }) => text);
}

function localNetworks(
  { localNetworks }: FarmSpec,
  backends: readonly PlannedBackend[],
  family: Family,
): string[] {
  const guessed = backends.map(({ address }) => networkOf(address, family === "ip" ? 24 : 64));
  return networks(localNetworks ?? guessed, family);
}

function planSourceNat(sourceNat: string): PlannedSourceNat {
  if (sourceNat === "none" || sourceNat === "masquerade" || sourceNat === "vip" || sourceNat === "auto")
    return { kind: sourceNat };
  return { kind: "address", to: parseAddress(sourceNat)! };
}

/** A fixed order, so that listeners in another order give the same bytes. */
function byPlace(a: Service, b: Service): number {
  return (
    compare(a.address, b.address) ||
    compare(a.protocol, b.protocol) ||
    a.ports.from - b.ports.from ||
    a.ports.to - b.ports.to
  );
}

function compare<T extends string | bigint>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
