import { describe, expect, it } from "vitest";
import { chiSquareTail, chiSquareTest, countEach, firstUnfairWindow } from "./statistics";

describe("chiSquareTail", () => {
  // Critical values of the chi-square distribution: NIST/SEMATECH e-Handbook, section 1.3.6.7.4.
  it.each([
    [3.841, 1, 0.05],
    [6.635, 1, 0.01],
    [10.828, 1, 0.001],
    [5.991, 2, 0.05],
    [18.307, 10, 0.05],
    [29.588, 10, 0.001],
    [21.026, 12, 0.05],
    [124.342, 100, 0.05],
    [149.449, 100, 0.001],
  ])("%f with %i degrees of freedom: %f", (statistic, degrees, p) => {
    expect(chiSquareTail(statistic, degrees)).toBeCloseTo(p, 4);
  });

  it("is exp(−x/2) with two degrees of freedom, also far out", () => {
    for (const x of [0.001, 1, 4, 40, 400]) {
      expect(chiSquareTail(x, 2) / Math.exp(-x / 2)).toBeCloseTo(1, 10);
    }
  });

  it("falls from 1 to 0, across the change of method too", () => {
    for (const degrees of [1, 2, 7, 999]) {
      const tails = Array.from({ length: 400 }, (_, k) => chiSquareTail((k * degrees) / 100, degrees));
      expect(tails[0]).toBe(1);
      expect(tails.every((p, k) => k === 0 || p <= tails[k - 1]! + 1e-12)).toBe(true);
      expect(tails.at(-1)).toBeLessThan(0.1);
    }
  });
});

describe("chiSquareTest", () => {
  it("accepts what fits", () => {
    expect(chiSquareTest([750, 250], [3, 1])).toBe(1);
    expect(chiSquareTest([740, 260], [0.75, 0.25])).toBeGreaterThan(0.4);
  });

  it("rejects what does not", () => {
    expect(chiSquareTest([338, 443, 219], [1, 1, 1])).toBeLessThan(1e-15);
  });

  it("wants nothing of a backend without a share", () => {
    expect(chiSquareTest([50, 50, 0], [0.5, 0.5, 0])).toBe(1);
    expect(() => chiSquareTest([50, 49, 1], [0.5, 0.5, 0])).toThrow(/share 0/);
    expect(() => chiSquareTest([1], [1, 1])).toThrow(/as many/);
  });
});

describe("firstUnfairWindow", () => {
  it("accepts an interleaved round robin, wherever it begins", () => {
    const order = Array.from("abacabacabac");
    expect(firstUnfairWindow(order, { a: 2, b: 1, c: 1 })).toBeUndefined();
    expect(firstUnfairWindow(order.slice(3), { a: 2, b: 1, c: 1 })).toBeUndefined();
  });

  it("finds the first window that is not", () => {
    expect(firstUnfairWindow(Array.from("abacbaac"), { a: 2, b: 1, c: 1 })).toBe(1);
  });

  it("proves nothing with too few", () => {
    expect(() => firstUnfairWindow(["a"], { a: 1, b: 1 })).toThrow(/less than a window/);
  });
});

it("counts", () => {
  expect(countEach(["a", "b", "a"])).toEqual({ a: 2, b: 1 });
});
