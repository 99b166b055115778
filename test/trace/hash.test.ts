import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Algorithm, type FarmSpec, type TargetSpec } from "../../src/core";
import { makePlan } from "../../src/plan/plan";
import { caseOnAll, equal, NAT, NFTABLES, PLACE } from "../spec/farms";
import { gatewayOf } from "./gateways";
import { hmarkSlot, nftSlot } from "./kernel-hash";
import { bytesOf } from "./network";
import { type Packet, PROTOCOL_NUMBER } from "./packet";
import { situated } from "./situations";

/** Where a hash takes a packet: the slot is the kernel's, the backend is the plan's. */

/** The farm's seed: "nflb" in ASCII. */
const SEED = Buffer.from("nflb").readUInt32BE(0);

/** The first bits of an address, and zeros. */
function kept(address: string, bits: number): Buffer {
  return Buffer.from(
    bytesOf(address).map((byte, i) => byte & (0xff00 >> Math.min(Math.max(bits - 8 * i, 0), 8))),
  );
}

/** An IPv6 address as HMARK has it: its words' exclusive or. */
function word(address: Buffer): number {
  let result = 0;
  for (let i = 0; i < address.length; i += 4) result ^= address.readInt32BE(i);
  return result >>> 0;
}

/** The slot that the farm promises to a packet, by the kernel's own functions. */
function slotOf(spec: FarmSpec, target: TargetSpec, packet: Packet): number {
  const v6 = packet.address.includes(":");
  const flow = spec.algorithm === Algorithm.FlowHash;
  const bits = (v6 ? spec.prefixLength6 : spec.prefixLength) ?? (v6 ? 128 : 32);
  const modulus = spec.slots ?? 4096;
  const [source, address] = [kept(packet.source, bits), bytesOf(packet.address)];
  const all = spec.listeners.some(({ protocol }) => protocol === "all");
  const [sourcePort, port] = all ? [] : [packet.sourcePort!, packet.port!];
  if (target.dataPlane === "iptables")
    return hmarkSlot(
      {
        source: word(source),
        destination: flow ? word(address) : 0,
        sourcePort: flow ? (sourcePort ?? 0) : 0,
        destinationPort: flow ? (port ?? 0) : 0,
        protocol: 0,
      },
      modulus,
      SEED,
    );
  const protocol = packet.protocol === "icmp" && v6 ? 58 : PROTOCOL_NUMBER[packet.protocol];
  const ports = [sourcePort, port].flatMap((one) =>
    one === undefined ? [] : [Buffer.from([one >> 8, one & 255])],
  );
  return nftSlot(flow ? [source, address, Buffer.from([protocol]), ...ports] : [source], modulus, SEED);
}

test.each([
  ["nftables", NFTABLES],
  ["iptables", NAT],
])("a packet goes to the backend that has its slot: %s", (_, kind) => {
  const hashed = situated(caseOnAll([kind])).filter(({ shared: { spec } }) => isHash(spec));
  fc.assert(
    fc.property(hashed, fc.nat(255), ({ shared, situations }, host) => {
      const { name, targets } = shared;
      const target = targets[0]!;
      // What comes before the choice has its own tests.
      const { pins: _, affinity: __, limits: ___, allow: ____, deny: _____, ...spec } = shared.spec;
      spec.backends = spec.backends.map(({ maxConnections: _, ...backend }) => backend);
      const gateway = gatewayOf({ name, spec, target });
      for (const situation of situations) {
        const { flags: _, invalid: __, ...packet } = situation.packet;
        const family = packet.address.includes(":") ? "ip6" : "ip";
        if (packet.enters !== undefined) packet.source = PLACE[family].client(host);
        const pool = makePlan(name, spec, target).pools.find((one) => one.family === family)!;
        if (!pool.slots) continue;
        const { mark } = pool.chosen[pool.slots[slotOf(spec, target, packet)]!]!;
        const [outcome, ...more] = gateway.open(packet, {}, "own").keys();
        expect(more).toEqual([]);
        expect(Number(/ mark (\S+)/.exec(outcome!)![1])).toBe(((packet.connmark ?? 0) | mark) >>> 0);
      }
    }),
    { numRuns: 60 * Number(process.env.RUNS ?? 1) },
  );
});

function isHash({ algorithm }: FarmSpec): boolean {
  return algorithm === Algorithm.SourceHash || algorithm === Algorithm.FlowHash;
}

describe.each([
  ["nftables", NFTABLES],
  ["iptables", NAT],
])("what counts: %s", (_, target) => {
  const first: Packet = {
    source: "198.51.100.7",
    sourcePort: 40_000,
    address: "203.0.113.10",
    protocol: "tcp",
    port: 80,
    enters: "eth9",
  };
  /** How many of 64 packets, each other in one respect, go where the first one does. */
  const alike = (fields: Partial<FarmSpec>, other: (i: number) => Partial<Packet>) => {
    const listeners = [
      { address: "203.0.113.10", protocol: "tcp" as const },
      { address: "203.0.113.11", protocol: "udp" as const },
    ];
    const gateway = gatewayOf({ name: "web", spec: equal(16, { listeners, ...fields }), target });
    const placeOf = (packet: Packet) => / mark \S+/.exec([...gateway.open(packet, {}, "own").keys()][0]!)![0];
    const place = placeOf(first);
    return Array.from({ length: 64 }, (_, i) => placeOf({ ...first, ...other(i) })).filter(
      (one) => one === place,
    ).length;
  };
  const source = (i: number) => ({ source: `198.51.100.${i}` });
  const network = (i: number) => ({ source: `198.51.${i}.7` });
  const sourcePort = (i: number) => ({ sourcePort: 1000 + i });
  const port = (i: number) => ({ port: 1000 + i });
  const service = () => ({ address: "203.0.113.11", protocol: "udp" as const });

  test.each<[string, Partial<FarmSpec>, (i: number) => Partial<Packet>, boolean]>([
    ["of sourceHash the address", { algorithm: "sourceHash" }, source, true],
    ["not the port", { algorithm: "sourceHash" }, sourcePort, false],
    ["nor the service", { algorithm: "sourceHash" }, service, false],
    ["of a prefix not the rest of the address", { algorithm: "sourceHash", prefixLength: 24 }, source, false],
    ["but the network", { algorithm: "sourceHash", prefixLength: 24 }, network, true],
    ["of flowHash the address", { algorithm: "flowHash" }, source, true],
    ["the source port", { algorithm: "flowHash" }, sourcePort, true],
    ["the destination port", { algorithm: "flowHash" }, port, true],
  ])("%s", (_, fields, other, counts) => {
    // 64 of 16 backends: four where it counts, and one or ten would be a sign of something else.
    if (counts) expect(alike(fields, other)).toBeLessThan(16);
    else expect(alike(fields, other)).toBe(64);
  });
});

test.each([
  [1951, [bytesOf("198.51.100.7")], 4096],
  [
    572,
    ["198.51.100.7", "203.0.113.10"]
      .map(bytesOf)
      .concat(Buffer.from([6]), Buffer.from([0x9c, 0x40]), Buffer.from([0, 80])),
    4096,
  ],
  [3377, [bytesOf("2001:db8:1::7")], 4096],
])("the kernel's jhash: slot %i", (slot, parts, modulus) => {
  // What a kernel 6.18 chose.
  expect(nftSlot(parts, modulus, SEED)).toBe(slot);
});

test("the kernel's HMARK", () => {
  const [source, destination] = ["203.0.113.200", "10.0.0.10"].map((one) => bytesOf(one).readUInt32BE(0));
  const tuple = {
    source: source!,
    destination: destination!,
    sourcePort: 80,
    destinationPort: 40_000,
    protocol: 6,
  };
  expect(hmarkSlot(tuple, 4096, SEED)).toBe(3800);
  expect(
    hmarkSlot(
      { ...tuple, source: destination!, destination: source!, sourcePort: 40_000, destinationPort: 80 },
      4096,
      SEED,
    ),
  ).toBe(3800);
});
