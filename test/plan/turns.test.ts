import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { turns } from "../../src/plan/turns";

describe("a round has each backend's turns apart", () => {
  test.each([
    [[1], "a"],
    [[1, 1, 1], "a b c"],
    [[2, 1], "a b a"],
    [[5, 1, 1], "a a b a c a a"], // nginx's own example
    [[3, 2, 1], "a b a c b a"],
  ])("%j: %s", (weights, letters) => {
    expect(
      turns(weights)
        .map((index) => "abc"[index])
        .join(" "),
    ).toBe(letters);
  });
});

const weights = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 12 });

test("any window of a round's length has each backend as often as its weight", () => {
  fc.assert(
    fc.property(weights, fc.nat(1000), (weights, start) => {
      const round = turns(weights);
      const endless = (turn: number) => round[turn % round.length];
      const length = weights.reduce((sum, weight) => sum + weight);
      const counts = weights.map(() => 0);
      for (let turn = start; turn < start + length; turn++) counts[endless(turn)!]!++;
      expect(counts).toEqual(weights);
    }),
  );
});

test("at no time has a backend had a whole turn more than its share", () => {
  fc.assert(
    fc.property(weights, (weights) => {
      const length = weights.reduce((sum, weight) => sum + weight);
      const counts = weights.map(() => 0);
      const ahead = turns(weights).map((index, before) => {
        counts[index]!++;
        return counts[index]! - (weights[index]! * (before + 1)) / length;
      });
      expect(Math.max(...ahead)).toBeLessThan(1);
    }),
  );
});
