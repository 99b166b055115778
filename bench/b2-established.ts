/** B2: what a packet of an established flow costs, both ways, with one farm and with many. */

import { Bed } from "./bed";
import { establishedFlow } from "./flows";
import type { Measurement } from "./harness/measurement";
import type { Figure } from "./harness/result";
import { type Contender, inRounds } from "./harness/rounds";
import type { Protocol } from "./road";
import {
  IPTABLES,
  IPTABLES_LOCKED,
  KUBE_PROXY,
  LEGACY,
  NFTABLES,
  NFTABLES_LOCKED,
  PLAIN,
  type Subject,
  ZEVENET,
  ZEVENET_LAYOUT,
} from "./rules/subjects";

const FARMS = [1, 100, 1000];
const BACKENDS = 10;
const SUBJECTS = [
  ...[NFTABLES, NFTABLES_LOCKED, IPTABLES, IPTABLES_LOCKED, LEGACY],
  ...[ZEVENET_LAYOUT, ZEVENET, KUBE_PROXY],
];

interface Part {
  readonly name: string;
  readonly protocol: Protocol;
  readonly replies: boolean;
}

const PARTS: readonly Part[] = [
  { name: "udp", protocol: "udp", replies: false },
  { name: "tcp", protocol: "tcp", replies: false },
  { name: "tcp replies", protocol: "tcp", replies: true },
];

export const establishedPacket: Measurement = {
  id: "B2",
  title: "Cost of an established packet, by the number of farms",
  unit: "ns a packet",
  axis: "farms",
  rounds: 7,
  async run(context) {
    const { quick } = context;
    const bed = await Bed.open();
    try {
      const figures: Figure[] = [];
      for (const farms of quick ? [1, 100] : FARMS) {
        for (const { name, protocol, replies } of PARTS) {
          const contender = (subject: Subject, against?: Contender): Contender => ({
            subject: subject.name,
            role: subject === PLAIN ? "baseline" : subject.role,
            part: name,
            at: farms,
            ...(against && { against }),
            // In iptables every farm has rules that every packet passes; from which number on that matters is B4's.
            ...((subject === NFTABLES || (farms === 1 && (subject === IPTABLES || subject === LEGACY))) && {
              target: { of: "ratio", atMost: 1.05 },
            }),
            sample: () =>
              establishedFlow(bed, subject, { protocol, farms, backends: BACKENDS }, { quick, replies }),
          });
          const plain = contender(PLAIN);
          const others = bed.able(SUBJECTS).map((subject) => contender(subject, plain));
          figures.push(...(await inRounds([plain, ...others], context)));
        }
      }
      return { figures };
    } finally {
      await bed.close();
    }
  },
};
