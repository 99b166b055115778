import fc from "fast-check";
import {
  AffinityKey,
  Algorithm,
  BackendState,
  type Family,
  type FarmSpec,
  Helper,
  OnRemoval,
  type TargetSpec,
  WhenEmpty,
} from "../../src/core";
import { networkOf } from "../../src/spec/prefix";

/** The smallest farm, which the tables of this folder break in one place at a time. */
export const FARM: FarmSpec = {
  listeners: [{ address: "203.0.113.10", protocol: "tcp", port: 80 }],
  backends: [{ address: "10.0.0.3" }, { address: "10.0.0.4" }],
};

/** With every kind of line that a rule set can hold. */
export const EVERYTHING: FarmSpec = {
  listeners: [{ address: "203.0.113.10", protocol: "tcp", port: 80 }],
  backends: [
    { address: "10.0.0.3", mark: 3, maxConnections: 5 },
    { address: "10.0.0.4", mark: 4 },
  ],
  affinity: { by: "sourceIp", timeoutSeconds: 300 },
  limits: { maxConnections: 9, newConnectionsPerSecond: 8, perSource: { newConnectionsPerSecond: 7 } },
  allow: ["192.0.2.0/24"],
  log: { prefix: "web:" },
  helper: "ftp",
  pins: [{ source: "192.0.2.9", backend: "10.0.0.3" }],
  onRemoval: "cut",
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

const anyName = fc.constantFrom(
  "web",
  "a",
  "twelve-chars",
  "a_name_of_many_characters-that-is-as-long-as-a-name-can-be-0000",
);
const anyFamilies = fc.constantFrom<Family[]>(["ip"], ["ip6"], ["ip", "ip6"]);
const anyClaims = fc.oneof(
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
);

/**
 * Any farm that only spreads by chance or by turns: both families, every protocol, ports kept and changed, all kinds of gateway.
 * For what needs no more than that, in less time.
 */
export const simpleCase: fc.Arbitrary<Case> = fc
  .record({
    name: anyName,
    families: anyFamilies,
    claims: anyClaims,
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
      listeners: families.flatMap((family) =>
        claims.map((claim) => ({ address: PLACE[family].vip, ...claim })),
      ),
      backends: families.flatMap((family) =>
        backends.map(({ host, port, weight, marked }) => ({
          address: PLACE[family].backend(host),
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
              : PLACE[families[0]!].source,
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

/** What the generated farms and their packets have to do with: enough to meet in every way, not more. */
export const PLACE = {
  ip: {
    vip: "203.0.113.10",
    source: "203.0.113.1",
    backend: (host: number) => `10.0.0.${host}`,
    client: (host: number) => `198.51.100.${host}`,
    /** The lengths of networks that clients are told by. */
    lengths: { min: 24, max: 32 },
    everybody: "0.0.0.0/0",
    /** A client of no such network, and one that no list ever denies. */
    stranger: "192.0.2.77",
  },
  ip6: {
    vip: "2001:db8:ffff::10",
    source: "2001:db8:ffff::1",
    backend: (host: number) => `2001:db8::${host.toString(16)}`,
    client: (host: number) => `2001:db8:1::${host === 0 ? "" : host.toString(16)}`,
    lengths: { min: 120, max: 128 },
    everybody: "::/0",
    stranger: "2001:db8:2::77",
  },
} as const;

/** Networks that hold one another, touch, or have nothing in common. */
function anyNetwork(family: Family, place: "client" | "backend" = "client"): fc.Arbitrary<string> {
  const { lengths, [place]: address } = PLACE[family];
  return fc
    .tuple(fc.constantFrom(0, 1, 2, 3, 4, 7, 8, 64, 127, 128, 255), fc.integer(lengths))
    .map(([host, length]) => networkOf(address(host), length));
}

const aFew = { minLength: 1, maxLength: 5 };
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 2 });
const rate = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 10_000 }));
const count = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 16_777_216 }));

/** Clients of one family: who is pinned, allowed, denied, and local. */
const anyClients = (family: Family) =>
  fc.record({
    pins: fc.uniqueArray(
      fc.record({
        source: fc.oneof(...times(9, anyNetwork(family)), fc.constant(everybody(family))),
        to: fc.nat(19),
      }),
      { maxLength: 5, selector: ({ source }) => source },
    ),
    allow: fc.array(fc.oneof(...times(9, anyNetwork(family)), fc.constant(everybody(family))), {
      maxLength: 5,
    }),
    deny: fc.array(anyNetwork(family), aFew),
    local: fc.array(
      fc.oneof(anyNetwork(family), anyNetwork(family, "backend"), fc.constant(everybody(family))),
      aFew,
    ),
  });

const everybody = (family: Family): string => PLACE[family].everybody;
const times = <T>(n: number, value: T): T[] => Array<T>(n).fill(value);

/** A farm with all that it may ask for, before it is known what its gateways can do. */
const anyWish = fc.record({
  name: anyName,
  families: anyFamilies,
  claims: anyClaims,
  backends: fc.uniqueArray(
    fc.record({
      host: fc.integer({ min: 1, max: 200 }),
      port: maybe(fc.integer({ min: 1, max: 65535 })),
      weight: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 65535 })),
      marked: fc.boolean(),
      state: fc.constantFrom(undefined, undefined, undefined, ...Object.values(BackendState)),
      priority: maybe(fc.nat(2)),
      maxConnections: maybe(count),
    }),
    { minLength: 1, maxLength: 12, selector: ({ host }) => host },
  ),
  /** Nobody is active. */
  outage: fc.nat(7).map((one) => one === 7),
  algorithm: fc.constantFrom(undefined, ...Object.values(Algorithm)),
  slots: fc.oneof(...times(9, fc.integer({ min: 16, max: 64 })), fc.constantFrom(undefined, 1000)),
  prefixes: maybe(fc.record({ ip: fc.integer({ min: 1, max: 32 }), ip6: fc.integer({ min: 1, max: 128 }) })),
  minActive: maybe(fc.nat(19)),
  affinity: maybe(
    fc.record(
      {
        by: fc.constantFrom(...Object.values(AffinityKey)),
        timeoutSeconds: fc.integer({ min: 1, max: 2_147_483 }),
        maxEntries: fc.integer({ min: 1, max: 16_777_216 }),
      },
      { requiredKeys: ["by", "timeoutSeconds"] },
    ),
  ),
  limits: maybe(
    fc.record({
      maxConnections: maybe(count),
      rate: maybe(fc.tuple(rate, maybe(rate))),
      perSource: maybe(fc.tuple(rate, maybe(rate))),
    }),
  ),
  ip: anyClients("ip"),
  ip6: anyClients("ip6"),
  lists: fc.record({
    pins: fc.boolean(),
    allow: fc.constantFrom(false, false, true),
    deny: fc.constantFrom(false, false, true),
    local: fc.boolean(),
  }),
  log: maybe(
    fc.record(
      {
        prefix: fc.constantFrom("w", "web_1.farm:=-", "prefix-of-twenty-eight-chars"),
        perSecond: rate,
        burst: rate,
      },
      { requiredKeys: [] },
    ),
  ),
  helper: fc.nat(99),
  looseTcp: maybe(fc.boolean()),
  whenEmpty: fc.constantFrom(undefined, ...Object.values(WhenEmpty)),
  onRemoval: fc.constantFrom(undefined, ...Object.values(OnRemoval)),
  sourceNat: fc.constantFrom(undefined, "masquerade", "vip", "auto", "auto", "address"),
  markMask: fc.constantFrom(undefined, undefined, undefined, undefined, 0xff, 0x00ff_f000, 0xffff_0000),
  interface: fc.constantFrom(undefined, undefined, "eth0", "fifteen-letters"),
});

type Wish = typeof anyWish extends fc.Arbitrary<infer T> ? T : never;

/** What every one of some gateways can do. */
interface Ability {
  hash: boolean;
  shortHash: boolean;
  affinity: boolean;
  /** IPv6 clients by address and port. */
  portAffinity6: boolean;
  clients: boolean;
}

function abilityOf(targets: readonly TargetSpec[], markMask: number | undefined): Ability {
  const [nft, ipt] = (["nftables", "iptables"] as const).map((plane) =>
    targets.some(({ dataPlane }) => dataPlane === plane),
  );
  const zevenet = targets.some(({ layout }) => layout === "zevenet");
  const partial = markMask !== undefined;
  return {
    hash: !zevenet && !(partial && ipt),
    shortHash: !(partial && nft),
    affinity: !zevenet && !(partial && nft),
    portAffinity6: !nft,
    clients: !zevenet,
  };
}

/** The same farm on several gateways of different kinds. */
export interface SharedCase {
  name: string;
  spec: FarmSpec;
  targets: TargetSpec[];
}

/** Any farm that is right on all of some kinds of gateway, with every feature that all of them have. */
export function caseOnAll(targets: readonly TargetSpec[]): fc.Arbitrary<SharedCase> {
  return anyWish.map((wish) => ({
    name: wish.name,
    spec: specOf(wish, abilityOf(targets, wish.markMask)),
    targets: targets.map((target) => ({
      ...target,
      ...(wish.markMask !== undefined && { markMask: wish.markMask }),
      ...(wish.interface !== undefined && { interface: wish.interface }),
    })),
  }));
}

/** Any farm that is right, with every feature that its gateway has. */
export const anyCase: fc.Arbitrary<Case> = fc
  .constantFrom(...TARGETS.map(([, target]) => target))
  .chain((target) => caseOnAll([target]))
  .map(({ name, spec, targets }) => ({ name, spec, target: targets[0]! }));

function specOf(wish: Wish, can: Ability): FarmSpec {
  const { families, claims, markMask, outage } = wish;
  const speaks = (protocol: string) => claims.some((claim) => claim.protocol === protocol);
  const algorithm = can.hash || !isHash(wish.algorithm) ? wish.algorithm : Algorithm.Random;
  const keyOf = (family: Family, i: number) => {
    const { host, port } = wish.backends[i % wish.backends.length]!;
    const address = PLACE[family].backend(host);
    if (port === undefined || speaks("all")) return address;
    return family === "ip" ? `${address}:${port}` : `[${address}]:${port}`;
  };
  const affinity =
    wish.affinity?.by === "sourceIpPort" &&
    (speaks("all") || (families.includes("ip6") && !can.portAffinity6))
      ? { ...wish.affinity, by: AffinityKey.SourceIp }
      : wish.affinity;
  const tiers = wish.backends.map(({ priority = 0 }) => priority);
  const largest = Math.max(...tiers.map((tier) => tiers.filter((other) => other === tier).length));

  return {
    listeners: families.flatMap((family) =>
      claims.map((claim) => ({ address: PLACE[family].vip, ...claim })),
    ),
    backends: families.flatMap((family) =>
      wish.backends.map(({ host, port, weight, marked, state, priority, maxConnections }) => ({
        address: PLACE[family].backend(host),
        ...(port !== undefined && !speaks("all") && { port }),
        weight: algorithm === Algorithm.RoundRobin ? (weight % 4) + 1 : weight,
        ...(marked && markMask === undefined && { mark: family === "ip" ? host : host + 0x8000_0000 }),
        ...(state && { state }),
        ...(outage && state !== "down" && { state: BackendState.Drain }),
        ...(priority !== undefined && { priority }),
        ...(can.clients && maxConnections !== undefined && { maxConnections }),
      })),
    ),
    ...(algorithm && { algorithm }),
    ...(isHash(algorithm) && wish.slots !== undefined && { slots: wish.slots }),
    ...(algorithm === Algorithm.SourceHash &&
      can.shortHash &&
      wish.prefixes && {
        ...(families.includes("ip") && { prefixLength: wish.prefixes.ip }),
        ...(families.includes("ip6") && { prefixLength6: wish.prefixes.ip6 }),
      }),
    ...(wish.minActive !== undefined && { minActive: (wish.minActive % largest) + 1 }),
    ...(wish.whenEmpty && { whenEmpty: wish.whenEmpty }),
    ...(wish.onRemoval && { onRemoval: wish.onRemoval }),
    ...(wish.looseTcp !== undefined &&
      (!wish.looseTcp || speaks("tcp") || speaks("all")) && { looseTcp: wish.looseTcp }),
    ...(wish.sourceNat && { sourceNat: sourceNatOf(wish.sourceNat, families) }),
    ...(wish.sourceNat === "auto" &&
      wish.lists.local && { localNetworks: families.flatMap((family) => wish[family].local) }),
    ...(can.affinity && affinity && { affinity }),
    ...(can.clients && {
      ...limitsOf(wish),
      ...(wish.lists.pins && {
        pins: families.flatMap((family) =>
          wish[family].pins.map(({ source, to }) => ({ source, backend: keyOf(family, to) })),
        ),
      }),
      ...(wish.lists.deny && { deny: families.flatMap((family) => wish[family].deny) }),
      ...(wish.lists.allow && {
        // The stranger is denied by no list: so some of those who are allowed are always served.
        allow: families.flatMap((family) => [...wish[family].allow, PLACE[family].stranger]),
      }),
      ...(wish.log && { log: wish.log }),
      ...helperOf(wish),
    }),
  };
}

function isHash(algorithm: Algorithm | undefined): boolean {
  return algorithm === Algorithm.SourceHash || algorithm === Algorithm.FlowHash;
}

function sourceNatOf(wanted: string, families: readonly Family[]): string {
  if (wanted !== "address") return wanted;
  return families.length > 1 ? "masquerade" : PLACE[families[0]!].source;
}

function limitsOf({ limits }: Wish): Pick<FarmSpec, "limits"> {
  if (!limits || Object.values(limits).every((limit) => limit === undefined)) return {};
  const limit = ([newConnectionsPerSecond, burst]: [number, number | undefined]) => ({
    newConnectionsPerSecond,
    ...(burst !== undefined && { burst }),
  });
  return {
    limits: {
      ...(limits.maxConnections !== undefined && { maxConnections: limits.maxConnections }),
      ...(limits.rate && limit(limits.rate)),
      ...(limits.perSource && { perSource: limit(limits.perSource) }),
    },
  };
}

/** Those that a kernel translates for all of the farm's listeners. */
function helperOf({ helper, claims, families }: Wish): Pick<FarmSpec, "helper"> {
  const speak = (...protocols: string[]) => claims.every(({ protocol }) => protocols.includes(protocol));
  const v4 = !families.includes("ip6");
  const fitting: Helper[] = [
    ...(speak("tcp") ? ([Helper.Ftp, ...(v4 ? [Helper.Irc, Helper.Pptp, Helper.H323] : [])] as const) : []),
    ...(speak("udp") ? ([Helper.Tftp, ...(v4 ? [Helper.Amanda, Helper.Snmp] : [])] as const) : []),
    ...(speak("tcp", "udp") ? [Helper.Sip] : []),
  ];
  // Half of the farms that could have one.
  const chosen = fitting[(helper % (2 * fitting.length)) - fitting.length];
  return chosen === undefined ? {} : { helper: chosen };
}

type Claim = Omit<FarmSpec["listeners"][number], "address">;
