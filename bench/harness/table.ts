/** A result as a table for the terminal. */

import type { Figure, Result } from "./result";
import { verdictOf } from "./result";
import { median, quartiles } from "./statistics";

/** Three significant digits, never in the form 1e+5. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value) || 1)));
  return value.toFixed(Math.min(digits, 4));
}

export function ratio(value: number): string {
  return value.toFixed(value < 10 ? 3 : 1);
}

export function spread(values: readonly number[], print: (value: number) => string): string {
  const [low, high] = quartiles(values);
  return `${print(low)}–${print(high)}`;
}

export function toTable(result: Result): string {
  const rows = result.figures.map((figure) => row(figure));
  const head = ["", result.axis, result.unit, "ratio", "middle half", "target"];
  return [
    `${result.id}  ${result.title}`,
    `${result.rounds} rounds, ${result.seconds.toFixed(0)} s, load at the start ${result.machine.load}${result.quick ? ", QUICK: these figures mean nothing" : ""}`,
    "",
    ...columns([head, ...rows]),
    ...(result.notes ?? []).map((note) => `\n${note}`),
    "",
  ].join("\n");
}

function row(figure: Figure): string[] {
  const { subject, part, at, values, ratios } = figure;
  const verdict = verdictOf(figure);
  return [
    part === undefined ? subject : `${subject}, ${part}`,
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
