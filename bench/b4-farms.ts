/** B4: what a new flow costs with many farms on the gateway. */

import { Bed } from "./bed";
import { newFlow } from "./flows";
import type { Measurement } from "./harness/measurement";
import type { Figure } from "./harness/result";
import { type Contender, inRounds } from "./harness/rounds";
import { BARE, IPTABLES, KUBE_PROXY, LEGACY, NFTABLES, ZEVENET } from "./rules/subjects";

const FARMS = [1, 10, 30, 100, 300, 1000];
const BACKENDS = 10;
const SUBJECTS = [BARE, NFTABLES, IPTABLES, LEGACY, ZEVENET, KUBE_PROXY];

/** One farm dialled, with the others only there; or each flow to the next one, which also asks more of the CPU's caches. */
const PARTS = [
  { part: "the last farm dialled", dial: "last" },
  { part: "all farms in turn", dial: "all" },
] as const;

export const newFlowByFarms: Measurement = {
  id: "B4",
  title: "Cost of a new flow, by the number of farms",
  unit: "ns a packet",
  axis: "farms",
  rounds: 7,
  async run(context) {
    const { quick } = context;
    const bed = await Bed.open();
    try {
      const figures: Figure[] = [];
      for (const { part, dial } of PARTS) {
        const contenders = bed.able(SUBJECTS).flatMap((subject) => {
          const contender = (farms: number, against?: Contender): Contender => ({
            subject: subject.name,
            role: subject.role,
            part,
            at: farms,
            ...(against && { against }),
            ...(subject === NFTABLES && against && { target: { of: "ratio", atMost: 1.05 } }),
            sample: () =>
              newFlow(bed, subject, { protocol: "udp", farms, backends: BACKENDS }, { quick, dial }),
          });
          const one = contender(1);
          const more = (quick ? [100] : FARMS.slice(1)).map((farms) => contender(farms, one));
          return [one, ...more];
        });
        figures.push(...(await inRounds(contenders, context)));
      }
      return { figures };
    } finally {
      await bed.close();
    }
  },
};
