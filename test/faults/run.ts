/**
 * Runs every fault of the catalogue and writes docs/reliability.md:
 *
 *     npm run faults               all of them, with their long sweeps: over half an hour on two cores
 *     npm run faults -- --bounded  with the sweeps that `npm test` has: half of that
 *     npm run faults -- 1 27       some of them; the page is left as it is
 */

import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "../support/engine/engine";

const { values, positionals: numbers } = parseArgs({
  allowPositionals: true,
  options: { bounded: { type: "boolean", default: false } },
});
// Whole files, since the cases of one may need what stands before them.
const wanted = new RegExp(`\\bfault\\(\\s*(${numbers.length === 0 ? "\\d+" : numbers.join("|")}),`);
const files = readdirSync(join(ROOT, "test"), { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".test.ts"))
  .map((path) => join("test", path))
  .filter((path) => wanted.test(readFileSync(join(ROOT, path), "utf8")));

const { status } = spawnSync("npx", ["vitest", "run", "--reporter=./test/faults/reporter.ts", ...files], {
  cwd: ROOT,
  stdio: "inherit",
  env: {
    ...process.env,
    FAULTS: values.bounded ? "bounded" : "long",
    ...(numbers.length === 0 ? { FAULTS_PAGE: "write" } : { FAULTS_ONLY: numbers.join(" ") }),
  },
});
process.exitCode = status ?? 1;
