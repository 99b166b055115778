import { describe, expect, it } from "vitest";
import { compare, compile, explain, type FarmSpec } from "../../src/core";
import { fault } from "../faults/fault";
import { chiSquareTest } from "../support/statistics";
import { ALL_BUT_ZEVENET, countOf, eachPlane, movedBetween, type Plane, VIP, VIP6 } from "./plane";

/** A hash by its packets: who is served where, what `explain` said of it, and who moves when a backend comes. */

eachPlane({ planes: ALL_BUT_ZEVENET, backends: 10, serve: { tcp: [80], udp: [53] } }, (plane) => {
  describe("sourceHash", () => {
    it("leads a client to one backend, over and over, by tcp and by udp", async () => {
      const spec = await plane.apply({ algorithm: "sourceHash", slots: 1024 });
      const clients = plane.clients(300);
      const first = await plane.served([...clients, ...clients, ...clients]);
      expect(movedBetween(first, await plane.served(clients, { protocol: "udp" }))).toEqual([]);
      // Nothing of it is remembered: another apply, of another weight elsewhere, knows nothing of these clients.
      await plane.remove();
      await plane.apply(spec);
      expect(movedBetween(first, await plane.served(clients))).toEqual([]);
    });

    it("spreads clients as the slots do", async () => {
      const backends = [1, 1, 2, 3, 1].map((weight, i) => ({ address: plane.backends[i]!, weight }));
      const spec = await plane.apply({ algorithm: "sourceHash", slots: 1024, backends });
      const { plan } = compile("web", spec, plane.target);
      const served = await plane.served(plane.clients(1500), { protocol: "udp" });
      const shares = plan.pools[0]!.backends.map(({ share }) => share);
      expect(shares.reduce((sum, share) => sum + share)).toBe(1024);
      const counts = countOf(served, plane.backends.slice(0, 5));
      expect(chiSquareTest(counts, shares), `${counts} of ${shares}`).toBeGreaterThan(1e-6);
    });

    it("keeps a /24 together, and spreads networks", async () => {
      await plane.apply({ algorithm: "sourceHash", prefixLength: 24, slots: 1024 });
      const network = (client: string) => client.split(".").slice(0, 3).join(".");
      // 60 networks, some addresses of each.
      const clients = plane.clients(60 * 256).filter((_, k) => k % 37 === 0);
      const served = await plane.served(clients, { protocol: "udp" });
      const byNetwork = new Map<string, Set<string>>();
      for (const [client, backend] of served)
        byNetwork.set(network(client), (byNetwork.get(network(client)) ?? new Set()).add(backend));
      expect(byNetwork.size).toBe(60);
      expect([...byNetwork.values()].filter(({ size }) => size !== 1)).toEqual([]);
      expect(new Set([...byNetwork.values()].flatMap((one) => [...one])).size).toBeGreaterThan(5);
    });

    it("does the same by IPv6", async () => {
      const spec: Partial<FarmSpec> = {
        algorithm: "sourceHash",
        slots: 256,
        listeners: [{ address: VIP6, protocol: "tcp", port: 80 }],
        backends: plane.lab.backends6.map((address) => ({ address })),
      };
      const whole = await plane.apply(spec);
      const clients = plane.clients(100, { family: 6 });
      const served = await plane.served([...clients, ...clients], { to: VIP6 });
      expect(new Set(served.values()).size).toBeGreaterThan(5);
      for (const client of clients)
        expect(foretold(plane, whole, client, { to: VIP6 })).toBe(served.get(client));
    });
  });

  it("flowHash: a flow finds its backend again, another port of its client finds another", async () => {
    const spec = await plane.apply({ algorithm: "flowHash", slots: 1024 });
    const flows = { count: 400, firstPort: 20_000 };
    const [first, again] = [await plane.connect(flows), await plane.connect(flows)];
    expect([first.lost, again.lost]).toEqual([0, 0]);
    const places = ({ answers }: typeof first) =>
      answers.map(({ sourcePort, address }) => `${sourcePort} ${address}`);
    expect(places(again)).toEqual(places(first));
    expect(Object.keys(first.counts)).toHaveLength(10);
    for (const { source, sourcePort, address } of first.answers)
      expect(foretold(plane, spec, source, { sourcePort })).toBe(address);
  });

  it("is what explain says, for one client after the other", async () => {
    for (const more of [{}, { prefixLength: 20 }, { slots: 97 }]) {
      const backends = plane.backends.map((address, i) => ({ address, weight: 1 + (i % 3) }));
      const spec = await plane.apply({ algorithm: "sourceHash", slots: 512, backends, ...more });
      const clients = plane.clients(16_000).filter((_, k) => k % 80 === 0);
      const served = await plane.served(clients, { protocol: "udp" });
      for (const client of clients)
        expect(foretold(plane, spec, client, { protocol: "udp", port: 53 }), client).toBe(served.get(client));
    }
  });

  fault(40, plane.label, async () => {
    const clients = plane.clients(2000);
    const backends = plane.backends.map((address) => ({ address }));
    const spec = { algorithm: "sourceHash", slots: 4096 } as const;
    const before = await plane.apply({ ...spec, backends: backends.slice(0, 9) });
    const nine = await plane.served(clients, { protocol: "udp" });
    await plane.gateway.sh("conntrack -F 2>/dev/null");
    const after = await plane.apply({ ...spec, backends });
    const ten = await plane.served(clients, { protocol: "udp" });
    const moved = movedBetween(nine, ten);
    expect(new Set(moved.map((client) => ten.get(client)))).toEqual(new Set([plane.backends[9]]));
    expect(new Set(moved.map((client) => nine.get(client))).size).toBe(9);
    // A tenth is 200; addresses, slots and hash are always the same, so this is no game of chance.
    expect(moved.length).toBeGreaterThan(160);
    expect(moved.length).toBeLessThan(240);
    const udp = { protocol: "udp" as const, port: 53 };
    const foreseen = clients.filter(
      (client) => foretold(plane, before, client, udp) !== foretold(plane, after, client, udp),
    );
    expect(moved.sort()).toEqual(foreseen.sort());
    const [report] = compare(
      compile("web", before, plane.target).ruleSet,
      compile("web", after, plane.target).ruleSet,
    ).words;
    expect(report).toContain("%");
    return {
      done: "a tenth backend of equal weight joins nine that are hashed by source, 2,000 clients",
      held:
        `${moved.length} of 2,000 clients (${(moved.length / 20).toFixed(1)} %) moved, all of them to the new one, and just those ` +
        "that explain foresees; 0 moved between the nine others",
      saw: `the report of the preview: ${report}`,
    };
  });
});

/** The backend that `explain` sees a client's first packet go to. */
function foretold(
  { target, label, gateway }: Plane,
  spec: FarmSpec,
  source: string,
  { to = VIP, protocol = "tcp", port = 80, sourcePort = 40_000 } = {},
): string {
  const { outcome } = explain(
    "web",
    spec,
    {
      source,
      sourcePort,
      destination: to,
      destinationPort: port,
      protocol,
      interface: gateway.front,
    },
    target,
  );
  if (outcome?.kind !== "translated")
    throw new Error(`${label}: ${source} ends in ${JSON.stringify(outcome)}`);
  return outcome.to.address;
}
