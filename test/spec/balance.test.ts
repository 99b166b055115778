import { describe, expect, test } from "vitest";
import { equal, FARM } from "./farms";
import { problemsOf } from "./problems";

/** What the choice of a backend contradicts: hashes, turns and tiers. */

const V4 = { address: "203.0.113.10", protocol: "tcp" };
const V6 = { address: "2001:db8:ffff::10", protocol: "tcp" };
const BOTH = { listeners: [V4, V6], backends: [{ address: "10.0.0.3" }, { address: "2001:db8::3" }] };

describe("a field of hashes goes with a hash", () => {
  test.each<[string, object, string[]]>([
    [
      "a prefix with draws",
      { prefixLength: 24 },
      ["prefixLength: 24 goes with sourceHash, but algorithm is random; take that, or leave the field out"],
    ],
    [
      "a prefix with flows",
      { ...BOTH, algorithm: "flowHash", prefixLength6: 64 },
      [
        "prefixLength6: 64 goes with sourceHash, but algorithm is flowHash; take that, or leave the field out",
      ],
    ],
    [
      "slots with turns",
      { algorithm: "roundRobin", slots: 64 },
      [
        "slots: 64 goes with sourceHash and flowHash, but algorithm is roundRobin; take one, or leave the field out",
      ],
    ],
    [
      "a prefix of the other family",
      { algorithm: "sourceHash", prefixLength6: 64 },
      ["prefixLength6: 64 goes with IPv6, but no listener is; write prefixLength"],
    ],
    [
      "and the reverse",
      { listeners: [V6], backends: [{ address: "2001:db8::3" }], algorithm: "sourceHash", prefixLength: 24 },
      ["prefixLength: 24 goes with IPv4, but no listener is; write prefixLength6"],
    ],
    [
      "both prefixes with both families",
      { ...BOTH, algorithm: "sourceHash", prefixLength: 24, prefixLength6: 56 },
      [],
    ],
    ["slots with flows", { algorithm: "flowHash", slots: 64 }, []],
  ])("%s", (_, fields, problems) => expect(problemsOf({ ...FARM, ...fields })).toEqual(problems));
});

describe("slots are enough for the backends of a tier", () => {
  const hashed = (n: number, fields: object) =>
    problemsOf({ ...equal(n), algorithm: "sourceHash", ...fields });

  test("one each is", () => expect(hashed(16, { slots: 16 })).toEqual([]));
  test("one less is not", () => {
    expect(hashed(17, { slots: 16 })).toEqual([
      "slots: 16 are fewer than the 17 IPv4 backends; take several for each",
    ]);
  });
  test("nor is the default, at some size", () => {
    expect(hashed(4097, {})).toEqual([
      "slots: 4096, the default, are fewer than the 4097 IPv4 backends; take several for each",
    ]);
  });

  test("whatever the backends' states are, so that no outage makes a farm wrong", () => {
    const backends = equal(17).backends.map((backend) => ({ ...backend, priority: 5, state: "drain" }));
    expect(hashed(17, { slots: 16, backends: [{ address: "10.9.9.9" }, ...backends] })).toEqual([
      "slots: 16 are fewer than the 17 IPv4 backends of priority 5; take several for each",
    ]);
  });
  test("tiers and families do not share", () => {
    const tiers = equal(20).backends.map((backend, i) => ({ ...backend, priority: i % 2 }));
    expect(hashed(20, { slots: 16, backends: tiers })).toEqual([]);
  });
});

describe("turns are few enough, in each tier", () => {
  const turns = (...backends: object[]) => problemsOf({ ...FARM, algorithm: "roundRobin", backends });
  const a = { address: "10.0.0.3", weight: 16383 };
  const b = { address: "10.0.0.4", weight: 1 };

  test("as many as are allowed", () => expect(turns(a, b)).toEqual([]));
  test("one more", () => {
    expect(turns(a, b, { address: "10.0.0.5" })).toEqual([
      "backends: weights of the IPv4 backends make a round of 16385 turns; 16384 are allowed with roundRobin: take smaller weights, or random",
    ]);
  });
  test("another tier has rounds of its own", () => {
    expect(turns(a, b, { address: "10.0.0.5", priority: 10 })).toEqual([]);
  });
  test("one that is drained will be back", () => {
    expect(turns(a, b, { address: "10.0.0.5", state: "drain" })).toHaveLength(1);
  });
});

describe("a tier can have the members that it needs", () => {
  const tiered = (minActive: number, ...priorities: number[]) =>
    problemsOf({
      ...FARM,
      minActive,
      backends: priorities.map((priority, i) => ({ address: `10.0.0.${i + 3}`, priority })),
    });

  test.each<[string, number, number[], string[]]>([
    ["just enough", 2, [0, 0, 10], []],
    ["in a later tier", 2, [0, 10, 10], []],
    [
      "in none",
      3,
      [10, 0, 10, 20],
      ["minActive: 3 is more than any tier of IPv4 backends has; the largest, priority 10, has 2"],
    ],
    [
      "of equal ones the first is named",
      2,
      [20, 10],
      ["minActive: 2 is more than any tier of IPv4 backends has; the largest, priority 10, has 1"],
    ],
  ])("%s", (_, minActive, priorities, problems) =>
    expect(tiered(minActive, ...priorities)).toEqual(problems),
  );

  test("members that are not active now count: they may be again", () => {
    const backends = ["drain", "down"].map((state, i) => ({ address: `10.0.0.${i + 3}`, state }));
    expect(problemsOf({ ...FARM, backends, minActive: 2 })).toEqual([]);
  });
  test("in each family", () => {
    const backends = [...BOTH.backends, { address: "10.0.0.4" }];
    expect(problemsOf({ ...BOTH, backends, minActive: 2 })).toEqual([
      "minActive: 2 is more than any tier of IPv6 backends has; the largest, priority 0, has 1",
    ]);
  });
});

test("a farm may have no active backend at all", () => {
  expect(problemsOf({ ...FARM, backends: [{ address: "10.0.0.3", state: "down" }] })).toEqual([]);
});
