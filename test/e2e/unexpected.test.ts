import { beforeAll, describe, expect, it } from "vitest";
import type { Engine } from "../support/engine/engine";
import type { PulumiStack } from "../support/engine/stack";
import type { Gateway, Lab } from "../support/lab";
import {
  counts,
  EVEN,
  edge,
  type FarmData,
  farm,
  leftovers,
  rewrite,
  stackOf,
  underTraffic,
  useScene,
  VIP,
} from "./support";

/** What people do with an engine that nobody has in mind when writing a component. */

let lab: Lab;
let engine: Engine;
let gateway: Gateway;

useScene({ backends: 3 }, (scene) => {
  ({ lab, engine, gateway } = scene);
});

async function urnOf(stack: PulumiStack, name: string): Promise<string> {
  return (await stack.resources()).map(({ urn }) => urn).find((urn) => urn.endsWith(`::${name}`))!;
}

describe("a stack with an odd name", () => {
  const farms = (): FarmData[] => [farm("web", [edge(gateway)])];
  let stack: PulumiStack;

  beforeAll(async () => {
    stack = await stackOf(engine, farms(), [gateway], { stack: "dev_1.2-x", project: "My.Project_2-b" });
    await stack.up();
  });

  it("is whom the gateway knows as the owner", async () => {
    expect(await gateway.sh("netfilter-lb list")).toBe("web My.Project_2-b/dev_1.2-x/edge-1 nftables\n");
    expect(await counts(lab, 10)).toEqual(EVEN);
  });

  it("finds nothing to do in a refresh, and dials nobody for it", async () => {
    const dials = gateway.sshConnections;
    const { stdout } = await stack.refresh();
    expect(stdout).not.toMatch(/updated|deleted/);
    expect(gateway.sshConnections).toBe(dials);
    await stack.up();
    expect(gateway.sshConnections).toBe(dials);
  });

  it.each([
    { name: "web-edge-1", how: "--target-replace" },
    { name: "netfilter-lb-edge-1", how: "--target-replace" },
    { name: "netfilter-lb-edge-1", how: "taint" },
  ])("serves after $name was replaced by force ($how)", async ({ name, how }) => {
    const urn = await urnOf(stack, name);
    if (how === "taint") await stack.run(["state", "taint", urn, "--yes", "--stack", stack.name]);
    const args = how === "taint" ? [] : ["--target-replace", urn, "--target-dependents"];
    expect((await stack.up({ args })).stdout).toMatch(/replaced/);
    expect(await counts(lab, 10)).toEqual(EVEN);
    expect(await gateway.sh("netfilter-lb verify")).toContain("in step: all farms");
    expect((await stack.up()).stdout).not.toMatch(/created|updated|replaced/);
  });

  it("goes on from a state that was taken out and put back", async () => {
    const state = await stack.exportState();
    const dials = gateway.sshConnections;
    await stack.importState(state);
    await stack.up();
    expect(gateway.sshConnections).toBe(dials);
  });

  it("repairs with the next change what somebody broke by hand", async () => {
    await gateway.sh("nft delete table ip netfilter_lb; echo 0 >/proc/sys/net/ipv4/ip_forward");
    await stack.up();
    expect(await lab.client.connect({ to: VIP, port: 80, timeout: 300 })).toMatchObject({ lost: 1 });
    await gateway.sh("netfilter-lb restore");
    expect(await counts(lab, 10)).toEqual(EVEN);

    await gateway.sh("nft delete table ip netfilter_lb");
    await rewrite(stack, [{ ...farms()[0]!, backends: [{ address: "192.0.2.3" }] }]);
    await stack.up();
    expect(await counts(lab, 10)).toEqual({ "192.0.2.3": 10 });
    expect(await gateway.sh("netfilter-lb verify")).toContain("in step: all farms");
  });

  it("adopts a gateway whose state was lost, under the same name", async () => {
    const again = await stackOf(engine, farms(), [gateway], { stack: stack.name, project: "My.Project_2-b" });
    await underTraffic(lab, () => again.up());
    expect(await counts(lab, 10)).toEqual(EVEN);
    await again.destroy();
    expect(await leftovers(gateway)).toBe("");
  });

  it("is destroyed though the gateway was cleaned by hand", async () => {
    await stack.destroy();
    expect(await stack.resources()).toEqual([]);
    expect(await leftovers(gateway)).toBe("");
  });
});

describe("addresses that only another resource knows", () => {
  const program = (address: string) => `
    import * as command from "@pulumi/command";
    import * as pulumi from "@pulumi/pulumi";
    import { LoadBalancerFarm } from "pulumi-netfilter-lb";
    const machine = new command.local.Command("machine", { create: "echo ${address}", logging: "none" });
    const connection = {
      ...${JSON.stringify({ ...gateway.connection, privateKey: undefined })},
      privateKey: new pulumi.Config("keys").requireSecret("edge-1"),
    };
    const web = new LoadBalancerFarm("web", {
      gateways: [{ name: "edge-1", dataPlane: "nftables", connection }],
      listeners: [{ address: "${VIP}", protocol: "tcp", port: 80 }],
      backends: [{ address: "192.0.2.1" }, { address: machine.stdout }],
      algorithm: "roundRobin",
    });
    export const shares = web.shares;
  `;
  let stack: PulumiStack;

  it("are unknown in the preview, and there in the end", async () => {
    stack = await engine.project(
      { "index.ts": program("192.0.2.2") },
      { secrets: { "keys:edge-1": gateway.connection.privateKey } },
    );
    const dials = gateway.sshConnections;
    await stack.preview({ diff: true });
    expect(gateway.sshConnections).toBe(dials);
    await stack.up();
    expect(await stack.outputs()).toEqual({ shares: { "192.0.2.1": 0.5, "192.0.2.2": 0.5 } });
    expect(await counts(lab, 10)).toEqual(EVEN);
  });

  it("fail with the same words as plain ones where they are none", async () => {
    await stack.write({ "index.ts": program("not-an-address") });
    const { output } = await stack.up({ fails: true });
    expect(output).toContain("backends[1].address");
    expect(output).not.toMatch(/\n\s+at /);
    expect(await counts(lab, 10)).toEqual(EVEN);
    await stack.destroy();
    expect(await leftovers(gateway)).toBe("");
  });
});

it("carries fifty farms of one program, and touches one for a change of one", async () => {
  const farms = (weight: number) =>
    Array.from({ length: 50 }, (_, i) =>
      farm(`farm-${i}`, [edge(gateway, { dataPlane: i % 2 === 0 ? "nftables" : "iptables" })], {
        listeners: [{ address: `203.0.113.${100 + i}`, protocol: "tcp", port: 80 }],
        backends: [{ address: "192.0.2.1", weight: i === 30 ? weight : 1 }, { address: "192.0.2.2" }],
      }),
    );
  // One gateway is described once: the second data plane has a name of its own.
  const named = (weight: number) =>
    farms(weight).map((each) => ({
      ...each,
      gateways: each.gateways.map((it) => ({ ...it, name: `edge-1-${it.dataPlane}` })),
    }));
  const stack = await stackOf(engine, named(1), [gateway], { stack: "fifty" });
  await stack.up();
  expect((await gateway.sh("netfilter-lb list")).trim().split("\n")).toHaveLength(50);
  for (const i of [0, 17, 49]) expect(await counts(lab, 10, { to: `203.0.113.${100 + i}` })).toEqual(EVEN);

  const dials = gateway.sshConnections;
  await rewrite(stack, named(4));
  await underTraffic(lab, () => stack.up(), { to: "203.0.113.131" });
  expect(gateway.sshConnections).toBe(dials + 1);
  expect(await counts(lab, 10, { to: "203.0.113.130" })).toEqual({ "192.0.2.1": 8, "192.0.2.2": 2 });
  expect(await gateway.sh("netfilter-lb verify")).toContain("in step: all farms");
  await stack.destroy();
  expect(await leftovers(gateway)).toBe("");
});
