/** docs/performance.md: words from here, numbers and plots from bench/results. */

import { type Figure, type Result, verdictOf } from "../harness/result";
import { median, quartiles } from "../harness/statistics";
import { partsOf, ratio, short } from "../harness/table";
import { ABOUT, INTRODUCTION, REMARKS } from "./words";

/** @param images by the id of their result: files beside the page, or where the page finds them */
export function toPage(results: readonly Result[], images: ReadonlyMap<string, readonly string[]>): string {
  return `${[
    "<!-- Written by `npm run bench`; words are in bench/report/words.ts. -->",
    "# Performance",
    INTRODUCTION,
    "## Targets",
    summary(results),
    ...results.map((result) => section(result, images.get(result.id) ?? [])),
    "## Machine and versions",
    machines(results),
  ].join("\n\n")}\n`;
}

/** One line for each limit of each measurement: by the worst of the figures that have it. */
function summary(results: readonly Result[]): string {
  const rows = results.flatMap((result) => {
    const groups = new Map<string, Figure[]>();
    for (const figure of result.figures) {
      const verdict = verdictOf(figure);
      if (!verdict) continue;
      const key = `${figure.subject}|${verdict.limit}`;
      groups.set(key, [...(groups.get(key) ?? []), figure]);
    }
    return [...groups.values()].map((figures) => {
      const verdicts = figures.map((figure) => ({ figure, ...verdictOf(figure)! }));
      const missed = verdicts.filter(({ met }) => !met);
      const down = figures[0]!.target?.atMost !== undefined;
      const worst = [...verdicts].sort((a, b) =>
        down ? b.measured - a.measured : a.measured - b.measured,
      )[0]!;
      const { subject, target } = worst.figure;
      const measured = (target?.of === "ratio" ? ratio : short)(worst.measured);
      const unit = target?.of === "ratio" ? "" : ` ${result.unit}`;
      const where = `${worst.figure.part ? `${worst.figure.part}, ` : ""}${grouped(worst.figure.at)} ${result.axis}`;
      const verdict =
        missed.length === 0 ? "met" : `**missed** at ${missed.length} of ${verdicts.length} points`;
      return `| [${result.id}](#${anchor(result)}) | ${subject} | ${worst.limit}${unit} | ${measured} (${where}) | ${verdict} |`;
    });
  });
  return ["| | rules | target | worst median | |", "|---|---|---|---|---|", ...rows].join("\n");
}

function section(result: Result, images: readonly string[]): string {
  const about = ABOUT[result.id];
  const remark = REMARKS[result.id];
  return [
    `## ${heading(result)}`,
    ...(about ? [about] : []),
    ...images.map((image) => `![${result.title}](${image})`),
    ...partsOf(result).map((figures) => pivot(result, figures)),
    ...(result.notes ?? []),
    ...(remark ? [remark] : []),
  ].join("\n\n");
}

/** Rules down, points across. The baseline's cells have the unit, the others their ratio to it. */
function pivot(result: Result, figures: readonly Figure[]): string {
  const part = figures[0]?.part;
  const points = [...new Set(figures.map(({ at }) => at))].sort((a, b) => a - b);
  const subjects = [...new Set(figures.map(({ subject }) => subject))];
  const rows = subjects.map((subject) => {
    const cells = points.map((at) =>
      cell(figures.find((figure) => figure.subject === subject && figure.at === at)),
    );
    return `| ${subject} | ${cells.join(" | ")} |`;
  });
  const name =
    part === undefined || part.includes(", by ") ? (part ?? result.axis) : `${part}; ${result.axis}`;
  return [
    `| ${name} | ${points.map(grouped).join(" | ")} |`,
    `|---|${points.map(() => "--:").join("|")}|`,
    ...rows,
  ].join("\n");

  function cell(figure: Figure | undefined): string {
    if (!figure) return "";
    const { values, ratios } = figure;
    const verdict = verdictOf(figure);
    const mark = verdict ? (verdict.met ? " ✓" : " ✗") : "";
    if (!ratios) return `${`${short(median(values))} ${result.unit.split(" ")[0]}`.trim()}${mark}`;
    const [low, high] = quartiles(ratios);
    return `**${ratio(median(ratios))}**${mark} <sub>${ratio(low)}–${ratio(high)}</sub>`;
  }
}

function machines(results: readonly Result[]): string {
  const columns: readonly (readonly [string, (result: Result) => string])[] = [
    ["", ({ id }) => id],
    ["when", ({ started }) => started.slice(0, 16).replace("T", " ")],
    ["rounds", ({ rounds }) => String(rounds)],
    ["seconds", ({ seconds }) => seconds.toFixed(0)],
    ["commit", ({ machine }) => machine.commit],
    ["load before", ({ machine }) => String(machine.load)],
    [
      "CPU",
      ({ machine }) =>
        `${machine.cpus} × ${machine.cpu}${machine.virtual === "none" ? "" : ` (${machine.virtual})`}`,
    ],
    ["memory", ({ machine }) => `${machine.memoryGiB} GiB`],
    ["kernel", ({ machine }) => machine.kernel],
    ["system", ({ machine }) => machine.distribution],
    ["nft, iptables", ({ machine }) => `${machine.nft}, ${machine.iptables}`],
    ["node, go", ({ machine }) => `${machine.node}, ${machine.go}`],
  ];
  return [
    `| ${columns.map(([name]) => name).join(" | ")} |`,
    `|${columns.map(() => "---").join("|")}|`,
    ...results.map((result) => `| ${columns.map(([, print]) => print(result)).join(" | ")} |`),
  ].join("\n");
}

function heading({ id, title }: Result): string {
  return `${id} ${title}`;
}

/** As GitHub makes them. */
function anchor(result: Result): string {
  return heading(result)
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, "")
    .replace(/ /g, "-");
}

function grouped(value: number): string {
  return value.toLocaleString("en");
}
