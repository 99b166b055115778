/** How each fault of the catalogue came out. */

import { NOT_SHOWN, TITLES } from "./catalogue";
import type { Account } from "./fault";

/** One test of a fault. */
export interface Case {
  readonly number: number;
  readonly subject: string;
  readonly held: boolean;
  readonly account?: Account;
}

export type Outcome =
  | { readonly kind: "held" | "failed"; readonly number: number; readonly cases: readonly Case[] }
  | { readonly kind: "not shown"; readonly number: number; readonly why: string }
  | { readonly kind: "not run"; readonly number: number };

/** One for each fault of the catalogue, in its order. A fault holds when all its cases do. */
export function outcomes(cases: readonly Case[]): Outcome[] {
  return [...TITLES.keys()].map((number): Outcome => {
    const own = cases.filter((each) => each.number === number);
    const why = NOT_SHOWN[number];
    if (own.length > 0)
      return { kind: own.every(({ held }) => held) ? "held" : "failed", number, cases: own };
    return why === undefined ? { kind: "not run", number } : { kind: "not shown", number, why };
  });
}

export function verdicts(all: readonly Outcome[]) {
  const count = (kind: Outcome["kind"]) => all.filter((outcome) => outcome.kind === kind).length;
  return {
    held: count("held"),
    failed: count("failed"),
    notShown: count("not shown"),
    notRun: count("not run"),
  };
}
