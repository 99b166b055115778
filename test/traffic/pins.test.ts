import { expect, it } from "vitest";
import type { BackendSpec, FarmSpec, PinSpec } from "../../src/core";
import { ALL_BUT_ZEVENET, eachPlane, VIP6 } from "./plane";

/** Clients that always find one backend, unless it is down. */

eachPlane({ planes: ALL_BUT_ZEVENET, backends: 5, serve: { tcp: [80], udp: [53] } }, (plane) => {
  /** 198.18.(64 g + offset).last, a client of this plane. */
  const at = (offset: number, last: number) => {
    const [a, b, third] = plane.clients(1)[0]!.split(".");
    return `${a}.${b}.${Number(third) + offset}.${last}`;
  };
  const backend = (index: number) => plane.backends[index]!;
  const pins = (): PinSpec[] => [
    { source: `${at(0, 0)}/20`, backend: backend(0) },
    { source: `${at(4, 0)}/24`, backend: backend(1) },
    { source: `${at(4, 64)}/26`, backend: backend(2) },
    { source: at(4, 70), backend: backend(0) },
    { source: at(40, 9), backend: backend(3) },
  ];
  const apply = (more: Partial<FarmSpec> = {}, change = (one: BackendSpec, _: number) => one) =>
    plane.apply({
      pins: pins(),
      backends: plane.backends.map((address, i) => change({ address }, i)),
      ...more,
    });
  /** The places of the backends that serve this client, in a number of connections. */
  const serving = async (from: string, protocol: "tcp" | "udp" = "tcp") => {
    const { counts, lost } = await plane.connect({ from, protocol, count: 60 });
    expect(lost).toBe(0);
    return Object.keys(counts)
      .map((address) => plane.backends.indexOf(address))
      .sort();
  };
  const ANY = [0, 1, 2, 3, 4];

  it.each([
    ["random", {}],
    ["sourceHash", { algorithm: "sourceHash", slots: 64 }],
    ["affinity", { affinity: { by: "sourceIp", timeoutSeconds: 60 } }],
  ] as const)("the longest prefix counts (%s)", async (_, more) => {
    await apply(more);
    const expected: [string, number][] = [
      [at(0, 1), 0],
      [at(15, 255), 0],
      [at(3, 255), 0],
      [at(4, 1), 1],
      [at(4, 63), 1],
      [at(4, 64), 2],
      [at(4, 69), 2],
      [at(4, 70), 0],
      [at(4, 71), 2],
      [at(4, 127), 2],
      [at(4, 128), 1],
      [at(5, 0), 0],
      [at(40, 9), 3],
    ];
    for (const [client, place] of expected) {
      expect(await serving(client), client).toEqual([place]);
      expect(await serving(client, "udp"), client).toEqual([place]);
    }
  });

  it("leaves everybody else to the algorithm", async () => {
    await apply();
    for (const client of [at(16, 0), at(40, 8), at(40, 10)])
      expect(await serving(client), client).toEqual(ANY);
  });

  it("falls through to the next pin, then to the algorithm, where the backend is down", async () => {
    await apply({}, (one, i) => (i === 2 ? { ...one, state: "down" } : one));
    expect(await serving(at(4, 64))).toEqual([1]);
    await apply({}, (one, i) => (i === 2 || i === 1 ? { ...one, state: "down" } : one));
    expect(await serving(at(4, 64))).toEqual([0]);
    await apply({}, (one, i) => (i <= 2 ? { ...one, state: "down" } : one));
    expect(await serving(at(4, 64))).toEqual([3, 4]);
  });

  it("leads to a backend that drains and to another tier's, unlike the algorithm", async () => {
    await apply({}, (one, i) => {
      if (i === 1) return { ...one, state: "drain" };
      return i === 2 ? { ...one, priority: 5 } : one;
    });
    expect(await serving(at(4, 1))).toEqual([1]);
    expect(await serving(at(4, 64))).toEqual([2]);
    expect(await serving(at(20, 1))).toEqual([0, 3, 4]);
  });

  it("goes before what affinity remembers", async () => {
    const affinity = { by: "sourceIp", timeoutSeconds: 600 } as const;
    await apply({ pins: [], affinity });
    const client = at(4, 64);
    const [before] = await serving(client);
    const to = before === 2 ? 3 : 2;
    await apply({ pins: [{ source: client, backend: backend(to) }], affinity });
    expect(await serving(client)).toEqual([to]);
  });

  it("carries IPv6", async () => {
    const clients = plane.clients(3, { family: 6 });
    const six = plane.lab.backends6;
    await plane.apply({
      listeners: [{ address: VIP6, protocol: "tcp", port: 80 }],
      backends: six.map((address) => ({ address })),
      pins: [
        { source: `${clients[0]!.replace(/1$/, "")}/112`, backend: six[3]! },
        { source: clients[1]!, backend: six[4]! },
      ],
    });
    const served = await plane.served([...clients, ...clients, ...clients], { to: VIP6 });
    expect([...served.values()]).toEqual([six[3], six[4], six[3]]);
  });
});
