import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Engine, ROOT } from "../support/engine/engine";
import type { PulumiStack } from "../support/engine/stack";
import type { Gateway, Lab } from "../support/lab";
import { counts, gatewaySettings, leftovers, useScene } from "./support";

/** The examples that choose by more than a draw: taken up, given traffic, changed by configuration, and away again. */

const DATA_PLANES = ["nftables", "iptables"];
const MACHINES = ["10.0.0.3", "10.0.0.4", "10.0.0.5"];
const SORRY = "10.0.0.6";

let lab: Lab;
let engine: Engine;

useScene(
  { gateways: ["edge-1", "edge-2"], backends: [...MACHINES, SORRY], serve: { tcp: [80, 53], udp: [53] } },
  (scene) => {
    ({ lab, engine } = scene);
  },
);

async function example(name: string, gateways: Gateway[], dataPlane: string): Promise<PulumiStack> {
  const settings = gateways.map((gateway) => gatewaySettings(gateway, { dataPlane }));
  return await engine.project(join(ROOT, "examples", name), {
    config: Object.assign({}, ...settings.map(({ config }) => config)),
    secrets: Object.assign({}, ...settings.map(({ secrets }) => secrets)),
    transpileOnly: true,
  });
}

describe.each(DATA_PLANES)("on %s", (dataPlane) => {
  it("maintenance drains a machine, takes it down, and says sorry in the end", async () => {
    const gateway = lab.gateway("edge-1");
    const stack = await example("maintenance", [gateway], dataPlane);
    await stack.up();
    expect((await stack.outputs<{ shares: object }>()).shares).toEqual({
      ...Object.fromEntries(MACHINES.map((address) => [address, 1 / 3])),
      [SORRY]: 0,
    });

    const shop = { to: "203.0.113.40", port: 80 };
    const known = await only(shop);
    const held = await lab.client.open(shop);
    expect(held.first).toMatchObject({ address: known, source: lab.clientAddress("edge-1") });

    // Its customers stay, nobody comes.
    await stack.configure({ [known]: "drain" });
    await stack.up();
    expect(await only(shop)).toBe(known);
    const strangers = await counts(lab, 60, { ...shop, fromEach: lab.clientAddresses("edge-1", 60) });
    expect(strangers).not.toHaveProperty(known);
    expect(await held.ask()).toMatchObject({ address: known });

    // Out at once: the customer finds another machine, and what was established is cut.
    await stack.configure({ [known]: "down" });
    await stack.up();
    const next = await only(shop);
    expect(MACHINES.filter((address) => address !== known)).toContain(next);
    expect(await held.ask(1000)).toEqual({ failure: "timeout" });
    await held.close();

    await stack.configure(Object.fromEntries(MACHINES.map((address) => [address, "down"])));
    await stack.up();
    expect(await only(shop)).toBe(SORRY);

    await stack.destroy();
    expect(await leftovers(gateway)).toBe("");
  });

  it("resolvers behind two gateways agree on a client's network", async () => {
    const gateways = ["edge-1", "edge-2"].map((name) => lab.gateway(name));
    const stack = await example("resolvers", gateways, dataPlane);
    await stack.up();
    const found = new Set<string>();
    // Both are of 198.51.100.0/24.
    for (const from of ["edge-1", "edge-2"].map((name) => lab.clientAddress(name)))
      for (const protocol of ["udp", "tcp"] as const)
        found.add(await only({ to: "203.0.113.53", port: 53, protocol, from }));
    expect(found.size).toBe(1);

    // 198.18.0.0/15 is on no list.
    const stranger = {
      to: "203.0.113.53",
      port: 53,
      from: lab.clientAddresses("edge-1", 1)[0]!,
      timeout: 300,
    };
    expect(await lab.client.connect(stranger)).toMatchObject({ lost: 1 });
    await stack.destroy();
    for (const gateway of gateways) expect(await leftovers(gateway)).toBe("");
  });
});

/** The one backend that twenty connections of a client find. */
async function only(flow: {
  to: string;
  port: number;
  protocol?: "tcp" | "udp";
  from?: string;
}): Promise<string> {
  const seen = Object.keys(await counts(lab, 20, flow));
  expect(seen).toHaveLength(1);
  return seen[0]!;
}
