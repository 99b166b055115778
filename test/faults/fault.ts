/**
 * A fault of the catalogue as a test. It may stand in any test file, where the scene for it is:
 *
 *     fault(27, "iptables nat", async () => {
 *       … do it, expect what must hold …
 *       return { done: "…", held: "…", saw: "…" };
 *     });
 *
 * `npm test` runs a bounded part of a sweep, `npm run faults` all of it, and writes docs/reliability.md from what the tests return.
 */

import { test } from "vitest";
import { TITLES } from "./catalogue";

/** What the reader of docs/reliability.md is told: plain sentences, figures from this very run. */
export interface Account {
  /** What was done to the gateway: "kill −9 of the tool at 500 random moments of a change". */
  readonly done: string;
  /** What held: "500 of 500: the old or the new set, whole, in the kernel and on disk". */
  readonly held: string;
  /** What the user saw: the message, as it came. "nothing" where there is nothing to see. */
  readonly saw: string;
}

declare module "vitest" {
  interface TaskMeta {
    fault?: { readonly number: number; readonly subject: string; account?: Account };
  }
}

const LONG = process.env.FAULTS === "long";

/** How many times a sweep goes: a few in `npm test`, all of them in `npm run faults`. */
export function sweep(bounded: number, long: number): number {
  return LONG ? long : bounded;
}

/**
 * @param number of {@link TITLES}
 * @param subject what of several that the fault is done to: a data plane, say; "" where there is but one
 * @param timeout milliseconds, for the bounded run; a long one has ten times as much
 */
export function fault(number: number, subject: string, run: () => Promise<Account>, timeout = 60_000): void {
  const title = TITLES.get(number);
  if (title === undefined) throw new Error(`the catalogue has no fault ${number}`);
  test(`fault ${number}, ${title}${subject && ` (${subject})`}`, {
    timeout: LONG ? 10 * timeout : timeout,
  }, async ({ task }) => {
    task.meta.fault = { number, subject };
    const account = await run();
    task.meta.fault = { number, subject, account };
  });
}
