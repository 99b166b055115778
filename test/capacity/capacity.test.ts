import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Capacity,
  type CapacityGatewaySpec,
  type CapacitySpec,
  CapacityWarningCode,
  capacity,
  compile,
  type FarmSpec,
  SpecError,
} from "../../src/core";
import { anyCase, equal, FARM, NAT, NFTABLES, weighted, ZEVENET } from "../spec/farms";

const MASQUERADED: FarmSpec = { ...FARM, sourceNat: "masquerade" };

const of = (spec: FarmSpec, machine: CapacitySpec = {}, target = NFTABLES) =>
  capacity("web", spec, { ...target, capacity: machine });
const codes = ({ warnings }: Capacity) => warnings.map(({ code }) => code);

describe("connection tracking", () => {
  const GIB = 2 ** 30;
  test.each<[string, CapacitySpec, number]>([
    ["nothing is said", {}, 262_144],
    ["there is much memory", { memoryBytes: 4 * GIB + 1 }, 262_144],
    ["there are 4 GiB", { memoryBytes: 4 * GIB }, 65_536],
    ["there is 1 GiB", { memoryBytes: GIB }, 8192],
    ["there is hardly any", { memoryBytes: 2 ** 20 }, 1024],
    ["somebody set it", { memoryBytes: GIB, conntrackMax: 1_000_000 }, 1_000_000],
  ])("holds what the kernel takes by itself where %s", (_, machine, max) => {
    expect(of(FARM, machine).conntrack).toMatchObject({ max, bytes: max * 392 });
  });

  test.each([
    ["tcp", 10, 130],
    ["udp", 10, 130],
    ["udp", 1, 31],
    ["sctp", 10, 20],
    ["all", 10, 130],
  ] as const)("has a %s connection of %i s for %i s", (protocol, connectionSeconds, entrySeconds) => {
    const listeners = [{ address: "203.0.113.10", protocol }];
    const { conntrack } = of({ ...FARM, listeners }, { connectionSeconds, newConnectionsPerSecond: 100 });
    expect(conntrack).toMatchObject({
      entrySeconds,
      expected: 100 * entrySeconds,
      newConnectionsPerSecond: Math.floor(262_144 / entrySeconds),
    });
  });

  test("is told to be larger where it will be full", () => {
    const { warnings } = of(FARM, {
      conntrackMax: 65_536,
      newConnectionsPerSecond: 500,
      connectionSeconds: 60,
    });
    expect(warnings).toEqual([
      {
        code: "conntrack-full",
        of: "gateway",
        path: ["capacity", "newConnectionsPerSecond"],
        text:
          "500 new connections a second of 60 s are 90,000 entries of connection tracking at a time (each stays 180 s), and it " +
          "holds 65,536: it will be full, and the kernel drops new connections of all that the gateway forwards; set " +
          "net.netfilter.nf_conntrack_max to 120,000 or more there (and conntrackMax here), or carry the farm on more gateways",
        source: expect.stringContaining("nf_conntrack_core.c"),
      },
    ]);
  });

  test("wants a quarter for peaks and others", () => {
    const at = (conntrackMax: number) => codes(of(FARM, { conntrackMax, newConnectionsPerSecond: 1 }));
    expect([at(172), at(173), at(174)]).toEqual([["conntrack-full"], ["conntrack-full"], []]);
  });
});

describe("source ports", () => {
  test.each<[string, Partial<FarmSpec>, number]>([
    ["masquerade", {}, 64_512],
    ["an address", { sourceNat: "203.0.113.1" }, 64_512],
    ["auto", { sourceNat: "auto" }, 64_512],
    [
      "vip, of two",
      {
        sourceNat: "vip",
        listeners: [10, 11].map((host) => ({ address: `203.0.113.${host}`, protocol: "tcp", port: 80 })),
      },
      2 * 64_512,
    ],
  ])("of %s", (_, fields, connections) => {
    const { sourcePorts } = of({ ...MASQUERADED, ...fields });
    expect(sourcePorts).toHaveLength(2);
    for (const one of sourcePorts)
      expect(one).toMatchObject({ protocol: "tcp", connections, expected: undefined });
  });

  test("are no matter where the client's address stays", () => expect(of(FARM).sourcePorts).toEqual([]));

  test("run out at the backend with the largest share first", () => {
    const spec = weighted([1, 3], { sourceNat: "masquerade" });
    const { warnings, sourcePorts } = of(spec, { newConnectionsPerSecond: 600 });
    expect(sourcePorts.map(({ backend, expected }) => [backend, expected])).toEqual([
      ["10.0.0.1", 19_500],
      ["10.0.0.2", 58_500],
    ]);
    expect(warnings).toEqual([
      {
        code: "source-ports",
        of: "farm",
        path: ["sourceNat"],
        text:
          "masquerade leaves 64,512 source ports towards each port of a backend, and of 600 new connections a second of 10 s " +
          "backend 10.0.0.2 has 58,500 at a time over tcp (those behind their end included): the kernel tries 240 ports and " +
          "then drops the connection; take sourceNat none and route the backends' replies through the gateway, or take more " +
          "backends or more gateways",
        source: expect.stringContaining("nf_nat_core.c"),
      },
    ]);
  });
});

describe("slots", () => {
  test("that are too few leave a backend without any, whatever the load", () => {
    const { warnings, shares } = of(weighted([1, 10_000], { algorithm: "sourceHash", slots: 16 }));
    expect(shares.map(({ slots }) => slots)).toEqual([0, 16]);
    expect(warnings).toEqual([
      {
        code: "no-slot",
        of: "farm",
        path: ["backends", 0],
        text:
          "10.0.0.1 is active and wants 0.01 % of the new connections, but none of the 16 slots is its, so it gets none at " +
          "all; take slots: 65536, weights that differ less, fewer backends, or algorithm random",
        source: expect.stringContaining("√"),
      },
    ]);
  });

  test("give a share that is off, with as many as it takes", () => {
    const { warnings } = of(equal(20, { algorithm: "sourceHash", slots: 256 }));
    expect(warnings).toMatchObject([
      {
        code: "coarse-share",
        path: ["backends", expect.any(Number)],
        text: expect.stringContaining("take slots: 4096"),
      },
    ]);
    expect(of(equal(20, { algorithm: "sourceHash", slots: 4096 })).warnings).toEqual([]);
  });

  test("as they are by default follow ten equal backends", () => {
    expect(of(equal(10, { algorithm: "flowHash" })).warnings).toEqual([]);
  });
});

describe("a large farm on iptables", () => {
  test.each([
    ["a long list of zevenet", equal(65), ZEVENET, ["nftables-advised"]],
    ["a list that is short enough", equal(64), ZEVENET, []],
    ["a tree", equal(65), NAT, []],
    ["many sets", equal(17, { affinity: { by: "sourceIp", timeoutSeconds: 60 } }), NAT, ["nftables-advised"]],
    ["one map", equal(17, { affinity: { by: "sourceIp", timeoutSeconds: 60 } }), NFTABLES, []],
  ] as const)("%s", (_, spec, target, expected) => expect(codes(of(spec, {}, target))).toEqual(expected));
});

describe("what is remembered", () => {
  const affinity = { by: "sourceIp", timeoutSeconds: 300 } as const;

  test("is a map in nftables and a set a backend in iptables", () => {
    const sets = (target: CapacityGatewaySpec) =>
      of({ ...FARM, affinity, limits: { perSource: { newConnectionsPerSecond: 5 } } }, {}, target).sets;
    expect(sets(NFTABLES)).toEqual([
      { purpose: "affinity", family: "ip", sets: 1, entries: 65_536, bytes: 65_536 * 112 },
      { purpose: "sourceRate", family: "ip", sets: 1, entries: 65_536, bytes: 65_536 * 176 },
    ]);
    expect(sets(NAT)).toMatchObject([{ sets: 2, bytes: 2 * 65_536 * 48 }, { sets: 1 }]);
  });

  test.each<[string, FarmSpec, CapacitySpec, CapacityGatewaySpec, string[]]>([
    ["clients that fit", { ...FARM, affinity }, { newConnectionsPerSecond: 218 }, NFTABLES, []],
    [
      "clients that do not",
      { ...FARM, affinity },
      { newConnectionsPerSecond: 219 },
      NFTABLES,
      ["affinity-full"],
    ],
    ["the same, in two sets", { ...FARM, affinity }, { newConnectionsPerSecond: 219 }, NAT, []],
    [
      "sources that do not",
      { ...FARM, limits: { perSource: { newConnectionsPerSecond: 5 } } },
      { newConnectionsPerSecond: 1093 },
      NFTABLES,
      ["sources-full"],
    ],
    [
      "much of a small machine",
      { ...FARM, affinity: { ...affinity, maxEntries: 16_777_216 } },
      { memoryBytes: 2 ** 32 },
      NFTABLES,
      ["memory"],
    ],
    ["little of a large one", { ...FARM, affinity }, { memoryBytes: 2 ** 33 }, NFTABLES, []],
  ])("%s", (_, spec, machine, target, expected) =>
    expect(codes(of(spec, machine, target))).toEqual(expected),
  );

  test("drops clients in iptables that nftables does not limit", () => {
    const spec = { ...FARM, limits: { perSource: { newConnectionsPerSecond: 5 } } };
    const [text4, text6] = [NAT, NFTABLES].map(
      (target) => of(spec, { newConnectionsPerSecond: 1200 }, target).warnings[0]!.text,
    );
    expect(text4).toContain("the kernel drops the new connections of further ones");
    expect(text6).toContain("further ones are not limited");
  });
});

describe("limits", () => {
  test.each<[string, Partial<FarmSpec>, CapacitySpec, (string | number)[] | undefined]>([
    [
      "a rate",
      { limits: { newConnectionsPerSecond: 99 } },
      { newConnectionsPerSecond: 100 },
      ["limits", "newConnectionsPerSecond"],
    ],
    [
      "a rate that is met",
      { limits: { newConnectionsPerSecond: 100 } },
      { newConnectionsPerSecond: 100 },
      undefined,
    ],
    [
      "a number at a time",
      { limits: { maxConnections: 999 } },
      { newConnectionsPerSecond: 100 },
      ["limits", "maxConnections"],
    ],
    ["one that is met", { limits: { maxConnections: 1000 } }, { newConnectionsPerSecond: 100 }, undefined],
    [
      "a backend's own",
      { backends: [{ address: "10.0.0.3" }, { address: "10.0.0.4", maxConnections: 499 }] },
      { newConnectionsPerSecond: 100 },
      ["backends", 1, "maxConnections"],
    ],
    [
      "more than there is room for",
      { limits: { maxConnections: 65_536 } },
      { conntrackMax: 65_536 },
      ["limits", "maxConnections"],
    ],
    ["the same, of a machine that nobody knows", { limits: { maxConnections: 16_777_216 } }, {}, undefined],
  ])("%s", (_, fields, machine, path) => {
    expect(of({ ...FARM, ...fields }, machine).warnings.map((warning) => warning.path)).toEqual(
      path ? [path] : [],
    );
  });
});

describe("a gateway that is none", () => {
  const problems = (gateway: unknown) => {
    try {
      capacity("web", FARM, gateway as CapacityGatewaySpec);
      return [];
    } catch (error) {
      expect(error).toBeInstanceOf(SpecError);
      return (error as SpecError).problems.map(({ path, text }) => `${path.join(".")}: ${text}`);
    }
  };
  test.each<[unknown, string]>([
    [
      { ...NFTABLES, capacity: { conntrackMax: 0 } },
      "capacity.conntrackMax: 0 is not between 1 and 2147483647",
    ],
    [
      { ...NFTABLES, capacity: { memoryBytes: 16 } },
      "capacity.memoryBytes: 16 is not between 1048576 and 9007199254740991; it is counted in bytes",
    ],
    [
      { ...NFTABLES, capacity: { newConnectionsPerSecond: "many" } },
      'capacity.newConnectionsPerSecond: "many" is not a whole number between 1 and 100000000',
    ],
    [
      { ...NFTABLES, capacity: { connectionSeconds: 0 } },
      "capacity.connectionSeconds: 0 is not a number of seconds above 0, at most 31536000 (a year)",
    ],
    [
      { ...NFTABLES, capacity: { ports: 1 } },
      "capacity.ports: is not a field here; there are conntrackMax, memoryBytes, newConnectionsPerSecond, connectionSeconds",
    ],
    [{ capacity: {} }, "dataPlane: is missing; give one of nftables, iptables"],
    [null, ": is not an object; its fields are dataPlane, layout, interface, markMask, capacity"],
  ])("%j", (gateway, problem) => expect(problems(gateway)).toEqual([problem]));
});

const anyMachine = fc.record(
  {
    conntrackMax: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
    memoryBytes: fc.integer({ min: 2 ** 20, max: 2 ** 42 }),
    newConnectionsPerSecond: fc.oneof(
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 1, max: 100_000_000 }),
    ),
    connectionSeconds: fc.oneof(fc.integer({ min: 1, max: 600 }), fc.constantFrom(0.001, 1.5, 31_536_000)),
  },
  { requiredKeys: [] },
);

describe("of any farm on any machine", () => {
  test("each warning names a field that is there, its numbers, a remedy and a source", () => {
    fc.assert(
      fc.property(anyCase, anyMachine, ({ name, spec, target }, machine) => {
        const gateway = { ...target, capacity: machine };
        const { warnings } = capacity(name, spec, gateway);
        for (const { code, of: whose, path, text, source } of warnings) {
          expect(Object.values(CapacityWarningCode)).toContain(code);
          const root = whose === "farm" ? spec : gateway;
          // What stands at its default is not written, but the field above it is there.
          const above = path.slice(0, -1).reduce<unknown>((at, key) => (at as never)[key], root);
          expect(above).toBeTypeOf("object");
          expect(text).toMatch(/^[^\n]*\d[^\n]*; (take|raise|set|leave|carry) [^\n]*$/);
          expect(text).not.toMatch(/undefined|NaN|Infinity|e\+/);
          expect(source).not.toBe("");
        }
        expect(new Set(warnings.map(({ code, path }) => `${code} ${path}`)).size).toBeLessThanOrEqual(
          warnings.length,
        );
      }),
      { numRuns: 300 },
    );
  });

  test("shares add up, and what is expected is rate times time", () => {
    fc.assert(
      fc.property(anyCase, anyMachine, ({ name, spec, target }, machine) => {
        const result = capacity(name, spec, { ...target, capacity: machine });
        const { plan } = compile(name, spec, target);
        const hashed = plan.pools.filter(({ slots }) => slots !== undefined);
        const sum = (part: "wanted" | "given") =>
          result.shares.reduce(
            (all, { [part]: { numerator, denominator } }) => all + Number(numerator) / Number(denominator),
            0,
          );
        for (const part of ["wanted", "given"] as const) expect(sum(part)).toBeCloseTo(hashed.length, 9);
        expect(result.shares.reduce((all, { slots }) => all + slots, 0)).toBe(
          hashed.reduce((all, { slots }) => all + slots!.length, 0),
        );
        const { newConnectionsPerSecond: rate, connectionSeconds: life = 10 } = machine;
        const { max, expected, entrySeconds } = result.conntrack;
        expect(entrySeconds).toBeGreaterThan(life);
        expect(expected).toBe(rate === undefined ? undefined : Math.ceil(rate * entrySeconds));
        expect(codes(result).includes("conntrack-full")).toBe(
          expected !== undefined && expected > 0.75 * max,
        );
      }),
      { numRuns: 300 },
    );
  });

  test("without a load only the farm and the machine warn; more load never means fewer warnings", () => {
    const QUIET = ["no-slot", "coarse-share", "nftables-advised", "memory", "limit-out-of-reach"];
    fc.assert(
      fc.property(
        anyCase,
        anyMachine,
        fc.integer({ min: 2, max: 1000 }),
        ({ name, spec, target }, machine, times) => {
          const warned = (newConnectionsPerSecond?: number) => {
            const { newConnectionsPerSecond: _, ...rest } = machine;
            const known = { ...rest, ...(newConnectionsPerSecond && { newConnectionsPerSecond }) };
            return new Set(codes(capacity(name, spec, { ...target, capacity: known })));
          };
          const still = warned();
          for (const code of still) expect(QUIET).toContain(code);
          const [some, many] = [warned(100), warned(100 * times)];
          for (const code of still) expect(some).toContain(code);
          for (const code of some) expect(many).toContain(code);
        },
      ),
      { numRuns: 300 },
    );
  });
});
