import { expect } from "vitest";
import { fault, sweep } from "../faults/fault";
import { ALL_BUT_ZEVENET, eachPlane, movedBetween, type Plane } from "./plane";

/**
 * Two farms that are applied again and again, each time changed, under load: no turn is taken twice but where a round
 * begins again, and no client is forgotten.
 *
 * `RELOADS=1000` makes it a long run of that many changes for each plane; the numbers go to standard output.
 */
const LONG = process.env.RELOADS === undefined ? undefined : Number(process.env.RELOADS);
const CHANGES = LONG ?? sweep(12, 100);
const STICKY = "203.0.113.20";
const MEMBERS = 5;

eachPlane({ planes: ALL_BUT_ZEVENET, backends: MEMBERS, serve: { tcp: [80, 8080] } }, (plane) => {
  fault(
    39,
    plane.label,
    async () => {
      const clients = plane.clients(100);
      await change(plane, 0);
      const served = await plane.served(clients, { to: STICKY });

      let over = false;
      const load = await plane.lab.client.steady({
        to: STICKY,
        port: 80,
        fromEach: plane.clients(251, { first: 1000 }),
        concurrency: 2,
      });
      const rounds = (async () => {
        const turns: number[] = [];
        while (!over) {
          const { answers, lost } = await plane.connect({ port: 8080, count: 20, concurrency: 1 });
          expect(lost).toBe(0);
          turns.push(...answers.map(({ address }) => plane.backends.indexOf(address)));
        }
        return turns;
      })();
      const affinity = (async () => {
        let asked = 0;
        let moved = 0;
        while (!over) {
          moved += movedBetween(served, await plane.served(clients, { to: STICKY, concurrency: 8 })).length;
          asked += clients.length;
        }
        return { asked, moved };
      })();

      try {
        for (let n = 1; n <= CHANGES; n++) await change(plane, n);
      } finally {
        over = true;
      }
      const turns = await rounds;
      const sticky = await affinity;
      const carried = await load.stop();

      const counts = Array.from(
        { length: MEMBERS },
        (_, place) => turns.filter((turn) => turn === place).length,
      );
      const broken = turns.filter((turn, n) => n > 0 && turn !== (turns[n - 1]! + 1) % MEMBERS).length;
      if (LONG)
        console.log(
          `${plane.label}: ${CHANGES} changes of each farm: ${turns.length} turns ${counts.join("/")}, ${broken} rounds cut ` +
            `short; ${sticky.asked} connections of remembered clients, ${sticky.moved} moved; ` +
            `${carried.count} others, ${carried.lost.length} lost, ${carried.slow} slow`,
        );
      expect(sticky.moved).toBe(0);
      expect(sticky.asked).toBeGreaterThan(5 * CHANGES);
      expect({ lost: carried.lost, slow: carried.slow }).toEqual({ lost: [], slow: 0 });
      // A round begins again with each change of its farm; with legacy, whose kernel gets whole tables, with each of the
      // two commits that a change of any farm takes at most.
      const begun = plane.label === "iptables-legacy" ? 4 * CHANGES : CHANGES;
      expect(broken).toBeLessThanOrEqual(begun);
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(begun + 1);
      expect(turns.length).toBeGreaterThan(10 * CHANGES);
      const legacy = plane.label === "iptables-legacy" ? " (legacy: of each of a change's two commits)" : "";
      return {
        done: `${CHANGES} changes of a farm that takes turns, and of one with affinity, under load`,
        held:
          `${turns.length} turns of 5 backends, ${counts.join("/")}; ${broken} rounds began anew, at most one for each ` +
          `change${legacy}; ${sticky.moved} of ${sticky.asked} connections of remembered clients moved; ` +
          `${carried.lost.length} of ${carried.count} others were lost`,
        saw: "nothing",
      };
    },
    60_000 + CHANGES * 4_000,
  );
});

/** Everything of the two farms but who is in them. */
async function change(plane: Plane, n: number): Promise<void> {
  await plane.apply(
    {
      listeners: [{ address: "203.0.113.10", protocol: "tcp", port: 8080 }],
      algorithm: "roundRobin",
      sourceNat: n % 2 === 0 ? "none" : "masquerade",
    },
    "turns",
  );
  await plane.apply(
    {
      listeners: [{ address: STICKY, protocol: "tcp", port: 80 }],
      backends: plane.backends.map((address, i) => ({ address, weight: 1 + ((n * (i + 1)) % 5) })),
      affinity: { by: "sourceIp", timeoutSeconds: 3600 },
    },
    "sticky",
  );
}
