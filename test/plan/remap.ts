import { assignSlots } from "../../src/plan/slots";

/**
 * Which part of the slots moves when an n-th backend of the same weight comes, over farms of random addresses (the same ones
 * at every run). By itself it prints the numbers of the documentation: `npx tsx test/plan/remap.ts`.
 */
export function remaps(
  n: number,
  slots: number,
  farms: number,
): Record<"mean" | "least" | "most" | "within10", number> {
  const random = numbers(n);
  const address = () => `10.${random(256)}.${random(256)}.${random(256)}`;
  const parts = Array.from({ length: farms }, () => {
    const keys = new Set<string>();
    while (keys.size < n) keys.add(address());
    const all = [...keys].map((key) => ({ key, weight: 1 }));
    const before = assignSlots(all.slice(0, -1), slots);
    const after = assignSlots(all, slots);
    return after.filter((index, slot) => index !== before[slot]).length / slots;
  });
  return {
    mean: parts.reduce((sum, part) => sum + part) / farms,
    least: Math.min(...parts),
    most: Math.max(...parts),
    within10: parts.filter((part) => Math.abs(part * n - 1) <= 0.1).length / farms,
  };
}

/** Whole numbers below a limit, the same ones for the same seed: the generator of C's `rand`, without its low bits. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

if (require.main === module) {
  const percent = (part: number) => `${(100 * part).toFixed(2)} %`;
  for (const slots of [4096, 65536])
    for (const n of [2, 3, 5, 10, 20, 50, 100]) {
      const { mean, least, most, within10 } = remaps(n, slots, 1000);
      console.log(
        `${slots} slots, ${n - 1} backends and one more: 1/${n} is ${percent(1 / n)}; moved ${percent(mean)} on average, ` +
          `${percent(least)} to ${percent(most)}, in ${percent(within10)} of the farms within a tenth of 1/${n}`,
      );
    }
}
