import fc from "fast-check";
import { expect, test } from "vitest";
import {
  Algorithm,
  compile,
  explain,
  type Limit,
  type Outcome,
  type Plan,
  type Packet as Question,
} from "../../src/core";
import { type Case, caseOnAll, simpleCase, TARGETS } from "../spec/farms";
import { gatewayOf, packetsBeside, packetsTo } from "../trace/gateways";
import {
  clientOf,
  flagBits,
  type Memory,
  type Outcomes,
  type Packet,
  TCP_FLAG,
  translatedTo,
} from "../trace/packet";
import { Rational } from "../trace/rational";
import { situated } from "../trace/situations";

/** `explain` walks typed rules, test/trace walks the text, and neither knows the other: they must come to the same. */

function questionOf(packet: Packet): Question {
  const { source, sourcePort, address, protocol, port, enters, connmark, flags, invalid } = packet;
  const { fin, syn, rst, ack } = TCP_FLAG;
  return {
    source,
    destination: address,
    protocol,
    ...(sourcePort !== undefined && { sourcePort }),
    ...(port !== undefined && { destinationPort: port }),
    ...(enters === undefined ? { from: "gateway" as const } : { interface: enters }),
    ...(connmark !== undefined && !invalid && { mark: connmark }),
    ...(flags && { syn: (flagBits(flags) & (fin | syn | rst | ack)) === syn }),
    ...(invalid && { state: "invalid" as const }),
  };
}

/** An outcome in the other tracer's words. */
function say(outcome: Outcome): string {
  if (outcome.kind === "rejected") return `rejected ${outcome.with}`;
  if (outcome.kind !== "translated") return outcome.kind;
  const { to, mark, source } = outcome;
  const seen = source.kind === "kept" ? "none" : source.kind === "masquerade" ? "masquerade" : source.address;
  return translatedTo(to.address, to.port, mark, seen);
}

function explained({ name, spec, target }: Case, packet: Packet, more: Partial<Question> = {}): Outcomes {
  const { possible } = explain(name, spec, { ...questionOf(packet), ...more }, target);
  return new Map(
    possible.map(({ outcome, probability: { numerator, denominator } }) => [
      say(outcome),
      Rational.of(BigInt(numerator), BigInt(denominator)),
    ]),
  );
}

function plain(outcomes: Outcomes): Record<string, string> {
  return Object.fromEntries([...outcomes].map(([outcome, part]) => [outcome, part.toString()]).sort());
}

const drawn = simpleCase.map((one): Case => ({ ...one, spec: { ...one.spec, algorithm: Algorithm.Random } }));
const dealt = simpleCase
  .map((one): Case => ({ ...one, spec: { ...one.spec, algorithm: Algorithm.RoundRobin } }))
  .filter(({ spec }) => spec.backends.every(({ weight = 1 }) => weight <= 4));

test("draws: every outcome with the very chance that the text gives it", () => {
  fc.assert(
    fc.property(drawn, (one) => {
      const gateway = gatewayOf(one);
      for (const packet of packetsTo(one).slice(0, 4))
        expect(plain(explained(one, packet))).toEqual(plain(gateway.open(packet)));
    }),
    { numRuns: 100 },
  );
});

test("turns: the same backend at every turn, and in all the share of each", () => {
  fc.assert(
    fc.property(dealt, (one) => {
      const [packet] = packetsTo(one);
      const gateway = gatewayOf(one);
      const pool = compile(one.name, one.spec, one.target).plan.pools.find(
        ({ family }) => (family === "ip6") === packet!.address.includes(":"),
      )!;
      for (let turn = 0; turn < 2 * pool.total + 1; turn++) {
        const question = { ...questionOf(packet!), turn };
        const { outcome, possible } = explain(one.name, one.spec, question, one.target);
        expect(possible).toHaveLength(1);
        expect([say(outcome!)]).toEqual([...gateway.open(packet!).keys()]);
      }
      const shares = new Map(
        pool.backends.map(({ mark, share }) => [mark, Rational.of(share, pool.total).toString()]),
      );
      for (const { outcome, probability } of explain(one.name, one.spec, questionOf(packet!), one.target)
        .possible)
        expect(`${probability.numerator}/${probability.denominator}`).toBe(shares.get(outcome.mark));
    }),
    { numRuns: 40 },
  );
});

test("what is none of the farm's business stays untouched, a connection's other bits are kept", () => {
  fc.assert(
    fc.property(simpleCase, fc.constantFrom(0x5a5a_5a5a, 0x0000_0001), (one, mark) => {
      const gateway = gatewayOf(one);
      for (const packet of packetsBeside(one))
        expect([...explained(one, packet).keys()]).toEqual([...gateway.open(packet).keys()]);
      const connmark = (mark & ~(one.target.markMask ?? 0xffff_ffff)) >>> 0;
      const packet = { ...packetsTo(one)[0]!, connmark };
      const outcomes = [...explained(one, packet).keys()].sort();
      if (one.spec.algorithm === Algorithm.Random)
        expect(outcomes).toEqual([...gateway.open(packet).keys()].sort());
      else expect(outcomes).toContain([...gateway.open(packet).keys()][0]);
    }),
    { numRuns: 100 },
  );
});

test("every data plane has the same outcomes: nftables with the shares, iptables within its rounding", () => {
  fc.assert(
    fc.property(drawn, ({ target: { layout: _, ...target }, ...one }) => {
      const packet = packetsTo({ ...one, target })[0]!;
      const shares = plain(explained({ ...one, target: { ...target, dataPlane: "nftables" } }, packet));
      const plan = compile(one.name, one.spec, { ...target, dataPlane: "nftables" }).plan;
      const pool = plan.pools.find(({ family }) => (family === "ip6") === packet.address.includes(":"))!;
      expect(Object.values(shares).sort()).toEqual(
        pool.backends.map(({ share }) => Rational.of(share, pool.total).toString()).sort(),
      );
      for (const layout of ["nat", "zevenet"] as const) {
        const kernel = explained({ ...one, target: { ...target, dataPlane: "iptables", layout } }, packet);
        expect([...kernel.keys()].sort()).toEqual(Object.keys(shares).sort());
        for (const [outcome, part] of kernel) {
          const [above, below] = shares[outcome]!.split("/").map(BigInt);
          expect(part.distance(Rational.of(above!, below!))).toBeLessThanOrEqual(
            one.spec.backends.length * 2 ** -32,
          );
        }
      }
    }),
    { numRuns: 60 },
  );
});

test("a draw leads to one outcome, and draws that are spread evenly meet each by its chance", () => {
  fc.assert(
    fc.property(drawn, (one) => {
      const packet = packetsTo(one)[0]!;
      const chances = explained(one, packet);
      const met = new Map<string, number>();
      const count = 64;
      for (let i = 0; i < count; i++) {
        const question = { ...questionOf(packet), draw: (i + 0.5) / count };
        const { outcome } = explain(one.name, one.spec, question, one.target);
        met.set(say(outcome!), (met.get(say(outcome!)) ?? 0) + 1);
      }
      for (const [outcome, chance] of chances)
        expect(chance.distance(Rational.of(met.get(outcome) ?? 0, count))).toBeLessThanOrEqual(1 / count);
    }),
    { numRuns: 30 },
  );
});

/** What the gateway finds exhausted, and whom it remembers, for both tracers. */
interface State {
  over: Limit[];
  remembered: number | undefined;
}

const anyState: fc.Arbitrary<State> = fc.record({
  over: fc.subarray<Limit>(["connections", "backendConnections", "rate", "sourceRate"], {
    maxLength: 2,
  }),
  remembered: fc.option(fc.nat(12), { nil: undefined }),
});

function memoryOf({ limits, pools, affinity }: Plan, packet: Packet, { over, remembered }: State): Memory {
  const { backends } = pools.find(({ family }) => (family === "ip6") === packet.address.includes(":"))!;
  const full = (limit: Limit, size: number | undefined) => (over.includes(limit) ? (size ?? 0) : 0);
  const backend = remembered === undefined ? undefined : backends[remembered];
  return {
    affinity: new Map(affinity && backend ? [[clientOf(packet, affinity.by), backend.mark]] : []),
    connections: full("connections", limits.connections),
    backendConnections: new Map(
      backends.map(({ mark, maxConnections }) => [mark, full("backendConnections", maxConnections)]),
    ),
    recent: {
      farm: full("rate", limits.rate?.burst),
      sources: new Map([[packet.source, full("sourceRate", limits.sourceRate?.burst)]]),
    },
  };
}

function stateOf(
  { limits, pools, affinity }: Plan,
  packet: Packet,
  { over, remembered }: State,
): Partial<Question> {
  const { backends } = pools.find(({ family }) => (family === "ip6") === packet.address.includes(":"))!;
  const has: Record<Limit, boolean> = {
    connections: limits.connections !== undefined,
    backendConnections: pools.some((pool) =>
      pool.backends.some(({ maxConnections }) => maxConnections !== undefined),
    ),
    rate: limits.rate !== undefined,
    sourceRate: limits.sourceRate !== undefined,
  };
  const backend = remembered === undefined ? undefined : backends[remembered];
  return {
    over: over.filter((limit) => has[limit]),
    ...(affinity && backend && { affinity: backend.key }),
  };
}

test.each(TARGETS)("any feature, any packet: %s", (_, target) => {
  fc.assert(
    fc.property(situated(caseOnAll([target])), anyState, ({ shared, situations }, state) => {
      const one: Case = { ...shared, target: shared.targets[0]! };
      const { plan } = compile(one.name, one.spec, one.target);
      for (const { packet } of situations) {
        // Turns are counted from the first packet on a new gateway.
        const turn = one.spec.algorithm === Algorithm.RoundRobin ? { turn: 0 } : {};
        const got = explained(one, packet, { ...stateOf(plan, packet, state), ...turn });
        expect(plain(got)).toEqual(plain(gatewayOf(one).open(packet, memoryOf(plan, packet, state), "own")));
      }
    }),
    { numRuns: 120 },
  );
});
