import fc from "fast-check";
import type { FarmSpec } from "../../src/core";
import { makePlan } from "../../src/plan/plan";
import { PLACE, type SharedCase } from "../spec/farms";
import { clientOf, type Memory, type Packet, type TcpFlag } from "./packet";

/** A packet that comes to a farm, and what the gateway remembers when it comes. */
export interface Situation {
  packet: Packet;
  memory: Memory;
}

/** A limit's state: nothing, or so much that this one is the last to pass, the first not to, or far beyond. */
const fill = fc.oneof(
  { weight: 6, arbitrary: fc.constant("none") },
  { weight: 2, arbitrary: fc.constant("last") },
  { weight: 1, arbitrary: fc.constantFrom("first", "beyond") },
);
type Fill = "none" | "last" | "first" | "beyond";

/** What a situation is made of, before it is known for which farm. */
const anyRaw = fc.record({
  listener: fc.nat(9),
  lastPort: fc.boolean(),
  protocol: fc.nat(3),
  fromGateway: fc.constantFrom(false, false, false, true),
  from: fc.constantFrom("client", "client", "client", "backend", "stranger"),
  host: fc.oneof(fc.constantFrom(0, 1, 2, 3, 4, 7, 8, 64, 127, 128, 255), fc.nat(255)),
  sourcePort: fc.constantFrom(1, 40_000, 65_535),
  flags: fc.oneof(
    { weight: 3, arbitrary: fc.constant(undefined) },
    {
      weight: 1,
      arbitrary: fc.constantFrom<readonly TcpFlag[]>(
        ["syn", "ece", "cwr"],
        ["ack"],
        ["syn", "ack"],
        ["fin", "ack"],
        ["rst"],
        ["syn", "fin"],
        [],
      ),
    },
  ),
  invalid: fc.nat(15).map((one) => one === 15),
  /** The backend that affinity remembers, by its place; the last is one that is long gone. */
  remembered: fc.option(fc.nat(12), { freq: 2, nil: undefined }),
  /** Another client has another backend. */
  neighbour: fc.boolean(),
  connections: fill,
  ofBackends: fc.array(fill, { minLength: 12, maxLength: 12 }),
  farmRate: fill,
  sourceRate: fill,
  logRate: fill,
  otherBits: fc.boolean(),
});

export type RawSituation = typeof anyRaw extends fc.Arbitrary<infer T> ? T : never;

/** Any farm of a kind, and a few situations of it. */
export function situated(
  cases: fc.Arbitrary<SharedCase>,
): fc.Arbitrary<{ shared: SharedCase; situations: Situation[] }> {
  return fc
    .tuple(cases, fc.array(anyRaw, { minLength: 1, maxLength: 6 }))
    .map(([shared, raws]) => ({ shared, situations: raws.map((raw) => situationOf(shared, raw)) }));
}

function situationOf({ name, spec, targets }: SharedCase, raw: RawSituation): Situation {
  const listener = spec.listeners[raw.listener % spec.listeners.length]!;
  const family = listener.address.includes(":") ? "ip6" : "ip";
  const place = PLACE[family];
  const [target] = targets;
  const { pools } = makePlan(name, spec, target);
  const { backends } = pools.find((pool) => pool.family === family)!;

  const every = listener.protocol === "all";
  const protocol = every ? (["tcp", "udp", "sctp", "icmp"] as const)[raw.protocol % 4]! : listener.protocol;
  const ports = (listener.port?.toString() ?? listener.ports ?? "7-65535").split(/[,-]/).map(Number);
  const [sourcePort, port] =
    protocol === "icmp" ? [undefined, undefined] : [raw.sourcePort, raw.lastPort ? ports.at(-1) : ports[0]];
  const own = raw.fromGateway && target!.interface === undefined;
  const source = {
    client: place.client(raw.host),
    backend: place.backend(raw.host),
    stranger: place.stranger,
  }[raw.from as "client" | "backend" | "stranger"];
  const mask = target!.markMask;
  const packet: Packet = {
    source: own ? place.source : source,
    sourcePort,
    address: listener.address,
    protocol: protocol as Packet["protocol"],
    port,
    enters: own ? undefined : (target!.interface ?? "eth9"),
    ...(mask !== undefined && raw.otherBits && { connmark: (0x5a5a_5a5a & ~mask) >>> 0 }),
    ...(protocol === "tcp" && raw.flags && { flags: raw.flags }),
    ...(raw.invalid && { invalid: true }),
  };

  const known =
    raw.remembered === undefined
      ? undefined
      : (backends[raw.remembered % (backends.length + 1)]?.mark ?? 0xdead);
  const { limits, affinity, log } = spec;
  const by = affinity?.by ?? "sourceIp";
  return {
    packet,
    memory: {
      affinity: new Map([
        ...(known === undefined ? [] : [[clientOf(packet, by), known] as const]),
        ...(raw.neighbour
          ? [["192.0.2.123 7", backends[0]!.mark] as const, ["192.0.2.123", 0xdead] as const]
          : []),
      ]),
      connections: counted(limits?.maxConnections, raw.connections),
      backendConnections: new Map(
        backends.map(({ mark, maxConnections }, i) => [mark, counted(maxConnections, raw.ofBackends[i]!)]),
      ),
      recent: {
        farm: counted(limits?.burst ?? limits?.newConnectionsPerSecond, raw.farmRate),
        log: counted(log && (log.burst ?? 5), raw.logRate),
        sources: new Map([
          [packet.source, counted(sourceBurst(limits), raw.sourceRate)],
          ["192.0.2.123", 20_000],
        ]),
      },
    },
  };
}

function sourceBurst(limits: FarmSpec["limits"]): number | undefined {
  return limits?.perSource?.burst ?? limits?.perSource?.newConnectionsPerSecond;
}

function counted(limit: number | undefined, state: string): number {
  if (limit === undefined) return 1_000_000;
  return { none: 0, last: limit - 1, first: limit, beyond: limit + 7 }[state as Fill];
}
