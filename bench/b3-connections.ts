/** B3: TCP connections a second through a farm of 1,000 backends, every CPU busy. */

import { Bed } from "./bed";
import type { Measurement } from "./harness/measurement";
import type { Target } from "./harness/result";
import { type Contender, inRounds } from "./harness/rounds";
import { median } from "./harness/statistics";
import {
  BARE,
  IPTABLES,
  KUBE_PROXY,
  LEGACY,
  NAIVE,
  NFTABLES,
  PLAIN,
  type Subject,
  ZEVENET,
  ZEVENET_LAYOUT,
} from "./rules/subjects";

const BACKENDS = 1000;
const SUBJECTS = [PLAIN, NFTABLES, IPTABLES, LEGACY, ZEVENET_LAYOUT, NAIVE, ZEVENET, KUBE_PROXY];

export const connectionRate: Measurement = {
  id: "B3",
  title: "TCP connections a second, 1,000 backends",
  unit: "connections a second",
  axis: "backends",
  rounds: 9,
  async run(context) {
    const bed = await Bed.open();
    try {
      await bed.serve();
      const backends = context.quick ? 10 : BACKENDS;
      const amount = context.quick
        ? { connections: 1000, seconds: 0.2 }
        : { connections: 15_000, seconds: 1 };
      const lost = new Map<string, number[]>();
      const contender = (subject: Subject, against?: Contender): Contender => {
        const target = targetOf(subject);
        return {
          subject: subject.name,
          role: subject.role,
          at: backends,
          ...(target && { target }),
          ...(against && { against }),
          async sample() {
            const road = await bed.with(subject, { protocol: "tcp", farms: 1, backends });
            const { cpu, wall, connections, failed } = await road.connections(amount);
            const shares = lost.get(subject.name) ?? [];
            lost.set(subject.name, [...shares, failed / (connections + failed)]);
            return bed.measuredBy === "cpu" ? { value: cpu, clock: wall } : { value: wall };
          },
        };
      };
      const bare = contender(BARE);
      const others = bed.able(SUBJECTS).map((subject) => contender(subject, bare));
      const figures = await inRounds([bare, ...others], context);
      const failing = [...lost].filter(([, shares]) => median(shares) > 0);
      const said = failing.map(([name, shares]) => `${name} ${(100 * median(shares)).toFixed(1)} %`);
      return {
        figures,
        notes: [`Connections that failed, and do not count: ${said.join(", ") || "none"}.`],
      };
    } finally {
      await bed.close();
    }
  },
};

function targetOf({ name }: Subject): Target | undefined {
  if (name === NFTABLES.name) return { of: "ratio", atLeast: 0.97 };
  return name === IPTABLES.name || name === LEGACY.name ? { of: "ratio", atLeast: 0.92 } : undefined;
}
