import { describe, expect, it } from "vitest";
import { type BackendSpec, type BackendState, compare, compile, type FarmSpec } from "../../src/core";
import { fault } from "../faults/fault";
import { ALL, addressOf, eachPlane, VIP, VIP6 } from "./plane";
import { Watch } from "./watch";

/** Which tier carries the connections, and what they get where none can. */

const TIERS = [0, 0, 10, 10, 90];

const OPTIONS = { planes: ALL, backends: 5, serve: { tcp: [80], udp: [53] }, together: true };

eachPlane(OPTIONS, (plane) => {
  /** @param states of the backends, the others are active */
  const apply = (states: Record<number, BackendState> = {}, more: Partial<FarmSpec> = {}) =>
    plane.apply({
      backends: plane.backends.map((address, i): BackendSpec => {
        const state = states[i];
        return { address, priority: TIERS[i]!, ...(state && { state }) };
      }),
      ...more,
    });

  /** The places of those that serve; a hundred draws of two miss one with a chance of 10^-29. */
  const serving = async () => {
    const { counts, lost } = await plane.connect({ count: 100 });
    expect(lost).toBe(0);
    return Object.keys(counts)
      .map((address) => plane.backends.indexOf(address))
      .sort();
  };

  it("the first tier with an active member carries all, down to the sorry backend and back", async () => {
    await apply();
    expect(await serving()).toEqual([0, 1]);
    const held = await plane.hold();
    await apply({ 0: "down" });
    expect(await serving()).toEqual([1]);
    await apply({ 0: "drain", 1: "drain" });
    expect(await serving()).toEqual([2, 3]);
    await apply({ 0: "drain", 1: "down", 2: "down", 3: "down" });
    expect(await serving()).toEqual([4]);
    await apply({ 0: "down" });
    expect(await serving()).toEqual([1]);
    await apply();
    expect(await serving()).toEqual([0, 1]);
    expect(addressOf(await held.ask())).toBe(addressOf(held.first));
  });

  it("minActive: a tier with fewer active members carries nothing, unless all are so", async () => {
    await apply({}, { minActive: 2 });
    expect(await serving()).toEqual([0, 1]);
    await apply({ 0: "down" }, { minActive: 2 });
    expect(await serving()).toEqual([2, 3]);
    await apply({ 0: "down", 3: "drain" }, { minActive: 2 });
    expect(await serving()).toEqual([1]);
  });

  describe("no live backend", () => {
    const listeners = [VIP, VIP6].flatMap((address) => [
      { address, protocol: "tcp" as const, port: 80 },
      { address, protocol: "udp" as const, port: 53 },
    ]);
    const applyEmpty = (more: Partial<FarmSpec>, state: BackendState = "down") =>
      plane.apply({
        listeners,
        backends: plane.lab.backendAddresses.map((address) => ({ address, state })),
        ...more,
      });
    const ruleSetOf = (state: BackendState) => {
      const backends = plane.lab.backendAddresses.map((address) => ({ address, state }));
      return compile("web", { listeners, backends }, plane.target).ruleSet;
    };
    const dials = [
      ["tcp", VIP],
      ["udp", VIP],
      ["tcp", VIP6],
      ["udp", VIP6],
    ] as const;

    fault(35, plane.label, async () => {
      // This gateway would send the packets back where they came from, and says so before it refuses them (docs/rule-set.md).
      await plane.gateway.sh("for i in /proc/sys/net/ipv4/conf/*/send_redirects; do echo 0 >$i; done");
      const timeout = 900;
      for (const more of [{}, { whenEmpty: "reject" as const }]) {
        await applyEmpty(more);
        for (const [protocol, to] of dials) {
          const from = plane.from(to === VIP ? 4 : 6);
          // Fewer than the kernel's limit of ICMP errors.
          const { failures } = await plane.connect({ to, protocol, from, count: 3, timeout });
          expect(failures, `${protocol} ${to}`).toEqual({ refused: 3 });
        }
        expect(await plane.gateway.sh("netfilter-lb verify")).toContain("in step");
      }
      const words = compare(ruleSetOf("active"), ruleSetOf("down")).words;
      const warning = words.find((line) => line.includes("No backend"));
      expect(warning).toBeDefined();
      return {
        done: "took all backends down, and dialled by TCP and UDP, IPv4 and IPv6, with whenEmpty left out and reject",
        held: `24 of 24 connections were refused before the client's time-out of ${timeout} ms`,
        saw: `the client: refused. The report of the preview: ${warning}`,
      };
    });

    it("is refused to the gateway itself", async () => {
      await applyEmpty({});
      for (const [protocol, to] of dials) {
        const { failures } = await plane.gateway.connect({
          to,
          protocol,
          port: protocol === "tcp" ? 80 : 53,
          timeout: 900,
        });
        // A kernel whose own datagram is rejected says so to the sender at once, with EPERM.
        expect(Object.keys(failures), `${protocol} ${to}`).toEqual([
          protocol === "udp" ? expect.stringMatching(/refused|EPERM/) : "refused",
        ]);
      }
    });

    it("gets no answer with whenEmpty drop, and reaches neither the gateway nor the uplink", async () => {
      await applyEmpty({ whenEmpty: "drop" });
      // The virtual IP as one of the gateway's own, then as nobody's, which would be forwarded.
      for (const own of [true, false]) {
        if (own) await plane.gateway.sh(`ip addr add ${VIP}/32 dev lo; ip addr add ${VIP6}/128 dev lo`);
        const watch = await Watch.start(plane.gateway, [VIP, VIP6]);
        await Promise.all(
          dials.map(async ([protocol, to]) => {
            const from = plane.from(to === VIP ? 4 : 6);
            const { failures } = await plane.connect({ to, protocol, from, count: 5, timeout: 300 });
            expect(failures, `${protocol} ${to}`).toEqual({ timeout: 5 });
          }),
        );
        expect(await watch.end()).toMatchObject({ input: 0, forward: 0, good: 0, stray: 0 });
        if (own) await plane.gateway.sh(`ip addr del ${VIP}/32 dev lo; ip addr del ${VIP6}/128 dev lo`);
      }
    });

    it("is served again as soon as a backend is back", async () => {
      await applyEmpty({});
      const resolver = await plane.hold({ protocol: "udp", timeout: 200 });
      expect(addressOf(resolver.first)).not.toMatch(/^[\d.]+$/);
      await applyEmpty({}, "active");
      expect((await plane.connect({ count: 50 })).lost).toBe(0);
      // The flow of a client that went on asking all the time.
      expect(plane.backends).toContain(addressOf(await resolver.ask(1000)));
    });

    it("goes on with what was established, when the last backend drains", async () => {
      await applyEmpty({}, "active");
      const held = await plane.hold();
      await applyEmpty({}, "drain");
      expect((await plane.connect({ timeout: 900 })).refused).toBe(1);
      expect(addressOf(await held.ask())).toBe(addressOf(held.first));
    });
  });
});
