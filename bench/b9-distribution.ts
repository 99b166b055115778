/** B9: where 120,000 flows go, against the exact shares. */

import { compile, type TargetSpec } from "../src/core";
import { chiSquareTest } from "../test/support/statistics";
import { Bed } from "./bed";
import type { Context, Measurement } from "./harness/measurement";
import type { Figure, Target } from "./harness/result";
import { backendsUpTo, type Road } from "./road";
import { farmsOf } from "./rules/ours";
import type { Scenery } from "./rules/scenery";
import { IPTABLES, LEGACY, NAIVE, NFTABLES, type Subject } from "./rules/subjects";

const FLOWS = 120_000;
const ALGORITHMS = ["random", "roundRobin", "sourceHash"] as const;
/** The number of backends that the picture shows: one of each weight. */
const SHOWN = 9;
/** The part of the result that holds it. */
export const BY_WEIGHT = "percent of the flows, by weight";

type Algorithm = (typeof ALGORITHMS)[number];

interface Way {
  readonly subject: Subject;
  readonly target: TargetSpec;
}

const WAYS: readonly Way[] = [
  { subject: NFTABLES, target: { dataPlane: "nftables" } },
  { subject: IPTABLES, target: { dataPlane: "iptables" } },
  { subject: LEGACY, target: { dataPlane: "iptables" } },
];

export const distribution: Measurement = {
  id: "B9",
  title: "Distribution of 120,000 flows over backends of weights 1 to 9",
  unit: "",
  axis: "backends",
  // Counts, not times: another round would only be more of them.
  rounds: 1,
  async run(context) {
    const bed = await Bed.open();
    try {
      const figures: Figure[] = [];
      const flows = context.quick ? 4000 : FLOWS;
      for (const backends of context.quick ? [3, SHOWN] : Array.from({ length: 12 }, (_, k) => k + 2)) {
        const scenery = weighted(backends);
        if (backends === SHOWN) figures.push(...shares("exact", "baseline", scenery, scenery.weights));
        for (const way of WAYS.filter(({ subject }) => bed.able([subject]).length > 0))
          for (const algorithm of ALGORITHMS)
            figures.push(...(await balance(bed, way, { ...scenery, algorithm }, flows, context)));
        figures.push(...(await naive(bed, scenery, flows)));
      }
      return {
        figures,
        notes: [
          "A fair draw falls below p = 0.001 once in a thousand tries, and there are dozens: one that does is drawn once more, with other " +
            "clients, and the second p counts. What is really uneven falls below it again.",
        ],
      };
    } finally {
      await bed.close();
    }
  },
};

type Weighted = Scenery & { readonly weights: readonly number[] };

function weighted(backends: number): Weighted {
  const weights = Array.from({ length: backends }, (_, k) => 1 + (k % 9));
  return { protocol: "udp", farms: 1, backends, weights };
}

async function balance(
  bed: Bed,
  { subject, target }: Way,
  scenery: Weighted & { algorithm: Algorithm },
  flows: number,
  { say }: Context,
): Promise<Figure[]> {
  const { backends, algorithm } = scenery;
  say(`${backends} backends: ${subject.name}, ${algorithm}`);
  const road = await bed.with(subject, scenery);
  const exact = exactShares(scenery, target);
  const figure = (part: string, value: number, limit: Omit<Target, "of">): Figure => ({
    subject: `${subject.name}, ${algorithm}`,
    role: "ours",
    part,
    at: backends,
    values: [value],
    target: { of: "value", ...limit },
  });

  let drawn = await draw(road, backends, flows, 0);
  const missing = figure("flows without a backend", drawn.missing, { atMost: 0 });
  const shown =
    backends === SHOWN ? shares(`${subject.name}, ${algorithm}`, "ours", scenery, drawn.counts) : [];
  if (algorithm === "roundRobin")
    return [
      figure("unfairness", unfairness(drawn.counts, scenery.weights), { atMost: 1 }),
      missing,
      ...shown,
    ];
  let p = chiSquareTest(drawn.counts, exact);
  if (p <= 0.001) {
    await road.forget();
    drawn = await draw(road, backends, flows, flows);
    p = chiSquareTest(drawn.counts, exact);
  }
  return [figure("p of χ²", p, { atLeast: 0.001 }), missing, ...shown];
}

interface Drawn {
  /** Flows of each backend. */
  readonly counts: readonly number[];
  /** Flows that reached none of them. */
  readonly missing: number;
}

async function draw(road: Road, backends: number, flows: number, first: number): Promise<Drawn> {
  const arrived = await road.count({ protocol: "udp", flows, first });
  const counts = backendsUpTo(backends).map((address) => arrived[address] ?? 0);
  return { counts, missing: flows - counts.reduce((sum, count) => sum + count, 0) };
}

/** What the plan says: exact for random and round robin, whole slots for a hash. */
function exactShares(scenery: Scenery, target: TargetSpec): number[] {
  const [[name, spec] = []] = farmsOf(scenery);
  const pool = compile(name!, spec!, target).plan.pools[0]!;
  return pool.backends.map(({ share }) => share / pool.total);
}

/**
 * Of turns: by how much the backend that got the most for its weight is ahead of the one that got the least, beyond what the last,
 * incomplete window explains. With equal weights it is the largest count less the smallest.
 */
function unfairness(counts: readonly number[], weights: readonly number[]): number {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const window = weights.reduce((sum, weight) => sum + weight, 0);
  const full = Math.floor(total / window);
  // In a part of a window a backend gets its share of it, rounded down or up.
  const part = (total - full * window) / window;
  return Math.max(
    ...counts.map((count, k) => {
      const more = count - full * weights[k]!;
      return Math.max(0, Math.floor(part * weights[k]!) - more, more - Math.ceil(part * weights[k]!));
    }),
  );
}

/** The naive rules, as many of them as there are backends: how many flows find none. */
async function naive(bed: Bed, scenery: Weighted, flows: number): Promise<Figure[]> {
  const { backends } = scenery;
  const road = await bed.with(NAIVE, scenery);
  const { counts, missing } = await draw(road, backends, flows, 0);
  const lost: Figure = {
    subject: NAIVE.name,
    role: "rival",
    part: "flows without a backend",
    at: backends,
    values: [missing],
  };
  return backends === SHOWN ? [lost, ...shares(NAIVE.name, "rival", scenery, counts, flows)] : [lost];
}

/** Percent of all flows, by the weight of the backend. */
function shares(
  subject: string,
  role: Figure["role"],
  { weights }: Weighted,
  counts: readonly number[],
  flows = counts.reduce((sum, count) => sum + count, 0),
): Figure[] {
  return counts.map((count, k) => ({
    subject,
    role,
    part: BY_WEIGHT,
    at: weights[k]!,
    values: [Number(((100 * count) / flows).toFixed(3))],
  }));
}
