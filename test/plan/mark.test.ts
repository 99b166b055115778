import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { assignMarks, FULL_MASK } from "../../src/plan/mark";

const keys = fc.uniqueArray(
  fc.nat(0xffff).map((n) => `10.0.${n >> 8}.${n & 255}`),
  { minLength: 1, maxLength: 50 },
);

const unmarked = (keys: readonly string[]) => keys.map((key) => ({ key }));
const bits = (mask: number) => [...mask.toString(2)].filter((bit) => bit === "1").length;

describe("a mark stands for a backend, wherever and whenever it is listed", () => {
  test("the first 32 bits of its name's SHA-256", () => {
    // printf 10.0.0.3 | sha256sum
    expect(assignMarks([{ key: "10.0.0.3" }], FULL_MASK).get("10.0.0.3")).toBe(0xa9a5126d);
  });

  test("reordering changes none, in any mask", () => {
    fc.assert(
      fc.property(keys, fc.constantFrom(FULL_MASK, 0xfff, 0x3f), (keys, mask) => {
        const marks = assignMarks(unmarked(keys), mask);
        for (const [key, mark] of assignMarks(unmarked([...keys].reverse()), mask))
          expect(mark).toBe(marks.get(key));
      }),
    );
  });

  test("adding and removing changes no other in 32 bits", () => {
    fc.assert(
      fc.property(keys, fc.nat(50), (keys, kept) => {
        const all = assignMarks(unmarked(keys), FULL_MASK);
        for (const [key, mark] of assignMarks(unmarked(keys.slice(0, kept)), FULL_MASK))
          expect(all.get(key)).toBe(mark);
      }),
    );
  });

  test("in 16 bits only a clash moves one: of 1,000 backends hardly any", () => {
    const thousand = Array.from({ length: 1000 }, (_, i) => `10.1.${i >> 8}.${i & 255}`);
    const before = assignMarks(unmarked(thousand), 0xffff);
    let moved = 0;
    for (let i = 0; i < 50; i++) {
      const after = assignMarks(unmarked([...thousand, `10.2.0.${i}`]), 0xffff);
      moved += thousand.filter((key) => before.get(key) !== after.get(key)).length;
    }
    expect(moved).toBeLessThanOrEqual(2);
  });
});

describe("marks tell backends apart", () => {
  test("no two alike, none 0, all inside the mask", () => {
    const mask = fc.nat(FULL_MASK).filter((mask) => 2 ** bits(mask) > 50);
    fc.assert(
      fc.property(keys, mask, (keys, mask) => {
        const marks = [...assignMarks(unmarked(keys), mask).values()];
        expect(new Set(marks).size).toBe(keys.length);
        for (const mark of marks) {
          expect(mark).not.toBe(0);
          expect((mark & ~mask) >>> 0).toBe(0);
        }
      }),
    );
  });

  test.each([
    ["low bits", 0x7, [1, 2, 3, 4, 5, 6, 7]],
    ["high bits", 0xe000_0000, [1, 2, 3, 4, 5, 6, 7].map((n) => n * 0x2000_0000)],
    ["scattered bits", 0x8000_0101, [0x1, 0x100, 0x101, 0x8000_0000, 0x8000_0001, 0x8000_0100, 0x8000_0101]],
  ])("a mask of three %s is used to the last of its seven marks", (_, mask, expected) => {
    const seven = Array.from({ length: 7 }, (_, i) => ({ key: `10.0.0.${i}` }));
    const marks = [...assignMarks(seven, mask).values()];
    expect(marks.sort((a, b) => a - b)).toEqual(expected);
  });

  test("a mark that the user gave wins, and the backend that would have it takes another", () => {
    const wanted = assignMarks([{ key: "10.0.0.3" }], FULL_MASK).get("10.0.0.3")!;
    const marks = assignMarks([{ key: "10.0.0.3" }, { key: "10.0.0.4", mark: wanted }], FULL_MASK);
    expect(marks.get("10.0.0.4")).toBe(wanted);
    expect(marks.get("10.0.0.3")).not.toBe(wanted);
  });
});
