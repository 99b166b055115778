import { describe, expect, it } from "vitest";
import type { FarmSpec, LimitsSpec } from "../../src/core";
import type { HeldConnection } from "../support/lab";
import { ALL_BUT_ZEVENET, addressOf, eachPlane, VIP, VIP6 } from "./plane";
import { Watch } from "./watch";

/** Limits at their boundary: so many, and not one more. */

/** What is beyond is dropped; before a second is over, TCP would try again. */
const IMPATIENT = { timeout: 800 };

const OPTIONS = { planes: ALL_BUT_ZEVENET, backends: 2, serve: { tcp: [80], udp: [53] }, together: true };

eachPlane(OPTIONS, (plane) => {
  const limited = (limits: LimitsSpec, more: Partial<FarmSpec> = {}) => plane.apply({ limits, ...more });

  /** How many of these get an answer, each from a client of its own. */
  const admitted = async (count: number, options: { fromEach?: string[]; to?: string } = {}) => {
    const { answers, failures, lost } = await plane.connect({
      fromEach: plane.clients(count),
      count,
      concurrency: count,
      ...IMPATIENT,
      ...options,
    });
    // Dropped, not refused.
    expect(failures).toEqual(lost > 0 ? { timeout: lost } : {});
    return answers.length;
  };

  const hold = (options: Parameters<typeof plane.hold>[0] = {}) => plane.hold({ ...IMPATIENT, ...options });
  const works = (held: HeldConnection) => addressOf(held.first) !== "timeout";

  describe("maxConnections of a farm", () => {
    it.each([1, 5])("is %i, of all its listeners together", async (most) => {
      await limited({ maxConnections: most });
      const watch = await Watch.start(plane.gateway, [VIP]);
      await watch.expectOnly(plane.backends);
      const held: HeldConnection[] = [];
      for (let n = 0; n < most; n++) held.push(await hold({ protocol: n % 2 === 0 ? "tcp" : "udp" }));
      expect(held.map(works)).toEqual(held.map(() => true));
      for (const protocol of ["tcp", "udp"] as const)
        expect((await plane.connect({ protocol, count: 3, ...IMPATIENT })).failures).toEqual({ timeout: 3 });
      // Those that are there go on; one that ends makes room for one.
      for (const one of held) expect(works(await still(one))).toBe(true);
      await held[0]!.close();
      await sleep(100);
      held[0] = await hold();
      expect(works(held[0])).toBe(true);
      expect(works(await hold())).toBe(false);
      // Nothing of what was beyond went anywhere.
      expect(await watch.end()).toMatchObject({ input: 0, forward: 0, stray: 0, good: most + 1 });
    });

    it("counts IPv6 apart", async () => {
      await limited(
        { maxConnections: 2 },
        {
          listeners: [VIP, VIP6].map((address) => ({ address, protocol: "tcp", port: 80 })),
          backends: plane.lab.backendAddresses.map((address) => ({ address })),
        },
      );
      const six = { to: VIP6, from: plane.from(6) };
      const four = [await hold(), await hold(), await hold()];
      expect(four.map(works)).toEqual([true, true, false]);
      const others = [await hold(six), await hold(six), await hold(six)];
      expect(others.map(works)).toEqual([true, true, false]);
    });

    it.runIf(plane.label === "nftables")("counts on through a change of the farm", async () => {
      await limited({ maxConnections: 3 });
      const held = [await hold(), await hold(), await hold()];
      expect(held.map(works)).toEqual([true, true, true]);
      await limited({ maxConnections: 3 }, { algorithm: "roundRobin" });
      expect(works(await hold())).toBe(false);
      for (const one of held) expect(works(await still(one))).toBe(true);
    });

    it.skipIf(plane.label === "nftables")("counts anew from a change of the farm on", async () => {
      await limited({ maxConnections: 3 });
      const held = [await hold(), await hold(), await hold()];
      await limited({ maxConnections: 3 }, { algorithm: "roundRobin" });
      const more = [await hold(), await hold(), await hold(), await hold()];
      expect([...held, ...more].map(works)).toEqual([true, true, true, true, true, true, false]);
    });

    it("another limit counts at once", async () => {
      await limited({ maxConnections: 1 });
      expect([await hold(), await hold()].map(works)).toEqual([true, false]);
      await limited({ maxConnections: 4 });
      expect(works(await hold())).toBe(true);
      await plane.apply();
      expect(await admitted(20)).toBe(20);
    });
  });

  it("maxConnections of a backend: a further one that is given to it is dropped, others go on", async () => {
    const [full, free] = plane.backends;
    await plane.apply({
      algorithm: "roundRobin",
      backends: [{ address: full!, maxConnections: 3 }, { address: free! }],
    });
    const turns: HeldConnection[] = [];
    const turn = async () => {
      turns.push(await hold());
      return addressOf(turns.at(-1)!.first);
    };
    // Whose turn the first one is nobody promised; from then on they take turns.
    if ((await turn()) === full) await turn();
    else expect([await turn(), await turn()]).toEqual([full, free]);
    for (let n = 0; n < 2; n++) expect([await turn(), await turn()]).toEqual([full, free]);
    for (let n = 0; n < 2; n++) expect([await turn(), await turn()]).toEqual(["timeout", free]);
    const held = turns.filter(works);
    for (const one of held) expect(works(await still(one))).toBe(true);
    await turns.find(({ first }) => addressOf(first) === full)!.close();
    await sleep(100);
    expect([await turn(), await turn()]).toEqual([full, free]);
    expect([await turn(), await turn()]).toEqual(["timeout", free]);
  });

  describe("newConnectionsPerSecond", () => {
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

    it.each([1, 2, 7])("a burst of %i", async (burst) => {
      await limited({ newConnectionsPerSecond: 1, burst });
      const began = performance.now();
      const passed = await admitted(burst + 3);
      expect(passed).toBeGreaterThanOrEqual(burst);
      expect(passed).toBeLessThanOrEqual(burst + seconds(began));
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
});

/** What it says now, as `first` was. */
async function still(held: HeldConnection): Promise<HeldConnection> {
  return { ...held, first: await held.ask(500) };
}

/** Since then, whole seconds begun. */
function seconds(began: number): number {
  return Math.floor((performance.now() - began) / 1000);
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
