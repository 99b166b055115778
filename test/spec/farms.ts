import fc from "fast-check";
import { Algorithm, type Family, type FarmSpec, type TargetSpec } from "../../src/core";

/** The smallest farm, which the tables of this folder break in one place at a time. */
export const FARM: FarmSpec = {
  listeners: [{ address: "203.0.113.10", protocol: "tcp", port: 80 }],
  backends: [{ address: "10.0.0.3" }, { address: "10.0.0.4" }],
};

export const NFTABLES: TargetSpec = { dataPlane: "nftables" };
export const NAT: TargetSpec = { dataPlane: "iptables" };
export const ZEVENET: TargetSpec = { dataPlane: "iptables", layout: "zevenet" };

/** Every kind of gateway, by the name that a test has. */
export const TARGETS: readonly (readonly [string, TargetSpec])[] = [
  ["nftables", NFTABLES],
  ["iptables nat", NAT],
  ["iptables zevenet", ZEVENET],
];

/** A farm of `n` equal backends. */
export function equal(n: number, fields: Partial<FarmSpec> = {}): FarmSpec {
  return weighted(Array<number>(n).fill(1), fields);
}

/** A farm whose backends 10.0.0.1, 10.0.0.2 … weigh this. */
export function weighted(weights: readonly number[], fields: Partial<FarmSpec> = {}): FarmSpec {
  const backends = weights.map((weight, i) => ({ address: `10.0.${(i + 1) >> 8}.${(i + 1) & 255}`, weight }));
  return { ...FARM, backends, ...fields };
}

/** A farm as it may come, with a gateway that it fits. */
export interface Case {
  name: string;
  spec: FarmSpec;
  target: TargetSpec;
}

/** Any farm that is right: both families, every protocol, ports kept and changed, all kinds of gateway. */
export const anyCase: fc.Arbitrary<Case> = fc
  .record({
    name: fc.constantFrom(
      "web",
      "a",
      "twelve-chars",
      "a_name_of_many_characters-that-is-as-long-as-a-name-can-be-0000",
    ),
    families: fc.constantFrom<Family[]>(["ip"], ["ip6"], ["ip", "ip6"]),
    claims: fc.oneof(
      fc.subarray<Claim>(
        [
          { protocol: "tcp", port: 80 },
          { protocol: "tcp", ports: "443,8000-8080" },
          { protocol: "udp", port: 53 },
          { protocol: "sctp", ports: "1-9" },
        ],
        { minLength: 1 },
      ),
      fc.constantFrom<Claim[]>([{ protocol: "udp" }], [{ protocol: "all" }]),
    ),
    backends: fc.uniqueArray(
      fc.record({
        host: fc.integer({ min: 1, max: 200 }),
        port: fc.option(fc.integer({ min: 1, max: 65535 }), { nil: undefined }),
        weight: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 65535 })),
        marked: fc.boolean(),
      }),
      { minLength: 1, maxLength: 20, selector: ({ host }) => host },
    ),
    algorithm: fc.constantFrom(Algorithm.Random, Algorithm.RoundRobin),
    sourceNat: fc.constantFrom(undefined, "masquerade", "vip", "address"),
    markMask: fc.constantFrom(undefined, undefined, 0xff, 0x00ff_f000, 0xffff_0000),
    interface: fc.constantFrom(undefined, "eth0", "fifteen-letters"),
    target: fc.constantFrom(...TARGETS.map(([, target]) => target)),
  })
  .map(({ name, families, claims, backends, algorithm, sourceNat, markMask, target, ...rest }): Case => {
    const every = claims.some(({ protocol }) => protocol === "all");
    const spec: FarmSpec = {
      listeners: families.flatMap((family) => claims.map((claim) => ({ address: VIP[family], ...claim }))),
      backends: families.flatMap((family) =>
        backends.map(({ host, port, weight, marked }) => ({
          address: family === "ip" ? `10.0.0.${host}` : `2001:db8::${host.toString(16)}`,
          ...(port !== undefined && !every && { port }),
          weight: algorithm === "roundRobin" ? (weight % 4) + 1 : weight,
          ...(marked && markMask === undefined && { mark: family === "ip" ? host : host + 0x8000_0000 }),
        })),
      ),
      algorithm,
      ...(sourceNat && {
        sourceNat:
          sourceNat !== "address"
            ? sourceNat
            : families.length > 1
              ? "masquerade"
              : families[0] === "ip"
                ? "203.0.113.1"
                : "2001:db8:ffff::1",
      }),
    };
    return {
      name,
      spec,
      target: {
        ...target,
        ...(markMask && { markMask }),
        ...(rest.interface && { interface: rest.interface }),
      },
    };
  });

type Claim = Omit<FarmSpec["listeners"][number], "address">;

const VIP: Record<Family, string> = { ip: "203.0.113.10", ip6: "2001:db8:ffff::10" };
