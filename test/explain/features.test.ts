import { describe, expect, test } from "vitest";
import {
  explain,
  type FarmSpec,
  formatProblem,
  type Packet,
  type SpecError,
  type TargetSpec,
} from "../../src/core";
import { formatOutcome } from "../../src/explain/trace";
import { NAT, NFTABLES } from "../spec/farms";

/** Each way to balance and to refuse, explained alike on both planes. */

const PACKET: Packet = {
  source: "198.51.100.9",
  sourcePort: 40_000,
  destination: "203.0.113.10",
  protocol: "tcp",
  destinationPort: 80,
};

/** Three backends, of which the third drains. */
const spec: FarmSpec = {
  listeners: [
    { address: "203.0.113.10", protocol: "tcp", port: 80 },
    { address: "203.0.113.10", protocol: "udp", port: 53 },
  ],
  backends: [
    { address: "10.0.0.3", mark: 3, weight: 3 },
    { address: "10.0.0.4", mark: 4 },
    { address: "10.0.0.5", mark: 5, state: "drain" },
  ],
};
const down: FarmSpec = { ...spec, backends: spec.backends.map((one) => ({ ...one, state: "down" })) };

function outcomes(packet: Partial<Packet>, farm: FarmSpec, target: TargetSpec): string[] {
  return explain("web", farm, { ...PACKET, ...packet }, target)
    .possible.map(
      ({ outcome, probability: { numerator, denominator } }) =>
        `${numerator}/${denominator} ${formatOutcome(outcome)}`,
    )
    .sort();
}

const kept = "source kept (198.51.100.9)";
const THIRD = `1/1 to 10.0.0.5:80, ${kept}, mark 0x5`;
const affinity = { by: "sourceIp", timeoutSeconds: 60 } as const;
const ftp: FarmSpec = { ...spec, listeners: spec.listeners.slice(0, 1), helper: "ftp" };
const limits = {
  maxConnections: 10,
  newConnectionsPerSecond: 5,
  perSource: { newConnectionsPerSecond: 2 },
};
const capped: FarmSpec = {
  ...spec,
  backends: spec.backends.map((one) => ({ ...one, maxConnections: 7 })),
};

describe.each([
  ["nftables", NFTABLES],
  ["iptables nat", NAT],
])("%s", (_, target) => {
  const spread = outcomes({}, spec, target);

  test("new connections are spread over the active backends", () => {
    expect(spread).toEqual([
      `1/4 to 10.0.0.4:80, ${kept}, mark 0x4`,
      `3/4 to 10.0.0.3:80, ${kept}, mark 0x3`,
    ]);
  });

  test.each<[what: string, packet: Partial<Packet>, farm: FarmSpec, wanted: string[]]>([
    [
      "a packet that is no SYN",
      { syn: false },
      spec,
      ["1/1 dropped as a tcp connection that does not begin with a SYN"],
    ],
    ["the same with looseTcp", { syn: false }, { ...spec, looseTcp: true }, spread],
    [
      "deny",
      {},
      { ...spec, deny: ["198.51.100.8/29"], allow: ["198.51.100.0/24"] },
      ["1/1 dropped because deny has its source"],
    ],
    ["allow", {}, { ...spec, allow: ["192.0.2.0/24"] }, ["1/1 dropped because allow has not its source"]],
    ["lists that let it in", {}, { ...spec, deny: ["192.0.2.0/24"], allow: ["198.51.100.0/24"] }, spread],
    ["limits that are not reached", {}, { ...spec, limits }, spread],
    [
      "the farm's connections",
      { over: ["connections"] },
      { ...spec, limits },
      ["1/1 dropped by the farm's limit of connections"],
    ],
    [
      "its rate",
      { over: ["rate", "connections"] },
      { ...spec, limits },
      ["1/1 dropped by the farm's limit of new connections a second"],
    ],
    [
      "a source's rate",
      { over: ["sourceRate", "rate"] },
      { ...spec, limits },
      ["1/1 dropped by the limit of new connections a second for its source"],
    ],
    [
      "a backend's connections",
      { over: ["backendConnections"] },
      capped,
      ["1/1 dropped by its backend's limit of connections"],
    ],
    [
      "a pin, to a backend that drains",
      {},
      { ...spec, pins: [{ source: "198.51.100.9", backend: "10.0.0.5" }] },
      [THIRD],
    ],
    [
      "pins of which the longest prefix counts",
      {},
      {
        ...spec,
        pins: [
          { source: "198.51.100.0/24", backend: "10.0.0.3" },
          { source: "198.51.100.8/30", backend: "10.0.0.4" },
        ],
      },
      [`1/1 to 10.0.0.4:80, ${kept}, mark 0x4`],
    ],
    ["another client's pin", {}, { ...spec, pins: [{ source: "192.0.2.1", backend: "10.0.0.5" }] }, spread],
    ["affinity that knows its client", { affinity: "10.0.0.5" }, { ...spec, affinity }, [THIRD]],
    ["affinity that does not", {}, { ...spec, affinity }, spread],
    [
      "affinity that knows a backend which is down",
      { affinity: "10.0.0.5" },
      {
        ...spec,
        affinity,
        backends: [...spec.backends.slice(0, 2), { ...spec.backends[2]!, state: "down" }],
      },
      spread,
    ],
    ["nobody active: tcp", {}, down, ["1/1 no backend is active: answered with a TCP reset"]],
    [
      "nobody active: udp",
      { protocol: "udp", destinationPort: 53 },
      down,
      ["1/1 no backend is active: answered with ICMP port unreachable"],
    ],
    [
      "nobody active, and no answer",
      {},
      { ...down, whenEmpty: "drop" },
      ["1/1 dropped because no backend is active"],
    ],
    [
      "nobody active, but affinity knows one that drains",
      { affinity: "10.0.0.5" },
      { ...spec, affinity, backends: spec.backends.map((one) => ({ ...one, state: "drain" })) },
      [THIRD],
    ],
    [
      "the tier that carries",
      {},
      { ...spec, backends: spec.backends.map((one, i) => ({ ...one, state: "active", priority: 2 - i })) },
      [THIRD],
    ],
    [
      "masquerade for a client in a backend's network",
      { source: "10.0.0.77", draw: 0 },
      { ...spec, sourceNat: "auto" },
      ["1/1 to 10.0.0.3:80, source masqueraded, mark 0x3"],
    ],
    [
      "none for another",
      { draw: 0 },
      { ...spec, sourceNat: "auto" },
      [`1/1 to 10.0.0.3:80, ${kept}, mark 0x3`],
    ],
    [
      "an established connection to a backend that drains",
      { state: "established", mark: 5 },
      { ...spec, onRemoval: "cut" },
      [THIRD],
    ],
    ["one to a backend that is down", { state: "established", mark: 5 }, down, [THIRD]],
    [
      "one that was cut",
      { state: "established", mark: 5 },
      { ...down, onRemoval: "cut" },
      ["1/1 dropped as a tcp connection that does not begin with a SYN"],
    ],
    [
      "a udp flow of a backend that is down",
      { state: "established", mark: 5, protocol: "udp", destinationPort: 53 },
      down,
      ["1/1 no backend is active: answered with ICMP port unreachable"],
    ],
  ])("%s", (_, packet, farm, wanted) => {
    expect(outcomes(packet, farm, target)).toEqual(wanted);
  });

  test("a hash finds the same backend for a client always, and over all clients has the shares", () => {
    for (const algorithm of ["sourceHash", "flowHash"] as const) {
      const farm: FarmSpec = { ...spec, algorithm, slots: 64 };
      const found = new Map<string, number>();
      for (let i = 0; i < 64; i++) {
        const packet = { source: `198.51.100.${i}`, sourcePort: 1024 + i };
        const [outcome, ...others] = outcomes(packet, farm, target);
        expect(others).toEqual([]);
        expect(outcomes(packet, farm, target)).toEqual([outcome]);
        const to = /10\.0\.0\.\d/.exec(outcome!)![0];
        found.set(to, (found.get(to) ?? 0) + 1);
      }
      expect([...found.keys()].sort()).toEqual(["10.0.0.3", "10.0.0.4"]);
      expect(found.get("10.0.0.3")!).toBeGreaterThan(found.get("10.0.0.4")!);
    }
    const anyPort = { ...PACKET };
    delete anyPort.sourcePort;
    const { possible } = explain("web", { ...spec, algorithm: "flowHash", slots: 64 }, anyPort, target);
    expect(possible).toHaveLength(2);
    const sum = possible.reduce((all, { probability: { numerator, denominator } }) => {
      expect(64 % Number(denominator)).toBe(0);
      return all + Number(numerator) / Number(denominator);
    }, 0);
    expect(sum).toBe(1);
  });

  test("a shorter prefix sticks together", () => {
    const farm: FarmSpec = { ...spec, algorithm: "sourceHash", prefixLength: 24 };
    const first = outcomes({ source: "198.51.100.1" }, farm, target)[0]!.replace(/source .*/, "");
    for (let i = 2; i < 40; i++)
      expect(outcomes({ source: `198.51.100.${i}` }, farm, target)[0]).toContain(first);
  });

  test("what happens by the way is said", () => {
    const farm: FarmSpec = { ...ftp, affinity, log: { prefix: "ftp:" } };
    const { steps, possible } = explain("web", farm, { ...PACKET, draw: 0 }, target);
    expect(possible).toHaveLength(1);
    const effects = steps.flatMap(({ effect }) => (effect ? [effect] : []));
    expect(effects).toContainEqual({ kind: "helper", helper: "ftp" });
    expect(effects).toContainEqual({ kind: "log", prefix: "ftp:" });
    expect(effects).toContainEqual({ kind: "remember", seconds: 60 });
  });
});

describe("a packet that is wrong is told what would be right", () => {
  const hashing: FarmSpec = { ...spec, algorithm: "sourceHash" };
  test.each<[packet: unknown, farm: FarmSpec, problems: string[]]>([
    [{ syn: 1 }, spec, ["syn: 1 is not true or false"]],
    [{ protocol: "udp", syn: true }, spec, ["syn: true goes with tcp; leave it out"]],
    [
      { affinity: "10.0.0.3" },
      spec,
      ['affinity: "10.0.0.3" goes with a farm that has affinity; leave it out'],
    ],
    [
      { affinity: "10.0.0.9" },
      { ...spec, affinity },
      ['affinity: "10.0.0.9" is no backend of the farm; give 10.0.0.3, 10.0.0.4, 10.0.0.5'],
    ],
    [{ over: "rate" }, spec, ['over: "rate" is not a list of limits']],
    [{ over: ["rate"] }, spec, ['over[0]: "rate" is no limit of this farm; it has none: leave over out']],
    [
      { over: ["rate", "source", "backendConnections"] },
      { ...spec, limits },
      [
        'over[1]: "source" is no limit of this farm; it has connections, rate, sourceRate',
        'over[2]: "backendConnections" is no limit of this farm; it has connections, rate, sourceRate',
      ],
    ],
    [
      { draw: 0.5, turn: 1 },
      hashing,
      [
        "draw: 0.5 goes with random; this farm hashes the source address: leave it out",
        "turn: 1 goes with roundRobin; this farm hashes the source address: leave it out",
      ],
    ],
    [
      { draw: 0.5 },
      { ...spec, algorithm: "flowHash" },
      ["draw: 0.5 goes with random; this farm hashes addresses and ports: give sourcePort"],
    ],
  ])("%j", (packet, farm, problems) => {
    let error: unknown;
    try {
      explain("web", farm, { ...PACKET, ...(packet as Packet) }, NFTABLES);
    } catch (thrown) {
      error = thrown;
    }
    expect((error as SpecError).problems.map(formatProblem)).toEqual(problems);
  });
});
