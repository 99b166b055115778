import { expect, it } from "vitest";
import { fault } from "../faults/fault";
import { limitsOf, OPTIONS, sleep, still, works } from "./limited";
import { eachPlane, VIP, VIP6 } from "./plane";

/** New connections a second: a burst to the last one, then the rate. */

eachPlane(OPTIONS, (plane) => {
  const { limited, hold, admitted } = limitsOf(plane);

  it("lets a burst through, to the last one, then the rate", async () => {
    await limited({ newConnectionsPerSecond: 1, burst: 20 });
    const began = performance.now();
    const first = await admitted(30);
    expect(first).toBeGreaterThanOrEqual(20);
    expect(first).toBeLessThanOrEqual(20 + seconds(began));
    await sleep(2500);
    const later = await admitted(30);
    expect(first + later).toBeGreaterThanOrEqual(20 + 2);
    expect(first + later).toBeLessThanOrEqual(20 + seconds(began));
  });

  fault(38, `${plane.label}, new connections a second`, async () => {
    const served: string[] = [];
    for (const burst of [1, 2, 7]) {
      await limited({ newConnectionsPerSecond: 1, burst });
      const began = performance.now();
      const passed = await admitted(burst + 3);
      expect(passed).toBeGreaterThanOrEqual(burst);
      expect(passed).toBeLessThanOrEqual(burst + seconds(began));
      served.push(`${passed} of ${burst + 3} with a burst of ${burst}`);
    }
    return {
      done: "one new connection a second allowed, with bursts of 1, 2 and 7, and each time three more than that at once",
      held: `${served.join(", ")}: the burst to the last one, and what each second begun adds`,
      saw: "the client whose connection is one too many: timeout (TCP tries again by itself)",
    };
  });

  it("remembers through a change of the farm", async () => {
    await limited({ newConnectionsPerSecond: 1, burst: 40 });
    const began = performance.now();
    const first = await admitted(45);
    await limited({ newConnectionsPerSecond: 1, burst: 40 }, { algorithm: "roundRobin" });
    const second = await admitted(45);
    expect(first).toBeGreaterThanOrEqual(40);
    expect(first + second).toBeLessThanOrEqual(40 + seconds(began));
  });

  it("another rate counts at once", async () => {
    await limited({ newConnectionsPerSecond: 1, burst: 1 });
    expect(await admitted(10)).toBeLessThan(10);
    await limited({ newConnectionsPerSecond: 1, burst: 30 });
    const began = performance.now();
    const passed = await admitted(40);
    expect(passed).toBeGreaterThanOrEqual(30);
    expect(passed).toBeLessThanOrEqual(30 + seconds(began));
    await plane.apply();
    expect(await admitted(60)).toBe(60);
  });

  it("does not hurt those that are established", async () => {
    await limited({ newConnectionsPerSecond: 1, burst: 1 });
    const held = await hold();
    expect(works(held)).toBe(true);
    await admitted(10);
    for (let n = 0; n < 20; n++) expect(works(await still(held))).toBe(true);
  });

  it.each([4, 6] as const)("per source (IPv%i): another source is not hurt", async (family) => {
    const to = family === 4 ? VIP : VIP6;
    await limited(
      { perSource: { newConnectionsPerSecond: 1, burst: 5 } },
      {
        listeners: [{ address: to, protocol: "tcp", port: 80 }],
        backends: (family === 4 ? plane.lab.backends4 : plane.lab.backends6).map((address) => ({
          address,
        })),
      },
    );
    const [greedy, modest, ...others] = plane.clients(52, { family });
    for (const one of [greedy!, modest!]) {
      const began = performance.now();
      const passed = await admitted(12, { fromEach: [one], to });
      expect(passed).toBeGreaterThanOrEqual(5);
      expect(passed).toBeLessThanOrEqual(5 + seconds(began));
    }
    expect(await admitted(250, { fromEach: others, to })).toBe(250);
  });
});

/** Since then, whole seconds begun. */
function seconds(began: number): number {
  return Math.floor((performance.now() - began) / 1000);
}
