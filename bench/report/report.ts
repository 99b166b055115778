/** Writes docs/performance.md and its plots from the results that are kept. */

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import type { Result } from "../harness/result";
import { toPage } from "./page";
import { toSvg } from "./plot";
import { plotsOf } from "./plots";

const BENCH = join(__dirname, "..");
export const RESULTS = join(BENCH, "results");
const PAGE = join(BENCH, "../docs/performance.md");

export function keep(result: Result, folder = RESULTS): void {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${result.id.toLowerCase()}.json`);
  writeFileSync(path, `${JSON.stringify(result, null, 2)}\n`);
  // As the repository has its files; lists of numbers on one line.
  spawnSync(join(BENCH, "../node_modules/.bin/biome"), ["format", "--write", path], { stdio: "ignore" });
}

/** @param folder of the results; anything but the kept ones gets its page there */
export function writeReport(folder = RESULTS): string {
  const page = folder === RESULTS ? PAGE : join(folder, "performance.md");
  const plots = join(folder, "plots");
  mkdirSync(plots, { recursive: true });
  const results = readdirSync(folder)
    .filter((name) => /^b\d+\.json$/.test(name))
    .map((name): Result => JSON.parse(readFileSync(join(folder, name), "utf8")))
    .sort((a, b) => Number(a.id.slice(1)) - Number(b.id.slice(1)));
  const images = new Map<string, string[]>();
  for (const result of results) {
    images.set(
      result.id,
      plotsOf(result).map(({ name, plot }) => {
        const path = join(plots, `${name}.svg`);
        writeFileSync(path, toSvg(plot));
        return relative(join(page, ".."), path);
      }),
    );
  }
  if (existsSync(join(page, ".."))) writeFileSync(page, toPage(results, images));
  return page;
}
