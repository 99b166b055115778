import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { compile, type FarmSpec, type TargetSpec } from "../../src/core";
import { Machine, OWNER } from "./support";

/** What a farm learns, counts and looks up in: objects of nftables, sets of ipset. */

const NFTABLES: TargetSpec = { dataPlane: "nftables" };
const IPTABLES: TargetSpec = { dataPlane: "iptables" };

/** A farm that has one of everything. */
const spec: FarmSpec = {
  listeners: [
    { address: "203.0.113.10", protocol: "tcp", port: 21 },
    { address: "2001:db8::10", protocol: "tcp", port: 80 },
  ],
  backends: [
    { address: "10.0.0.3", mark: 3, maxConnections: 10 },
    { address: "10.0.0.4", mark: 4 },
    { address: "2001:db8:1::3", mark: 0x63 },
    { address: "2001:db8:1::4", mark: 0x64 },
  ],
  affinity: { by: "sourceIp", timeoutSeconds: 300 },
  limits: { maxConnections: 100, newConnectionsPerSecond: 50, perSource: { newConnectionsPerSecond: 5 } },
  allow: ["192.0.2.0/24", "198.51.100.7", "2001:db8:2::/64"],
  deny: ["192.0.2.66", "2001:db8:2::66"],
  log: {},
  sourceNat: "auto",
};

/** Its IPv4 half. */
const half: FarmSpec = {
  ...spec,
  listeners: spec.listeners.slice(0, 1),
  backends: spec.backends.slice(0, 2),
  allow: ["192.0.2.0/24"],
  deny: ["192.0.2.66"],
  helper: "ftp",
};
const heavier = spec.backends.map((backend, i) => ({ ...backend, weight: i + 1 }));

let machine: Machine;
afterEach(() => machine.end());

async function apply(farm: FarmSpec, target: TargetSpec, name = "web"): Promise<void> {
  const outcome = await machine.apply(name, compile(name, farm, target).ruleSet);
  expect(outcome).toEqual({ code: 0, stdout: `applied: farm ${name}\n`, stderr: "" });
}

const inStep = async () => expect(await machine.tool(["verify"])).toMatchObject({ code: 0, stderr: "" });

/** The machine has seen these clients: address and mark. */
async function remember(target: TargetSpec, clients: readonly (readonly [string, number])[]): Promise<void> {
  for (const [address, mark] of clients) {
    const six = address.includes(":");
    const map = `${six ? "ip6" : "ip"} netfilter_lb web.affinity.source.65536`;
    await machine.sh(
      target === NFTABLES
        ? `nft 'add element ${map} { ${address} timeout 300s : ${mark} }'`
        : `ipset add NFLB-web.${mark.toString(16)} ${address}`,
    );
  }
}

async function remembered(target: TargetSpec): Promise<string[]> {
  if (target === NFTABLES) {
    const lists = ["ip", "ip6"].map(
      (family) => `nft list map ${family} netfilter_lb web.affinity.source.65536 2>/dev/null || :`,
    );
    const text = await machine.sh(lists.join("; "));
    return [...text.matchAll(/([\w.:]+) timeout \S+ expires \S+ : 0x([0-9a-f]+)/g)]
      .map(([, address, mark]) => `${address} ${Number.parseInt(mark ?? "", 16)}`)
      .sort();
  }
  const text = await machine.sh("ipset save");
  return [...text.matchAll(/^add NFLB-web\.([0-9a-f]+) (\S+) timeout/gm)]
    .map(([, mark, address]) => `${address} ${Number.parseInt(mark ?? "", 16)}`)
    .sort();
}

const CLIENTS = [
  ["192.0.2.1", 3],
  ["192.0.2.2", 4],
  ["2001:db8:2::1", 0x63],
  ["2001:db8:2::2", 0x64],
] as const;
const ALL = CLIENTS.map((client) => client.join(" "));

const VARIANTS = [
  ["nftables", NFTABLES, { shell: ["dash"], iptables: "nft" }],
  ["nftables under busybox", NFTABLES, { shell: ["busybox", "ash"], iptables: "nft" }],
  ["iptables-nft", IPTABLES, { shell: ["dash"], iptables: "nft" }],
  ["iptables-legacy under busybox", IPTABLES, { shell: ["busybox", "ash"], iptables: "legacy" }],
] as const;

describe.each(VARIANTS)("%s", (_label, target, variant) => {
  beforeEach(async () => {
    machine = await Machine.start(variant);
  });

  test("what a farm has learned outlives its changes, and goes with it", async () => {
    await apply(spec, target);
    await inStep();
    await remember(target, CLIENTS);
    await inStep();
    await apply({ ...spec, backends: heavier, deny: ["192.0.2.64/26"], log: { prefix: "w" } }, target);
    expect(await remembered(target)).toEqual(ALL);
    await inStep();
    await apply(half, target);
    expect(await remembered(target)).toEqual(ALL.slice(0, 2));
    await inStep();
    await machine.tool(["retire", "--owner", OWNER]);
    expect(await kept()).toEqual([""]);
  });

  test("the clients of a backend that left are forgotten, those of one that drains are not", async () => {
    await apply(spec, target);
    await remember(target, CLIENTS);
    const drained = spec.backends.map((backend) =>
      backend.mark === 4 ? { ...backend, state: "drain" as const } : backend,
    );
    await apply({ ...spec, backends: drained }, target);
    expect(await remembered(target)).toEqual(ALL);
    await apply({ ...spec, backends: spec.backends.filter(({ mark }) => mark !== 4) }, target);
    expect(await remembered(target)).toEqual(ALL.filter((client) => !client.endsWith(" 4")));
    const down = spec.backends.map((backend) =>
      backend.mark === 0x63 ? { ...backend, state: "down" as const } : backend,
    );
    await apply({ ...spec, backends: down }, target);
    expect(await remembered(target)).toEqual(["192.0.2.1 3", "2001:db8:2::2 100"]);
    await inStep();
  });

  test("another time-out takes along what was learned, another key does not", async () => {
    await apply(spec, target);
    await remember(target, CLIENTS);
    await apply({ ...spec, affinity: { by: "sourceIp", timeoutSeconds: 600 } }, target);
    expect(await remembered(target)).toEqual(ALL);
    await inStep();
    await apply({ ...spec, affinity: { by: "destinationIp", timeoutSeconds: 600 } }, target);
    expect(await remembered(target)).toEqual([]);
    await inStep();
  });

  test("what was flushed comes back, at boot too", async () => {
    await apply(spec, target);
    await apply(
      { ...half, listeners: [{ address: "203.0.113.11", protocol: "tcp", port: 21 }] },
      target,
      "other",
    );
    const good = await kept();
    await machine.sh(
      "nft flush ruleset; for t in raw mangle nat filter; do iptables -t $t -F; iptables -t $t -X; done",
    );
    await machine.sh(
      "for t in raw mangle nat filter; do ip6tables -t $t -F; ip6tables -t $t -X; done; ipset destroy",
    );
    expect(await machine.tool(["verify"])).toMatchObject({ code: 7 });
    expect(await machine.tool(["restore"])).toMatchObject({ code: 0, stderr: "" });
    await inStep();
    expect(await kept()).toEqual(good);
  });

  test("a change that the kernel refuses leaves all as it was", async () => {
    await apply(spec, target);
    await remember(target, CLIENTS);
    const good = await kept();
    const { ruleSet } = compile(
      "web",
      { ...spec, deny: ["192.0.2.64/26"], limits: { maxConnections: 7 } },
      target,
    );
    const bad =
      target === NFTABLES
        ? ruleSet.replace("\tchain web.farm {\n", "\tchain web.farm {\n\t\tgoto web.farm.nowhere\n")
        : ruleSet.replace("-A NFLB-web ", "-A NFLB-web -j NFLB-web.nowhere\n-A NFLB-web ");
    expect(bad).not.toBe(ruleSet);
    const outcome = await machine.apply("web", bad);
    expect([1, 6]).toContain(outcome.code);
    expect(outcome.stderr).toMatch(/the last good set stays in force/);
    expect(await kept()).toEqual(good);
    expect(await remembered(target)).toEqual(ALL);
    await inStep();
  });

  test("killed at any moment the next apply converges, and nothing is left over", async () => {
    const { limits: _, ...unlimited } = spec;
    const other = {
      ...unlimited,
      deny: ["192.0.2.64/26"],
      backends: heavier.slice(1, 3),
      log: { prefix: "w" },
    };
    const sets = [spec, other].map((farm) => compile("web", farm, target).ruleSet);
    const states: string[][] = [];
    let whole = 0;
    for (const set of sets) {
      const began = performance.now();
      expect(await machine.apply("web", set)).toMatchObject({ code: 0 });
      whole = performance.now() - began;
      states.push(await kept());
    }
    let random = 1;
    for (let round = 0; round < 8; round++) {
      random = (random * 48271) % 2147483647;
      await machine.killedApply("web", sets[round % 2] ?? "", (random / 2147483647) * whole);
      const now = round % 4 < 2 ? round % 2 : 1 - (round % 2);
      expect(await machine.apply("web", sets[now] ?? "")).toMatchObject({ code: 0, stderr: "" });
      expect(await kept()).toEqual(states[now]);
      await inStep();
    }
  });

  test("what was edited by hand is found and repaired, and nothing else is lost", async () => {
    await apply(spec, target);
    await remember(target, CLIENTS);
    const good = await kept();
    await machine.sh(
      target === NFTABLES
        ? `chain=$(nft list table ip netfilter_lb | grep -o 'goto web\\.[0-9a-f]*' | head -n 1 | cut -d ' ' -f 2)
           nft flush chain ip netfilter_lb $chain; nft flush chain ip netfilter_lb $chain.chosen
           nft delete set ip netfilter_lb web.counters; nft delete set ip netfilter_lb web.connections.100
           nft 'add set ip netfilter_lb web.counters { type mark; size 5; }; add set ip netfilter_lb web.theirs { type mark; }'`
        : `ipset add NFLB-web.deny 192.0.2.77; ipset del NFLB-web.allow 198.51.100.7
           ipset create NFLB-web.beef hash:ip; ipset create theirs hash:ip`,
    );
    const found = await machine.tool(["verify", "web"]);
    expect(found.code).toBe(7);
    if (target === NFTABLES) {
      expect(found.stdout).toMatch(
        /^\+ web ip set web\.counters set web\.counters \{ type mark; size 5; \}$/m,
      );
      expect(found.stdout).toMatch(/^- web ip set web\.connections\.100 set web\.connections\.100 /m);
      expect(found.stdout).toMatch(/^\+ web ip set web\.theirs /m);
    } else {
      expect(found.stdout).toMatch(/^\+ web ip set NFLB-web\.deny add NFLB-web\.deny 192\.0\.2\.77$/m);
      expect(found.stdout).toMatch(/^- web ip set NFLB-web\.allow add NFLB-web\.allow 198\.51\.100\.7$/m);
      expect(found.stdout).toMatch(/^\+ web ip set NFLB-web\.beef create /m);
    }
    expect(await machine.tool(["restore"])).toMatchObject({ code: 0, stderr: "" });
    await inStep();
    expect(await remembered(target)).toEqual(ALL);
    if (target !== NFTABLES) await machine.sh("ipset destroy theirs");
    expect(await kept()).toEqual(good);
  });
});

/** What is there of ours in any order, without what was learned and what the kernel drew. */
async function kept(): Promise<string[]> {
  const text = await machine.sh(`
    for f in ip ip6; do nft -s list table $f netfilter_lb 2>/dev/null; done
    for t in iptables ip6tables; do $t-save | grep NFLB | sed 's/\\[[0-9:]*\\]//'; done
    ipset save | sed -e 's/ hashsize.*maxelem/ maxelem/' -e 's/ bucketsize.*//' -e '/^add .* timeout/d' | sort`);
  return text
    .replace(/\t\telements = \{ [\d.a-f:]+ timeout [^}]*\}\n/g, "")
    .trim()
    .split("\n")
    .sort();
}

describe("from one data plane to the other", () => {
  test("nothing is left behind", async () => {
    machine = await Machine.start();
    for (const target of [NFTABLES, IPTABLES, NFTABLES]) {
      await apply(spec, target);
      await inStep();
      const sets = await machine.sh("ipset list -n");
      expect(sets === "").toBe(target === NFTABLES);
    }
  });
});

describe("a gateway without ipset", () => {
  test("is told where a farm needs it, and serves those that do not", async () => {
    machine = await Machine.start({ hide: ["ipset"] });
    const outcome = await machine.apply("web", compile("web", spec, IPTABLES).ruleSet);
    expect(outcome).toEqual({
      code: 6,
      stdout: "",
      stderr: "netfilter-lb: ipset is not installed here: install the package ipset and run this again\n",
    });
    await apply({ listeners: spec.listeners, backends: spec.backends }, IPTABLES);
    await inStep();
    await apply(spec, NFTABLES);
    await inStep();
  });

  test("is told so at boot too", async () => {
    machine = await Machine.start();
    await apply(spec, IPTABLES);
    await machine.sh("mount --bind /dev/null $(command -v ipset)");
    const outcome = await machine.tool(["restore"]);
    expect(outcome).toMatchObject({ code: 6, stderr: expect.stringContaining("install the package ipset") });
    await machine.sh("umount $(readlink -f /usr/sbin/ipset)");
    expect(await machine.tool(["restore"])).toMatchObject({ code: 0, stderr: "" });
    await inStep();
  });
});

test("a list of thousands is applied, changed and verified", async () => {
  machine = await Machine.start();
  const networks = (count: number) =>
    Array.from({ length: count }, (_, i) => `100.${64 + (i >> 8)}.${i & 255}.0/25`);
  for (const target of [IPTABLES, NFTABLES]) {
    const listeners = [{ address: "203.0.113.10", protocol: "tcp" as const, port: 80 }];
    const backends = spec.backends.slice(0, 2);
    await apply({ listeners, backends, deny: networks(10_000) }, target);
    await apply({ listeners, backends, deny: networks(9_999) }, target);
    await inStep();
  }
});
