import { lower as lowerIptables } from "../iptables/lower";
import { lower as lowerNftables } from "../nftables/lower";
import { Fraction, type Ratio } from "../plan/fraction";
import { makePlan, type Plan } from "../plan/plan";
import { assertValid } from "../spec";
import type { FarmSpec, TargetSpec } from "../spec/types";
import { kernelChance } from "./chance";
import { checkPacket } from "./check-packet";
import { recall } from "./conntrack";
import { traceIptables } from "./iptables";
import { traceNftables } from "./nftables";
import { byDraw, byTurn, everyWay, type Oracle, type Way } from "./oracle";
import type { Arrival, Packet } from "./packet";
import type { End, Outcome, Step, Trace } from "./trace";

/** What happens to a packet. */
export interface Explanation {
  farm: string;
  target: TargetSpec;
  packet: Packet;
  /** In order. Where several outcomes are possible: those that all of them begin with. */
  steps: Step[];
  /** Undefined where several are possible. */
  outcome: Outcome | undefined;
  /** Every possible outcome. */
  possible: Possibility[];
}

export interface Possibility {
  outcome: Outcome;
  /** Exact. nftables: the share; iptables: what the kernel's thresholds, in steps of 2^-31, make of it. Turns: their part of a round. */
  probability: Ratio;
  /** The rules that matched behind the common steps, on one way that leads here. */
  steps: Step[];
}

/**
 * What happens to a packet on a gateway that has this farm and nothing else, rule by rule.
 *
 * An established connection is explained as if its first packet had met these very rules.
 *
 * @throws SpecError with every problem of the farm, or of the packet
 */
export function explain(name: string, spec: FarmSpec, packet: Packet, target: TargetSpec): Explanation {
  assertValid(name, spec, target);
  const plan = makePlan(name, spec, target);
  const held = recall(plan, checkPacket(packet, plan));
  const arrival = held.packet;
  const trace = tracerOf(plan, target);
  const walk = (oracle: Oracle): Trace => {
    const { steps, end } = trace(arrival, { ...held.end }, oracle);
    return { steps: [...held.steps, ...steps], end };
  };
  const outcomes = merge(
    waysOf(packet, walk).map(({ value: { steps, end }, chance }) => ({
      steps,
      outcome: outcomeOf(arrival, end),
      chance,
    })),
  );
  const [first, ...others] = outcomes;
  const common = others.reduce(
    (length, { steps }) => Math.min(length, commonLength(first!.steps, steps)),
    first!.steps.length,
  );
  return {
    farm: name,
    target,
    packet,
    steps: first!.steps.slice(0, common),
    outcome: others.length === 0 ? first!.outcome : undefined,
    possible: outcomes.map(({ outcome, chance, steps }) => ({
      outcome,
      probability: chance.toRatio(),
      steps: steps.slice(common).filter(({ matched }) => matched),
    })),
  };
}

function waysOf({ draw, turn }: Packet, walk: (oracle: Oracle) => Trace): Way<Trace>[] {
  if (draw !== undefined) return [{ value: walk(byDraw(draw)), chance: Fraction.ONE }];
  if (turn !== undefined) return [{ value: walk(byTurn(turn)), chance: Fraction.ONE }];
  return everyWay(walk);
}

function tracerOf(plan: Plan, target: TargetSpec): (packet: Arrival, end: End, oracle: Oracle) => Trace {
  switch (target.dataPlane) {
    case "nftables": {
      const set = lowerNftables(plan);
      return (packet, end, oracle) => traceNftables(set, packet, end, oracle);
    }
    case "iptables": {
      const set = lowerIptables(plan, target.layout ?? "nat");
      return (packet, end, oracle) => traceIptables(set, packet, end, oracle, kernelChance);
    }
    default:
      throw target.dataPlane satisfies never;
  }
}

function outcomeOf(packet: Arrival, { dropped, rejected, translation, source, mark }: End): Outcome {
  // Of a connection that is not let in nothing stays, its mark included.
  if (dropped) return { kind: "dropped", by: dropped, mark: packet.mark };
  if (rejected) return { kind: "rejected", with: rejected, mark: packet.mark };
  if (!translation) return { kind: "untouched", mark };
  return {
    kind: "translated",
    to: { address: translation.address, port: translation.port ?? packet.port },
    source: source ?? { kind: "kept", address: packet.source },
    mark,
  };
}

interface Weighed {
  steps: Step[];
  outcome: Outcome;
  chance: Fraction;
}

/** Ways that lead to the same, as one: the first of them, with the chance of all. */
function merge(ways: readonly Weighed[]): Weighed[] {
  const merged = new Map<string, Weighed>();
  for (const way of ways) {
    const key = JSON.stringify(way.outcome);
    const known = merged.get(key);
    if (known) known.chance = known.chance.plus(way.chance);
    else merged.set(key, { ...way });
  }
  return [...merged.values()];
}

function commonLength(a: readonly Step[], b: readonly Step[]): number {
  const end = a.findIndex((step, i) => {
    const other = b[i];
    return (
      step.chain !== other?.chain ||
      step.rule !== other.rule ||
      step.matched !== other.matched ||
      step.why !== other.why
    );
  });
  return end === -1 ? a.length : end;
}
