import { afterEach, describe, expect, test } from "vitest";
import { compile, type FarmSpec } from "../../src/core";
import { TARGETS } from "../support/farms";
import { Machine, OWNER } from "./support";

/** What `netfilter-lb status` says of backends. */

let machine: Machine;
afterEach(() => machine.end());

const spec: FarmSpec = {
  listeners: [
    { address: "203.0.113.10", protocol: "udp", ports: "53,5000-5010" },
    { address: "2001:db8::10", protocol: "udp", port: 53 },
  ],
  backends: [
    { address: "10.0.0.3", weight: 3 },
    { address: "10.0.0.4", port: 5353 },
    { address: "10.0.0.5", state: "drain" },
    { address: "10.0.0.6", state: "down" },
    { address: "10.0.0.7", priority: 1 },
    { address: "2001:db8:1::3", mark: 0xfffffff3 },
  ],
};

interface Backend {
  key: string;
  mark: string;
  role: string;
  shareWanted: { numerator: number; denominator: number };
  connections: number | null;
  shareMeasured: number | null;
  live: number | null;
  packets: number | null;
  bytes: number | null;
}

async function start(hide: readonly string[] = [], iptables: "nft" | "legacy" = "nft"): Promise<void> {
  machine = await Machine.start({ hide, iptables });
  await machine.sh(`
    ip link add out type veth peer name wire; ip link set out up; ip link set wire up
    ip addr add 10.0.0.1/24 dev out; ip route add default via 10.0.0.254 dev out
    ip -6 addr add 2001:db8:1::1/64 dev out nodad; ip -6 route add default via 2001:db8:1::ff dev out
    for n in 3 4 5 254; do ip neigh add 10.0.0.$n lladdr 02:00:00:00:00:03 dev out; done
    for n in 3 ff; do ip neigh add 2001:db8:1::$n lladdr 02:00:00:00:00:03 dev out; done
    echo 1 >/proc/sys/net/netfilter/nf_conntrack_acct`);
}

/** Each from a port of its own, since a second datagram from the same one is no new connection. */
async function send(count: number, address: string, port: number): Promise<void> {
  const script = `
    const sockets = Array.from({ length: ${count} }, () => require("node:dgram").createSocket("udp${address.includes(":") ? 6 : 4}"));
    Promise.all(sockets.map((socket) => new Promise((sent) => socket.send("ping\\n", ${port}, "${address}", sent))))
      .then(() => sockets.forEach((socket) => socket.close()));`;
  expect(await machine.running.run([process.execPath, "-e", script])).toMatchObject({ code: 0, stderr: "" });
}

async function backendsOf(farm: string): Promise<Backend[]> {
  const { code, stdout, stderr } = await machine.tool(["status", "--json", farm]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const { farms } = JSON.parse(stdout) as { farms: { name: string; backends: Backend[] }[] };
  expect(farms.map(({ name }) => name)).toEqual([farm]);
  return farms[0]?.backends ?? [];
}

const sum = (backends: readonly Backend[], field: "connections" | "live" | "packets" | "bytes") =>
  backends.reduce((total, backend) => total + (backend[field] ?? 0), 0);

describe.each(TARGETS)("%s", (_, target) => {
  test("each backend's role, share, connections and traffic", async () => {
    await start();
    const name = "A1-2";
    expect(await machine.apply(name, compile(name, spec, target).ruleSet)).toMatchObject({ code: 0 });
    const other: FarmSpec = {
      listeners: [{ address: "203.0.113.10", protocol: "udp", port: 54 }],
      backends: [{ address: "10.0.0.3" }],
    };
    expect(await machine.apply("other", compile("other", other, target).ruleSet)).toMatchObject({ code: 0 });
    expect(sum(await backendsOf(name), "connections")).toBe(0);

    await send(30, "203.0.113.10", 53);
    await send(10, "203.0.113.10", 5007);
    await send(5, "203.0.113.10", 54);
    await send(7, "2001:db8::10", 53);
    const backends = await backendsOf(name);
    expect(backends.map(({ key, role, shareWanted }) => [key, role, shareWanted])).toEqual([
      ["10.0.0.3", "active", { numerator: 3, denominator: 4 }],
      ["10.0.0.4:5353", "active", { numerator: 1, denominator: 4 }],
      ["10.0.0.5", "drain", { numerator: 0, denominator: 4 }],
      ["10.0.0.7", "standby", { numerator: 0, denominator: 4 }],
      ["2001:db8:1::3", "active", { numerator: 1, denominator: 1 }],
    ]);
    const [first, second, third, fourth, six] = backends as [Backend, Backend, Backend, Backend, Backend];
    for (const field of ["connections", "live", "packets"] as const) {
      expect(sum(backends.slice(0, 2), field)).toBe(40);
      expect([third[field], fourth[field], six[field]]).toEqual([0, 0, 7]);
    }
    expect(first.connections).toBe(first.live);
    expect(first.bytes).toBe((first.packets ?? 0) * (20 + 8 + 5));
    expect(first.shareMeasured).toBeCloseTo((first.connections ?? 0) / 40, 3);
    expect([second.mark, six.mark, six.shareMeasured]).toEqual([
      expect.stringMatching(/^0x/),
      "0xfffffff3",
      1,
    ]);
    expect(sum(await backendsOf("other"), "connections")).toBe(5);

    const { stdout } = await machine.tool(["status", name]);
    expect(stdout).toMatch(
      new RegExp(`\\nBACKENDS OF ${name} +ROLE +SHARE +MEASURED +CONNECTIONS +LIVE +PACKETS +BYTES\\n`),
    );
    expect(stdout).toMatch(/\n10\.0\.0\.7 +standby +0\.00 % +0\.00 % +0 +0 +0 +0\n/);
    expect(stdout).toMatch(/\n2001:db8:1::3 +active +100\.00 % +100\.00 % +7 +7 +7 +371\n/);
    expect(stdout).not.toMatch(/other|sysctl/);
    expect((await machine.tool(["status"])).stdout).toMatch(/\nBACKENDS OF other /);
  });
});

describe.each([
  ["nftables", "nft", { dataPlane: "nftables" }, 6],
  ["iptables-nft", "nft", { dataPlane: "iptables" }, 3],
  ["iptables-legacy", "legacy", { dataPlane: "iptables" }, 3],
] as const)("%s", (_, iptables, target, expected) => {
  test("counters go on over a change of another farm, and of this one in sets; those of rules begin anew", async () => {
    await start([], iptables);
    const other = { listeners: [{ address: "203.0.113.11", protocol: "udp", port: 53 } as const] };
    const apply = async (name: string, farm: FarmSpec) =>
      expect(await machine.apply(name, compile(name, farm, target).ruleSet)).toMatchObject({ code: 0 });
    await apply("web", spec);
    await send(3, "203.0.113.10", 53);
    await apply("other", { ...other, backends: spec.backends.slice(0, 1) });
    await apply("other", { ...other, backends: spec.backends.slice(0, 2) });
    expect(sum(await backendsOf("web"), "connections")).toBe(3);
    await apply("web", { ...spec, algorithm: "roundRobin" });
    await send(3, "203.0.113.10", 53);
    expect(sum(await backendsOf("web"), "connections")).toBe(expected);
    expect(sum(await backendsOf("web"), "live")).toBe(6);
  });
});

test("what is not known is said so", async () => {
  await start();
  await machine.sh("echo 0 >/proc/sys/net/netfilter/nf_conntrack_acct");
  await machine.apply("web", compile("web", spec, { dataPlane: "nftables" }).ruleSet);
  await send(2, "203.0.113.10", 53);
  const [backend] = await backendsOf("web");
  expect(backend).toMatchObject({ packets: null, bytes: null, live: expect.any(Number) });
  expect((await machine.tool(["status"])).stdout).toMatch(
    /- +-\n\npackets and bytes .*: sysctl -w net\.netfilter\.nf_conntrack_acct=1\n$/,
  );
  await machine.sh("nft flush ruleset");
  expect((await backendsOf("web"))[0]).toMatchObject({ connections: null, shareMeasured: null });
  await machine.sh("sed -i '/^# backend /d' /etc/netfilter-lb/farms/web.rules");
  expect(await backendsOf("web")).toEqual([]);
  expect((await machine.tool(["status"])).stdout).not.toContain("BACKENDS");
});

test("without conntrack the package is named", async () => {
  await start(["conntrack"]);
  await machine.apply("web", compile("web", spec, { dataPlane: "iptables" }).ruleSet);
  expect((await backendsOf("web"))[0]).toMatchObject({ connections: 0, live: null, packets: null });
  expect((await machine.tool(["status"])).stdout).toMatch(
    /\n\nlive connections.*install the package conntrack\n$/,
  );
});

test("one farm, and none of that name", async () => {
  machine = await Machine.start();
  await machine.apply("web", compile("web", spec, { dataPlane: "nftables" }).ruleSet);
  const outcome = await machine.tool(["status", "db"]);
  expect(outcome).toEqual({
    code: 1,
    stdout: "",
    stderr: "netfilter-lb: farm db is not stored here: netfilter-lb list names those that are\n",
  });
  expect(await machine.tool(["list"])).toMatchObject({ stdout: `web ${OWNER} nftables\n` });
});
