/** Clients who are limited: what is beyond is dropped. */

import { expect } from "vitest";
import type { FarmSpec, LimitsSpec } from "../../src/core";
import type { HeldConnection } from "../support/lab";
import { ALL_BUT_ZEVENET, addressOf, type Plane } from "./plane";

/** Before a second is over, TCP would try again. */
export const IMPATIENT = { timeout: 800 };

export const OPTIONS = {
  planes: ALL_BUT_ZEVENET,
  backends: 2,
  serve: { tcp: [80], udp: [53] },
  together: true,
};

/** The calls that tests of limits make of one plane. */
export function limitsOf(plane: Plane) {
  return {
    limited: (limits: LimitsSpec, more: Partial<FarmSpec> = {}) => plane.apply({ limits, ...more }),
    hold: (options: Parameters<Plane["hold"]>[0] = {}) => plane.hold({ ...IMPATIENT, ...options }),
    /** How many of these get an answer, each from a client of its own, all at once. */
    admitted: async (count: number, options: { fromEach?: string[]; to?: string } = {}) => {
      const { answers, failures, lost } = await plane.connect({
        fromEach: plane.clients(count),
        count,
        concurrency: count,
        ...IMPATIENT,
        ...options,
      });
      // Dropped, not refused.
      expect(failures).toEqual(lost > 0 ? { timeout: lost } : {});
      return answers.length;
    },
  };
}

export function works(held: HeldConnection): boolean {
  return addressOf(held.first) !== "timeout";
}

/** What it says now, as `first` was. */
export async function still(held: HeldConnection): Promise<HeldConnection> {
  return { ...held, first: await held.ask(500) };
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
