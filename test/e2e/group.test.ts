import { expect, it } from "vitest";
import { report } from "../../src/cli/report";
import type { BackendSpec, ListenerSpec } from "../../src/core";
import type { Engine } from "../support/engine/engine";
import type { PulumiStack } from "../support/engine/stack";
import type { Gateway, Lab } from "../support/lab";
import { counts, EVEN, edge, leftovers, underTraffic, useScene, VIP } from "./support";

/** Many farms of one gateway in one Command, with farms that stand alone beside it. */

let lab: Lab;
let engine: Engine;
let stack: PulumiStack;
let gateway: Gateway;

/** `grouped` in the group `all`, `alone` by themselves. The group gives a farm up before it, or after it. */
const PROGRAM = `
import { readFileSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import { LoadBalancerFarm, LoadBalancerFarms } from "pulumi-netfilter-lb";

const { gateway, grouped, alone } = JSON.parse(readFileSync("farms.json", "utf8"));
gateway.connection.privateKey = new pulumi.Config("keys").requireSecret("edge-1");
const gateways = [gateway];
const made = Object.entries<any>(alone).map(([name, farm]) => new LoadBalancerFarm(name, { ...farm, gateways }));
const group = Object.keys(grouped).length === 0
  ? undefined
  : new LoadBalancerFarms("all", { gateways, farms: grouped }, { dependsOn: made });
export const shares = group?.shares.apply(({ farm7 }) => farm7);
export const ruleSets = group?.ruleSets.apply(({ farm7 }) => farm7);
`;

interface Farm {
  listeners: ListenerSpec[];
  backends: BackendSpec[];
  algorithm: string;
}

const WEB: Farm = {
  listeners: [{ address: VIP, protocol: "tcp", port: 80 }],
  backends: [{ address: "192.0.2.1" }, { address: "192.0.2.2" }],
  algorithm: "roundRobin",
};

const FARMS = 150;

/** `farm0` to `farm149`, at ports of their own. */
const MANY: Record<string, Farm> = Object.fromEntries(
  Array.from({ length: FARMS }, (_, k) => [
    `farm${k}`,
    { ...WEB, listeners: [{ address: VIP, protocol: "tcp" as const, port: 1000 + k }] },
  ]),
);

const dataOf = (grouped: Record<string, Farm>, alone: Record<string, Farm> = {}) => ({
  "farms.json": JSON.stringify({ gateway: edge(gateway), grouped, alone }),
});

useScene({ gateways: ["edge-1"], serve: { tcp: [80, 1007] } }, async (scene) => {
  ({ lab, engine } = scene);
  gateway = lab.gateway();
  stack = await engine.project(
    { "Pulumi.yaml": "name: program\nruntime: nodejs\n", "index.ts": PROGRAM, ...dataOf(MANY, { web: WEB }) },
    { secrets: { "keys:edge-1": gateway.connection.privateKey } },
  );
});

const list = async () => (await gateway.sh("netfilter-lb list")).trim().split("\n");

/** Connections that an action makes to the gateway. */
async function dials(action: () => Promise<unknown>): Promise<number> {
  const before = gateway.ssh.accepted;
  await action();
  return gateway.ssh.accepted - before;
}

it("brings all farms in by one connection, beside the set-up and the farm that stands alone", async () => {
  expect(await dials(() => stack.up())).toBe(3);
  expect(await list()).toHaveLength(FARMS + 1);
  await gateway.sh("netfilter-lb verify");
  expect(await counts(lab, 10)).toEqual(EVEN);
  expect(await counts(lab, 10, { port: 1007 })).toEqual(EVEN);
  expect(await stack.outputs()).toEqual({
    shares: { "192.0.2.1": 0.5, "192.0.2.2": 0.5 },
    ruleSets: { "edge-1": expect.stringContaining("# farm farm7\n") },
  });
  expect(await dials(() => stack.up())).toBe(0);
});

it("shows a change of one farm in a few lines, and makes it by one connection, without a gap", async () => {
  const [first, second] = WEB.backends;
  const heavier = { ...MANY.farm7!, backends: [{ ...first!, weight: 3 }, second!] };
  await stack.write(dataOf({ ...MANY, farm7: heavier }, { web: WEB }));
  const { stdout } = await stack.preview({ diff: true });
  expect(stdout).toMatch(
    /^ *- farm7 at .* to 192\.0\.2\.1 \(0\.50\), 192\.0\.2\.2 \(0\.50\); roundRobin, none; rules \w{8}$/m,
  );
  expect(stdout).toMatch(
    /^ *\+ farm7 at .* to 192\.0\.2\.1 \(0\.75\), 192\.0\.2\.2 \(0\.25\); roundRobin, none; rules \w{8}$/m,
  );
  expect(stdout.split("\n").length).toBeLessThan(80);
  const said = report(JSON.stringify(await stack.previewJson()), false);
  expect(said.split("\n")[0]).toBe("farm7 on edge-1");
  expect(said).toContain("Backend 192.0.2.1: share 1/2 (50 %) → 3/4 (75 %).");
  expect(said).not.toMatch(/^farm[0-689]/m);

  const before = await gateway.sh("stat -c '%n %i %y' /etc/netfilter-lb/farms/*.rules");
  await underTraffic(lab, async () => expect(await dials(() => stack.up())).toBe(1), { port: 1007 });
  const after = (await gateway.sh("stat -c '%n %i %y' /etc/netfilter-lb/farms/*.rules")).split("\n");
  expect(before.split("\n").filter((line) => !after.includes(line))).toEqual([
    expect.stringContaining("/farm7.rules "),
  ]);
  expect(await counts(lab, 8, { port: 1007 })).toEqual({ "192.0.2.1": 6, "192.0.2.2": 2 });
});

it("takes a farm in that stood alone, and lets it go again, without a gap", async () => {
  await stack.write(dataOf({ ...MANY, web: WEB }));
  await underTraffic(lab, () => stack.up());
  expect(await list()).toHaveLength(FARMS + 1);
  expect(await gateway.sh("grep '^# group' /etc/netfilter-lb/farms/web.rules")).toBe("# group all\n");
  expect(await counts(lab, 10)).toEqual(EVEN);

  await stack.write(dataOf(MANY, { web: WEB }));
  await underTraffic(lab, () => stack.up());
  expect(await list()).toHaveLength(FARMS + 1);
  expect(await gateway.sh("grep '^# group' /etc/netfilter-lb/farms/web.rules || :")).toBe("");
  await gateway.sh("netfilter-lb verify");
});

it("leaves the farms alone that are not its own, and nothing behind", async () => {
  await stack.write(dataOf({}, { web: WEB }));
  await underTraffic(lab, () => stack.up());
  expect(await list()).toEqual(["web program/test/edge-1 nftables"]);
  await stack.destroy();
  expect(await leftovers(gateway)).toBe("");
});
