import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { assignSlots } from "../../src/plan/slots";
import { remaps } from "./remap";

interface Weighted {
  key: string;
  weight: number;
}

const weight = fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 65535 }));
const backends = (minLength: number) =>
  fc.uniqueArray(fc.record({ key: fc.nat(0xffff).map((n) => `10.0.${n >> 8}.${n & 255}`), weight }), {
    minLength,
    maxLength: 20,
    selector: ({ key }) => key,
  });
const slots = fc.integer({ min: 16, max: 400 });

/** Each slot's backend, by name. */
const owners = (list: readonly Weighted[], slots: number) =>
  assignSlots(list, slots).map((index) => list[index]!.key);

describe("a slot moves only where it must", () => {
  test("what stays keeps every slot that it has; who leaves gives up its own, who comes takes from all", () => {
    fc.assert(
      fc.property(backends(2), slots, fc.nat(), (list, slots, choice) => {
        const staying = list.filter((_, i) => (choice >> (i % 31)) & 1 || i === choice % list.length);
        const kept = new Set(staying.map(({ key }) => key));
        const after = owners(staying, slots);
        owners(list, slots).forEach((key, slot) => {
          if (kept.has(key)) expect(after[slot]).toBe(key);
        });
      }),
    );
  });

  test("another weight moves slots to the backend that gains, or away from the one that loses, and no others", () => {
    fc.assert(
      fc.property(backends(1), slots, fc.nat(), weight, (list, slots, choice, weight) => {
        const changed = list[choice % list.length]!;
        const after = owners(
          list.map((one) => (one === changed ? { ...one, weight } : one)),
          slots,
        );
        owners(list, slots).forEach((key, slot) => {
          if (after[slot] !== key) expect(weight > changed.weight ? after[slot] : key).toBe(changed.key);
        });
      }),
    );
  });

  test("the order of the list moves none, nor weights that are all doubled", () => {
    fc.assert(
      fc.property(
        backends(1).chain((list) =>
          fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })),
        ),
        slots,
        ([list, shuffled], slots) => {
          expect(owners(shuffled, slots)).toEqual(owners(list, slots));
          const doubled = list.map(({ key, weight }) => ({ key, weight: 2 * weight }));
          expect(owners(doubled, slots)).toEqual(owners(list, slots));
        },
      ),
    );
  });

  test("nor does a new version of this package, or another machine: these are for ever", () => {
    const list = [
      { key: "10.0.0.3", weight: 3 },
      { key: "10.0.0.4", weight: 1 },
      { key: "[2001:db8::5]:80", weight: 2 },
    ];
    expect(assignSlots(list, 32).join("")).toBe("00120000020001001002220100200110");
    expect(
      assignSlots(
        list.map(({ key }) => ({ key, weight: 1 })),
        32,
      ).join(""),
    ).toBe("10120002020101001011221100200110");
  });
});

describe("a backend has its share of the slots", () => {
  /** How far a count is from its share, in standard deviations of as many independent draws. */
  const deviation = (count: number, share: number, slots: number) =>
    (count - share * slots) / Math.sqrt(slots * share * (1 - share));

  test("as close as independent draws come, whatever the names and weights", () => {
    const samples = fc.sample(
      fc.tuple(
        fc.uniqueArray(fc.ipV4(), { minLength: 2, maxLength: 40, size: "max" }),
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 40, maxLength: 40 }),
        fc.boolean(),
      ),
      { numRuns: 200, seed: 1 },
    );
    const slots = 4096;
    const squares = samples.flatMap(([keys, weights, alike]) => {
      const list = keys.map((key, i) => ({ key, weight: alike ? 1 : weights[i]! }));
      const total = list.reduce((sum, { weight }) => sum + weight, 0);
      const counts = list.map(() => 0);
      for (const index of assignSlots(list, slots)) counts[index]!++;
      const all = list.map(({ weight }, i) => deviation(counts[i]!, weight / total, slots));
      expect(Math.max(...all.map(Math.abs))).toBeLessThan(5);
      return all.map((one) => one ** 2);
    });
    expect(squares.length).toBeGreaterThan(3000);
    // The mean square is 1 for independent draws: less would be more even, more would be skewed.
    const mean = squares.reduce((sum, one) => sum + one) / squares.length;
    expect(mean).toBeGreaterThan(0.9);
    expect(mean).toBeLessThan(1.1);
  });

  test.each([
    ["weights of five digits", [65535, 1], [65535 / 65536, 1 / 65536]],
    ["one of a hundred", [99, 1], [0.99, 0.01]],
  ])("%s", (_, weights, shares) => {
    const slots = 65536;
    const list = weights.map((weight, i) => ({ key: `10.0.0.${i}`, weight }));
    const assigned = assignSlots(list, slots);
    for (const [i, share] of shares.entries()) {
      const count = assigned.filter((index) => index === i).length;
      expect(Math.abs(deviation(count, share, slots))).toBeLessThan(4);
    }
  });

  test("also where the names' SHA-256 begin alike", () => {
    // The first 32 bits of both are the same: with these alone, one of the two would win every slot.
    const twins = ["10.0.140.139", "10.1.15.216"].map((key) => ({ key, weight: 1 }));
    const first = assignSlots(twins, 4096).filter((index) => index === 0).length;
    expect(Math.abs(deviation(first, 1 / 2, 4096))).toBeLessThan(4);
  });

  test("neighbouring addresses, and ports of one address, are as good as any", () => {
    for (const name of [(i: number) => `10.0.0.${i}`, (i: number) => `10.0.0.1:${8000 + i}`]) {
      const list = Array.from({ length: 16 }, (_, i) => ({ key: name(i), weight: 1 }));
      const counts = list.map(() => 0);
      for (const index of assignSlots(list, 65536)) counts[index]!++;
      const chi = counts.reduce((sum, count) => sum + (count - 4096) ** 2 / 4096, 0);
      expect(chi).toBeLessThan(37.7); // 15 degrees of freedom, 1 in 1,000; the same number at every run
    }
  });
});

test("a backend that comes or goes moves close to 1/n of the slots: what the documentation says", () => {
  for (const [n, closest] of [
    [2, 0.06],
    [5, 0.12],
    [10, 0.16],
  ] as const) {
    const { mean, least, most } = remaps(n, 4096, 200);
    expect(Math.abs(mean * n - 1)).toBeLessThan(0.01);
    expect(least * n).toBeGreaterThan(1 - closest);
    expect(most * n).toBeLessThan(1 + closest);
  }
});

test("a thousand backends share 4,096 slots well under a second", () => {
  const list = Array.from({ length: 1000 }, (_, i) => ({
    key: `10.1.${i >> 8}.${i & 255}`,
    weight: (i % 7) + 1,
  }));
  const start = performance.now();
  assignSlots(list, 4096);
  expect(performance.now() - start).toBeLessThan(1000); // 0.08 s alone on this machine
});
