/** What a measurement leaves behind: plain data, as it stands in bench/results/*.json. */

import type { Machine } from "./machine";
import { median } from "./statistics";

/** The part that a subject plays; `result` where there is nothing to compare. */
export type Role = "baseline" | "reference" | "ours" | "rival";

export interface Target {
  /** What the limit is for: the median ratio to the baseline, or the median value itself. */
  readonly of: "ratio" | "value";
  readonly atMost?: number;
  readonly atLeast?: number;
}

/** One subject at one point, in every round. */
export interface Figure {
  readonly subject: string;
  readonly role: Role;
  /** Where several things are measured: which of them. */
  readonly part?: string;
  /** Place on the horizontal axis: a number of backends, farms … */
  readonly at: number;
  /** In the measurement's unit, one a round. */
  readonly values: readonly number[];
  /** The same by the clock, where `values` is CPU time. */
  readonly clocks?: readonly number[];
  /** Value ÷ the baseline's value of the same round. */
  readonly ratios?: readonly number[];
  readonly target?: Target;
}

export interface Outcome {
  readonly figures: readonly Figure[];
  /** What a reader must know about this very run. */
  readonly notes?: readonly string[];
}

export interface Result extends Outcome {
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  /** What `at` counts. */
  readonly axis: string;
  readonly rounds: number;
  /** A try with tiny numbers, whose figures mean nothing. */
  readonly quick: boolean;
  readonly started: string;
  readonly seconds: number;
  readonly machine: Machine;
}

export interface Verdict {
  readonly met: boolean;
  readonly measured: number;
  /** Such as `≤ 1.05`. */
  readonly limit: string;
}

/** Whether a figure's target is met by its median; undefined where it has none. */
export function verdictOf({ target, ratios, values }: Figure): Verdict | undefined {
  if (!target) return undefined;
  const measured = median(target.of === "ratio" ? (ratios ?? []) : values);
  const { atMost, atLeast } = target;
  return {
    met: (atMost === undefined || measured <= atMost) && (atLeast === undefined || measured >= atLeast),
    measured,
    limit: [
      ...(atMost === undefined ? [] : [`≤ ${atMost}`]),
      ...(atLeast === undefined ? [] : [`≥ ${atLeast}`]),
    ].join(", "),
  };
}
