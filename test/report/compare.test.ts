import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { report } from "../../src/cli/report";
import { compare, compile, type FarmSpec, SpecError, type TargetSpec } from "../../src/core";
import { Fraction } from "../../src/plan/fraction";
import { compareFarms } from "../../src/report/compare";
import { movedBetween } from "../../src/report/moved";
import { readRuleSet } from "../../src/report/read";
import { percent, sayShare } from "../../src/report/share";
import { anyCase, equal, FARM, NAT, NFTABLES, simpleCase, TARGETS, weighted, ZEVENET } from "../spec/farms";
import { planned } from "./planned";
import { preview, rules, step } from "./previews";

const two: FarmSpec = {
  ...FARM,
  backends: [{ address: "10.0.0.3", weight: 3 }, { address: "10.0.0.4" }],
};
const ports = (list: string): Partial<FarmSpec> => ({
  listeners: [{ address: "203.0.113.10", protocol: "tcp", ports: list }],
});

const HASH = { algorithm: "sourceHash" } as const;
const AFFINITY = { affinity: { by: "sourceIp", timeoutSeconds: 300 } } as const;
type State = NonNullable<FarmSpec["backends"][number]["state"]>;
const inStates = (...states: State[]) => states.map((state, i) => ({ address: `10.0.0.${i + 1}`, state }));
const tiers = (first: State) => [
  ...inStates(first, first),
  { address: "10.0.1.1", priority: 1 },
  { address: "10.0.1.2", priority: 1 },
];

describe("what a reviewer reads, kept in test/golden", () => {
  const changes: [name: string, before: string | undefined, after: string | undefined][] = [
    ["created", undefined, rules(two)],
    ["removed", rules(two), undefined],
    [
      "weight",
      rules(two),
      rules({ backends: [{ address: "10.0.0.3", weight: 2 }, { address: "10.0.0.4" }] }),
    ],
    ["backend-added", rules(two), rules({ backends: [...two.backends, { address: "10.0.0.9", weight: 4 }] })],
    ["backend-removed", rules(equal(3), ZEVENET), rules(equal(2), ZEVENET)],
    [
      "udp-backend-removed",
      rules({ ...equal(3), listeners: [{ address: "203.0.113.10", protocol: "udp", port: 53 }] }),
      rules({ ...equal(2), listeners: [{ address: "203.0.113.10", protocol: "udp", port: 53 }] }),
    ],
    ["service-added", rules(two, NAT), rules({ ...two, ...ports("80,443") }, NAT)],
    ["service-removed", rules({ ...two, ...ports("80,443") }), rules(two)],
    ["plane-switched", rules(equal(3)), rules(equal(3), NAT)],
    ["hash-backend-added", rules(equal(4, HASH)), rules(equal(5, HASH))],
    ["hash-slots", rules(equal(4, HASH), NAT), rules(equal(4, { ...HASH, slots: 8192 }), NAT)],
    ["affinity-backend-removed", rules(weighted([3, 1], AFFINITY)), rules(weighted([3], AFFINITY))],
    [
      "maintenance",
      rules({ ...equal(3, AFFINITY), onRemoval: "cut" }),
      rules({
        ...equal(3, { ...AFFINITY, onRemoval: "cut" }),
        backends: inStates("active", "drain", "down"),
      }),
    ],
    [
      "tier-switched",
      rules({ backends: tiers("active") }, ZEVENET),
      rules({ backends: tiers("down") }, ZEVENET),
    ],
    ["nobody-active", rules({ backends: inStates("active") }), rules({ backends: inStates("drain") })],
    [
      "admission",
      rules(
        { ...equal(2), deny: ["192.0.2.0/24"], pins: [{ source: "198.51.100.0/24", backend: "10.0.0.1" }] },
        NAT,
      ),
      rules(
        {
          ...equal(2),
          deny: ["192.0.2.0/25"],
          allow: ["192.0.2.0/24", "198.51.100.0/24"],
          pins: [{ source: "198.51.100.0/24", backend: "10.0.0.2" }],
          limits: { maxConnections: 1000, perSource: { newConnectionsPerSecond: 10, burst: 20 } },
          sourceNat: "auto",
          helper: "ftp",
          log: {},
        },
        NAT,
      ),
    ],
    [
      "created-with-features",
      undefined,
      rules({
        ...weighted([3, 1], { ...HASH, ...AFFINITY }),
        limits: { newConnectionsPerSecond: 100 },
        deny: ["192.0.2.0/24"],
        sourceNat: "auto",
        onRemoval: "cut",
      }),
    ],
    [
      "everything",
      rules({ ...two, algorithm: "roundRobin" }, { ...NAT, markMask: 0xff }),
      rules(
        { ...two, ...ports("81"), sourceNat: "vip", algorithm: "random" },
        { ...NFTABLES, interface: "eth0" },
      ),
    ],
  ];
  test.each(changes)("%s", async (name, before, after) => {
    const one = step({ ...(before !== undefined && { before }), ...(after !== undefined && { after }) });
    for (const [form, markdown] of [
      ["txt", false],
      ["md", true],
    ] as const)
      await expect(`${report(preview(one), markdown)}\n`).toMatchFileSnapshot(
        `../golden/report.${name}.${form}`,
      );
  });
});

describe("services", () => {
  const change = (before: Partial<FarmSpec>, after: Partial<FarmSpec>) =>
    compare(rules(before), rules(after)).services;
  const all: Partial<FarmSpec> = { listeners: [{ address: "203.0.113.10", protocol: "all" }] };
  test.each<[string, Partial<FarmSpec>, Partial<FarmSpec>, ReturnType<typeof change>]>([
    [
      "a port of a range",
      ports("80-90"),
      ports("80"),
      { kept: ["203.0.113.10 tcp 80"], added: [], removed: ["203.0.113.10 tcp 81-90"] },
    ],
    [
      "a range that moves",
      ports("80-90"),
      ports("85-95"),
      {
        kept: ["203.0.113.10 tcp 85-90"],
        added: ["203.0.113.10 tcp 91-95"],
        removed: ["203.0.113.10 tcp 80-84"],
      },
    ],
    [
      "a port out of every one",
      ports("80"),
      { listeners: [{ address: "203.0.113.10", protocol: "tcp" }] },
      {
        kept: ["203.0.113.10 tcp 80"],
        added: ["203.0.113.10 tcp 0-79", "203.0.113.10 tcp 81-65535"],
        removed: [],
      },
    ],
    [
      "everything to one port",
      all,
      ports("80"),
      { kept: ["203.0.113.10 tcp 80"], added: [], removed: ["203.0.113.10 all protocols but tcp 80"] },
    ],
    [
      "one port to everything",
      ports("80"),
      all,
      { kept: ["203.0.113.10 tcp 80"], added: ["203.0.113.10 all protocols but tcp 80"], removed: [] },
    ],
  ])("%s", (_, before, after, wanted) => {
    expect(change(before, after)).toEqual(wanted);
  });
});

describe("the part of new connections that goes elsewhere", () => {
  test.each<[string, FarmSpec, FarmSpec, string]>([
    ["nothing", equal(3), equal(3, { sourceNat: "vip" }), "0/1"],
    ["one more of four", equal(4), equal(5), "1/5"],
    ["one less of five", equal(5), equal(4), "1/5"],
    ["other weights", weighted([3, 1]), weighted([2, 2]), "1/4"],
    ["all", equal(1), { ...FARM, backends: [{ address: "10.0.0.9" }] }, "1/1"],
    [
      "a port that is the dialled one anyway",
      equal(1),
      { ...FARM, backends: [{ address: "10.0.0.1", port: 80 }] },
      "0/1",
    ],
    ["another port", equal(1), { ...FARM, backends: [{ address: "10.0.0.1", port: 81 }] }, "1/1"],
  ])("%s", (_, before, after, wanted) => {
    for (const [, target] of TARGETS) {
      const { moved } = compare(rules(before, target), rules(after, target));
      expect(moved.map(({ fraction }) => `${fraction.numerator}/${fraction.denominator}`)).toEqual([wanted]);
    }
  });

  test.each([
    ["80,443", "80,443", "Of new connections, 1/12 (8.33 %) go to another backend than before."],
    [
      "80,443,8080",
      "80,443",
      "Of new connections to services that stay, 1/12 (8.33 %) go to another backend than before.",
    ],
  ])("of services %s, then %s, names those that stay where some do not", (before, after, sentence) => {
    const change = compare(
      rules({ ...weighted([3, 1]), ...ports(before) }),
      rules({ ...weighted([2, 1]), ...ports(after) }),
    );
    expect(change.words[0]).toBe(sentence);
  });

  test("is the same both ways", () => {
    fc.assert(
      fc.property(simpleCase, fc.nat(19), ({ spec, target }, count) => {
        const fewer = spec.backends.filter(
          ({ address }, i) => i % (count + 1) === 0 || address.endsWith("1"),
        );
        const families = new Set(fewer.map(({ address }) => address.includes(":")));
        fc.pre(families.size === new Set(spec.backends.map(({ address }) => address.includes(":"))).size);
        const before = readRuleSet(compile("web", spec, target).ruleSet);
        const after = readRuleSet(compile("web", { ...spec, backends: fewer }, target).ruleSet);
        expect(movedBetween(before, after, before.services)).toEqual(
          movedBetween(after, before, before.services),
        );
      }),
    );
  });
});

test("a farm keeps its shares on every kind of gateway", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 2, maxLength: 30 }), (weights) => {
      for (const [, from] of TARGETS)
        for (const [, to] of TARGETS) {
          const { moved } = compare(rules(weighted(weights), from), rules(weighted(weights), to));
          expect(moved.map(({ percent }) => percent)).toEqual(["0 %"]);
        }
    }),
    { numRuns: 20 },
  );
});

test("the same change gives the same words, whatever it is", () => {
  fc.assert(
    fc.property(anyCase, anyCase, (before, after) => {
      const texts = [before, after].map(({ spec, target }) => compile("web", spec, target).ruleSet);
      const { words, ...data } = compare(texts[0], texts[1]);
      expect(compare(texts[0], texts[1]).words).toEqual(words);
      expect(words.length).toBeGreaterThan(0);
      for (const line of words) expect(line).toMatch(/^[A-Z].*\.$/);
      expect(JSON.parse(JSON.stringify(data)).farm).toBe("web");
      expect(compare(texts[0], texts[0])).toMatchObject({ change: "none", words: ["Nothing changes."] });
    }),
    { numRuns: 100 },
  );
});

test("backends in another order are other rules, and the same traffic", () => {
  const target: TargetSpec = NAT;
  const { change, words } = compare(
    rules(two, target),
    rules({ ...two, backends: [...two.backends].reverse() }, target),
  );
  expect([change, words]).toEqual(["rules", ["The rules change, what they do to traffic does not."]]);
});

describe("what is no rule set is refused", () => {
  test.each<[string, string | undefined, string | undefined, RegExp]>([
    [
      "nothing",
      undefined,
      undefined,
      /rule sets: 1 problem\n {2}there is none; give the one before, the one after, or both/,
    ],
    [
      "junk",
      "#!/bin/sh\n",
      undefined,
      /line 1 is "#!\/bin\/sh", which no rule set of this package has; give the text of compile\(\)/,
    ],
    ["an empty text", "", rules(), /line 1 is "", which/],
    ["half of one", rules().slice(0, 300), undefined, /which no rule set of this package has/],
    ["another version", rules().replace("rule set 1", "rule set 2"), undefined, /is of version 2, which/],
    ["Windows' line ends", rules().replaceAll("\n", "\r\n"), undefined, /line 1 is/],
    [
      "two farms",
      rules(),
      rules({}, NFTABLES, "app"),
      /are of two farms, web and app; compare each with its own/,
    ],
  ])("%s", (_, before, after, message) => {
    expect(() => compare(before, after)).toThrow(SpecError);
    expect(() => compare(before, after)).toThrow(message);
  });
});

test.each<[Fraction, string, string]>([
  [Fraction.of(0), "0 %", "none"],
  [Fraction.of(1), "100 %", "all"],
  [Fraction.of(3, 4), "75 %", "3/4 (75 %)"],
  [Fraction.of(2, 3), "66.67 %", "2/3 (66.67 %)"],
  [Fraction.of(1, 30_000), "less than 0.01 %", "1/30000 (less than 0.01 %)"],
  [Fraction.of(99_999, 100_000), "more than 99.99 %", "99999/100000 (more than 99.99 %)"],
  [Fraction.of(1, 2 ** 31), "less than 0.01 %", "less than 0.01 %"],
  [Fraction.of(1, 8), "12.5 %", "1/8 (12.5 %)"],
])("a share as it is read: %s", (share, percentage, words) => {
  expect([percent(share), sayShare(share)]).toEqual([percentage, words]);
});

test("a text means what its farm does", () => {
  fc.assert(
    fc.property(anyCase, anyCase, (one, other) => {
      const [before, after] = [one, other].map(({ spec, target }) => ({ spec: plainly(spec), target }));
      const [from, to] = [before!, after!].map(({ spec, target }) => planned("web", spec, target));
      // Where nobody is active, rules are silent about what nobody meets.
      fc.pre([from!, to!].every(({ empty }) => Object.keys(empty).length === 0));
      const [old, now] = [before!, after!].map(({ spec, target }) => compile("web", spec, target).ruleSet);
      expect(compare(old, now)).toEqual(compareFarms(from, to, old === now, {}));
      expect(compare(undefined, now)).toEqual(compareFarms(undefined, to, false, {}));
    }),
    { numRuns: 100 },
  );
});

/** Without what rules tell in other words: a rate of which iptables keeps another, everybody's masquerade, a backend without slots. */
function plainly({ log, limits, localNetworks, ...spec }: FarmSpec): FarmSpec {
  const rate = { newConnectionsPerSecond: 10 };
  const networks = localNetworks?.filter((network) => !network.endsWith("/0")) ?? [];
  return {
    ...spec,
    backends: spec.backends.map((backend) => ({ ...backend, weight: ((backend.weight ?? 1) % 4) + 1 })),
    ...(spec.slots && { slots: Math.max(spec.slots, 100) }),
    ...(log && { log: { ...log, perSecond: 10 } }),
    ...(limits && {
      limits: {
        ...limits,
        ...(limits.newConnectionsPerSecond && rate),
        ...(limits.perSource && { perSource: { ...limits.perSource, ...rate } }),
      },
    }),
    ...(networks.length > 0 && { localNetworks: networks }),
  };
}
