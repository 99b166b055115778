/** B1: what the first packet of a flow costs, by the number of backends. */

import { Bed } from "./bed";
import { newFlow } from "./flows";
import type { Measurement } from "./harness/measurement";
import type { Figure, Target } from "./harness/result";
import { type Contender, inRounds } from "./harness/rounds";
import {
  BARE,
  FORWARD,
  IPTABLES,
  IPTABLES_LOCKED,
  KUBE_PROXY,
  LEGACY,
  NAIVE,
  NFTABLES,
  NFTABLES_LOCKED,
  PLAIN,
  type Subject,
  ZEVENET,
  ZEVENET_LAYOUT,
} from "./rules/subjects";

/** The part of the result without the cost of forwarding. */
const BEYOND = "beyond forwarding";
const BACKENDS = [1, 2, 4, 16, 64, 256, 1024];
const SUBJECTS = [
  ...[FORWARD, PLAIN, NFTABLES, NFTABLES_LOCKED, IPTABLES, IPTABLES_LOCKED, LEGACY],
  ...[ZEVENET_LAYOUT, NAIVE, ZEVENET, KUBE_PROXY],
];

export const newFlowByBackends: Measurement = {
  id: "B1",
  title: "Cost of a new flow, by the number of backends",
  unit: "ns a packet",
  axis: "backends",
  rounds: 9,
  async run(context) {
    const bed = await Bed.open();
    try {
      const figures: Figure[] = [];
      for (const backends of context.quick ? [1, 16, 1024] : BACKENDS) {
        const against = contender(bed, BARE, backends, context.quick);
        const others = bed
          .able(SUBJECTS)
          .map((subject) => contender(bed, subject, backends, context.quick, against));
        figures.push(...(await inRounds([against, ...others], context)));
      }
      figures.push(...beyondForwarding(figures));
      return { figures };
    } finally {
      await bed.close();
    }
  },
};

/**
 * The stricter ratio: without what sending, forwarding and receiving cost, which no rule can change. What is left is connection
 * tracking, translation and rules.
 */
function beyondForwarding(figures: readonly Figure[]): Figure[] {
  return figures.flatMap((figure): Figure[] => {
    const { subject, role, at, values } = figure;
    const of = (name: string) =>
      figures.find((other) => other.at === at && other.subject === name)?.values ?? [];
    const [forward, bare] = [of(FORWARD.name), of(BARE.name)];
    if (subject === FORWARD.name) return [];
    const beyond = values.map((value, k) => Number((value - forward[k]!).toPrecision(5)));
    const ratios = beyond.map((value, k) => Number((value / (bare[k]! - forward[k]!)).toPrecision(5)));
    return [{ subject, role, part: BEYOND, at, values: beyond, ...(subject !== BARE.name && { ratios }) }];
  });
}

function contender(
  bed: Bed,
  subject: Subject,
  backends: number,
  quick: boolean,
  against?: Contender,
): Contender {
  const target = targetOf(subject, backends);
  return {
    subject: subject.name,
    role: subject.role,
    at: backends,
    ...(target && { target }),
    ...(against && { against }),
    sample: () => newFlow(bed, subject, { protocol: "udp", farms: 1, backends }, { quick, dial: "all" }),
  };
}

function targetOf({ name }: Subject, backends: number): Target | undefined {
  if (name === NFTABLES.name) return { of: "ratio", atMost: 1.05 };
  if (name !== IPTABLES.name && name !== LEGACY.name) return undefined;
  if (backends <= 16) return { of: "ratio", atMost: 1.1 };
  return backends === 1024 ? { of: "ratio", atMost: 1.25 } : undefined;
}
