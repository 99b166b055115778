/**
 * The benchmark:
 *
 *     npm run bench                     all of it
 *     npm run bench -- B3 B9            some of it
 *     npm run bench -- --quick          only whether it works: its figures mean nothing and are not kept
 *     npm run bench -- --rounds 15 B1   more rounds
 *     npm run bench -- --report         only write docs/performance.md again, from bench/results
 *     npm run bench -- --out FOLDER B1  keep results, plots and page there instead
 *
 * Everything happens in network namespaces of its own, which are gone when it ends, also when it is killed.
 */

import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { newFlowByBackends } from "./b1-new-flow";
import { establishedPacket } from "./b2-established";
import { connectionRate } from "./b3-connections";
import { newFlowByFarms } from "./b4-farms";
import { fullApply } from "./b5-full-apply";
import { oneEdit } from "./b6-edit";
import { overSsh } from "./b7-over-ssh";
import { reloads } from "./b8-reloads";
import { distribution } from "./b9-distribution";
import { compileTime } from "./b10-compile";
import { group } from "./b11-group";
import { machine } from "./harness/machine";
import type { Measurement } from "./harness/measurement";
import { type Result, verdictOf } from "./harness/result";
import { toTable } from "./harness/table";
import { keep, RESULTS, writeReport } from "./report/report";

const MEASUREMENTS: readonly Measurement[] = [
  newFlowByBackends,
  establishedPacket,
  connectionRate,
  newFlowByFarms,
  fullApply,
  oneEdit,
  overSsh,
  reloads,
  distribution,
  compileTime,
  group,
];

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: "boolean", default: false },
      rounds: { type: "string" },
      report: { type: "boolean", default: false },
      out: { type: "string" },
    },
  });
  const folder = values.out === undefined ? RESULTS : resolve(values.out);
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
  if (rounds !== undefined && !(rounds >= 1))
    throw new Error(`--rounds ${values.rounds}: not a number of rounds`);
  // What is only tried is kept only where it was asked for.
  const kept = !values.quick || values.out !== undefined;
  for (const measurement of values.report ? [] : chosen(positionals)) {
    const result = await measure(measurement, values.quick, rounds);
    process.stdout.write(`${toTable(result)}\n`);
    if (result.figures.some((figure) => verdictOf(figure)?.met === false)) process.exitCode = 1;
    if (kept) keep(result, folder);
  }
  if (kept) process.stdout.write(`${writeReport(folder)}\n`);
}

function chosen(ids: readonly string[]): readonly Measurement[] {
  const known = MEASUREMENTS.map(({ id }) => id);
  const unknown = ids.filter((id) => !known.includes(id.toUpperCase()));
  if (unknown.length > 0)
    throw new Error(`there is no ${unknown.join(", ")}: choose from ${known.join(", ")}`);
  const wanted = ids.map((id) => id.toUpperCase());
  return MEASUREMENTS.filter(({ id }) => wanted.length === 0 || wanted.includes(id));
}

async function measure(
  { id, title, unit, axis, rounds: usual, run }: Measurement,
  quick: boolean,
  wanted: number | undefined,
): Promise<Result> {
  const started = new Date();
  const rounds = wanted ?? (quick ? 2 : usual);
  const where = machine();
  const progress = new Progress(id);
  try {
    const outcome = await run({ rounds, quick, say: (text) => progress.say(text) });
    const seconds = Math.round((Date.now() - started.getTime()) / 100) / 10;
    return {
      id,
      title,
      unit,
      axis,
      rounds,
      quick,
      started: started.toISOString(),
      seconds,
      machine: where,
      ...outcome,
    };
  } finally {
    progress.end();
  }
}

/** One line on a terminal; elsewhere a line now and then. */
class Progress {
  private spoken = 0;

  constructor(private readonly id: string) {}

  say(text: string): void {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${this.id}: ${text}`);
    else if (Date.now() - this.spoken > 15_000) {
      this.spoken = Date.now();
      process.stderr.write(`${this.id}: ${text}\n`);
    }
  }

  end(): void {
    if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  }
}

// An orderly exit, so that whatever waits for it is done.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130));

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
