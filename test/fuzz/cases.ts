/** How many cases a fuzz test tries, and which: a few, the same every time, in `npm test`; `npm run fuzz` says otherwise. */

import fc from "fast-check";
import { vi } from "vitest";

const RUNS = Number(process.env.RUNS ?? 1);
const SEED = Number(process.env.SEED ?? 1);

/** Lets the tests of a file take as long as so many cases take. */
export function allowTime(): void {
  vi.setConfig({ testTimeout: 120_000 * Math.max(1, RUNS) });
}

/** @param some how many in `npm test` */
export function cases(some: number): { numRuns: number; seed: number } {
  return { numRuns: some * RUNS, seed: SEED };
}

/** As many drawn values, for tests that hand all of them to one process. */
export function sample<T>(arbitrary: fc.Arbitrary<T>, some: number): T[] {
  return fc.sample(arbitrary, cases(some));
}
