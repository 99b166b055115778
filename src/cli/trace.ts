import type { Explanation } from "../explain/explain";
import { type Effect, formatOutcome, formatPlace, formatSource, REJECTED, type Step } from "../explain/trace";
import { Fraction, type Ratio } from "../plan/fraction";
import { sayShare } from "../report/share";
import { hex } from "../spec/check";

/** A trace for readers. @param all also the rules that do not match */
export function describeExplanation({ steps, outcome, possible }: Explanation, all: boolean): string {
  const lines = steps.flatMap(stepLines(all, ""));
  if (outcome) return [...lines, `=> ${formatOutcome(outcome)}`].join("\n");
  return [
    ...lines,
    `=> ${possible.length} outcomes are possible`,
    ...possible.flatMap((one) => [
      "",
      `${sayShare(fractionOf(one.probability))}: ${formatOutcome(one.outcome)}`,
      ...one.steps.flatMap(stepLines(all, "  ")),
    ]),
  ].join("\n");
}

function fractionOf({ numerator, denominator }: Ratio): Fraction {
  return Fraction.of(BigInt(numerator), BigInt(denominator));
}

function stepLines(all: boolean, indent: string): (step: Step) => string[] {
  return ({ hook, table, chain, rule, matched, why, effect }) => {
    // Connection tracking's own word is always of interest.
    if (!matched && !all && table !== "conntrack") return [];
    const place = [hook, table, chain].filter((part) => part !== "").join(" ");
    return [
      `${indent}${matched ? "+" : "-"} ${place}${rule === "" ? "" : `: ${rule}`}`,
      `${indent}    ${why}${effect ? `; ${sayEffect(effect)}` : ""}`,
    ];
  };
}

function sayEffect(effect: Effect): string {
  switch (effect.kind) {
    case "mark":
      return `the ${effect.of}'s mark becomes ${hex(effect.after)}`;
    case "translate":
      return `translated to ${formatPlace(effect.to)}`;
    case "source":
      return formatSource(effect.source);
    case "goto":
      return `on to ${effect.chain}`;
    case "accept":
      return "let through";
    case "drop":
      return "dropped";
    case "reject":
      return `answered with ${REJECTED[effect.with]}`;
    case "return":
      return "back from this chain, untranslated";
    case "remember":
      return `remembered for ${effect.seconds} s`;
    case "forget":
      return "forgotten";
    case "helper":
      return `the kernel's helper for ${effect.helper} reads along`;
    case "log":
      return `a line in the kernel's log that begins with ${effect.prefix}`;
    case "count":
      return "counted";
    default:
      throw effect satisfies never;
  }
}
