import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import { ALL, addressOf, eachPlane, type Plane, VIP } from "../traffic/plane";
import { arrivals } from "../traffic/spy";
import { Watch } from "../traffic/watch";
import { fault, sweep } from "./fault";
import { foreignRules, plantForeignRules } from "./foreign";

/** More than a gateway has room for: connection tracking that is full, and SYNs that nobody means. */

eachPlane({ planes: ALL, backends: 2, serve: { tcp: [80], udp: [53] } }, (plane) => {
  // Which rules drop differs little, and a quarter of a million flows take their time.
  if (["nftables", "iptables-nft"].includes(plane.label)) fault(36, plane.label, () => full(plane), 120_000);

  fault(37, plane.label, async () => {
    const flooders = plane.clients(500);
    const honest = plane.clients(50, { first: 1000 });
    const count = sweep(3000, 20_000);
    await plane.apply();
    const held = await plane.hold();
    const watch = await Watch.start(plane.gateway, [VIP]);
    await watch.expectOnly(plane.backends);
    const flooded = await flood(plane, flooders, count, honest);
    expect(addressOf(await held.ask())).toBe(addressOf(held.first));
    expect(flooded.honest).toEqual({ lost: 0 });
    // Without a limit each of them is an entry, until it times out.
    expect(flooded.entries).toBeGreaterThan(count / 2);
    let limited = "";
    if (plane.label !== "zevenet") {
      const limits = { perSource: { newConnectionsPerSecond: 1, burst: 2 } };
      await plane.apply({ limits });
      await plane.gateway.sh(
        "conntrack -D -p tcp --state SYN_SENT 2>/dev/null; conntrack -D -p tcp --state SYN_RECV 2>/dev/null; :",
      );
      const began = performance.now();
      const again = await flood(plane, flooders, count, honest);
      const allowed = flooders.length * (2 + Math.ceil((performance.now() - began) / 1000));
      expect(again.entries).toBeLessThanOrEqual(allowed);
      expect(again.entries).toBeGreaterThan(0);
      expect(again.honest).toEqual({ lost: 0 });
      expect(addressOf(await held.ask())).toBe(addressOf(held.first));
      limited =
        `; with limits.perSource (one a second, burst 2) ${again.entries} of as many had an entry, and ${honest.length} of ` +
        `${honest.length} honest clients were served`;
    }
    const { input, forward, output, stray } = await watch.end();
    expect({ input, forward, output, stray }).toEqual({ input: 0, forward: 0, output: 0, stray: 0 });
    expect(await plane.gateway.sh("netfilter-lb verify")).toContain("in step");
    return {
      done: `${count} SYNs from ${flooders.length} addresses that never answer, while ${honest.length} honest clients dial`,
      held:
        `without a limit ${flooded.entries} had an entry in connection tracking, ${honest.length} of ${honest.length} honest ` +
        `clients were served, the open connection went on, and no packet passed untranslated${limited}`,
      saw: "nothing",
    };
  });
});

async function full(plane: Plane) {
  const foreign = await plantForeignRules(plane.gateway);
  await plane.apply();
  const watch = await Watch.start(plane.gateway, [VIP]);
  await watch.expectOnly(plane.backends);

  // Of flows that nobody answered the kernel gives one up for each that comes.
  await fill(plane, "");
  const unanswered = await plane.connect({ count: 200 });
  expect(unanswered.lost).toBe(0);
  await empty(plane);

  // Filling takes longer than connection tracking remembers a flow of UDP by default.
  await plane.gateway.sh("sysctl -qw net.netfilter.nf_conntrack_udp_timeout_stream=600");
  const open = [await plane.hold(), await plane.hold({ protocol: "udp" })];
  // After two seconds of both ways the kernel takes a flow of UDP for assured, and no longer gives it up for others.
  await delay(2500);
  for (const one of open) await one.ask();
  const most = await fill(plane, "SEEN_REPLY,ASSURED");
  for (const protocol of ["tcp", "udp"] as const)
    expect((await plane.connect({ protocol, count: 20, timeout: 500 })).failures).toEqual({ timeout: 20 });
  const said = await plane.gateway.sh("netfilter-lb status");
  const warning = said.split("\n").find((line) => line.includes("connection tracking holds"));
  expect(warning).toBeDefined();
  // A change goes in all the same.
  await plane.apply({ sourceNat: "masquerade" });
  expect(await plane.gateway.sh("netfilter-lb verify")).toContain("in step");
  for (const one of open) expect(addressOf(await one.ask())).toBe(addressOf(one.first));

  await empty(plane);
  const after = await plane.connect({ count: 50 });
  expect(after.lost).toBe(0);
  expect(await plane.gateway.sh("netfilter-lb status")).not.toContain("connection tracking holds");
  const { input, forward, output, stray } = await watch.end();
  expect({ input, forward, output, stray }).toEqual({ input: 0, forward: 0, output: 0, stray: 0 });
  expect(await foreignRules(plane.gateway)).toBe(foreign);
  return {
    done: `connection tracking filled up with ${most} flows: first with ones that nobody answered, then with answered ones`,
    held:
      `${unanswered.answers.length} of 200 new connections were served while it was full of unanswered flows; full of answered ` +
      "ones, 0 of 40 were served, none of their packets passed untranslated, and 2 of 2 open connections went on, through a " +
      `change of the farm too; ${after.answers.length} of 50 were served once there was room`,
    saw: `netfilter-lb status: ${warning}`,
  };
}

const FILL = "192.0.2.77";

/**
 * Fills connection tracking with flows of UDP that nobody has. @param status as conntrack(8) knows it, after `-u`
 * @returns how many it holds at most
 */
async function fill(plane: Plane, status: string): Promise<number> {
  const read = async (name: string) =>
    Number(await plane.gateway.sh(`cat /proc/sys/net/netfilter/nf_conntrack_${name}`));
  const most = await read("max");
  // 16 million flows; in parts, since conntrack(8) reads a file into memory.
  const part = 65_536;
  for (let first = 0; (await read("count")) < most; first += part) {
    const lines = `awk 'BEGIN { for (i = ${first}; i < ${first + part}; i++) {
      from = "10." int(i / 65536) "." int(i / 256) % 256 "." i % 256
      print "-A -t 600 -p udp -s " from " -d ${FILL} --sport 9 --dport 9 -r ${FILL} -q " from \\
        " --reply-port-src 9 --reply-port-dst 9${status && ` -u ${status}`}" } }'`;
    // The last part fails where the table is full.
    await plane.gateway.sh(`${lines} >/run/flows; conntrack -R /run/flows >/dev/null 2>&1; rm /run/flows`);
    expect(first / part, "connection tracking does not fill up").toBeLessThan(255);
  }
  return most;
}

async function empty(plane: Plane): Promise<void> {
  await plane.gateway.sh("conntrack -F 2>/dev/null");
}

/** SYNs whose senders drop every answer, and clients that mean it. */
async function flood(plane: Plane, flooders: readonly string[], count: number, honest: readonly string[]) {
  const { client } = plane.lab;
  await client.sh(`nft 'table ip flood { chain input { type filter hook input priority 0
    ip saddr ${VIP} ip daddr ${flooders[0]}-${flooders.at(-1)} drop; }; }'`);
  const syns = await arrivals(
    plane.gateway.namespace,
    `ip saddr ${flooders[0]}-${flooders.at(-1)} tcp flags syn`,
  );
  try {
    const [, served] = await Promise.all([
      plane.connect({ fromEach: flooders, count, concurrency: 1000, timeout: 300 }),
      plane.connect({ fromEach: honest, concurrency: 5 }),
    ]);
    const entries = await plane.gateway.sh(
      "(conntrack -L -p tcp --state SYN_SENT; conntrack -L -p tcp --state SYN_RECV) 2>/dev/null | wc -l",
    );
    expect(await syns.end()).toBeGreaterThanOrEqual(count);
    return { entries: Number(entries), honest: { lost: served.lost } };
  } finally {
    await client.sh("nft delete table ip flood");
  }
}
