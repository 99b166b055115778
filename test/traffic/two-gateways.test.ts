import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FarmSpec, TargetSpec } from "../../src/core";
import { applyFarm, installTool } from "../support/farms";
import { Lab } from "../support/lab";
import { crowdBlock } from "../support/lab/addresses";
import { VIP } from "./plane";

/** Two gateways that share nothing but the farm choose the same backend for the same packet: 10,000 flows, one by one. */

const FLOWS = 10_000;

const WAYS: readonly (readonly ["nft" | "legacy", string, TargetSpec])[] = [
  ["nft", "nftables", { dataPlane: "nftables" }],
  ["nft", "iptables-nft", { dataPlane: "iptables" }],
  ["legacy", "iptables-legacy", { dataPlane: "iptables" }],
];

describe.each(WAYS)("%s: %s", (iptables, _, target) => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await Lab.create({ gateways: ["one", "two"].map((name) => ({ name, iptables })), backends: 7 });
    for (const name of ["one", "two"]) await installTool(lab.gateway(name));
    await lab.backends.serve({ udp: [53] });
  });
  afterAll(() => lab?.close());

  it.each(["flowHash", "sourceHash"] as const)("%s", async (algorithm) => {
    const spec: FarmSpec = {
      listeners: [{ address: VIP, protocol: "udp", port: 53 }],
      // Neither the order in which somebody wrote them nor what the other gateway did before may count.
      backends: lab.backends4.map((address, i) => ({ address, weight: 1 + (i % 3) })),
      algorithm,
    };
    await applyFarm(lab.gateway("one"), "web", spec, target);
    await applyFarm(lab.gateway("two"), "web", { ...spec, backends: [...spec.backends].reverse() }, target);

    const one = await flows();
    await throughTheOther();
    const two = await flows();
    await throughTheOther(false);

    const changed = [...one].filter(([flow, backend]) => two.get(flow) !== backend);
    expect(changed).toEqual([]);
    expect(new Set(one.values()).size).toBe(7);
    // It was the other gateway indeed.
    const tracked = await lab.gateway("two").sh("conntrack -C");
    expect(Number(tracked)).toBeGreaterThanOrEqual(FLOWS);
    // The backends remember too, by which gateway they answer.
    for (const host of [lab.gateway("one"), lab.gateway("two"), lab.backends])
      await host.sh("conntrack -F 2>/dev/null");
  });

  /** Each flow with the backend that answered it. */
  async function flows(): Promise<Map<string, string>> {
    const { answers, lost, failures } = await lab.client.connect({
      to: VIP,
      port: 53,
      protocol: "udp",
      count: FLOWS,
      fromEach: lab.clientAddresses("one", 1009),
      firstPort: 20_000,
    });
    expect(lost, JSON.stringify(failures)).toBe(0);
    return new Map(answers.map(({ source, sourcePort, address }) => [`${source}:${sourcePort}`, address]));
  }

  /** Sends what clients of the first gateway say through the second one. */
  async function throughTheOther(yes = true): Promise<void> {
    await lab.client.sh(`ip rule ${yes ? "add" : "del"} pref 10 from ${crowdBlock(0, 4)} lookup 101`);
  }
});
