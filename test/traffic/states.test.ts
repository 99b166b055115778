import { expect, it } from "vitest";
import { type BackendSpec, type BackendState, compare, compile, type FarmSpec } from "../../src/core";
import { fault } from "../faults/fault";
import { ALL, addressOf, eachPlane, VIP } from "./plane";

/** Backends that drain, that are down and that leave: what becomes of what they have, and that nothing new comes. */

const OPTIONS = { planes: ALL, backends: 4, serve: { tcp: [80], udp: [53] }, together: true };

eachPlane(OPTIONS, (plane) => {
  /** The first backend is in this state, or gone. */
  const apply = (state: BackendState | "gone", more: Partial<FarmSpec> = {}) => {
    const [address, ...others] = plane.backends;
    const first: BackendSpec[] = state === "gone" ? [] : [{ address: address!, state }];
    return plane.apply({ backends: [...first, ...others.map((other) => ({ address: other }))], ...more });
  };
  const first = () => plane.backends[0]!;
  const others = () => plane.backends.slice(1);

  it.each(["drain", "down", "gone"] as const)(
    "%s: nothing new, and it finishes what it has",
    async (state) => {
      await apply("active");
      const held = await plane.holdAt(first());
      await apply(state);
      // The chance that 200 draws of four miss one is 10^-25.
      for (const protocol of ["tcp", "udp"] as const) {
        const { counts, lost } = await plane.connect({ count: 200, protocol });
        expect(lost).toBe(0);
        expect(Object.keys(counts).sort()).toEqual(others().sort());
      }
      for (let n = 0; n < 3; n++) expect(addressOf(await held.ask())).toBe(first());
      // Also past another change.
      await apply(state, { sourceNat: "masquerade" });
      expect(addressOf(await held.ask())).toBe(first());
      await apply("active");
      const { counts } = await plane.connect({ count: 200 });
      expect(Object.keys(counts)).toContain(first());
    },
  );

  fault(33, plane.label, async () => {
    const seen: string[] = [];
    for (const onRemoval of ["keep", "cut"] as const)
      for (const state of ["down", "gone"] as const) {
        await apply("active", { onRemoval });
        const leaves = await plane.holdAt(first());
        const stays = await plane.holdAt(others()[0]!);
        await apply(state, { onRemoval });
        if (onRemoval === "keep") expect(addressOf(await leaves.ask())).toBe(first());
        // What a cut connection still sends is no connection's first packet: it reaches no backend, also the second time.
        else
          for (let n = 0; n < 2; n++)
            expect(addressOf(await leaves.ask(700))).toMatch(/timeout|reset|refused/);
        expect(addressOf(await stays.ask())).toBe(others()[0]);
        const { counts, lost } = await plane.connect({ count: 50 });
        expect(lost).toBe(0);
        expect(others()).toEqual(expect.arrayContaining(Object.keys(counts)));
        seen.push(
          `${onRemoval}, ${state}: ${onRemoval === "keep" ? "served" : addressOf(await leaves.ask(200))}`,
        );
      }
    expect(await plane.gateway.sh("netfilter-lb verify")).toContain("in step");
    const ruleSets = [plane.backends, others()].map((members) => {
      const backends = members.map((address) => ({ address }));
      const listeners = [{ address: VIP, protocol: "tcp", port: 80 }] as const;
      return compile("web", { listeners: [...listeners], backends, onRemoval: "cut" }, plane.target).ruleSet;
    });
    const words = compare(...(ruleSets as [string, string])).words.find((line) => line.includes("are cut"));
    expect(words).toBeDefined();
    return {
      done: "took a backend with an open TCP connection down, and out of the farm, with onRemoval keep and cut",
      held:
        "keep: 2 of 2 connections went on; cut: 2 of 2 carried nothing any more; 4 of 4 connections of the other backends " +
        "went on, and none of 200 new ones was lost or came to the one that left",
      saw: `the client: ${seen.join("; ")}. The report of the preview, for cut: ${words}`,
    };
  });

  it("drain, with onRemoval cut: nothing is cut", async () => {
    await apply("active", { onRemoval: "cut" });
    const held = await plane.holdAt(first());
    await apply("drain", { onRemoval: "cut" });
    expect(addressOf(await held.ask())).toBe(first());
  });

  fault(34, plane.label, async () => {
    // A flow that is older than the farm, and one whose server leaves, of a resolver with one socket that never falls silent.
    const older = await plane.hold({ protocol: "udp", timeout: 100 });
    expect(older.first).toHaveProperty("failure");
    await apply("active");
    expect(plane.backends).toContain(addressOf(await older.ask(1000)));
    await older.close();
    for (const onRemoval of ["keep", "cut"] as const)
      for (const state of ["down", "gone"] as const) {
        await apply("active", { onRemoval });
        const flow = await plane.holdAt(first(), { protocol: "udp" });
        const stays = await plane.holdAt(others()[0]!, { protocol: "udp" });
        let change: Promise<number> | undefined;
        let moved: number | undefined;
        for (let n = 0; moved === undefined; n++) {
          const answer = addressOf(await flow.ask(200));
          if (others().includes(answer)) moved = performance.now();
          else if (n === 3) change = apply(state, { onRemoval }).then(() => performance.now());
          await sleep(20);
          expect(n, "it never moved").toBeLessThan(300);
        }
        // From the moment on at which the apply was done.
        expect(moved - (await change!)).toBeLessThan(1000);
        // Not there and back.
        expect(others()).toContain(addressOf(await flow.ask()));
        expect(addressOf(await stays.ask())).toBe(others()[0]);
      }
    return {
      done:
        "a UDP flow that asks every 20 ms from one socket: begun before the farm was there; and while its server was taken " +
        "down, and out, with onRemoval keep and cut",
      held:
        "the older flow was answered once the farm was there; 4 of 4 flows were answered by another backend within a second " +
        "of the apply, and stayed there; 4 of 4 flows of other backends did not move",
      saw: "nothing",
    };
  });

  it("drain: the resolver stays where it is", async () => {
    await apply("active");
    const flow = await plane.holdAt(first(), { protocol: "udp" });
    await apply("drain");
    for (let n = 0; n < 5; n++) expect(addressOf(await flow.ask())).toBe(first());
  });

  it("changes of state under load lose nothing", async () => {
    await apply("active");
    const streams = await Promise.all((["tcp", "udp"] as const).map((protocol) => steady(protocol)));
    const until = performance.now() + 2000;
    do
      for (const state of ["drain", "down", "active", "gone", "active", "down", "drain", "active"] as const)
        await apply(state);
    while (performance.now() < until);
    for (const stream of streams) {
      const { count, lost, slow } = await stream.stop();
      expect({ lost, slow }).toEqual({ lost: [], slow: 0 });
      expect(count).toBeGreaterThan(50);
    }
  });

  function steady(protocol: "tcp" | "udp") {
    return plane.lab.client.steady({
      to: "203.0.113.10",
      port: protocol === "tcp" ? 80 : 53,
      protocol,
      fromEach: plane.clients(251),
      every: 5,
    });
  }
});

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
