import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Algorithm, compile } from "../../src/core";
import { anyCase, type Case, PLACE, simpleCase, TARGETS } from "../spec/farms";
import { gatewayOf, packetsBeside, packetsTo } from "./gateways";
import type { IptablesGateway } from "./iptables";
import { type Outcomes, type Packet, translatedTo } from "./packet";
import { Rational } from "./rational";

/**
 * What a rule set means, for any farm and every kind of gateway: read from its text alone and walked by packets, with
 * chances as exact fractions.
 */

const drawn = simpleCase.map((one): Case => ({ ...one, spec: { ...one.spec, algorithm: Algorithm.Random } }));
const dealt = simpleCase.map(
  (one): Case => ({ ...one, spec: { ...one.spec, algorithm: Algorithm.RoundRobin } }),
);
const light = dealt.filter(({ spec }) => spec.backends.every(({ weight = 1 }) => weight <= 4));

/** What the farm promises to a packet: a backend each, with its share. */
function promised({ name, spec, target }: Case, packet: Packet): Outcomes {
  const pool = compile(name, spec, target).plan.pools.find(
    ({ family }) => (family === "ip6") === packet.address.includes(":"),
  );
  const { sourceNat = "none" } = spec;
  return new Map(
    pool!.backends.map(({ address, port, mark, share }) => [
      translatedTo(address, port ?? packet.port, mark, sourceNat === "vip" ? packet.address : sourceNat),
      Rational.of(share, pool!.total),
    ]),
  );
}

test("random: every packet to a service gets one backend, each with its share", () => {
  fc.assert(
    fc.property(drawn, (one) => {
      const gateway = gatewayOf(one);
      // nft's slots are exact. A rule of iptables rounds to 2^-31, and errs by half of that.
      const bound = one.target.dataPlane === "nftables" ? 0 : one.spec.backends.length * 2 ** -32;
      for (const packet of packetsTo(one)) {
        const wanted = promised(one, packet);
        const outcomes = gateway.open(packet);
        expect(new Set(outcomes.keys())).toEqual(new Set(wanted.keys()));
        const errors = [...outcomes].map(([outcome, part]) => part.distance(wanted.get(outcome)!));
        expect(Math.max(...errors)).toBeLessThanOrEqual(bound);
        expect([...outcomes.values()].reduce((sum, part) => sum.plus(part)).toString()).toBe("1/1");
      }
    }),
    { numRuns: 60 },
  );
});

test("round robin: any window of a round's length has each backend exactly as often as its weight", () => {
  fc.assert(
    fc.property(light, fc.nat(100), (one, start) => {
      const [packet] = packetsTo(one);
      const wanted = promised(one, packet!);
      const gateway = gatewayOf(one);
      const open = () => {
        const [outcome, ...others] = gateway.open(packet!).keys();
        expect(others).toEqual([]);
        return outcome!;
      };
      for (let i = 0; i < start; i++) open();
      const { total } = compile(one.name, one.spec, one.target).plan.pools.find(
        ({ family }) => (family === "ip6") === packet!.address.includes(":"),
      )!;
      const counts = new Map<string, number>();
      for (let i = 0; i < total; i++) {
        const outcome = open();
        counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
      }
      expect([...counts.keys()].sort()).toEqual([...wanted.keys()].sort());
      for (const [outcome, count] of counts)
        expect(Rational.of(count, total).toString()).toBe(wanted.get(outcome)!.toString());
    }),
    { numRuns: 60 },
  );
});

test("what is dialled at a service never leaves untranslated; what is not is left alone", () => {
  fc.assert(
    fc.property(anyCase, (one) => {
      const gateway = gatewayOf(one);
      for (const packet of packetsTo(one)) expect(gateway.guards(packet)).toBe(true);
      for (const packet of packetsBeside(one)) {
        expect(gateway.guards(packet)).toBe(false);
        expect([...gateway.open(packet).keys()]).toEqual(["untouched"]);
      }
    }),
    { numRuns: 80 },
  );
});

test("the bits of a connection's mark that are not the farm's own are kept", () => {
  fc.assert(
    fc.property(
      drawn.filter(({ target }) => target.markMask !== undefined),
      (one) => {
        const { markMask } = one.target;
        const others = (0x5a5a_5a5a & ~markMask!) >>> 0;
        const gateway = gatewayOf(one);
        for (const packet of packetsTo(one)) {
          const kept = [...gateway.open(packet).keys()].map((outcome) => outcome.replace(/mark \S+/, ""));
          const marked = [...gateway.open({ ...packet, connmark: others }).keys()];
          expect(marked.map((outcome) => outcome.replace(/mark \S+/, "")).sort()).toEqual(kept.sort());
          for (const outcome of marked) {
            const mark = Number(/mark (\S+)/.exec(outcome)![1]);
            expect((mark & ~markMask!) >>> 0).toBe(others);
            expect((mark & markMask!) >>> 0).not.toBe(0);
          }
        }
      },
    ),
    { numRuns: 60 },
  );
});

test("iptables: further packets of a connection go where the first one did, with their mark and no other", () => {
  fc.assert(
    fc.property(
      anyCase.filter(({ target }) => target.dataPlane === "iptables"),
      fc.constantFrom("NEW", "ESTABLISHED"),
      (one, ctstate) => {
        const gateway = gatewayOf(one) as IptablesGateway;
        for (const packet of packetsTo(one).filter(({ enters }) => enters !== undefined))
          for (const outcome of gateway.open(packet).keys()) {
            const mark = /^to .* mark (\S+)/.exec(outcome)?.[1];
            if (mark === undefined) continue;
            const connmark = Number(mark);
            const to = {
              address: PLACE[packet.address.includes(":") ? "ip6" : "ip"].backend(1),
              port: packet.port,
            };
            const { goesOn, ...marks } = gateway.further(
              { ...packet, connmark, flags: ["ack"] },
              to,
              ctstate,
            );
            expect(goesOn).toBe(true);
            expect(marks.connmark).toBe(connmark);
            // Zevenet's layout has the farm's bits of it on every packet.
            const { layout, markMask = 0xffff_ffff } = one.target;
            expect(marks.mark).toBe(layout === "zevenet" ? (connmark & markMask) >>> 0 : 0);
          }
      },
    ),
    { numRuns: 80 },
  );
});

describe("the text", () => {
  test("is the same twice, and whatever order listeners, pins and networks have", () => {
    fc.assert(
      fc.property(anyCase, ({ name, spec, target }) => {
        const { ruleSet } = compile(name, spec, target);
        expect(compile(name, structuredClone(spec), target).ruleSet).toBe(ruleSet);
        const turned = Object.entries(spec)
          .filter(([field, value]) => Array.isArray(value) && field !== "backends")
          .map(([field, list]) => [field, [...list].reverse()]);
        expect(compile(name, { ...spec, ...Object.fromEntries(turned) }, target).ruleSet).toBe(ruleSet);
      }),
    );
  });

  test("has no line of more than 150 characters, no blank at an end, and one line break last", () => {
    fc.assert(
      fc.property(anyCase, ({ name, spec, target }) => {
        const lines = compile(name, spec, target).ruleSet.split("\n");
        expect(lines.pop()).toBe("");
        for (const line of lines) {
          // Only two IPv6 addresses in one line may take it further, or the options of a rate that iptables prints. What a
          // preview cuts off then is the target, and of a rate its expiry, which follows from the rest.
          if (line.length > 150)
            expect(line.slice(0, 150)).toMatch(
              /^-A NFLB-(POSTROUTING -s \S+:\S+ .*--ctorigdst \S+:\S+ .*-[gj]|\S+ -m hashlimit .*--hashlimit-name \S+) /,
            );
          expect(line).toMatch(/\S$/);
        }
      }),
    );
  });

  test.each(TARGETS)("of ten thousand backends is the same twice: %s", (_, target) => {
    const backends = Array.from({ length: 10_000 }, (_, i) => ({
      address: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`,
      weight: (i % 7) + 1,
    }));
    const spec = { listeners: [{ address: "203.0.113.10", protocol: "tcp" as const, port: 80 }], backends };
    const [first, second] = [spec, structuredClone(spec)].map((farm) => compile("web", farm, target).ruleSet);
    expect(first === second).toBe(true); // a difference of megabytes is not to be printed
  });
});
