import { describe, expect, it } from "vitest";
import { fault } from "../faults/fault";
import type { HeldConnection } from "../support/lab";
import { IMPATIENT, limitsOf, OPTIONS, sleep, still, works } from "./limited";
import { addressOf, eachPlane, VIP, VIP6 } from "./plane";
import { Watch } from "./watch";

/** Connections at a time: so many, and not one more. */

eachPlane(OPTIONS, (plane) => {
  const { limited, hold, admitted } = limitsOf(plane);

  describe("maxConnections of a farm", () => {
    const atMost = async (most: number) => {
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
      for (const one of held) await one.close();
      await sleep(100);
    };

    fault(38, `${plane.label}, connections at a time`, async () => {
      for (const most of [1, 5]) await atMost(most);
      return {
        done: "a farm with maxConnections 1, then 5: as many held over TCP and UDP, then six more, then one let go",
        held:
          "1 of 1 and 5 of 5 served, 0 of 6 beyond, in both cases; the established went on; one that ended made room for one, " +
          "and not for two; no packet of what was beyond reached the gateway, the uplink or a backend",
        saw: "the client whose connection is one too many: timeout (TCP tries again by itself)",
      };
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

    const countsOn = async () => {
      await limited({ maxConnections: 3 });
      const held = [await hold(), await hold(), await hold()];
      expect(held.map(works)).toEqual([true, true, true]);
      await limited({ maxConnections: 3 }, { algorithm: "roundRobin" });
      expect(works(await hold())).toBe(false);
      for (const one of held) expect(works(await still(one))).toBe(true);
    };

    const countsAnew = async () => {
      await limited({ maxConnections: 3 });
      const held = [await hold(), await hold(), await hold()];
      await limited({ maxConnections: 3 }, { algorithm: "roundRobin" });
      const more = [await hold(), await hold(), await hold(), await hold()];
      expect([...held, ...more].map(works)).toEqual([true, true, true, true, true, true, false]);
    };

    if (plane.label === "nftables") it("counts on through a change of the farm", countsOn);
    else it("counts anew from a change of the farm on", countsAnew);

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
});
