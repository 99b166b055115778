import { expect, it } from "vitest";
import { fault } from "../faults/fault";
import type { Engine } from "../support/engine/engine";
import type { Lab } from "../support/lab";
import { counts, edge, everything, farm, leftovers, rewrite, stackOf, useScene } from "./support";

/** A gateway that restarts serves again, with no engine in sight. */

let lab: Lab;
let engine: Engine;

useScene(
  { gateways: [{ name: "edge-1", systemd: true }, "edge-2"], serve: { tcp: [80], udp: [53] } },
  (scene) => {
    ({ lab, engine } = scene);
  },
);

const TARGETS = [
  { dataPlane: "nftables" },
  { dataPlane: "iptables", layout: "nat" },
  { dataPlane: "iptables", layout: "zevenet" },
] as const;

for (const target of TARGETS)
  fault(
    5,
    Object.values(target).join(" "),
    async () => {
      const gateway = lab.gateway("edge-1");
      const farms = () => {
        const gateways = [edge(gateway, target)];
        return [
          farm("web", gateways),
          farm("six", gateways, {
            listeners: [{ address: "2001:db8:a::10", protocol: "tcp", ports: "80,8000-8080" }],
            backends: lab.backends6.map((address) => ({ address })),
          }),
        ];
      };
      const stack = await stackOf(engine, farms(), [gateway], { stack: target.dataPlane });
      await stack.up();
      const before = await everything(gateway);
      expect(before).toContain("web");

      await gateway.reboot();
      expect(await everything(gateway)).toBe(before);
      expect(await gateway.sh("netfilter-lb verify")).toContain("in step: all farms");
      expect(await counts(lab, 10)).toEqual({ "192.0.2.1": 5, "192.0.2.2": 5 });
      expect(Object.values(await counts(lab, 10, { to: "2001:db8:a::10" }))).toEqual([5, 5]);

      // The engine finds all as it left it, and a farm that went before the next boot stays away.
      const dials = gateway.sshConnections;
      await stack.up();
      expect(gateway.sshConnections).toBe(dials);
      await rewrite(stack, [farms()[0]!]);
      await stack.up();
      await gateway.reboot();
      expect((await gateway.sh("netfilter-lb list")).trim().split("\n")).toHaveLength(1);
      expect(await counts(lab, 2)).toEqual({ "192.0.2.1": 1, "192.0.2.2": 1 });

      await stack.destroy();
      expect(await leftovers(gateway)).toBe("");
      await gateway.reboot();
      expect(await leftovers(gateway)).toBe("");
      expect(
        await gateway.sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"),
      ).toBe("0\n0\n");
      return {
        done: "three reboots: with two farms (IPv4 and IPv6), when one of them had been removed, and after destroy",
        held: "rules, files and forwarding byte for byte as before each boot, 22 of 22 connections served, no dial of the engine; after destroy nothing comes back",
        saw: "nothing: the next up finds all as it left it",
      };
    },
    240_000,
  );

it("says what to do at boot where systemd does not run, and that does it", async () => {
  const gateway = lab.gateway("edge-2");
  const from = lab.clientAddress("edge-2");
  const stack = await stackOf(engine, [farm("web", [edge(gateway)])], [gateway], { stack: "plain" });
  await stack.up();
  const before = await everything(gateway);
  await gateway.reboot();
  expect(await lab.client.connect({ to: "203.0.113.10", port: 80, from, timeout: 300 })).toMatchObject({
    lost: 1,
  });
  await gateway.sh("netfilter-lb restore");
  expect(await everything(gateway)).toBe(before);
  expect(await counts(lab, 2, { from })).toEqual({ "192.0.2.1": 1, "192.0.2.2": 1 });
  await stack.destroy();
  expect(await leftovers(gateway)).toBe("");
});
