import { compare } from "./compare";
import type { ServiceMoves } from "./comparison";

/** A rule set as a preview shows it. */
export type Rules =
  | { kind: "text"; text: string }
  | { kind: "none" }
  /** A secret is in it, and hides all of it. */
  | { kind: "secret" }
  /** A value in it is known only after an update, and hides all of it. */
  | { kind: "unknown" };

/** What a change does to traffic, in plain sentences, as far as a preview shows it. */
export function sayRules(before: Rules, after: Rules, moves: ServiceMoves = {}): string[] {
  if (isHidden(before) || isHidden(after))
    return [
      ...(isHidden(before) ? [`The rules now: ${HIDDEN[before.kind]}.`] : []),
      ...(isHidden(after) ? [`The new rules: ${HIDDEN[after.kind]}.`] : []),
      "So what this changes for traffic cannot be told.",
    ];
  const [old, now] = [textOf(before), textOf(after)];
  if (old === now) return ["The same rules are applied again: nothing changes for traffic."];
  return compare(old, now, moves).words;
}

export function isHidden(rules: Rules): rules is { kind: "secret" | "unknown" } {
  return rules.kind === "secret" || rules.kind === "unknown";
}

const HIDDEN = {
  secret: "secret, since a value in them is",
  unknown: "not known yet, since a value in them comes from a resource that is still to be made or changed",
};

export function textOf(rules: Rules): string | undefined {
  return rules.kind === "text" ? rules.text : undefined;
}
