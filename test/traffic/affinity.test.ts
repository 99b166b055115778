import { expect, it } from "vitest";
import type { AffinitySpec, BackendSpec, FarmSpec } from "../../src/core";
import { ALL_BUT_ZEVENET, addressOf, eachPlane, movedBetween, type Plane, VIP6 } from "./plane";

/** Clients that are remembered: they stay through changes, and leave with their backend alone. */

eachPlane({ planes: ALL_BUT_ZEVENET, backends: 6, serve: { tcp: [80], udp: [53] } }, (plane) => {
  const apply = (
    change: (backend: BackendSpec, index: number) => BackendSpec | undefined = (backend) => backend,
    more: Partial<FarmSpec> & { affinity?: AffinitySpec } = {},
  ) =>
    plane.apply({
      affinity: { by: "sourceIp", timeoutSeconds: 600 },
      backends: plane.backends.flatMap((address, i) => change({ address }, i) ?? []),
      ...more,
    });

  it.each(["random", "roundRobin"] as const)(
    "a client stays where its first connection was (%s)",
    async (algorithm) => {
      await apply(undefined, { algorithm });
      const clients = plane.clients(200);
      const served = await plane.served([...clients, ...clients, ...clients]);
      expect(new Set(served.values()).size).toBe(6);
      // By another listener of the farm too.
      expect(movedBetween(served, await plane.served(clients, { protocol: "udp" }))).toEqual([]);
    },
  );

  it("survives 20 changes of the farm", async () => {
    await apply();
    const clients = plane.clients(200);
    const served = await plane.served(clients);
    for (let n = 1; n <= 20; n++) {
      await apply((backend, i) => ({ ...backend, weight: 1 + ((n * (i + 1)) % 7) }));
      if (n % 4 === 0) expect(movedBetween(served, await plane.served(clients))).toEqual([]);
    }
  });

  it.each([
    ["removed", () => undefined],
    ["down", (backend: BackendSpec): BackendSpec => ({ ...backend, state: "down" })],
  ])(
    "2,000 clients: those of a backend that is %s find another at once, all others stay",
    async (_, leaves) => {
      await apply();
      const clients = plane.clients(2000);
      const before = await plane.served(clients);
      await apply((backend, i) => (i === 2 ? leaves(backend) : backend));
      const after = await plane.served(clients);
      const gone = plane.backends[2]!;
      expect(movedBetween(before, after).sort()).toEqual(
        [...before].flatMap(([client, backend]) => (backend === gone ? [client] : [])).sort(),
      );
      expect([...after.values()]).not.toContain(gone);
      // They have found a new place, not a place for each connection.
      const some = clients.slice(0, 600);
      expect(movedBetween(after, await plane.served(some))).toEqual([]);
      // And when the backend is back, nobody is sent back to it.
      await apply();
      expect(movedBetween(after, await plane.served(some))).toEqual([]);
    },
  );

  it("a backend that drains keeps its clients, and gets no new one", async () => {
    await apply();
    const clients = plane.clients(300);
    const before = await plane.served(clients);
    const held = await plane.holdAt(plane.backends[0]!, { from: clientOf(before, plane.backends[0]!) });
    await apply((backend, i) => (i === 0 ? { ...backend, state: "drain" } : backend));
    expect(movedBetween(before, await plane.served(clients))).toEqual([]);
    expect(addressOf(await held.ask())).toBe(plane.backends[0]);
    const newcomers = await plane.served(plane.clients(300, { first: 300 }));
    expect(new Set(newcomers.values())).toEqual(new Set(plane.backends.slice(1)));
    // Drained at last: its clients are served elsewhere.
    await apply((backend, i) => (i === 0 ? undefined : backend));
    const after = await plane.served(clients);
    expect([...after.values()]).not.toContain(plane.backends[0]);
  });

  it("a full table: whoever is in it stays, and everybody is served", async () => {
    await apply(undefined, { affinity: { by: "sourceIp", timeoutSeconds: 600, maxEntries: 32 } });
    const clients = plane.clients(400);
    const before = await plane.served(clients.slice(0, 8), { concurrency: 1 });
    const { lost } = await plane.connect({ fromEach: clients, count: 800 });
    expect(lost).toBe(0);
    for (let n = 0; n < 5; n++)
      expect(movedBetween(before, await plane.served(clients.slice(0, 8)))).toEqual([]);
    // Beyond it clients are spread: of 300, not all come to the same backend twice.
    const others = clients.slice(100);
    const { answers } = await plane.connect({ fromEach: others, count: 2 * others.length });
    expect(clientsOfMany(answers)).toBeGreaterThan(0);
  });

  it("by source address and port", async () => {
    await apply(undefined, { affinity: { by: "sourceIpPort", timeoutSeconds: 600 } });
    const flows = { count: 100, firstPort: 30_000 };
    const places = async () =>
      new Map((await plane.connect(flows)).answers.map(({ sourcePort, address }) => [sourcePort, address]));
    const before = await places();
    expect(before.size).toBe(100);
    expect(new Set(before.values()).size).toBe(6);
    for (let n = 0; n < 4; n++) expect(await places()).toEqual(before);
  });

  it("by destination: everybody who dials one address finds one backend", async () => {
    const vips = Array.from({ length: 24 }, (_, i) => `203.0.113.${100 + i}`);
    await apply(undefined, {
      affinity: { by: "destinationIp", timeoutSeconds: 600 },
      listeners: vips.map((address) => ({ address, protocol: "tcp", port: 80 })),
    });
    const found: string[] = [];
    for (const to of vips) {
      const served = await plane.served(plane.clients(20), { to });
      expect(new Set(served.values()).size, to).toBe(1);
      found.push(...new Set(served.values()));
    }
    expect(new Set(found).size).toBeGreaterThan(1);
  });

  it("by IPv6", async () => {
    await apply(undefined, {
      listeners: [{ address: VIP6, protocol: "tcp", port: 80 }],
      backends: plane.lab.backends6.map((address) => ({ address })),
    });
    const clients = plane.clients(100, { family: 6 });
    const served = await plane.served([...clients, ...clients, ...clients], { to: VIP6 });
    expect(new Set(served.values()).size).toBe(6);
  });
});

/** A client that this backend serves. */
function clientOf(served: ReadonlyMap<string, string>, backend: string): string {
  return [...served].find(([, address]) => address === backend)![0];
}

/** How many clients were served by more than one backend. */
function clientsOfMany(answers: Awaited<ReturnType<Plane["connect"]>>["answers"]): number {
  const served = new Map<string, Set<string>>();
  for (const { source, address } of answers)
    served.set(source, (served.get(source) ?? new Set()).add(address));
  return [...served.values()].filter(({ size }) => size > 1).length;
}
