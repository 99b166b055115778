import { describe, expect, test } from "vitest";
import {
  compile,
  explain,
  type FarmSpec,
  formatProblem,
  type Packet,
  SpecError,
  type TargetSpec,
} from "../../src/core";
import { formatOutcome } from "../../src/explain/trace";
import { equal, FARM, NAT, NFTABLES, TARGETS, ZEVENET } from "../spec/farms";
import { nftablesBase } from "../trace/kernel";

const PACKET: Packet = {
  source: "198.51.100.9",
  destination: "203.0.113.10",
  protocol: "tcp",
  destinationPort: 80,
};

type Fields = { [K in keyof Packet]?: Packet[K] | undefined };

function outcomes(fields: Fields, spec: FarmSpec, target: TargetSpec): string[] {
  const given = Object.entries({ ...PACKET, ...fields }).filter(([, value]) => value !== undefined);
  const { possible } = explain("web", spec, Object.fromEntries(given) as unknown as Packet, target);
  return possible
    .map(
      ({ outcome, probability: { numerator, denominator } }) =>
        `${numerator}/${denominator} ${formatOutcome(outcome)}`,
    )
    .sort();
}

const marked: FarmSpec = {
  ...FARM,
  backends: [
    { address: "10.0.0.3", mark: 3, weight: 3 },
    { address: "10.0.0.4", port: 8080, mark: 4 },
  ],
};
const kept = "source kept (198.51.100.9)";
const GUARD = "1/1 dropped by the farm's guard";
const UNTOUCHED = "1/1 untouched: no rule of this farm is about it";

describe.each(TARGETS)("%s", (_, target) => {
  const nowhere = { ...target, interface: "eth0" };
  const masked = { ...target, markMask: 0xff };
  test.each<[what: string, packet: Fields, spec: FarmSpec, target: TargetSpec, wanted: string[]]>([
    [
      "a new connection",
      {},
      marked,
      target,
      [`1/4 to 10.0.0.4:8080, ${kept}, mark 0x4`, `3/4 to 10.0.0.3:80, ${kept}, mark 0x3`],
    ],
    [
      "a draw",
      { draw: 0 },
      { ...marked, backends: marked.backends.slice(1) },
      target,
      [`1/1 to 10.0.0.4:8080, ${kept}, mark 0x4`],
    ],
    [
      "the gateway's own",
      { from: "gateway", draw: 1 },
      { ...marked, backends: [marked.backends[0]!], sourceNat: "vip" },
      target,
      ["1/1 to 10.0.0.3:80, source 203.0.113.10, mark 0x3"],
    ],
    ["the gateway's own, where only an interface counts", { from: "gateway" }, marked, nowhere, [UNTOUCHED]],
    ["another interface", { interface: "eth1" }, marked, nowhere, [UNTOUCHED]],
    [
      "the interface",
      { interface: "eth0", draw: 0.5 },
      { ...marked, backends: [marked.backends[1]!], sourceNat: "198.51.100.1" },
      nowhere,
      ["1/1 to 10.0.0.4:8080, source 198.51.100.1, mark 0x4"],
    ],
    ["another port", { destinationPort: 81 }, marked, target, [UNTOUCHED]],
    ["ICMP", { protocol: "icmp", destinationPort: undefined }, marked, target, [UNTOUCHED]],
    ["an INVALID packet", { state: "invalid" }, marked, target, [GUARD]],
    ["a connection older than the farm", { state: "established" }, marked, target, [GUARD]],
    [
      "an established connection",
      { state: "established", mark: 4 },
      { ...marked, sourceNat: "masquerade" },
      target,
      ["1/1 to 10.0.0.4:8080, source masqueraded, mark 0x4"],
    ],
    [
      "an established connection with bits of others",
      { state: "established", mark: 0xab03 },
      marked,
      masked,
      [`1/1 to 10.0.0.3:80, ${kept}, mark 0xab03`],
    ],
    [
      "an established one that is not the farm's",
      { state: "established", mark: 9, destinationPort: 22 },
      marked,
      target,
      [UNTOUCHED],
    ],
  ])("%s", (_, packet, spec, target, wanted) => {
    expect(outcomes(packet, spec, target)).toEqual(wanted);
  });

  test("every rule of a trace stands in the text, or in the table that all farms share", () => {
    const spec = { ...equal(11), sourceNat: "masquerade" };
    const { ruleSet } = compile("web", spec, target);
    const base = nftablesBase(ruleSet);
    const { steps, possible } = explain("web", spec, PACKET, target);
    for (const { rule, table } of [...steps, ...possible.flatMap((one) => one.steps)]) {
      expect(table).not.toBe("conntrack");
      const [start] = rule.split(" … }");
      expect([ruleSet, base].some((text) => text.includes(start!))).toBe(true);
    }
  });

  test.each(["random", "roundRobin"] as const)("a single backend needs no choice: %s", (algorithm) => {
    const one = { ...marked, algorithm, backends: marked.backends.slice(1) };
    const choices = [{}, algorithm === "random" ? { draw: 0.5 } : { turn: 3 }];
    for (const choice of choices)
      expect(outcomes(choice, one, target)).toEqual([`1/1 to 10.0.0.4:8080, ${kept}, mark 0x4`]);
  });

  test("a mark that no backend has cannot be explained", () => {
    expect(() => outcomes({ state: "established", mark: 5 }, marked, target)).toThrow(
      "mark: 0x5 is no backend's mark, so where its first packet went cannot be told; give 0x3 (10.0.0.3), 0x4 (10.0.0.4:8080), or leave it out",
    );
  });
});

test("the guard is found in each kind of map, and the first map that has the packet decides", () => {
  const spec: FarmSpec = {
    ...FARM,
    listeners: [
      { address: "203.0.113.10", protocol: "tcp", ports: "80,8000-8080" },
      { address: "203.0.113.11", protocol: "all" },
    ],
  };
  const rules = (packet: Partial<Packet>) =>
    explain("web", spec, { ...PACKET, state: "invalid", ...packet }, NFTABLES).steps.map(
      ({ rule, matched }) => [rule, matched],
    );
  expect(rules({ destinationPort: 8001 })).toEqual([
    ["ip daddr . meta l4proto . th dport @guarded drop", false],
    ["ip daddr . meta l4proto . th dport @guarded_ranges drop", true],
  ]);
  expect(rules({ destination: "203.0.113.11", destinationPort: 1 }).at(-1)).toEqual([
    "ip daddr @guarded_addresses drop",
    true,
  ]);
});

test("what does not match says why", () => {
  const { steps } = explain("web", marked, { ...PACKET, draw: 0.9 }, NAT);
  expect(steps.filter(({ matched }) => !matched).map(({ rule, why }) => [rule, why])).toEqual([
    ["-A NFLB-web -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j RETURN", "it is a SYN"],
    ["-A NFLB-web -m statistic --mode random --probability 0.75000000000 -g NFLB-web.3", "not drawn"],
    ["-A NFLB-FORWARD -d 203.0.113.10/32 -p tcp -m tcp --dport 80 -j DROP", "destination is 10.0.0.4"],
  ]);
});

test("a connection that is marked already is not chosen for again in layout zevenet, and the guard stops it", () => {
  // Its first packet is new: a mark of somebody else's on it leads nowhere.
  expect(outcomes({ mark: 5 }, marked, ZEVENET)).toEqual([GUARD]);
  expect(outcomes({ mark: 5, draw: 0 }, marked, NAT)).toEqual([`1/1 to 10.0.0.3:80, ${kept}, mark 0x3`]);
});

test("is plain data: JSON holds all of it", () => {
  const explanation = explain("web", marked, PACKET, NFTABLES);
  expect(JSON.parse(JSON.stringify(explanation))).toMatchObject({
    farm: "web",
    packet: PACKET,
    possible: [{ probability: { numerator: "3", denominator: "4" } }, { probability: { numerator: "1" } }],
  });
  expect(explanation.outcome).toBeUndefined();
});

describe("a packet that is wrong is told what would be right", () => {
  const turning: FarmSpec = { ...FARM, algorithm: "roundRobin" };
  const eth0 = { ...NFTABLES, interface: "eth0" };
  test.each<[packet: unknown, spec: FarmSpec, target: TargetSpec, problems: string[]]>([
    [
      3,
      FARM,
      NFTABLES,
      [
        "3 is not an object; its fields are source, destination, protocol, sourcePort, destinationPort, interface, from, state, mark, syn, affinity, over, draw, turn",
      ],
    ],
    [
      { protocol: "tcp" },
      FARM,
      NFTABLES,
      [
        "source: is missing; give an IP address",
        "destination: is missing; give an IP address",
        "destinationPort: is missing; tcp has one",
      ],
    ],
    [
      { ...PACKET, source: "web" },
      FARM,
      NFTABLES,
      ['source: "web" is not an IP address; write it as text, such as 203.0.113.10'],
    ],
    [
      { ...PACKET, source: "::1" },
      FARM,
      NFTABLES,
      ['source: "::1" is of another address family than the destination; give one of its family'],
    ],
    [
      { ...PACKET, protocol: "all" },
      FARM,
      NFTABLES,
      ['protocol: "all" is not a packet\'s protocol; give tcp, udp, sctp, or another one such as icmp'],
    ],
    [
      { ...PACKET, protocol: "icmp" },
      FARM,
      NFTABLES,
      ["destinationPort: 80 stands beside icmp, which has no ports; leave it out"],
    ],
    [
      { ...PACKET, destinationPort: 0 },
      FARM,
      NFTABLES,
      ["destinationPort: 0 is not a port; a port is between 1 and 65535"],
    ],
    [{ ...PACKET, from: "server" }, FARM, NFTABLES, ['from: "server" is not one of client, gateway']],
    [
      PACKET,
      FARM,
      eth0,
      ["interface: is missing; the farm balances only what enters at eth0: give where this packet does"],
    ],
    [
      { ...PACKET, from: "gateway", interface: "eth0" },
      FARM,
      NFTABLES,
      ['interface: "eth0" stands beside from: "gateway", whose packets enter nowhere; leave it out'],
    ],
    [
      { ...PACKET, state: "old", mark: -1 },
      FARM,
      NFTABLES,
      [
        'state: "old" is not one of new, established, invalid',
        "mark: -1 is not a mark; a mark is between 0 and 0xffffffff",
      ],
    ],
    [
      { ...PACKET, state: "invalid", mark: 1 },
      FARM,
      NFTABLES,
      ['mark: 1 stands beside state: "invalid", which has no connection; leave it out'],
    ],
    [
      { ...PACKET, draw: 2, turn: 1 },
      FARM,
      NFTABLES,
      ["draw: 2 is not between 0 and 1", "turn: 1 goes with roundRobin; this farm draws: give draw, 0 to 1"],
    ],
    [
      { ...PACKET, draw: 1, turn: 0.5 },
      turning,
      NFTABLES,
      [
        "draw: 1 goes with random; this farm's backends take turns: give turn",
        "turn: 0.5 is not a whole number of 0 or more",
      ],
    ],
    [
      { ...PACKET, sport: 1 },
      FARM,
      NFTABLES,
      [
        "sport: is not a field here; there are source, destination, protocol, sourcePort, destinationPort, interface, from, state, mark, syn, affinity, over, draw, turn",
      ],
    ],
  ])("%j", (packet, spec, target, problems) => {
    let error: unknown;
    try {
      explain("web", spec, packet as Packet, target);
    } catch (thrown) {
      error = thrown;
    }
    expect((error as SpecError).subject).toBe("packet");
    expect((error as SpecError).problems.map(formatProblem)).toEqual(problems);
  });

  test("an object where an address belongs, beside a client that affinity remembers", () => {
    const farm: FarmSpec = { ...FARM, affinity: { by: "sourceIp", timeoutSeconds: 60 } };
    const packet = { ...PACKET, destination: { toString: 1 }, affinity: "10.0.0.3" };
    expect(() => explain("web", farm, packet as never, NFTABLES)).toThrow(
      "destination: an object is not an IP address; write it as text, such as 203.0.113.10",
    );
  });

  test("a protocol of a thousand letters, on one line that is not long", () => {
    const packet = {
      source: false,
      destination: PACKET.destination,
      protocol: "x".repeat(1000),
      destinationPort: 80,
    };
    expect(() => explain("web", FARM, packet as never, NFTABLES)).toThrow(
      /protocol: "x{78}… is not a packet's protocol; give tcp, udp, sctp, or another one such as icmp$/m,
    );
  });

  test("and so is a farm", () => {
    expect(() => explain("web", { ...FARM, backends: [] }, PACKET, NFTABLES)).toThrow(SpecError);
  });
});
