import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Engine, ROOT } from "../support/engine/engine";
import type { PulumiStack } from "../support/engine/stack";
import type { Gateway, Lab } from "../support/lab";
import { chiSquareTest, firstUnfairWindow } from "../support/statistics";
import { counts, gatewaySettings, leftovers, useScene } from "./support";

/** Every program in examples/ but the quickstart, which has a file of its own: up, traffic, and away again. */

const DATA_PLANES = ["nftables", "iptables"];

let lab: Lab;
let engine: Engine;

useScene(
  {
    gateways: ["edge-1", "edge-2", { name: "by-eth1", front: "eth1", back: "eth0" }],
    backends: [
      ...[3, 4, 5, 6].map((host) => `10.0.0.${host}`),
      ...["10.0.1.7", "10.0.2.7"],
      ...["192.168.1.10", "192.168.1.11", "192.168.2.2", "192.168.2.3"],
    ],
    serve: { tcp: [80, 443, 8040], udp: [53] },
  },
  (scene) => {
    ({ lab, engine } = scene);
  },
);

/** The example on this gateway, which the program calls edge-1. */
async function example(name: string, gateway: Gateway, more: Record<string, string>): Promise<PulumiStack> {
  return await engine.project(join(ROOT, "examples", name), {
    ...gatewaySettings(gateway, more, "edge-1"),
    transpileOnly: true,
  });
}

/** Rules of a chain, in order, without the chain's name. */
async function chain(table: string, name: string): Promise<string[]> {
  const said = await lab.gateway().sh(`iptables -t ${table} -S ${name}`);
  return said
    .split("\n")
    .filter((line) => line.startsWith("-A "))
    .map((line) => line.slice(`-A ${name} `.length));
}

describe("zevenet", () => {
  const VIP = "192.168.101.250";
  const target = { to: VIP, port: 443 };

  it.each([
    { dataPlane: "iptables", layout: "zevenet" },
    { dataPlane: "iptables", layout: "nat" },
    { dataPlane: "nftables", layout: "nat" },
  ])("spreads by Zevenet's marks on $dataPlane $layout, in both modes", async ({ dataPlane, layout }) => {
    const gateway = lab.gateway();
    const stack = await example("zevenet", gateway, {
      dataPlane,
      ...(dataPlane === "iptables" && { layout }),
    });
    for (const mode of ["dnat", "nat"]) {
      await stack.configure({ mode });
      await stack.up();
      expect(await stack.outputs()).toEqual({
        marks: { "192.168.1.10:443": 0x20c, "192.168.1.11:443": 0x20d },
        probabilities: { "192.168.1.10:443": 0.5, "192.168.1.11:443": 1 },
      });
      const seen = await counts(lab, 400, target);
      const even = ["192.168.1.10", "192.168.1.11"].map((address) => seen[address] ?? 0);
      expect(chiSquareTest(even, [1, 1])).toBeGreaterThan(1e-6);
      const held = await lab.client.open(target);
      expect(held.first).toMatchObject({ source: mode === "nat" ? VIP : lab.clientAddress("edge-1") });
      const tracked = await gateway.sh(`conntrack -L -d ${VIP} 2>/dev/null | grep ESTABLISHED`);
      await held.close();
      expect([0x20c, 0x20d]).toContain(Number(/mark=(\d+)/.exec(tracked)![1]));
      if (layout === "zevenet") await checkZevenetRules(mode);
    }
    await stack.destroy();
    expect(await leftovers(gateway)).toBe("");
  });

  /** As a Zevenet appliance has them for this farm, behind the check for its address and port. */
  async function checkZevenetRules(mode: string): Promise<void> {
    expect(await chain("mangle", "NFLB-PREROUTING")).toEqual([
      `-d ${VIP}/32 -p tcp -m tcp --dport 443 -g NFLB-app`,
    ]);
    expect(await chain("mangle", "NFLB-app")).toEqual([
      "-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
      "-m conntrack --ctstate NEW -m mark --mark 0x0 -g NFLB-app.mark",
    ]);
    expect(await chain("mangle", "NFLB-app.mark")).toEqual([
      "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j DROP",
      ...[
        ["1.00000000000", "FARM_app_1_", "0x20d"],
        ["0.50000000000", "FARM_app_0_", "0x20c"],
      ].map(
        ([probability, comment, mark]) =>
          `-m statistic --mode random --probability ${probability} -m comment --comment ${comment} ` +
          `-j MARK --set-xmark ${mark}/0xffffffff`,
      ),
      "-m conntrack --ctstate NEW -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff",
    ]);
    expect(await chain("nat", "NFLB-PREROUTING")).toEqual([
      `-d ${VIP}/32 -p tcp -m tcp --dport 443 -g NFLB-app`,
    ]);
    expect(await chain("nat", "NFLB-app")).toEqual([
      "-p tcp -m mark --mark 0x20c -j DNAT --to-destination 192.168.1.10:443",
      "-p tcp -m mark --mark 0x20d -j DNAT --to-destination 192.168.1.11:443",
    ]);
    const translated = `-p tcp -m conntrack --ctstate DNAT --ctorigdst ${VIP} --ctorigdstport 443 -g NFLB-app.src`;
    if (mode === "dnat") return expect(await lab.gateway().sh("iptables -t nat -S")).not.toContain("SNAT");
    expect(await chain("nat", "NFLB-POSTROUTING")).toEqual([translated]);
    expect(await chain("nat", "NFLB-app.src")).toEqual([
      `-m mark --mark 0x20c -j SNAT --to-source ${VIP}`,
      `-m mark --mark 0x20d -j SNAT --to-source ${VIP}`,
    ]);
  }
});

describe.each([
  { name: "four-backends", on: "edge-1", vip: "203.0.113.10", net: "10.0.0.", hosts: [3, 4, 5, 6] },
  { name: "two-backends", on: "by-eth1", vip: "203.0.113.20", net: "192.168.2.", hosts: [2, 3] },
])("$name", ({ name, on, vip, net, hosts }) => {
  it.each(DATA_PLANES)(
    "serves what enters by the interface, in both algorithms, on %s",
    async (dataPlane) => {
      const gateway = lab.gateway(on);
      const target = { to: vip, port: 80, from: lab.clientAddress(on) };
      const backends = hosts.map((host) => `${net}${host}`);
      const stack = await example(name, gateway, { dataPlane });

      await stack.configure({ algorithm: "random" });
      await stack.up();
      expect(Object.values((await stack.outputs<{ shares: object }>()).shares)).toEqual(
        hosts.map(() => 1 / hosts.length),
      );
      const seen = await counts(lab, 500, target);
      const drawn = backends.map((address) => seen[address] ?? 0);
      expect(drawn.reduce((sum, count) => sum + count)).toBe(500);
      expect(
        chiSquareTest(
          drawn,
          hosts.map(() => 1),
        ),
      ).toBeGreaterThan(1e-6);

      await stack.configure({ algorithm: "roundRobin" });
      await stack.up();
      const { answers, lost } = await lab.client.connect({ ...target, count: 40, concurrency: 1 });
      expect(lost).toBe(0);
      const weights = Object.fromEntries(backends.map((address) => [address, 1]));
      expect(
        firstUnfairWindow(
          answers.map(({ address }) => address),
          weights,
        ),
      ).toBeUndefined();
      const masked = name === "four-backends";
      expect(answers.every(({ source }) => (source === target.from) !== masked)).toBe(true);

      // The gateway's own connections do not enter by that interface.
      expect(await gateway.connect({ to: vip, port: 80, timeout: 300 })).toMatchObject({ lost: 1 });
      await stack.destroy();
      expect(await leftovers(gateway)).toBe("");
    },
  );
});

it.each(DATA_PLANES)("two-gateways carries every farm on both, on %s", async (dataPlane) => {
  const first = gatewaySettings(lab.gateway("edge-1"), { dataPlane });
  const second = gatewaySettings(lab.gateway("edge-2"), { dataPlane });
  const stack = await engine.project(join(ROOT, "examples/two-gateways"), {
    config: { ...first.config, ...second.config },
    secrets: { ...first.secrets, ...second.secrets },
    transpileOnly: true,
  });
  // An address that is not known yet hides the rules, and fails nothing.
  expect((await stack.previewJson()).changeSummary).toMatchObject({ create: 13 });
  await stack.up();
  const share = { "10.0.0.3": 0.4, "10.0.0.4": 0.4, "10.0.0.5": 0.2 };
  expect(await stack.outputs()).toEqual({ shares: [share, share, share] });
  for (const name of ["edge-1", "edge-2"]) {
    const target = { to: "203.0.113.30", from: lab.clientAddress(name), count: 20, concurrency: 1 };
    for (const flow of [{ port: 443 }, { port: 8040 }, { port: 53, protocol: "udp" }] as const) {
      const { counts, lost } = await lab.client.connect({ ...target, ...flow });
      expect(lost).toBe(0);
      expect(counts).toEqual({ "10.0.0.3": 8, "10.0.0.4": 8, "10.0.0.5": 4 });
    }
  }
  await stack.destroy();
  for (const name of ["edge-1", "edge-2"]) expect(await leftovers(lab.gateway(name))).toBe("");
});

describe("many-farms", () => {
  it("spreads each tenant's connections over its two machines", async () => {
    const gateway = lab.gateway();
    const stack = await example("many-farms", gateway, {});
    await stack.up();
    expect(await gateway.sh("netfilter-lb list | wc -l")).toBe("200\n");
    const shares = await counts(lab, 200, { to: "203.0.113.40", port: 8007 });
    expect(Object.keys(shares).sort()).toEqual(["10.0.1.7", "10.0.2.7"]);
    expect(chiSquareTest(Object.values(shares), [1, 1])).toBeGreaterThan(1e-6);
    await stack.destroy();
    expect(await leftovers(gateway)).toBe("");
  });
});
