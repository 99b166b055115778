import { afterEach, describe, expect, test } from "vitest";
import { compile, type FarmSpec, type TargetSpec } from "../../src/core";
import { Machine } from "./support";

/** A farm that turns from serving to refusing and back, under load: no packet passes untranslated at any moment. */

const ROUNDS = Number(process.env.RELOADS ?? 4);

const VIP = "203.0.113.10";
const serving: FarmSpec = {
  listeners: [
    { address: VIP, protocol: "tcp", port: 80 },
    { address: VIP, protocol: "udp", ports: "1000-2000" },
  ],
  backends: [{ address: "10.0.0.3" }, { address: "10.0.0.4" }],
};
const down = serving.backends.map((backend) => ({ ...backend, state: "down" as const }));
const refusing: FarmSpec = { ...serving, backends: down };
const silent: FarmSpec = { ...refusing, whenEmpty: "drop" };

const NFTABLES: TargetSpec = { dataPlane: "nftables" };
const NAT: TargetSpec = { dataPlane: "iptables" };
const ZEVENET: TargetSpec = { dataPlane: "iptables", layout: "zevenet" };

let machine: Machine;
afterEach(() => machine.end());

/** By port too: the gateway's own connections to an address that it has come from there, and so their answers go there. */
const UNTRANSLATED = `ip daddr ${VIP} meta l4proto { tcp, udp } th dport { 80, 1000-2000 }`;

/** Each datagram and each SYN is a connection of its own. */
const FLOOD = `
const dgram = require("node:dgram"), net = require("node:net");
const round = (n) => {
  for (let i = 0; i < 20; i++) {
    const socket = dgram.createSocket("udp4").on("error", () => {});
    socket.send("x", 1000 + ((n * 20 + i) % 1001), "${VIP}", () => socket.close());
  }
  const socket = net.connect(80, "${VIP}").on("error", () => {});
  setTimeout(() => socket.destroy(), 20);
  setTimeout(round, 2, n + 1);
};
round(0);`;

/** A client at one side, the backends at the other, and someone who counts what passes by the farm. */
async function start(iptables: "nft" | "legacy", owned: boolean): Promise<void> {
  machine = await Machine.start({ iptables });
  await machine.sh(`
    unshare -n sleep 1000 >/dev/null 2>&1 & client=$!; echo $client >/run/client; sleep 0.5
    ip link add in type veth peer name in netns $client
    nsenter -t $client -n sh -c 'ip link set lo up; ip addr add 198.51.100.2/24 dev in; ip link set in up; ip route add default via 198.51.100.1'
    ip link add out type veth peer name wire
    for i in in out wire; do ip link set $i up; done
    ip addr add 198.51.100.1/24 dev in; ip addr add 10.0.0.1/24 dev out; ip route add default via 10.0.0.254 dev out
    for n in 3 4 254; do ip neigh add 10.0.0.$n lladdr 02:00:00:00:00:03 dev out; done
    ${owned ? `ip addr add ${VIP}/32 dev lo` : ""}
    echo 1 >/proc/sys/net/ipv4/ip_forward
    nft 'table ip watch {
      counter leaked { }
      counter served { }
      chain input { type filter hook input priority 300; ${UNTRANSLATED} counter name leaked; }
      chain output { type filter hook output priority 300; ${UNTRANSLATED} counter name leaked; }
      chain forward {
        type filter hook forward priority 300
        ${UNTRANSLATED} counter name leaked
        ip daddr 10.0.0.0/24 counter name served
      }
    }'`);
}

async function flood(): Promise<void> {
  const script = `${process.execPath} - </run/flood >/dev/null 2>&1 &`;
  await machine.sh(`cat >/run/flood; ${script} nsenter -t $(cat /run/client) -n ${script}`, { input: FLOOD });
}

const counted = async (name: string) =>
  Number(/packets (\d+)/.exec(await machine.sh(`nft list counter ip watch ${name}`))?.[1]);

describe.each([
  ["nftables", "nft", [NFTABLES]],
  ["iptables-nft", "nft", [NAT]],
  ["iptables-legacy", "legacy", [NAT]],
  ["layout zevenet", "nft", [ZEVENET]],
  ["one data plane and the other", "nft", [NFTABLES, NAT, ZEVENET]],
] as const)("%s", (_, iptables, targets) => {
  test.each([
    ["is the gateway's own", true],
    ["is routed on", false],
  ])("the virtual IP %s", async (_label, owned) => {
    await start(iptables, owned);
    const apply = async (spec: FarmSpec, target: TargetSpec) =>
      expect(await machine.apply("web", compile("web", spec, target).ruleSet)).toMatchObject({
        code: 0,
        stdout: "applied: farm web\n",
      });
    await flood();
    await expect.poll(() => counted("leaked")).toBeGreaterThan(0);
    await apply(serving, targets[0]);
    await machine.sh("sleep 0.1; nft reset counters table ip watch");
    let turn = 0;
    for (let round = 0; round < ROUNDS; round++)
      for (const spec of [refusing, serving, silent, refusing, silent, serving])
        await apply(spec, targets[turn++ % targets.length] ?? NFTABLES);
    expect(await counted("leaked")).toBe(0);
    expect(await counted("served")).toBeGreaterThan(100);
  });
});
