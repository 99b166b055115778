import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { firstMatchWins, formatThreshold, lastMatchWins, threshold } from "../../src/plan/probability";
import { Rational } from "../trace/rational";

/** The chance that each rule is the one that decides, worked out exactly from what the kernel keeps. */
function chances(thresholds: readonly number[], wins: "first" | "last"): Rational[] {
  const asked = wins === "first" ? thresholds : [...thresholds].reverse();
  let rest = Rational.ONE;
  const result = asked.map((value) => {
    const p = Rational.of(value, 2 ** 31);
    const chance = rest.times(p);
    rest = rest.minus(chance);
    return chance;
  });
  expect(rest.isZero()).toBe(true); // none is left without a backend
  return wins === "first" ? result : result.reverse();
}

const weights = fc.array(fc.integer({ min: 1, max: 65535 }), { minLength: 1, maxLength: 40 });

describe("equal weights read as every guide has them", () => {
  const text = (thresholds: number[]) => thresholds.map(formatThreshold);
  test("first match wins: 1/n, 1/(n−1) … 1", () => {
    expect(text(firstMatchWins([1, 1, 1, 1]))).toEqual([
      "0.25000000000",
      "0.33333333349",
      "0.50000000000",
      "1.00000000000",
    ]);
  });
  test("last match wins: 1, 1/2 … 1/n", () => {
    expect(text(lastMatchWins([1, 1, 1, 1]))).toEqual([
      "1.00000000000",
      "0.50000000000",
      "0.33333333349",
      "0.25000000000",
    ]);
  });
  test("weights 3 and 1", () => {
    expect(text(firstMatchWins([3, 1]))).toEqual(["0.75000000000", "1.00000000000"]);
    expect(text(lastMatchWins([3, 1]))).toEqual(["1.00000000000", "0.25000000000"]);
  });
});

describe("each backend gets its share, none is left over", () => {
  for (const [wins, list] of [
    ["first", firstMatchWins],
    ["last", lastMatchWins],
  ] as const)
    test(`${wins} match wins, within half a step of the kernel's 2^31 a rule`, () => {
      fc.assert(
        fc.property(weights, (weights) => {
          const total = weights.reduce((sum, weight) => sum + weight);
          chances(list(weights), wins).forEach((chance, i) => {
            expect(chance.distance(Rational.of(weights[i]!, total))).toBeLessThanOrEqual(
              weights.length * 2 ** -32,
            );
          });
        }),
      );
    });
});

describe("a threshold is what iptables makes of the number that it reads", () => {
  test("the nearest of 2^31 steps, a half up", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 65535 }), fc.integer({ min: 1, max: 65535 }), (a, b) => {
        const [numerator, denominator] = [Math.min(a, b), b];
        const exact = Rational.of(numerator, denominator).times(Rational.of(2 ** 31));
        expect(BigInt(threshold(numerator, denominator))).toBe(exact.round());
      }),
    );
  });

  test("its text, read again, is the same threshold", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (value) => {
        expect(
          Rational.parse(formatThreshold(value))
            .times(Rational.of(2 ** 31))
            .round(),
        ).toBe(BigInt(value));
      }),
      { examples: [[0], [1], [2 ** 31 - 1], [2 ** 31]] },
    );
  });
});
