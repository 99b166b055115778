import { type Address, type Family, parseAddress } from "../spec/address";
import { backendKey, greatestCommonDivisor } from "../spec/check";
import { shortName } from "../spec/name";
import { type Service, servicesOf } from "../spec/service";
import type { Algorithm, FarmSpec } from "../spec/types";
import { assignMarks, FULL_MASK } from "./mark";

/**
 * A farm, worked out: what each backend gets and how it is marked. No word of nftables or iptables; both data planes
 * start from here.
 */
export interface Plan {
  name: string;
  /** The name as chains bear it. */
  shortName: string;
  algorithm: Algorithm;
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
  /** In the user's order. */
  backends: PlannedBackend[];
  /** What the backends' shares add up to. */
  total: number;
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
  /** Its exact share is this over the pool's `total`; the pool's shares have no common divisor. */
  share: number;
  mark: number;
}

/** `to` is an address where the kind is `address`. */
export type PlannedSourceNat = { kind: "none" | "masquerade" | "vip" } | { kind: "address"; to: Address };

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

  const pools = FAMILIES.map((family): Pool => {
    const members = keyed.filter(({ address }) => parseAddress(address)!.family === family);
    const weights = members.map(({ weight }) => weight ?? 1);
    const divisor = weights.reduce(greatestCommonDivisor, 0);
    return {
      family,
      services: services.filter((service) => service.family === family).sort(byPlace),
      backends: members.map(({ key, address, port, weight = 1 }) => ({
        key,
        address: parseAddress(address)!.text,
        port,
        weight,
        share: weight / divisor,
        mark: marks.get(key)!,
      })),
      total: weights.reduce((sum, weight) => sum + weight, 0) / (divisor || 1),
    };
  });

  return {
    name,
    shortName: shortName(name),
    algorithm: spec.algorithm ?? "random",
    sourceNat: planSourceNat(spec.sourceNat ?? "none"),
    interface: options.interface,
    markMask,
    pools: pools.filter((pool) => pool.services.length > 0),
  };
}

const FAMILIES: readonly Family[] = ["ip", "ip6"];

function planSourceNat(sourceNat: string): PlannedSourceNat {
  if (sourceNat === "none" || sourceNat === "masquerade" || sourceNat === "vip") return { kind: sourceNat };
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

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
