import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compile, type FarmSpec } from "../../src/core";
import { anyCase, FARM, NFTABLES, weighted } from "../spec/farms";

const planOf = (spec: FarmSpec) => compile("web", spec, NFTABLES).plan;

describe("a share is exact: a whole number over the whole", () => {
  test.each([
    [[1, 1], [1, 1], 2],
    [[3, 1], [3, 1], 4],
    [[300, 100], [3, 1], 4],
    [[65535, 65535, 65535], [1, 1, 1], 3],
    [[6, 10, 15], [6, 10, 15], 31],
    [[65535, 1], [65535, 1], 65536],
  ])("weights %j are %j of %i", (weights, shares, total) => {
    const [pool] = planOf(weighted(weights)).pools;
    expect(pool!.backends.map(({ share }) => share)).toEqual(shares);
    expect(pool!.total).toBe(total);
  });

  test("a backend without a weight weighs 1", () => {
    const [pool] = planOf({
      ...FARM,
      backends: [{ address: "10.0.0.3", weight: 2 }, { address: "10.0.0.4" }],
    }).pools;
    expect(pool!.backends.map(({ weight }) => weight)).toEqual([2, 1]);
  });

  test("a pool's shares add up and have no common divisor", () => {
    fc.assert(
      fc.property(anyCase, ({ name, spec, target }) => {
        for (const { backends, total, slots, chosen } of compile(name, spec, target).plan.pools) {
          expect(backends.reduce((sum, { share }) => sum + share, 0)).toBe(total);
          if (slots || chosen.length === 0) continue; // slots are shares of their number
          const divisors = [2, 3, 5, 7, 11, 13].filter((d) => backends.every(({ share }) => share % d === 0));
          expect(divisors).toEqual([]);
        }
      }),
    );
  });
});

describe("each family has its own pool", () => {
  const both = planOf({
    listeners: [
      { address: "2001:db8:ffff::1", protocol: "tcp", port: 80 },
      { address: "203.0.113.10", protocol: "tcp", port: 80 },
    ],
    backends: [
      { address: "2001:db8::3", weight: 5 },
      { address: "10.0.0.3" },
      { address: "10.0.0.4", weight: 2 },
    ],
  });

  test("IPv4 first", () => expect(both.pools.map(({ family }) => family)).toEqual(["ip", "ip6"]));
  test("with shares of its own", () => expect(both.pools.map(({ total }) => total)).toEqual([3, 1]));
  test("with marks that differ over both", () => {
    const marks = both.pools.flatMap(({ backends }) => backends.map(({ mark }) => mark));
    expect(new Set(marks).size).toBe(3);
  });
});

describe("a backend's name is its address and port", () => {
  test.each([
    [{ address: "10.0.0.3" }, "10.0.0.3"],
    [{ address: "10.0.0.3", port: 80 }, "10.0.0.3:80"],
    [{ address: "2001:DB8::3" }, "2001:db8::3"],
    [{ address: "2001:DB8::3", port: 80 }, "[2001:db8::3]:80"],
  ])("%j: %s", (backend, key) => {
    const vip = key.includes("db8") ? "2001:db8:ffff::1" : "203.0.113.10";
    const plan = planOf({ listeners: [{ address: vip, protocol: "tcp", port: 80 }], backends: [backend] });
    expect(plan.pools[0]!.backends[0]!.key).toBe(key);
  });

  test("which the mark hangs on: another port is another mark", () => {
    const backends = [80, 81].map((port) => ({ address: "10.0.0.3", port }));
    const [a, b] = planOf({ ...FARM, backends }).pools[0]!.backends;
    expect(a!.mark).not.toBe(b!.mark);
  });

  test("and a weight changes no mark", () => {
    const marks = (weights: number[]) => planOf(weighted(weights)).pools[0]!.backends.map(({ mark }) => mark);
    expect(marks([1, 1])).toEqual(marks([7, 3]));
  });
});
