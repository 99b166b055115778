import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { CLIENT_BYTES, CONNTRACK_ENTRY_BYTES } from "../../src/capacity/facts";
import { ALL, eachPlane, type Plane, VIP } from "./plane";

/** Figures that `capacity` calculates with, seen in a kernel. */

/** The ports that the kernel gives a translated source in the place of one below 512: few enough to take them all. */
const LOW = 511;

/** UDP flows from the ports 1 to 511 of a client, all at a time. */
function fromLowPorts(plane: Plane, client: string) {
  return plane.connect({ protocol: "udp", fromEach: [client], count: LOW, concurrency: LOW, firstPort: 1 });
}

eachPlane({ planes: ALL, backends: 2, serve: { tcp: [80], udp: [53] } }, (plane) => {
  describe("source ports of one gateway address towards one backend", () => {
    it("are there once for all clients, and what comes when they are taken is dropped", async () => {
      const [backend = "", other = ""] = plane.backends;
      const [first = "", second = ""] = plane.clients(2);
      const farm = { sourceNat: "masquerade", backends: [{ address: backend }] };
      await plane.apply(farm);
      // However narrow the range of local ports is: it is none of the translation's business.
      await plane.gateway.sh("echo 40000 40015 >/proc/sys/net/ipv4/ip_local_port_range");

      const all = await fromLowPorts(plane, first);
      expect(all.lost).toBe(0);
      const seen = all.answers.map(({ sourcePort }) => sourcePort);
      expect(new Set(seen).size).toBe(LOW);
      expect(Math.max(...seen)).toBeLessThanOrEqual(LOW);

      const none = await fromLowPorts(plane, second);
      expect(none.failures).toEqual({ timeout: LOW });
      // From 1024 on there are others, and a second backend has all of them again.
      const high = { protocol: "udp", fromEach: [second], count: 64, firstPort: 20_000 } as const;
      const { answers, lost } = await plane.connect(high);
      expect(lost).toBe(0);
      expect(Math.min(...answers.map(({ sourcePort }) => sourcePort))).toBeGreaterThanOrEqual(1024);
      await plane.apply({ ...farm, backends: [{ address: other }] });
      expect((await fromLowPorts(plane, second)).lost).toBe(0);
    });

    it("are no matter where the client's address stays", async () => {
      await plane.apply({ backends: [{ address: plane.backends[0]! }] });
      for (const client of plane.clients(2)) expect((await fromLowPorts(plane, client)).lost).toBe(0);
    });

    it("are there for each virtual IP with vip", async () => {
      const listeners = [VIP, "203.0.113.11"].map((address) => ({
        address,
        protocol: "udp" as const,
        port: 53,
      }));
      const [first = "", second = ""] = plane.clients(2);
      await plane.apply({ listeners, sourceNat: "vip", backends: [{ address: plane.backends[0]! }] });
      expect((await fromLowPorts(plane, first)).lost).toBe(0);
      expect((await fromLowPorts(plane, second)).lost).toBe(LOW);
      const fromEach = [second];
      const other = { protocol: "udp", to: "203.0.113.11", fromEach, count: LOW, firstPort: 1 } as const;
      expect((await plane.connect(other)).lost).toBe(0);
    });
  });
});

/** Objects that a slab of the kernel holds, and their size. The counters are the whole machine's. */
function slab(name: string): { objects: number; bytes: number } {
  const line = readFileSync("/proc/slabinfo", "utf8")
    .split("\n")
    .find((one) => one.startsWith(`${name} `));
  const [, objects = Number.NaN, , bytes = Number.NaN] = line?.split(/\s+/).map(Number) ?? [];
  return { objects, bytes };
}

eachPlane({ planes: ["nftables"], backends: 1, serve: { udp: [53] } }, (plane) => {
  it("a connection takes one entry of connection tracking, of the size that is said", async () => {
    const extensions = 128;
    await plane.apply();
    const { bytes } = slab("nf_conntrack");
    const room = CONNTRACK_ENTRY_BYTES - extensions - 8;
    // Options of the kernel's build add fields to it.
    expect(bytes).toBeGreaterThanOrEqual(room);
    expect(bytes).toBeLessThanOrEqual(room * 1.25);

    const before = await entries(plane);
    const { lost } = await plane.connect({
      protocol: "udp",
      count: 2000,
      firstPort: 20_000,
      concurrency: 64,
    });
    expect(lost).toBe(0);
    expect((await entries(plane)) - before).toBe(2000);
  });
});

async function entries({ gateway }: Plane): Promise<number> {
  return Number(await gateway.sh("conntrack -C"));
}

eachPlane({ planes: ["nftables", "iptables-nft"], backends: 1, serve: { udp: [53] } }, (plane) => {
  it("a client that is remembered takes no more memory than is said", async () => {
    const COUNT = 50_000;
    await plane.apply({ affinity: { by: "sourceIp", timeoutSeconds: 3600 } });
    const clients = Array.from(
      { length: COUNT },
      (_, i) => `10.${64 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`,
    );
    const iptables = plane.target.dataPlane === "iptables";
    const said = CLIENT_BYTES[plane.target.dataPlane].ip;
    if (iptables) {
      const set = (await plane.gateway.sh("ipset -n list")).trim();
      await plane.gateway.sh("ipset restore", {
        input: clients.map((client) => `add ${set} ${client}\n`).join(""),
      });
      const size = Number(/Size in memory: (\d+)/.exec(await plane.gateway.sh(`ipset -t list ${set}`))?.[1]);
      expect(size / COUNT).toBeGreaterThan(said / 2);
      expect(size / COUNT).toBeLessThanOrEqual(said);
      return;
    }
    const map = /map (web\.affinity\S+)/.exec(
      await plane.gateway.sh("nft -t list table ip netfilter_lb"),
    )?.[1];
    // As many as one line of the kernel's netlink message takes.
    const chunks = Array.from({ length: COUNT / 500 }, (_, i) => clients.slice(500 * i, 500 * (i + 1)));
    const lines = chunks.map(
      (chunk) =>
        `add element ip netfilter_lb ${map} { ${chunk.map((client) => `${client} timeout 3600s : 0x1`).join(", ")} }\n`,
    );
    const sizes = ["kmalloc-cg-64", "kmalloc-cg-96", "kmalloc-cg-128"];
    const before = sizes.map((name) => slab(name).objects);
    await plane.gateway.sh("nft -f -", { input: lines.join("") });
    const grown = sizes.map((name, i) => ({ ...slab(name), more: slab(name).objects - before[i]! }));
    // One slab took them all: nothing else on the machine makes so many at the same time.
    const [home, ...others] = grown.filter(({ more }) => more > COUNT * 0.9);
    expect(others).toEqual([]);
    expect(home!.bytes).toBeGreaterThan(said / 2);
    // The rest is the bucket that the map's hash table has for it.
    expect(home!.bytes + 16).toBeLessThanOrEqual(said);
  });
});
