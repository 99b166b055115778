/** docs/reliability.md, from the outcomes of a run. */

import { CATALOGUE } from "./catalogue";
import { type Case, type Outcome, verdicts } from "./outcomes";

/** @param long whether the sweeps were the long ones */
export function toDocument(all: readonly Outcome[], long: boolean): string {
  const { held, failed, notShown } = verdicts(all);
  const counts = [
    `${held} faults held`,
    `${failed} failed`,
    `${notShown} cannot be shown on such a machine`,
  ].join(", ");
  return `# Reliability

What a gateway survives. Every line is a test that does the fault for real, to a gateway of the lab with the kernel's own netfilter. Where it strikes
a change, the test checks that the rule set is the old one or the new one, whole, that the rules of others are byte for byte as they were, and that the
message names the cause and the remedy.

This page is written by \`npm run faults${long ? "" : " -- --bounded"}\`${long ? "" : ", with the short sweeps of `npm test`; without `--bounded` they are the long ones"}.

${counts}.
${CATALOGUE.map(({ title, faults }) => `\n## ${title}\n\n${chapter(faults, all)}`).join("\n")}`;
}

function chapter(faults: Readonly<Record<number, string>>, all: readonly Outcome[]): string {
  const lines = ["| | fault | done | held | what the user sees |", "|---|---|---|---|---|"];
  for (const [number, title] of Object.entries(faults)) {
    const outcome = all.find((each) => each.number === Number(number));
    lines.push(...rows(number, title, outcome));
  }
  return `${lines.join("\n")}\n`;
}

function rows(number: string, title: string, outcome: Outcome | undefined): string[] {
  if (outcome?.kind === "not shown")
    return [row(number, title, "", `cannot be shown here: ${outcome.why}`, "")];
  if (outcome === undefined || outcome.kind === "not run") return [row(number, title, "", "**not run**", "")];
  return outcome.cases.map((each, index) =>
    caseRow(index === 0 ? number : "", index === 0 ? title : "", each),
  );
}

function caseRow(number: string, title: string, { subject, held, account }: Case): string {
  const done = [subject && `*${subject}*: `, account?.done ?? ""].join("");
  return row(number, title, done, held ? (account?.held ?? "") : "**failed**", account?.saw ?? "");
}

function row(...cells: string[]): string {
  return `| ${cells.map((cell) => cell.replace(/\s+/g, " ").replaceAll("|", "\\|")).join(" | ")} |`;
}
