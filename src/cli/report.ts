import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { compare } from "../report/compare";
import type { ServiceMoves } from "../report/comparison";
import { isHidden, sayRules, textOf } from "../report/rules";
import { UsageError } from "./errors";
import { type Planned, readPreview } from "./preview";

/** `netfilter-lb report`. @returns what it prints */
export function reportCommand(args: readonly string[]): string {
  const markdown = parse(args);
  return report(readFileSync(0, "utf8"), markdown);
}

function parse(args: readonly string[]): boolean {
  try {
    const options = { markdown: { type: "boolean", default: false } } as const;
    return parseArgs({ args: [...args], options }).values.markdown;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** What a comment on a pull request holds at most, of the 65,536 that GitHub takes. */
const ROOM = 64_000;

/** Backends that a comment names one by one. */
const SENTENCES = 60;

/** Gateways that a comment names one by one. */
const NAMES = 10;

/** @param preview what `pulumi preview --json` printed */
export function report(preview: string, markdown: boolean): string {
  const sections = group(readPreview(preview));
  if (sections.length === 0) return "Nothing changes: no farm of this package gets other rules.";
  if (!markdown) return sections.map(asText).join("\n\n");

  const title = "## What this changes for traffic";
  const parts = [title];
  let left = ROOM - title.length;
  for (const [i, section] of sections.entries()) {
    const text = asMarkdown(section);
    const rest = sections.length - i;
    const omitted = `${rest === 1 ? "One more farm is" : `${rest} more farms are`} left out here, for length: run netfilter-lb report without --markdown.`;
    // What comes later may have no room left for the word that it is left out.
    if (text.length + 2 > left - (i === sections.length - 1 ? 0 : omitted.length + 10)) {
      parts.push(omitted);
      break;
    }
    parts.push(text);
    left -= text.length + 2;
  }
  return parts.join("\n\n");
}

/** A change that is the same on several gateways. */
interface Section {
  farm: string;
  gateways: string[];
  words: string[];
}

function group(planned: readonly Planned[]): Section[] {
  const moves = findMoves(planned);
  const sections: Section[] = [];
  for (const one of planned) {
    const words = wordsOf(one, moves.get(one));
    const same = sections.find(
      (section) => section.farm === one.farm && section.words.join("\n") === words.join("\n"),
    );
    if (same) same.gateways.push(one.gateway);
    else sections.push({ farm: one.farm, gateways: [one.gateway], words });
  }
  return sections;
}

/** Services that one farm of a gateway loses and another gets in the same preview. */
function findMoves(planned: readonly Planned[]): Map<Planned, Required<ServiceMoves>> {
  const comparable = planned.filter((one) => !one.gone && isTold(one));
  const moves = new Map(comparable.map((one) => [one, { to: {}, from: {} } as Required<ServiceMoves>]));
  const all = comparable.map((one) => ({ one, ...compare(textOf(one.before), textOf(one.after)).services }));
  for (const loser of all)
    for (const winner of all)
      if (loser !== winner && loser.one.gateway === winner.one.gateway)
        for (const service of loser.removed.filter((removed) => winner.added.includes(removed))) {
          moves.get(loser.one)!.to[service] = winner.one.farm;
          moves.get(winner.one)!.from[service] = loser.one.farm;
        }
  return moves;
}

function isTold({ before, after }: Planned): boolean {
  return !isHidden(before) && !isHidden(after) && (before.kind === "text" || after.kind === "text");
}

function wordsOf({ before, after, gone }: Planned, moves: ServiceMoves | undefined): string[] {
  if (gone) return ["The gateway is given up (gone): its rules leave the state, and nothing dials it."];
  return sayRules(before, after, moves);
}

function asText({ farm, gateways, words }: Section): string {
  return [`${farm} on ${gateways.join(", ")}`, ...words.map((line) => `  ${line}`)].join("\n");
}

function asMarkdown({ farm, gateways, words }: Section): string {
  const shown = words.length > SENTENCES ? words.filter((line) => !line.startsWith("Backend ")) : words;
  const left = words.length - shown.length;
  return [
    `### ${farm} on ${gateways.slice(0, NAMES).join(", ")}${gateways.length > NAMES ? ` and ${gateways.length - NAMES} more` : ""}`,
    "",
    ...shown.map((line) => `- ${line}`),
    ...(left === 0 ? [] : [`- ${left} lines about single backends are left out here, for length.`]),
  ].join("\n");
}
