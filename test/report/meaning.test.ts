import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { FarmSpec, TargetSpec } from "../../src/core";
import { Fraction } from "../../src/plan/fraction";
import { makePlan } from "../../src/plan/plan";
import { compareFarms } from "../../src/report/compare";
import type { Comparison, ServiceMoves } from "../../src/report/comparison";
import { anyCase, equal, NAT, NFTABLES, weighted } from "../spec/farms";
import { planned } from "./planned";

/** What a change of a farm means, whatever its text is. */

interface Change {
  before?: FarmSpec;
  after?: FarmSpec;
  from?: TargetSpec;
  to?: TargetSpec;
}

function meaning(
  { before, after, from = NFTABLES, to = from }: Change,
  moves: ServiceMoves = {},
): Comparison {
  const [old, now] = [before && planned("web", before, from), after && planned("web", after, to)];
  return compareFarms(old, now, false, moves);
}

/** `connections 1/3`, `clients 853/4096`, `clients anew`. */
function movedIn({ moved }: Comparison): string[] {
  return moved.map(({ of, anew, fraction }) => (anew ? `${of} anew` : `${of} ${text(fraction)}`));
}

const text = ({ numerator, denominator }: { numerator: string; denominator: string }) =>
  denominator === "1" ? numerator : `${numerator}/${denominator}`;

const HASH = { algorithm: "sourceHash" } as const;
const AFFINITY = { affinity: { by: "sourceIp", timeoutSeconds: 300 } } as const;

/** A farm in which some of the backends, by their number, are in a state. */
function having(
  state: NonNullable<FarmSpec["backends"][number]["state"]>,
  which: number[],
  farm: FarmSpec,
): FarmSpec {
  return { ...farm, backends: farm.backends.map((one, i) => (which.includes(i) ? { ...one, state } : one)) };
}

describe("clients of a hash", () => {
  test.each<[string, Change, string]>([
    [
      "stay where nothing about the hash changes",
      { before: equal(4, HASH), after: equal(4, { ...HASH, sourceNat: "vip" }) },
      "clients 0",
    ],
    [
      "are all hashed anew by another number of slots",
      { before: equal(4, HASH), after: equal(4, { ...HASH, slots: 4097 }) },
      "clients anew",
    ],
    [
      "by another prefix",
      { before: equal(4, HASH), after: equal(4, { ...HASH, prefixLength: 24 }) },
      "clients anew",
    ],
    ["by another algorithm", { before: equal(4), after: equal(4, HASH) }, "clients anew"],
    ["and back", { before: equal(4, HASH), after: equal(4, { algorithm: "roundRobin" }) }, "clients anew"],
    ["by the flow", { before: equal(4, HASH), after: equal(4, { algorithm: "flowHash" }) }, "flows anew"],
    [
      "by the other data plane, which hashes in another way",
      { before: equal(4, HASH), after: equal(4, HASH), to: NAT },
      "clients anew",
    ],
    [
      "by a flow without ports",
      {
        before: equal(2, { algorithm: "flowHash" }),
        after: equal(2, { algorithm: "flowHash", listeners: [{ address: "203.0.113.10", protocol: "all" }] }),
      },
      "flows anew",
    ],
    [
      "leave all for other backends",
      { before: equal(1, HASH), after: { ...equal(1, HASH), backends: [{ address: "10.0.0.9" }] } },
      "connections 1",
    ],
  ])("%s", (_, change, wanted) => {
    const comparison = meaning(change);
    expect(movedIn(comparison)).toEqual([wanted]);
    const said = {
      anew: /are spread anew/,
      "0": /^Clients find the same backend as before\.$/,
      "1": /^All new connections go/,
    };
    expect(comparison.words[0]).toMatch(said[wanted.split(" ")[1] as keyof typeof said]);
  });

  test("move to one that comes, all others stay: as many as its slots; and they move back", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 16, max: 500 }),
        fc.constantFrom("sourceHash" as const, "flowHash" as const),
        fc.constantFrom(NFTABLES, NAT),
        (weights, slots, algorithm, target) => {
          const [fewer, more] = [weights, [...weights, 3]].map((all) => weighted(all, { algorithm, slots }));
          const { share, mark } = makePlan("web", more!, target).pools[0]!.backends.at(-1)!;
          const wanted = `${algorithm === "flowHash" ? "flows" : "clients"} ${text(Fraction.of(share, slots).toRatio())}`;
          expect(mark).toBeGreaterThan(0);
          expect(movedIn(meaning({ before: fewer!, after: more!, from: target }))).toEqual([wanted]);
          expect(movedIn(meaning({ before: more!, after: fewer!, from: target }))).toEqual([wanted]);
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe("what affinity remembers", () => {
  test.each<[string, Change, string[], RegExp]>([
    [
      "goes with a backend that is removed",
      { before: weighted([3, 1], AFFINITY), after: weighted([3], AFFINITY) },
      ["1/4"],
      /^Of what affinity remembers, 1\/4 \(25 %\) is forgotten/,
    ],
    [
      "goes with one that is down",
      { before: equal(3, AFFINITY), after: having("down", [0, 1], equal(3, AFFINITY)) },
      ["2/3"],
      /^Of what affinity remembers, 2\/3/,
    ],
    [
      "stays with one that drains",
      { before: equal(3, AFFINITY), after: having("drain", [0], equal(3, AFFINITY)) },
      ["0"],
      /^Clients that affinity remembers keep their backend\.$/,
    ],
    [
      "goes with one that stands by",
      {
        before: equal(2, AFFINITY),
        after: {
          ...equal(2, AFFINITY),
          backends: [{ address: "10.0.0.1" }, { address: "10.0.0.2", priority: 1 }],
        },
      },
      ["1/2"],
      /^Of what affinity remembers, 1\/2/,
    ],
    [
      "stays with one that stands by, but is pinned to",
      {
        before: equal(2, AFFINITY),
        after: {
          ...equal(2, { ...AFFINITY, pins: [{ source: "198.51.100.0/24", backend: "10.0.0.2" }] }),
          backends: [{ address: "10.0.0.1" }, { address: "10.0.0.2", priority: 1 }],
        },
      },
      ["0"],
      /^Clients that affinity remembers keep their backend\.$/,
    ],
    [
      "goes with a mark",
      {
        before: equal(2, AFFINITY),
        after: {
          ...equal(2, AFFINITY),
          backends: [{ address: "10.0.0.1", mark: 7 }, { address: "10.0.0.2" }],
        },
      },
      ["1/2"],
      /^Of what affinity remembers, 1\/2/,
    ],
    [
      "goes altogether with another key",
      {
        before: equal(2, AFFINITY),
        after: equal(2, { affinity: { by: "sourceIpPort", timeoutSeconds: 300 } }),
      },
      ["1"],
      /^Affinity forgets all that it remembers: /,
    ],
    [
      "and with another size",
      { before: equal(2, AFFINITY), after: equal(2, { affinity: { ...AFFINITY.affinity, maxEntries: 9 } }) },
      ["1"],
      /^Affinity forgets all/,
    ],
    [
      "stays with another time",
      {
        before: weighted([1, 1], AFFINITY),
        after: weighted([2, 1], { affinity: { by: "sourceIp", timeoutSeconds: 9 } }),
      },
      ["0"],
      /^Clients that affinity remembers keep/,
    ],
    [
      "stays with another time and size in ipset, as far as it fits",
      {
        before: equal(2, AFFINITY),
        after: equal(2, { affinity: { by: "sourceIp", timeoutSeconds: 9, maxEntries: 9 } }),
        from: NAT,
      },
      ["0"],
      /^What affinity remembers beyond its new size is forgotten\.$/,
    ],
    [
      "goes with the data plane",
      { before: equal(2, AFFINITY), after: equal(2, AFFINITY), to: NAT },
      ["1"],
      /^Affinity forgets all/,
    ],
    ["ends with affinity", { before: equal(2, AFFINITY), after: equal(2) }, ["1"], /^Affinity ends: /],
    [
      "is nothing yet where it begins",
      { before: equal(2), after: equal(2, AFFINITY) },
      [],
      /^Affinity remembers each client from its next new connection on\.$/,
    ],
    [
      "is also at a backend that drained",
      {
        before: having("drain", [1], equal(3, AFFINITY)),
        after: { ...equal(3, AFFINITY), backends: equal(3).backends.filter((_, i) => i !== 1) },
      },
      ["0"],
      /^Clients that affinity still has at a backend that drained, and now leaves, find another one\.$/,
    ],
  ])("%s", (_, change, wanted, sentence) => {
    const { forgotten, words } = meaning(change);
    expect(forgotten.map(({ fraction }) => text(fraction))).toEqual(wanted);
    expect(words.filter((line) => sentence.test(line))).toHaveLength(1);
  });

  test("is told for each address family where they differ", () => {
    const backends = [
      ...equal(2).backends,
      { address: "2001:db8::1" },
      { address: "2001:db8::2" },
      { address: "2001:db8::3" },
    ];
    const listeners = ["203.0.113.10", "2001:db8:ffff::10"].map((address) => ({
      address,
      protocol: "tcp" as const,
      port: 80,
    }));
    const before: FarmSpec = { listeners, backends, ...AFFINITY };
    const { words } = meaning({
      before,
      after: { ...before, backends: backends.filter((_, i) => i % 2 === 0) },
    });
    expect(words).toContainEqual(expect.stringMatching(/^Of what affinity remembers of IPv4, 1\/2 \(50 %\)/));
    expect(words).toContainEqual(
      expect.stringMatching(/^Of what affinity remembers of IPv6, 1\/3 \(33.33 %\)/),
    );
  });
});

describe("backends", () => {
  const tiers = (states: ("active" | "drain" | "down")[]): FarmSpec => ({
    ...equal(2),
    backends: states.map((state, i) => ({ address: `10.0.0.${i + 1}`, state, priority: i >> 1 })),
  });
  test.each<[string, Change, string[]]>([
    [
      "begin to drain, and leave",
      { before: equal(3), after: having("drain", [1], having("down", [2], equal(3))) },
      [
        "Backend 10.0.0.2 drains: no new clients; its share was 1/3 (33.33 %).",
        "Backend 10.0.0.3 leaves; its share was 1/3 (33.33 %).",
        "A backend that drains keeps its connections until they end.",
      ],
    ],
    [
      "come back",
      { before: having("drain", [1], having("down", [2], equal(3))), after: equal(3) },
      [
        "Backend 10.0.0.2 is active again: share 1/3 (33.33 %); it drained.",
        "Backend 10.0.0.3 comes in: share 1/3 (33.33 %), mark 0xa9a5126d.",
      ],
    ],
    [
      "of another tier take over",
      {
        before: tiers(["active", "active", "active", "active"]),
        after: tiers(["drain", "down", "active", "active"]),
      },
      [
        "All new connections go to other backends than before.",
        "Another tier of backends carries new connections.",
        "Backend 10.0.0.3 takes over: share 1/2 (50 %); it stood by.",
      ],
    ],
    [
      "of that tier stand by again",
      {
        before: tiers(["drain", "down", "active", "active"]),
        after: tiers(["active", "active", "active", "active"]),
      },
      [
        "Another tier of backends carries new connections.",
        "Backend 10.0.0.4 stands by: no new connections; its share was 1/2 (50 %).",
        "A backend that stands by keeps its connections until they end.",
      ],
    ],
    [
      "are all down",
      { before: equal(2), after: having("down", [0, 1], equal(2)) },
      [
        "No backend is active any more: new connections are rejected (a TCP reset, or ICMP port unreachable).",
      ],
    ],
    [
      "are there again",
      { before: having("down", [0, 1], equal(2, { whenEmpty: "drop" })), after: equal(2) },
      ["New connections are served again: a backend is active."],
    ],
    [
      "are none, in a new farm",
      { after: having("drain", [0, 1], equal(2, { whenEmpty: "drop" })) },
      [
        "No backend is active: new connections are dropped.",
        "Backend 10.0.0.1 is added and drains: no new clients, mark 0xf5047344.",
      ],
    ],
    [
      "have limits",
      { before: equal(1), after: { ...equal(1), backends: [{ address: "10.0.0.1", maxConnections: 100 }] } },
      ["Backend 10.0.0.1: limit of connections at a time none → 100."],
    ],
    [
      "have limits of which rules say nothing while they stand by",
      {
        before: { ...equal(1), backends: [{ address: "10.0.0.1", maxConnections: 9 }] },
        after: {
          ...equal(1),
          backends: [{ address: "10.0.0.1", maxConnections: 9, priority: 1 }, { address: "10.0.0.2" }],
        },
      },
      [
        "Backend 10.0.0.1 stands by: no new connections; its share was all.",
        "Backend 10.0.0.2 comes in: share all, mark 0xcb5f37b4.",
      ],
    ],
    [
      "that take over have limits again",
      {
        before: {
          ...equal(1),
          backends: [{ address: "10.0.0.1", maxConnections: 9, priority: 1 }, { address: "10.0.0.2" }],
        },
        after: { ...equal(1), backends: [{ address: "10.0.0.1", maxConnections: 9 }] },
      },
      [
        "Backend 10.0.0.1 takes over: share all; it stood by.",
        "Backend 10.0.0.1: limit of connections at a time 9.",
      ],
    ],
    [
      "have the same limits, in rules that iptables makes anew",
      {
        before: equal(2, { limits: { maxConnections: 9 } }),
        after: equal(3, { limits: { maxConnections: 9 } }),
        from: NAT,
      },
      [
        "Limits of connections at a time count from zero, as after every change of iptables' rules: those under way are neither counted nor cut.",
      ],
    ],
    [
      "are cut where they leave, and balanced anew where any packet may begin a connection",
      { before: equal(2), after: equal(1, { onRemoval: "cut", looseTcp: true }) },
      [
        "Connections of a backend that leaves are cut: the gateway forgets them and balances what still comes of them anew (if it has the conntrack command).",
      ],
    ],
    [
      "are cut where they leave",
      { before: equal(2), after: equal(1, { onRemoval: "cut" }) },
      [
        "Connections of a backend that leaves are cut: the gateway forgets them and drops their packets (if it has the conntrack command).",
      ],
    ],
  ])("%s", (_, change, sentences) => {
    const { words } = meaning(change);
    for (const sentence of sentences) expect(words).toContain(sentence);
    expect(words.filter((line) => sentences.includes(line))).toEqual(sentences);
    const limits = (lines: string[]) => lines.filter((line) => line.includes("limit of connections"));
    expect(limits(words.filter((line) => line.startsWith("Backend ")))).toEqual(limits(sentences));
  });
});

describe("settings", () => {
  test.each<[string, Partial<FarmSpec>, Partial<FarmSpec>, string[]]>([
    [
      "a deny list",
      { deny: ["192.0.2.0/24"] },
      { deny: ["192.0.2.0/24", "198.51.100.7"] },
      ["Clients that are not served (deny): 198.51.100.7 comes; 2 in all."],
    ],
    [
      "a long one",
      { deny: Array.from({ length: 5 }, (_, i) => `10.${i}.0.0/16`) },
      { deny: ["10.0.0.0/16"] },
      ["Clients that are not served (deny): 4 go; 1 in all."],
    ],
    [
      "an allow list",
      {},
      { allow: ["192.0.2.0/24"] },
      ["Clients that alone are served (allow): everybody → 192.0.2.0/24."],
    ],
    [
      "and none",
      { allow: ["192.0.2.0/24"] },
      {},
      ["Clients that alone are served (allow): 192.0.2.0/24 → everybody."],
    ],
    [
      "pins",
      {
        pins: [
          { source: "198.51.100.0/24", backend: "10.0.0.1" },
          { source: "198.51.101.7", backend: "10.0.0.1" },
        ],
      },
      { pins: [{ source: "198.51.100.0/24", backend: "10.0.0.2" }] },
      [
        "Clients 198.51.100.0 to 198.51.100.255 are pinned to 10.0.0.2 instead of 10.0.0.1.",
        "Clients 198.51.101.7 are no longer pinned to 10.0.0.1.",
      ],
    ],
    [
      "many pins",
      { pins: [1, 3, 5].map((i) => ({ source: `198.51.100.${i}`, backend: "10.0.0.1" })) },
      { pins: [5, 7, 9].map((i) => ({ source: `198.51.100.${i}`, backend: "10.0.0.2" })) },
      ["Pinned client networks: 2 come, 2 go, 1 leads elsewhere; 3 in all."],
    ],
    [
      "limits",
      { limits: { maxConnections: 10, newConnectionsPerSecond: 3 } },
      { limits: { perSource: { newConnectionsPerSecond: 2, burst: 9 } } },
      [
        "Limit of connections at a time: 10 → none.",
        "Limit of new connections a second: 3 a second, 3 at once → none.",
        "Limit of new connections a second from one client address: none → 2 a second, 9 at once.",
      ],
    ],
    ["a helper", {}, { helper: "ftp" }, ["Connection helper: none → ftp."]],
    [
      "a log",
      { log: {} },
      { log: { prefix: "x", burst: 2 } },
      [
        "Log of new connections: prefix web:, at most 10 a second, 5 at once → prefix x, at most 10 a second, 2 at once.",
      ],
    ],
    [
      "TCP from the middle",
      {},
      { looseTcp: true },
      ["TCP connections that are under way when the gateway first sees them: are dropped → are balanced."],
    ],
    [
      "who is masqueraded",
      { sourceNat: "auto" },
      { sourceNat: "auto", localNetworks: ["10.0.0.0/8"] },
      ["Clients that are masqueraded: 10.0.0.0/8 comes, 10.0.0.0/24 goes; 1 in all."],
    ],
    [
      "what becomes of connections",
      {},
      { onRemoval: "cut" },
      ["Established connections of a backend that leaves: go on → are cut."],
    ],
  ])("%s", (_, before, after, sentences) => {
    const { words, change } = meaning({ before: equal(2, before), after: equal(2, after) });
    expect(change).toBe("traffic");
    for (const sentence of sentences) expect(words).toContain(sentence);
  });
});

test("any change has words, the same each time, and none of a value that is missing", () => {
  fc.assert(
    fc.property(anyCase, anyCase, (before, after) => {
      const [old, now] = [before, after].map(({ spec, target }) => planned("web", spec, target));
      for (const [from, to] of [
        [old, now],
        [now, old],
        [undefined, now],
        [old, undefined],
      ] as const) {
        const comparison = compareFarms(from, to, false, {});
        expect(compareFarms(from, to, false, {})).toEqual(comparison);
        expect(comparison.words.length).toBeGreaterThan(0);
        for (const line of comparison.words) {
          expect(line).toMatch(/^[A-Z].*\.$/);
          expect(line).not.toMatch(/undefined|NaN|null|\[object|Infinity|\s\s/);
        }
        expect(JSON.parse(JSON.stringify(comparison)).words).toEqual(comparison.words);
        for (const { fraction } of [...comparison.moved, ...comparison.forgotten])
          expect(BigInt(fraction.numerator) <= BigInt(fraction.denominator)).toBe(true);
      }
    }),
    { numRuns: 300 },
  );
});

test("backends in another order mean the same", () => {
  fc.assert(
    fc.property(anyCase, ({ spec, target }) => {
      const reversed = {
        ...spec,
        backends: [...spec.backends].reverse(),
        listeners: [...spec.listeners].reverse(),
      };
      const { change, words } = compareFarms(
        planned("web", spec, target),
        planned("web", reversed, target),
        false,
        {},
      );
      expect([change, words.length]).toEqual(["rules", 1]);
    }),
    { numRuns: 100 },
  );
});

test.each<[string, FarmSpec, RegExp, RegExp]>([
  [
    "cuts its connections",
    equal(1, { onRemoval: "cut" }),
    /^Its established connections are cut: /,
    /keep their entry/,
  ],
  [
    "forgets its UDP flows",
    { ...equal(1), listeners: [{ address: "203.0.113.10", protocol: "udp", port: 53 }] },
    /^Its UDP flows are forgotten/,
    /are cut/,
  ],
])("a farm that leaves %s", (_, before, said, unsaid) => {
  const { words } = meaning({ before });
  expect(words.filter((line) => said.test(line))).toHaveLength(1);
  expect(words.filter((line) => unsaid.test(line))).toEqual([]);
});
