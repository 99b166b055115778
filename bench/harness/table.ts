/** A result as a table for the terminal. */

import type { Figure, Result } from "./result";
import { verdictOf } from "./result";
import { median, quartiles } from "./statistics";

/** Three significant digits and all before the point, never in the form 1e+5. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const digits = Number.isInteger(value) ? 0 : 2 - Math.floor(Math.log10(Math.abs(value) || 1));
  const shown = Math.min(4, Math.max(0, digits));
  return value.toLocaleString("en", { minimumFractionDigits: shown, maximumFractionDigits: shown });
}

export function ratio(value: number): string {
  return value.toFixed(value < 10 ? 3 : 1);
}

export function spread(values: readonly number[], print: (value: number) => string): string {
  const [low, high] = quartiles(values);
  return `${print(low)}–${print(high)}`;
}

export function toTable(result: Result): string {
  const { id, title, rounds, seconds, machine, quick, notes = [] } = result;
  const warning = quick ? ", QUICK: these figures mean nothing" : "";
  return [
    `${id}  ${title}`,
    `${rounds} rounds, ${seconds.toFixed(0)} s, load at the start ${machine.load}${warning}`,
    ...partsOf(result).flatMap((figures) => ["", ...part(result, figures)]),
    ...notes.map((note) => `\n${note}`),
    "",
  ].join("\n");
}

/** The figures of each part, in their order. */
export function partsOf({ figures }: Result): Figure[][] {
  const parts = [...new Set(figures.map(({ part }) => part))];
  return parts.map((part) => figures.filter((figure) => figure.part === part));
}

/** One line a figure, with its spread; where all rounds agree there is none, and a line holds a subject. */
function part(result: Result, figures: readonly Figure[]): string[] {
  const name = figures[0]?.part ?? "";
  if (figures.some(({ values, ratios }) => ratios || values.length > 1)) {
    const head = [name, result.axis, result.unit, "ratio", "middle half", "target"];
    return columns([head, ...figures.map((figure) => row(figure))]);
  }
  const points = [...new Set(figures.map(({ at }) => at))];
  const rows = [...new Set(figures.map(({ subject }) => subject))].map((subject) => [
    subject,
    ...points.map((at) => {
      const figure = figures.find((each) => each.subject === subject && each.at === at);
      if (!figure) return "";
      return `${short(median(figure.values))}${verdictOf(figure)?.met === false ? " MISSED" : ""}`;
    }),
    verdictOf(figures.find((figure) => figure.subject === subject)!)?.limit ?? "",
  ]);
  return columns([[name, ...points.map(String), ""], ...rows]);
}

function row(figure: Figure): string[] {
  const { subject, at, values, ratios } = figure;
  const verdict = verdictOf(figure);
  return [
    subject,
    String(at),
    short(median(values)),
    ratios ? ratio(median(ratios)) : "",
    ratios ? spread(ratios, ratio) : spread(values, short),
    verdict ? `${verdict.limit} ${verdict.met ? "met" : "MISSED"}` : "",
  ];
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, k) => Math.max(...rows.map((row) => row[k]!.length)));
  return rows.map((row) =>
    row
      .map((cell, k) =>
        k === 0 || k === row.length - 1 ? cell.padEnd(widths[k]!) : cell.padStart(widths[k]!),
      )
      .join("  ")
      .trimEnd(),
  );
}
