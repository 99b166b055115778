import { beforeEach, expect, it } from "vitest";
import { installTool, retire } from "../support/farms";
import { ALL_BUT_ZEVENET, addressOf, eachPlane, VIP, VIP6 } from "./plane";
import { arrivals } from "./spy";
import { backendOf, STRAYS, strays } from "./strays";

/** A gateway is no router: what no farm translated does not pass it, whoever sends it. Counted where it would arrive. */

const FAMILIES = [
  [4, VIP, "ip"],
  [6, VIP6, "ip6"],
] as const;

eachPlane({ planes: ALL_BUT_ZEVENET, backends: 2, serve: { tcp: [80], udp: [53] } }, (plane) => {
  const prepare = (lockForward?: boolean) =>
    installTool(plane.gateway, { ...plane.target, ...(lockForward !== undefined && { lockForward }) });
  const farm = () =>
    plane.apply({
      listeners: [VIP, VIP6].flatMap((address) => [
        { address, protocol: "tcp", port: 80 } as const,
        { address, protocol: "udp", port: 53 } as const,
        { address, protocol: "udp", port: 54 } as const,
      ]),
      backends: plane.lab.backendAddresses.map((address) => ({ address })),
    });

  beforeEach(async () => {
    await prepare();
  });

  it.each(FAMILIES)("IPv%i: no packet of a stranger passes, with farms or without", async (family) => {
    const before = await strays(plane, family, 42_000 + family);
    expect(before.sent).toBeGreaterThanOrEqual(STRAYS);
    expect(before.arrived).toBe(0);

    await farm();
    const during = await strays(plane, family, 42_100 + family);
    expect(during.sent).toBeGreaterThanOrEqual(STRAYS);
    expect(during.arrived).toBe(0);

    // The counters can count: without the lock all of them arrive.
    await prepare(false);
    const open = await strays(plane, family, 42_200 + family);
    expect(open.arrived).toBeGreaterThanOrEqual(STRAYS);
    await prepare(true);
    expect((await strays(plane, family, 42_300 + family)).arrived).toBe(0);
  });

  it.each(FAMILIES)(
    "IPv%i: a farm serves, errors about its packets come back, and a backend's strays do not",
    async (family, vip, ip) => {
      await farm();
      const from = plane.from(family);
      for (const protocol of ["tcp", "udp"] as const)
        expect(await plane.connect({ to: vip, from, protocol, count: 50 })).toMatchObject({ lost: 0 });
      // Nobody serves that port: the backend's ICMP error is about a translated packet.
      expect(
        await plane.lab.client.connect({ to: vip, from, port: 54, protocol: "udp", timeout: 1000 }),
      ).toMatchObject({ refused: 1 });
      // What a backend begins itself is not forwarded; a gateway's own connections are none of it.
      const arrived = await arrivals(plane.lab.client.namespace, `${ip} daddr ${from} tcp dport 4444`);
      const outward = { to: from, from: backendOf(plane, family), port: 4444, timeout: 200 };
      expect(await plane.lab.backends.connect(outward)).toMatchObject({ timedOut: 1 });
      expect(await arrived.end()).toBe(0);
      expect((await plane.gateway.connect({ to: backendOf(plane, family), port: 80 })).lost).toBe(0);
      await prepare(false);
      expect(await plane.lab.backends.connect(outward)).toMatchObject({ refused: 1 });
    },
  );

  it.each(FAMILIES)(
    "IPv%i: an established connection goes on while the lock comes, goes and comes again",
    async (family, vip) => {
      await farm();
      const held = await plane.hold({ to: vip, from: plane.from(family) });
      const first = addressOf(held.first);
      for (const lock of [false, true, undefined]) {
        await prepare(lock);
        expect(addressOf(await held.ask())).toBe(first);
      }
    },
  );

  it("none passes in the first moment, in the last, or in a change", async () => {
    const own = `ip saddr ${plane.from()} ip daddr ${backendOf(plane, 4)}`;
    const sent = await arrivals(plane.gateway.namespace, own);
    const arrived = await arrivals(plane.lab.backends.namespace, own);
    const target = {
      to: backendOf(plane, 4),
      from: plane.from(),
      port: 53,
      protocol: "udp",
      timeout: 100,
    } as const;
    const stream = await plane.lab.client.steady({ ...target, every: 2 });
    const other = plane.target.dataPlane === "nftables" ? "iptables" : "nftables";
    for (let round = 0; round < 2; round++) {
      await prepare();
      await farm();
      await installTool(plane.gateway, { dataPlane: other });
      await prepare();
      await plane.remove();
      await retire(plane.gateway);
    }
    await stream.stop();
    expect(await sent.end()).toBeGreaterThan(500);
    expect(await arrived.end()).toBe(0);
  });
});
