/** One of B1 to B11, in a file of its own. */

import type { Outcome } from "./result";

export interface Context {
  /** How many. */
  readonly rounds: number;
  /** Only try whether it works: the least that can be measured. */
  readonly quick: boolean;
  /** Says what goes on, in one line that the next one replaces. */
  say(text: string): void;
}

export interface Measurement {
  /** `B1` to `B11`. */
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  /** What the columns of its table count, such as `backends`. */
  readonly axis: string;
  /** Rounds unless the caller wants others. */
  readonly rounds: number;
  run(context: Context): Promise<Outcome>;
}
