import { expect } from "vitest";
import type { FarmSpec } from "../../src/core";
import type { Family } from "../support/lab/addresses";
import { ALL, addressOf, eachPlane, type Plane, VIP, VIP6 } from "../traffic/plane";
import { arrivals } from "../traffic/spy";
import { fault, sweep } from "./fault";
import { foreignRules, plantForeignRules } from "./foreign";

/** Packets that a balancer of first packets meets on real networks: twins, fragments, narrow paths, ways back past it. */

const VIPS: Record<Family, string> = { 4: VIP, 6: VIP6 };
const FAMILIES = [4, 6] as const;

eachPlane({ planes: ALL, backends: 2, serve: { tcp: [80], udp: [53] } }, (plane) => {
  const apply = (more: Partial<FarmSpec> = {}) =>
    plane.apply({
      listeners: Object.values(VIPS).flatMap((address) => [
        { address, protocol: "tcp" as const, port: 80 },
        { address, protocol: "udp" as const, port: 53 },
      ]),
      backends: plane.lab.backendAddresses.map((address) => ({ address })),
      ...more,
    });
  const client = () => plane.lab.client;

  fault(41, plane.label, async () => {
    const pairs = sweep(200, 2000);
    const before = await clashes(plane);
    let toBoth = 0;
    for (const [n, algorithm] of (["random", "roundRobin"] as const).entries()) {
      await apply({ algorithm });
      const from = plane.clients(n + 1)[n]!;
      const answers = await client().askTwice({ to: VIP, port: 53, from, firstPort: 20_000, pairs });
      expect(answers.filter((both) => both.length !== 2)).toEqual([]);
      toBoth += answers.filter(([one, other]) => one !== other).length;
    }
    const met = (await clashes(plane)) - before;
    return {
      done: `${2 * pairs} pairs of DNS questions, each pair from one socket at one instant, drawn at random and in turns`,
      held:
        `${4 * pairs} of ${4 * pairs} questions were answered; ${met} pairs met in connection tracking before either had an ` +
        `entry, ${toBoth} were answered by two backends`,
      saw: "nothing",
    };
  });

  fault(43, plane.label, async () => {
    const foreign = await plantForeignRules(plane.gateway);
    const bytes = 4000;
    let datagrams = 0;
    let transfers = 0;
    let told = 0;
    for (const sourceNat of ["none", "masquerade"]) {
      await apply({ sourceNat });
      for (const family of FAMILIES) {
        const to = VIPS[family];
        const from = plane.clients(1, { family })[0]!;
        const udp = { to, from, bytes, protocol: "udp", count: 20 } as const;
        expect((await plane.connect(udp)).failures).toEqual({});
        datagrams += 2 * udp.count;

        // 100 kB there and 100 kB back, by a path that narrows only after the connection is there.
        const held = await plane.hold({ to, from, bytes: 100_000 });
        const server = addressOf(held.first);
        for (const where of ["before the backend", "before the client"] as const) {
          const tooBig = await tooBigAt(plane, family, where === "before the client" ? "backends" : "client");
          await using narrow = await narrowGateway(plane, family, where, server);
          expect(addressOf(await held.ask()), `${where}, ${sourceNat}, IPv${family}`).toBe(server);
          await narrow.end();
          told += await tooBig.end();
          transfers += 2;
        }
        await held.close();
      }
    }
    expect(told).toBeGreaterThanOrEqual(8);
    expect(await foreignRules(plane.gateway)).toBe(foreign);
    return {
      done:
        `datagrams of ${bytes} bytes in fragments, and 100 kB each way by TCP over a path that narrows to 1300 bytes before the ` +
        "backend, or before the client, IPv4 and IPv6, with sourceNat none and masquerade",
      held:
        `${datagrams} of ${datagrams} datagrams and ${transfers} of ${transfers} transfers arrived; ${told} "too big" ` +
        "messages of ICMP reached the end that had sent too much, and told it of an address that it knows",
      saw: "nothing",
    };
  });

  fault(44, plane.label, async () => {
    // A client for each way: what one of them dialled in vain, connection tracking remembers with the old way for two minutes, and a
    // port may come again.
    const clientOf = (family: Family, sourceNat: "none" | "masquerade") =>
      plane.clients(2, { family })[sourceNat === "none" ? 0 : 1]!;
    const saw = { new: new Set<string>(), open: new Set<string>() };
    const answered = { none: 0, after: 0, masquerade: 0 };
    for (const family of FAMILIES)
      for (const sourceNat of ["none", "masquerade"] as const) {
        await apply({ sourceNat });
        const from = clientOf(family, sourceNat);
        const dial = (timeout?: number) =>
          plane.connect({ to: VIPS[family], from, count: 10, ...(timeout && { timeout }) });
        const held = await plane.hold({ to: VIPS[family], from });
        {
          await using _ = await returnPast(plane, family, from);
          const { answers, failures } = await dial(sourceNat === "none" ? 700 : undefined);
          const still = addressOf(await held.ask(500));
          answered[sourceNat] += answers.length;
          if (sourceNat === "masquerade") expect(still).toBe(addressOf(held.first));
          else {
            for (const failure of Object.keys(failures)) saw.new.add(failure);
            saw.open.add(still);
          }
        }
        await held.close();
        if (sourceNat === "none") answered.after += (await dial()).answers.length;
      }
    expect(answered).toEqual({ none: 0, after: 20, masquerade: 20 });
    expect(await plane.gateway.sh("netfilter-lb verify")).toContain("in step");
    return {
      done: "the backends' answers take another router than the gateway, IPv4 and IPv6, new connections and open ones",
      held:
        "with sourceNat masquerade 20 of 20 new connections were answered and 2 of 2 open ones went on; with none, whose answers " +
        "must route back through the gateway, 0 of 20 were, and 20 of 20 as soon as the way back was right again",
      saw: `the client, with sourceNat none: new connections ${[...saw.new].join(", ")}; open ones ${[...saw.open].join(", ")}`,
    };
  });
});

/** Packets that connection tracking found to be of a flow that another packet had just begun. */
async function clashes(plane: Plane): Promise<number> {
  const text = await plane.gateway.sh("conntrack -S");
  return [...text.matchAll(/clash_resolve=(\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
}

const NARROW = "mtu lock 1300";

/** Counts the messages of "fragmentation needed" that reach one end. */
function tooBigAt(plane: Plane, family: Family, end: "client" | "backends") {
  const match = family === 4 ? "icmp type destination-unreachable icmp code 4" : "icmpv6 type packet-too-big";
  return arrivals(plane.lab[end].namespace, match);
}

/** What the gateway sends on is too long for the link. */
async function narrowGateway(
  plane: Plane,
  family: Family,
  where: "before the backend" | "before the client",
  backend: string,
) {
  const to = where === "before the backend" ? backend : plane.clients(1, { family })[0]!;
  const route = await plane.gateway.sh(`ip -${family} route get ${to}`);
  const [, via, dev] = /via (\S+) dev (\S+)/.exec(route)!;
  const whole = family === 4 ? `${to}/32` : `${to}/128`;
  const had = (await plane.gateway.sh(`ip -${family} route show ${whole}`)).trim();
  await plane.gateway.sh(`ip -${family} route replace ${whole} via ${via} dev ${dev} ${NARROW}`);
  let ended = false;
  const end = async () => {
    if (ended) return;
    ended = true;
    await plane.gateway.sh(
      had
        ? `ip -${family} route del ${whole} && ip -${family} route add ${had}`
        : `ip -${family} route del ${whole}`,
    );
    // What both ends have learned of the path.
    for (const host of [plane.lab.client, plane.lab.backends])
      await host.sh(`ip -${family} route flush cache`);
  };
  return { end, [Symbol.asyncDispose]: end };
}

/** What backends send to this client goes by another gateway than it came from. */
async function returnPast(plane: Plane, family: Family, client: string) {
  const table = 100 + ((plane.gateway.index + 1) % ALL.length);
  const rule = `pref 10 to ${client} lookup ${table}`;
  await plane.lab.backends.sh(`ip -${family} rule add ${rule}`);
  return {
    [Symbol.asyncDispose]: async () => {
      await plane.lab.backends.sh(`ip -${family} rule del ${rule}`);
    },
  };
}
