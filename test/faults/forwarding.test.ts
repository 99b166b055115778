import { expect } from "vitest";
import { compile } from "../../src/core";
import { applyCommand } from "../../src/host/commands";
import { installTool, ownerOf } from "../support/farms";
import type { Family } from "../support/lab/addresses";
import { ALL, eachPlane, VIP, VIP6 } from "../traffic/plane";
import { arrivals, rule } from "../traffic/spy";
import { STRAYS, strays } from "../traffic/strays";
import { fault, sweep } from "./fault";
import { foreignRules, plantForeignRules } from "./foreign";

/** A gateway forwards what its farms need, and its kernel's switches are as its owner set them. */

const SWITCHES = "rp_filter route_localnet send_redirects accept_local".split(" ");

eachPlane({ planes: ALL, backends: 2, serve: { tcp: [80, 81], udp: [53] } }, (plane) => {
  const prepare = () => installTool(plane.gateway, plane.target);
  const apply = (families: readonly Family[], more: object = {}) =>
    plane.apply({
      listeners: families.map((family) => ({
        address: family === 4 ? VIP : VIP6,
        protocol: "tcp",
        port: 80,
      })),
      backends: families
        .flatMap((family) => (family === 4 ? plane.lab.backends4 : plane.lab.backends6))
        .map((address) => ({ address })),
      ...more,
    });
  const served = async (family: Family = 4) => {
    const { lost } = await plane.connect({
      to: family === 4 ? VIP : VIP6,
      from: plane.from(family),
      count: 20,
    });
    return 20 - lost;
  };
  /** The switches of all interfaces, as the kernel has them. */
  const switches = () =>
    plane.gateway.sh(`cd /proc/sys/net/ipv4/conf; grep . ${SWITCHES.map((name) => `*/${name}`).join(" ")}`);

  fault(45, plane.label, async () => {
    const foreign = await plantForeignRules(plane.gateway);
    await prepare();
    const total = { sent: 0, arrived: 0 };
    for (const round of Array(sweep(1, 10)).keys())
      for (const families of [[], [4, 6]] as const) {
        if (families.length > 0) await apply(families);
        for (const family of [4, 6] as const) {
          const { sent, arrived } = await strays(plane, family, 43_000 + 100 * plane.gateway.index + round);
          expect(sent).toBeGreaterThanOrEqual(STRAYS);
          total.sent += sent;
          total.arrived += arrived;
        }
        if (families.length > 0) await plane.remove();
      }
    expect(total.arrived).toBe(0);
    expect(await foreignRules(plane.gateway)).toBe(foreign);
    return {
      done: "a client sent SYN, ACK, RST and other segments, datagrams and echo requests to a backend's own address, IPv4 and IPv6, with farms and before any",
      held: `of ${total.sent} packets that reached the gateway none reached the backend`,
      saw: "nothing",
    };
  });

  fault(46, plane.label, async () => {
    await prepare();
    await apply([4, 6]);
    const passed: Record<string, number> = {};
    for (const family of [4, 6] as const) {
      const to = family === 4 ? VIP : VIP6;
      const ip = family === 4 ? "ip" : "ip6";
      const seen = await arrivals(
        plane.lab.backends.namespace,
        `${ip} saddr ${plane.from(family)} tcp dport != 80`,
      );
      const datagrams = await arrivals(
        plane.lab.backends.namespace,
        `${ip} saddr ${plane.from(family)} udp dport 53`,
      );
      for (const port of [1, 22, 79, 81, 8080, 65_535]) {
        const { lost } = await plane.lab.client.connect({ to, from: plane.from(family), port, timeout: 100 });
        expect(lost, String(port)).toBe(1);
      }
      await plane.lab.client.connect({
        to,
        from: plane.from(family),
        port: 53,
        protocol: "udp",
        timeout: 100,
      });
      expect(await served(family)).toBe(20);
      passed[ip] = (await seen.end()) + (await datagrams.end());
    }
    expect(passed).toEqual({ ip: 0, ip6: 0 });
    return {
      done: "a client dialled six ports of the virtual IP that no listener names, and its UDP port 53, IPv4 and IPv6; the backends serve two of them",
      held: "0 of 14 reached a backend; the published port served 40 of 40",
      saw: "a time-out",
    };
  });

  fault(47, plane.label, async () => {
    const before = await switches();
    const answered: number[] = [];
    try {
      for (const value of [1, 2, 0]) {
        await plane.gateway.sh(`for i in /proc/sys/net/ipv4/conf/*/rp_filter; do echo ${value} >$i; done`);
        const set = await switches();
        await prepare();
        for (const sourceNat of ["none", "masquerade"]) {
          await apply([4], { sourceNat });
          answered.push(await served());
        }
        expect(await switches()).toBe(set);
        // Whose source lies behind the other interface, strict filtering drops, and we do not prevent it.
        const forged = await rule(plane.gateway.namespace, "forward", `ip saddr ${plane.backends[1]}`);
        await plane.lab.client.namespace.sh(
          `ip addr add ${plane.backends[1]}/32 dev lo; ip rule add from ${plane.backends[1]} lookup ${100 + plane.gateway.index}`,
        );
        await plane.lab.client.connect({ to: VIP, from: plane.backends[1]!, port: 80, timeout: 100 });
        await plane.lab.client.namespace.sh(
          `ip addr del ${plane.backends[1]}/32 dev lo; ip rule del from ${plane.backends[1]}`,
        );
        expect((await forged.end()) > 0, `rp_filter ${value}`).toBe(value !== 1);
      }
    } finally {
      await plane.gateway.sh("for i in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$i; done");
    }
    expect(await switches()).toBe(before);
    expect(answered).toEqual([20, 20, 20, 20, 20, 20]);
    return {
      done: "rp_filter was strict, loose and off on all interfaces while farms came, with and without source NAT, and a client forged a backend's address",
      held: "120 of 120 connections were served, the switches stayed as they were set, and strict filtering dropped the forged packets before any rule",
      saw: "nothing",
    };
  });

  fault(48, plane.label, async () => {
    const before = await switches();
    await prepare();
    await apply([4]);
    expect(await switches()).toBe(before);
    expect(before).toMatch(/^all\/route_localnet:0$/m);
    await expect(plane.apply({ backends: [{ address: "127.0.0.1" }] }, "local")).rejects.toThrow(/loopback/);
    // A set that no compiler wrote leads there, and the gateway itself finds it; who comes from outside is a martian to the kernel.
    await plane.gateway.traffic.serve({ tcp: [80] });
    const [only] = plane.backends;
    const listeners = [{ address: VIP, protocol: "tcp" as const, port: 80 }];
    const { ruleSet } = compile("web", { listeners, backends: [{ address: only! }] }, plane.target);
    const forged = ruleSet.replaceAll(only!, "127.0.0.1");
    await plane.gateway.sh(applyCommand("web", ownerOf(plane.gateway), forged, { sudo: false }), {
      input: forged,
    });
    expect((await plane.gateway.connect({ to: VIP, port: 80 })).counts).toEqual({ "127.0.0.1": 1 });
    const { lost } = await plane.connect({ count: 10, timeout: 200 });
    expect(lost).toBe(10);
    return {
      done: "a farm named 127.0.0.1 as a backend; then a set with such a backend was given to the tool past the compiler",
      held: "the farm was refused in the preview; with the set, route_localnet stayed 0 and none of 10 clients reached what listens there",
      saw: "127.0.0.1 is a loopback address: only the machine itself can reach it",
    };
  });

  fault(49, plane.label, async () => {
    const forwarding = async () =>
      (await plane.gateway.sh("cat /proc/sys/net/ipv6/conf/all/forwarding")).trim();
    const states: string[] = [];
    const look = async (what: string) => void states.push(`${what} ${await forwarding()}`);
    await prepare();
    await look("prepared");
    await apply([4]);
    await look("an IPv4 farm");
    await apply([4, 6]);
    await look("an IPv6 listener");
    const { sent, arrived } = await strays(plane, 6, 43_050 + 100 * plane.gateway.index);
    expect(sent).toBeGreaterThanOrEqual(STRAYS);
    expect(arrived).toBe(0);
    expect(await served(6)).toBe(20);
    await apply([4]);
    await look("without it");
    await apply([4, 6]);
    await plane.remove();
    await look("without the farm");
    expect(states).toEqual([
      "prepared 0",
      "an IPv4 farm 0",
      "an IPv6 listener 1",
      "without it 0",
      "without the farm 0",
    ]);
    return {
      done: "farms with and without an IPv6 listener came and left; beside them a client sent strays to a backend's IPv6 address",
      held: `IPv6 was forwarded only while a farm listened there (${states.join(", ")}), and none of ${sent} strays passed`,
      saw: "nothing",
    };
  });
});
