import { beforeAll, describe, expect, it } from "vitest";
import { fault } from "../faults/fault";
import type { Engine } from "../support/engine/engine";
import type { PulumiStack } from "../support/engine/stack";
import type { Gateway, Lab } from "../support/lab";
import type { HeldConnection } from "../support/traffic/host";
import {
  counts,
  EVEN,
  edge,
  everything,
  type FarmData,
  farm,
  type GatewayData,
  leftovers,
  rewrite,
  stackOf,
  underTraffic,
  useScene,
  VIP,
} from "./support";

/** Names, ports, machines and data planes change; connections go on, and nothing stays behind. */

let lab: Lab;
let engine: Engine;
let stack: PulumiStack;
let one: Gateway;
let two: Gateway;

useScene({ gateways: ["edge-1", "edge-2", "edge-3"], serve: { tcp: [80, 81] } }, async (scene) => {
  ({ lab, engine } = scene);
  [one, two] = [lab.gateway("edge-1"), lab.gateway("edge-2")];
  stack = await stackOf(engine, [], [one, two, lab.gateway("edge-3")]);
});

/** Goes up with these farms while connections come in. */
async function move(farms: readonly FarmData[]): Promise<string> {
  await rewrite(stack, farms);
  return (await underTraffic(lab, () => stack.up())).result.stdout;
}

async function list(gateway: Gateway): Promise<string[]> {
  return (await gateway.sh("netfilter-lb list")).trim().split("\n");
}

describe("on the same machine", () => {
  let held: HeldConnection;

  beforeAll(async () => {
    await rewrite(stack, [farm("web", [edge(one)])]);
    await stack.up();
    held = await lab.client.open({ to: VIP, port: 80 });
  });

  it("gives the gateway another name", async () => {
    await move([farm("web", [edge(one, { name: "front-door" })])]);
    expect(await list(one)).toEqual(["web program/test/front-door nftables"]);
    expect(await one.sh("ls /etc/netfilter-lb/stacks")).toBe("program,test,front-door\n");
    expect(await counts(lab, 10)).toEqual(EVEN);
  });

  it("reaches it at another port", async () => {
    await one.ssh.stop();
    await one.ssh.start({ port: 0 });
    const steps = (await stack.previewJson()).steps.filter(({ op }) => op !== "same");
    expect(steps).toEqual([]);
    await rewrite(stack, [farm("web", [edge(one, { name: "front-door" })])]);
    const changes = (await stack.previewJson()).steps.filter(({ op }) => op !== "same");
    expect(changes.map(({ op }) => op)).toEqual(["update", "update", "update"]);
    await move([farm("web", [edge(one, { name: "front-door" })])]);
    expect(await list(one)).toEqual(["web program/test/front-door nftables"]);
  });

  it("gives the farm another name", async () => {
    await move([farm("shop", [edge(one, { name: "front-door" })])]);
    expect(await list(one)).toEqual(["shop program/test/front-door nftables"]);
    expect(await one.sh("nft list table ip netfilter_lb")).not.toMatch(/\bweb\b/);
    expect(await counts(lab, 10)).toEqual(EVEN);
  });

  it.each([
    { dataPlane: "iptables" },
    { dataPlane: "iptables", layout: "zevenet" },
    { dataPlane: "nftables" },
    { dataPlane: "iptables", layout: "zevenet" },
    { dataPlane: "iptables", layout: "nat" },
    { dataPlane: "nftables" },
  ] as const)("moves it to $dataPlane $layout", async (target) => {
    await move([farm("shop", [edge(one, { name: "front-door", ...target })])]);
    const rules = await one.sh("nft list tables; iptables-save");
    expect(/netfilter_lb/.test(rules)).toBe(target.dataPlane === "nftables");
    expect(/NFLB-/.test(rules)).toBe(target.dataPlane === "iptables");
    expect(await one.sh("netfilter-lb verify")).toContain("in step");
    expect(await counts(lab, 10)).toEqual(EVEN);
  });

  it("moves a listener to another farm", async () => {
    const gateways = [edge(one, { name: "front-door" })];
    const at = (...ports: number[]) =>
      ports.map((port) => ({ address: VIP, protocol: "tcp", port }) as const);
    await move([
      farm("shop", gateways, { listeners: at(80, 81) }),
      farm("mail", gateways, { listeners: at(82) }),
    ]);
    await move([
      farm("mail", gateways, { listeners: at(82, 80), backends: [{ address: "192.0.2.2" }] }),
      farm("shop", gateways, { listeners: at(81), after: "mail" }),
    ]);
    expect(await counts(lab, 10)).toEqual({ "192.0.2.2": 10 });
    expect(await counts(lab, 10, { port: 81 })).toEqual(EVEN);
    expect(await one.sh("netfilter-lb verify")).toContain("in step");

    // All of it, so that nothing is left of the other farm.
    await move([farm("mail", gateways, { listeners: at(80, 81, 82) })]);
    expect(await list(one)).toEqual(["mail program/test/front-door nftables"]);
    expect(await counts(lab, 10, { port: 81 })).toEqual(EVEN);
  });

  it("has kept the connection that was open all the while", async () => {
    const { first } = held;
    expect(await held.ask()).toMatchObject({ address: (first as { address: string }).address });
    await held.close();
  });
});

describe("to other machines", () => {
  const dialTwo = () => counts(lab, 10, { from: lab.clientAddress("edge-2") });
  const at = (...gateways: GatewayData[]) => [farm("web", gateways)];

  it("sets a new machine up before it leaves the old one", async () => {
    await rewrite(stack, at(edge(one)));
    await stack.up();
    await rewrite(stack, at(edge(two)));
    const { stdout } = await stack.up();
    expect(stdout.search(/web-edge-2 created/)).toBeGreaterThan(0);
    expect(stdout.search(/web-edge-2 created/)).toBeLessThan(stdout.search(/web-edge-1 deleting/));
    expect(await leftovers(one)).toBe("");
    expect(await dialTwo()).toEqual(EVEN);
  });

  it("takes a gateway out of the list, and the others go on", async () => {
    await rewrite(stack, at(edge(two), edge(one)));
    await stack.up();
    expect(await counts(lab, 10)).toEqual(EVEN);
    await rewrite(stack, at(edge(two)));
    await underTraffic(lab, () => stack.up(), { from: lab.clientAddress("edge-2") });
    expect(await leftovers(one)).toBe("");
    expect(await dialTwo()).toEqual(EVEN);
  });

  it("shows where a gateway keeps its name but is another address", async () => {
    const elsewhere = edge(two, {}, { ...two.connection, host: "198.51.100.77" });
    await rewrite(stack, at(elsewhere));
    const { stdout } = await stack.preview({ diff: true });
    expect(stdout).toMatch(
      /edge-2\s*: "nftables, at 127\.0\.0\.1 port \d+" => "nftables, at 198\.51\.100\.77 port \d+"/,
    );
  });

  fault(
    24,
    "",
    async () => {
      const gateways = [one, two, lab.gateway("edge-3")];
      const quick = (gateway: Gateway) => edge(gateway, {}, { ...gateway.connection, dialErrorLimit: 1 });
      const only = (address: string) => [farm("web", gateways.map(quick), { backends: [{ address }] })];
      const served = async () => {
        const by = await Promise.all(
          gateways.map(({ name }) => counts(lab, 5, { from: lab.clientAddress(name) })),
        );
        return by.map((backends) => Object.keys(backends).join());
      };
      await rewrite(stack, only("192.0.2.1"));
      await stack.up();
      await one.ssh.stop();
      const before = await everything(one);
      await rewrite(stack, only("192.0.2.2"));
      const { output } = await stack.up({ fails: true });
      expect(output).toMatch(/web-edge-1 .*error/);
      expect(output).not.toMatch(/web-edge-[23] .*error/);
      const meanwhile = await served();
      expect(meanwhile).toEqual(["192.0.2.1", "192.0.2.2", "192.0.2.2"]);
      expect(await everything(one)).toBe(before);
      await one.ssh.start();
      await stack.up();
      expect(await served()).toEqual(["192.0.2.2", "192.0.2.2", "192.0.2.2"]);
      for (const gateway of gateways) expect(await gateway.sh("netfilter-lb verify")).toContain("in step");
      // The third one leaves again, for those who come after.
      await rewrite(stack, [farm("web", [edge(two), edge(one)])]);
      await stack.up();
      expect(await leftovers(gateways[2]!)).toBe("");
      return {
        done: "sshd of one of three gateways was stopped, then the farm's backend changed",
        held:
          "the two others changed, 10 of 10 connections by them found the new backend; the one that was down kept its old set, byte " +
          "for byte, and served 5 of 5; once it answered, the next up changed it, and only then all three agreed",
        saw: /[^\n]*(dial|connect)[^\n]*refused[^\n]*/.exec(output)?.[0].trim() ?? "",
      };
    },
    240_000,
  );

  it("lets a machine go that is lost, and never dials it", async () => {
    await rewrite(stack, at(edge(two), edge(one)));
    await stack.up();
    const lost = edge(two, { gone: true });
    const dials = two.sshConnections;
    // Along with another change, as it happens when a machine dies.
    await rewrite(stack, [farm("web", [lost, edge(one)], { backends: [{ address: "192.0.2.1" }] })]);
    await stack.up();
    expect(await counts(lab, 10)).toEqual({ "192.0.2.1": 10 });
    await two.ssh.stop();
    await rewrite(stack, at(lost, edge(one)));
    await stack.up();
    await rewrite(stack, at(edge(one)));
    await stack.up();
    expect((await stack.resources()).map(({ urn }) => urn.split("::").at(-1)).sort()).toEqual([
      "netfilter-lb-edge-1",
      "web",
      "web-edge-1",
    ]);
    await two.ssh.start();
    expect(two.sshConnections).toBe(dials);
  });

  it("leaves nothing behind in the end", async () => {
    await stack.destroy();
    expect(await leftovers(one)).toBe("");
  });
});

describe("to another stack", () => {
  it("is refused, and handed over without a gap; nothing stays behind", async () => {
    const farms = [farm("web", [edge(one)])];
    await rewrite(stack, farms);
    await stack.up();
    const next = await stackOf(engine, farms, [one], { stack: "next" });
    const { output } = await next.up({ fails: true });
    expect(output).toContain(
      "farm web on this gateway belongs to program/test/edge-1, not to program/next/edge-1",
    );

    await underTraffic(lab, async () => {
      await one.sh("netfilter-lb hand-over --owner program/test/edge-1 --to program/next/edge-1");
      await next.up();
      await stack.destroy();
    });
    expect(await list(one)).toEqual(["web program/next/edge-1 nftables"]);
    expect(await one.sh("ls /etc/netfilter-lb/stacks")).toBe("program,next,edge-1\n");
    expect(await one.sh("netfilter-lb verify")).toBe("in step: all farms\n");
    expect(await counts(lab, 10)).toEqual(EVEN);

    await next.destroy();
    expect(await leftovers(one)).toBe("");
  });
});
