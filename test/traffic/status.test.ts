import { expect, it } from "vitest";
import { compile } from "../../src/core";
import { ALL, addressOf, eachPlane, type Plane } from "./plane";

/** What `netfilter-lb status` says of a farm's backends is what was sent. */

interface Backend {
  key: string;
  role: string;
  shareWanted: { numerator: number; denominator: number };
  shareMeasured: number | null;
  connections: number | null;
  live: number | null;
  packets: number | null;
  bytes: number | null;
}

const OPTIONS = { planes: ALL, backends: 4, serve: { tcp: [80], udp: [53] }, together: true };

eachPlane(OPTIONS, (plane) => {
  const weighted = () => plane.backends.map((address, i) => ({ address, weight: i + 1 }));

  it("connections of each backend, to the last one, and their shares", async () => {
    const spec = await plane.apply({ backends: weighted() });
    expect((await statusOf(plane)).map(({ connections }) => connections)).toEqual([0, 0, 0, 0]);

    const sent = new Map<string, number>();
    for (const options of [
      { count: 300 },
      { count: 200, protocol: "udp" as const },
      { count: 7, concurrency: 1 },
    ]) {
      const { counts, lost } = await plane.connect(options);
      expect(lost).toBe(0);
      for (const [address, count] of Object.entries(counts))
        sent.set(address, (sent.get(address) ?? 0) + count);
    }
    const own = await plane.gateway.connect({ to: "203.0.113.10", port: 80, count: 20 });
    for (const [address, count] of Object.entries(own.counts))
      sent.set(address, (sent.get(address) ?? 0) + count);

    const status = await statusOf(plane);
    expect(Object.fromEntries(status.map(({ key, connections }) => [key, connections]))).toEqual(
      Object.fromEntries(sent),
    );
    const { pools } = compile("web", spec, plane.target).plan;
    expect(status.map(({ shareWanted: { numerator, denominator } }) => numerator / denominator)).toEqual(
      pools[0]!.backends.map(({ share }) => share / pools[0]!.total),
    );
    for (const { key, shareMeasured } of status) expect(shareMeasured).toBeCloseTo(sent.get(key)! / 527, 4);
  });

  it("connections that are there now, with packets and bytes", async () => {
    await plane.gateway.sh("echo 1 >/proc/sys/net/netfilter/nf_conntrack_acct");
    await plane.apply({ algorithm: "roundRobin" });
    const held = [];
    for (let n = 0; n < 8; n++) held.push(await plane.hold());
    for (let n = 0; n < 50; n++) await held[0]!.ask();
    const busy = addressOf(held[0]!.first);
    const status = await statusOf(plane);
    expect(status.map(({ live }) => live)).toEqual([2, 2, 2, 2]);
    for (const { key, packets, bytes } of status) {
      // SYN, SYN-ACK, ACK, the answer and its ACK, twice; a line, the answer and its ACK at least, 50 times.
      expect(packets).toBeGreaterThanOrEqual(key === busy ? 10 + 100 : 10);
      expect(packets).toBeLessThan(key === busy ? 300 : 20);
      expect(bytes).toBeGreaterThan(packets! * 40);
    }
    for (const one of held.splice(0)) await one.close();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect((await statusOf(plane)).map(({ live }) => live)).toEqual([0, 0, 0, 0]);
  });

  it("no packet twice, no connection that was not given to a backend", async () => {
    await plane.apply({ algorithm: "roundRobin", backends: weighted().slice(0, 2) });
    const held = await plane.hold();
    for (let n = 0; n < 20; n++) await held.ask();
    await plane.lab.client.send({ to: "203.0.113.10", port: 53, from: plane.from(), count: 30 });
    expect((await statusOf(plane)).reduce((sum, { connections }) => sum + connections!, 0)).toBe(2);
  });

  // Layout zevenet has no lists.
  if (plane.label !== "zevenet") {
    it("what is denied is not counted", async () => {
      const [denied, client] = plane.clients(2);
      await plane.apply({ deny: [denied!] });
      await plane.connect({ from: denied!, count: 5, timeout: 200 });
      await plane.connect({ from: client!, count: 5 });
      expect((await statusOf(plane)).reduce((sum, { connections }) => sum + connections!, 0)).toBe(5);
    });
  }

  it("counts on through a change (nftables), or from the change on (iptables)", async () => {
    await plane.apply({ algorithm: "roundRobin" });
    await plane.connect({ count: 40 });
    await plane.apply({ algorithm: "random", sourceNat: "masquerade" });
    const { counts } = await plane.connect({ count: 60 });
    const before = plane.label === "nftables" ? 10 : 0;
    expect((await statusOf(plane)).map(({ key, connections }) => [key, connections])).toEqual(
      plane.backends.map((address) => [address, before + (counts[address] ?? 0)]),
    );
  });

  it("a table for people", async () => {
    await plane.apply({ backends: weighted(), algorithm: "roundRobin" });
    await plane.connect({ count: 20, concurrency: 1 });
    const said = await plane.gateway.sh("netfilter-lb status web");
    for (const [i, address] of plane.backends.entries())
      expect(said).toMatch(
        new RegExp(
          `${address.replaceAll(".", "\\.")} +active +${i + 1}0\\.00 % +${i + 1}0\\.00 % +${2 * (i + 1)} `,
        ),
      );
  });
});

async function statusOf(plane: Plane): Promise<Backend[]> {
  const { farms } = JSON.parse(await plane.gateway.sh("netfilter-lb status web --json")) as {
    farms: { name: string; state: string; backends: Backend[] }[];
  };
  expect(farms.map(({ name, state }) => [name, state])).toEqual([["web", "live"]]);
  return farms[0]!.backends;
}
