import { describe, expect, it } from "vitest";
import { fault } from "../faults/fault";
import type { Engine } from "../support/engine/engine";
import type { PulumiStack } from "../support/engine/stack";
import type { Gateway, Lab } from "../support/lab";
import {
  counts,
  edge,
  everything,
  type FarmData,
  farm,
  leftovers,
  rewrite,
  stackOf,
  useScene,
  VIP,
} from "./support";

/** What a user gets wrong: one clear message, and the gateway as it was. */

const IPTABLES = [
  "iptables",
  "iptables-restore",
  "iptables-save",
  "ip6tables",
  "ip6tables-restore",
  "ip6tables-save",
];

let lab: Lab;
let engine: Engine;
let gateway: Gateway;

useScene(
  { gateways: ["edge-1", { name: "no-nft", hide: ["nft"] }, { name: "no-iptables", hide: IPTABLES }] },
  (scene) => {
    ({ lab, engine, gateway } = scene);
  },
);

async function newStack(farms: readonly FarmData[], stack?: string): Promise<PulumiStack> {
  const gateways = ["edge-1", "no-nft", "no-iptables"].map((name) => lab.gateway(name));
  return await stackOf(engine, farms, gateways, stack === undefined ? {} : { stack });
}

/** Goes up in vain. @returns the lines that say why: those of the resource that failed, without the engine's frame */
async function fail(stack: PulumiStack): Promise<string> {
  const { output } = await stack.up({ fails: true });
  return output.slice(output.indexOf("Diagnostics:"), output.indexOf("Resources:"));
}

describe("reaching a gateway", () => {
  it("keeps what is there while a gateway cannot be reached, and converges after", async () => {
    const at = (weight: number) =>
      farm("web", [edge(gateway, {}, { ...gateway.connection, dialErrorLimit: 1 })], {
        backends: [{ address: "192.0.2.1", weight }, { address: "192.0.2.2" }],
      });
    const stack = await newStack([at(1)]);
    await stack.up();
    await rewrite(stack, [at(4)]);
    await gateway.ssh.stop();
    try {
      expect(await fail(stack)).toMatch(/refused/);
      expect(await counts(lab, 10)).toEqual({ "192.0.2.1": 5, "192.0.2.2": 5 });
    } finally {
      await gateway.ssh.start();
    }
    await stack.up();
    expect(await counts(lab, 10)).toEqual({ "192.0.2.1": 8, "192.0.2.2": 2 });
    await stack.destroy();
    expect(await leftovers(gateway)).toBe("");
  });

  it.each([
    {
      name: "no-nft",
      dataPlane: "nftables",
      said: "nft is not installed here: install the package nftables",
    },
    {
      name: "no-iptables",
      dataPlane: "iptables",
      said: "iptables-restore is not installed here: install the package iptables",
    },
  ] as const)("says what a gateway lacks ($name)", async ({ name, dataPlane, said }) => {
    const lacking = lab.gateway(name);
    const stack = await newStack([farm("web", [edge(lacking, { dataPlane })])]);
    const message = await fail(stack);
    expect(message).toContain(said);
    expect(message.split(said)).toHaveLength(2);
    await stack.destroy();
    expect(await leftovers(lacking)).toBe("");
    // The other data plane is all it needs.
    await rewrite(stack, [
      farm("web", [edge(lacking, { dataPlane: dataPlane === "nftables" ? "iptables" : "nftables" })]),
    ]);
    await stack.up();
    expect(await counts(lab, 2, { from: lab.clientAddress(name) })).toEqual({
      "192.0.2.1": 1,
      "192.0.2.2": 1,
    });
    await stack.destroy();
    expect(await leftovers(lacking)).toBe("");
  });
});

describe("rights", () => {
  it.each([
    { user: "stranger", sudo: true, said: /sudo: a password is required/ },
    {
      user: "nobody-special",
      sudo: false,
      said: /nobody-special is not root here: log in as root, or set sudo: true/,
    },
  ])("refuses a user without rights ($user)", async ({ user, sudo, said }) => {
    const before = await everything(gateway);
    const connection = await gateway.addUser(user);
    const stack = await newStack([farm("web", [edge(gateway, { sudo }, connection)])]);
    expect(await fail(stack)).toMatch(said);
    expect(await everything(gateway)).toBe(before);
  });

  it("works by sudo", async () => {
    const connection = await gateway.addUser("ops", "ALL=(ALL) NOPASSWD: ALL");
    const stack = await newStack([farm("web", [edge(gateway, { sudo: true }, connection)])]);
    await stack.up();
    expect(await counts(lab, 10)).toEqual({ "192.0.2.1": 5, "192.0.2.2": 5 });
    await stack.destroy();
    expect(await leftovers(gateway)).toBe("");
  });
});

describe("two that want the same", () => {
  fault(
    29,
    "two stacks, by pulumi",
    async () => {
      const first = await newStack([farm("web", [edge(gateway)])], "first");
      await first.up();
      const before = await everything(gateway);
      const second = await newStack(
        [farm("shop", [edge(gateway)], { backends: [{ address: "192.0.2.2" }] })],
        "second",
      );
      const refused = await fail(second);
      expect(refused).toContain(
        `farm web of program/first/edge-1 already claims the service ${VIP} tcp 80, which overlaps ${VIP} tcp 80 of farm shop`,
      );
      await rewrite(second, [
        farm("web", [edge(gateway)], { listeners: [{ address: VIP, protocol: "tcp", port: 81 }] }),
      ]);
      expect(await fail(second)).toContain(
        "farm web on this gateway belongs to program/first/edge-1, not to program/second/edge-1: give this one another name",
      );
      expect(await counts(lab, 10)).toEqual({ "192.0.2.1": 5, "192.0.2.2": 5 });

      // Going away, the second takes nothing of the first along.
      await second.destroy();
      expect(await everything(gateway)).toBe(before);
      await first.destroy();
      expect(await leftovers(gateway)).toBe("");
      return {
        done: "a second stack's up with a farm at the same address and port, then with a farm of the same name; then its destroy",
        held: "both were refused; 10 of 10 connections found the first farm's backends, by turns; all on the gateway byte for byte the same",
        saw: /farm web of program[^\n]*/.exec(refused)![0],
      };
    },
    240_000,
  );

  fault(
    29,
    "two farms of one program",
    async () => {
      const stack = await newStack([
        farm("web", [edge(gateway)]),
        farm("shop", [edge(gateway)], { listeners: [{ address: VIP, protocol: "tcp", ports: "79-81" }] }),
      ]);
      const dials = gateway.sshConnections;
      const { output } = await stack.preview({ fails: true });
      expect(output).toMatch(
        /farm (web|shop) and farm (shop|web) both claim 203\.0\.113\.10 tcp .* on gateway edge-1/,
      );
      expect(output).not.toMatch(/\n\s+at /);
      expect(gateway.sshConnections).toBe(dials);
      return {
        done: "pulumi preview of a program whose second farm has a range of ports around the first one's",
        held: "refused in the preview, and no gateway was dialled",
        saw: /farm \w+ and farm \w+ both claim[^\n]*/.exec(output)![0],
      };
    },
    240_000,
  );

  it("refuses two descriptions of one gateway, in the preview", async () => {
    const stack = await newStack([
      farm("web", [edge(gateway)]),
      farm("shop", [edge(gateway, { dataPlane: "iptables" })], {
        listeners: [{ address: VIP, protocol: "tcp", port: 81 }],
      }),
    ]);
    const { output } = await stack.preview({ fails: true });
    expect(output).toContain("farm shop and farm web describe gateway edge-1 differently (dataPlane)");
  });
});

describe("arguments", () => {
  it("refuses a listener that would catch SSH to the gateway", async () => {
    const stack = await newStack([
      farm("web", [edge(gateway, {}, { ...gateway.connection, host: VIP, port: 80 })]),
    ]);
    const { output } = await stack.preview({ fails: true });
    expect(output).toContain(`listeners[0]: ${VIP} tcp 80 catches SSH to this gateway (${VIP} tcp 80)`);
  });
});
