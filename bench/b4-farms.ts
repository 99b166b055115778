/** B4: what a new flow costs with many farms on the gateway, each flow to another of them. */

import { Bed } from "./bed";
import { newFlow } from "./flows";
import type { Measurement } from "./harness/measurement";
import { type Contender, inRounds } from "./harness/rounds";
import { BARE, IPTABLES, KUBE_PROXY, LEGACY, NFTABLES, ZEVENET } from "./rules/subjects";

const FARMS = [1, 10, 30, 100, 300, 1000];
const BACKENDS = 10;
const SUBJECTS = [BARE, NFTABLES, IPTABLES, LEGACY, ZEVENET, KUBE_PROXY];

export const newFlowByFarms: Measurement = {
  id: "B4",
  title: "Cost of a new flow, by the number of farms; ratios are to the same rules with one farm",
  unit: "ns a packet",
  axis: "farms",
  rounds: 9,
  async run(context) {
    const bed = await Bed.open();
    try {
      const contenders = bed.able(SUBJECTS).flatMap((subject) => {
        const contender = (farms: number, against?: Contender): Contender => ({
          subject: subject.name,
          role: subject.role,
          at: farms,
          ...(against && { against }),
          ...(subject === NFTABLES && against && { target: { of: "ratio", atMost: 1.05 } }),
          sample: () => newFlow(bed, subject, scenery(farms), context.quick),
        });
        const one = contender(1);
        const more = (context.quick ? [100] : FARMS.slice(1)).map((farms) => contender(farms, one));
        return [one, ...more];
      });
      return { figures: await inRounds(contenders, context) };
    } finally {
      await bed.close();
    }
  },
};

function scenery(farms: number) {
  return { protocol: "udp", farms, backends: BACKENDS } as const;
}
