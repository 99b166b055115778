import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BackendSpec, FarmSpec } from "../../src/core";
import { applyFarm, installTool, TARGETS } from "../support/farms";
import { Lab } from "../support/lab";
import { chiSquareTail, chiSquareTest } from "../support/statistics";

/** Real connections through a real kernel: each backend gets the share that was asked for, and none is left without one. */

const VIP = "203.0.113.10";

/** Equal shares at every size from 2 to 13, then weights: sums that are even and odd, common divisors, one giant. */
const WEIGHTS = [
  ...Array.from({ length: 12 }, (_, i) => Array.from({ length: i + 2 }, () => 1)),
  [1, 2, 3],
  [9, 1, 1, 5],
  [2, 4, 6],
  [50, 1],
];

let lab: Lab;

beforeAll(async () => {
  lab = await Lab.create({ backends: 13 });
  await installTool(lab.gateway());
  await lab.backends.serve({ tcp: [80] });
});

afterAll(() => lab?.close());

function farm(weights: readonly number[], algorithm: "random" | "roundRobin"): FarmSpec {
  const backends = weights.map((weight, i): BackendSpec => ({ address: lab.backends4[i]!, weight }));
  return { listeners: [{ address: VIP, protocol: "tcp", port: 80 }], backends, algorithm };
}

describe.each(TARGETS)("%s", (_, target) => {
  it("draws each backend by its weight", async () => {
    const chances: number[] = [];
    for (const weights of WEIGHTS) {
      await applyFarm(lab.gateway(), "web", farm(weights, "random"), target);
      const { counts, lost } = await lab.client.connect({ to: VIP, port: 80, count: 1000 });
      expect(lost, `of ${weights.join(":")}`).toBe(0);
      const observed = weights.map((_, i) => counts[lab.backends4[i]!] ?? 0);
      expect(observed.reduce((sum, count) => sum + count, 0)).toBe(1000);
      chances.push(chiSquareTest(observed, weights));
    }
    // One question asked once: sixteen at p > 0.001 each would fail by chance in one run of sixty.
    expect(combine(chances), chances.join(" ")).toBeGreaterThan(0.001);
  });

  it.each(WEIGHTS.map((weights) => [weights.join(":"), weights] as const))(
    "takes exact turns of %s",
    async (_, weights) => {
      await applyFarm(lab.gateway(), "web", farm(weights, "roundRobin"), target);
      const round = weights.reduce((sum, weight) => sum + weight, 0) / divisor(weights);
      const { answers, lost } = await lab.client.connect({
        to: VIP,
        port: 80,
        count: 4 * round,
        concurrency: 1,
      });
      expect(lost).toBe(0);
      const turns = answers.map(({ address }) => lab.backends4.indexOf(address));
      for (let start = 0; start + round <= turns.length; start++) {
        const window = turns.slice(start, start + round);
        const counts = weights.map((_, i) => window.filter((turn) => turn === i).length);
        expect(counts, `window from connection ${start}`).toEqual(
          weights.map((weight) => weight / divisor(weights)),
        );
      }
    },
  );
});

/** Fisher's method: the chance of p values as small as these, when every share is true. */
function combine(chances: readonly number[]): number {
  return chiSquareTail(-2 * chances.reduce((sum, chance) => sum + Math.log(chance), 0), 2 * chances.length);
}

function divisor(weights: readonly number[]): number {
  return weights.reduce((a, b) => {
    while (b) [a, b] = [b, a % b];
    return a;
  });
}
