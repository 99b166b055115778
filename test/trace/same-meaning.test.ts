import fc from "fast-check";
import { expect, test } from "vitest";
import { compile } from "../../src/core";
import { caseOnAll, NAT, NFTABLES, PLACE, type SharedCase, ZEVENET } from "../spec/farms";
import { FOUND } from "./cases";
import { gatewayWith } from "./gateways";
import { isWithin } from "./network";
import { type Outcomes, type Packet, regrouped } from "./packet";
import { promisedTo } from "./promise";
import { Rational } from "./rational";
import { type Situation, situated } from "./situations";

/**
 * Every data plane means the same, which is what the user wrote: for any farm with any features, any packet, and anything that
 * a gateway may remember, the texts lead to the same outcomes with the same chances, as exact fractions, and leave the
 * same behind.
 */

/** `RUNS=20 npx vitest run test/trace` tries twenty times as many. */
const RUNS = Number(process.env.RUNS ?? 1);

/** The chances of all outcomes: of turns over a round, of a hash over all its values. */
function chancesOn(one: SharedCase, i: number, situations: readonly Situation[]): Outcomes[] {
  const target = one.targets[i]!;
  const { plan, ruleSet } = compile(one.name, one.spec, target);
  const gateway = gatewayWith(ruleSet, target);
  return situations.map(({ packet, memory }) => {
    if (one.spec.algorithm !== "roundRobin") return gateway.trace(packet, memory, "any");
    const pool = plan.pools.find(({ family }) => (family === "ip6") === packet.address.includes(":"))!;
    const round = Math.max(pool.total, 1);
    const sum: Outcomes = new Map();
    for (let turn = 0; turn < round; turn++)
      for (const [outcome, part] of gateway.trace(packet, memory, "any"))
        sum.set(outcome, (sum.get(outcome) ?? Rational.ZERO).plus(part.times(Rational.of(1, round))));
    return sum;
  });
}

function plain(outcomes: Outcomes): Record<string, string> {
  return Object.fromEntries([...outcomes].map(([outcome, part]) => [outcome, part.toString()]).sort());
}

function expectSame(one: SharedCase, situations: readonly Situation[]): void {
  const { name, spec, targets } = one;
  const { plan } = compile(name, spec, targets[0]!);
  const wanted = situations.map(({ packet, memory }) => promisedTo(spec, plan, packet, memory));
  const draws = (spec.algorithm ?? "random") === "random";
  for (const [i, { dataPlane }] of targets.entries())
    for (const [at, chances] of chancesOn(one, i, situations).entries()) {
      const [got, promised] = [chances, wanted[at]!].map((all) => comparable(one, situations[at]!, all));
      if (draws && dataPlane === "iptables") expectClose(got!, promised!, spec.backends.length * 2 ** -32);
      else expect(plain(got!)).toEqual(plain(promised!));
    }
}

/** A rule of iptables that draws rounds to 2^-31, and errs by half of that. */
function expectClose(got: Outcomes, wanted: Outcomes, bound: number): void {
  expect([...got.keys()].sort()).toEqual([...wanted.keys()].sort());
  for (const [outcome, part] of got) expect(part.distance(wanted.get(outcome)!)).toBeLessThanOrEqual(bound);
  expect([...got.values()].reduce((sum, part) => sum.plus(part)).toString()).toBe("1/1");
}

/**
 * A pinned client is given its backend whatever is remembered, and what is remembered of it meanwhile is not the same: where it was with
 * another backend before, nftables keeps that one and iptables both (each backend has a set of its own); where its backend
 * stands by, nftables remembers it and iptables does not. It shows once the pin is taken away, for no longer than a time-out.
 */
function comparable({ spec }: SharedCase, { packet: { source } }: Situation, outcomes: Outcomes): Outcomes {
  const isPinned = spec.pins?.some(
    (pin) => pin.source.includes(":") === source.includes(":") && isWithin(source, pin.source),
  );
  return isPinned ? regrouped(outcomes, (outcome) => outcome.replace(/ remembers .*/, "")) : outcomes;
}

test.each([
  ["nftables and iptables, with all features", [NFTABLES, NAT]],
  ["these and zevenet, with what that has", [NFTABLES, NAT, ZEVENET]],
  ["nftables alone", [NFTABLES]],
  ["iptables alone", [NAT]],
])("%s", (_, targets) => {
  fc.assert(
    fc.property(situated(caseOnAll(targets)), ({ shared, situations }) => expectSame(shared, situations)),
    { numRuns: 250 * RUNS },
  );
});

test.each(Object.entries(FOUND))("%s", (_, { spec, packet, memory = {} }) => {
  const first: Packet = {
    source: PLACE.ip.stranger,
    sourcePort: 40_000,
    address: spec.listeners[0]!.address,
    protocol: "tcp",
    port: 80,
    enters: "eth9",
  };
  expectSame({ name: "web", spec, targets: [NFTABLES, NAT] }, [{ packet: { ...first, ...packet }, memory }]);
});
