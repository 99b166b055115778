/**
 * The long run: `npm run fuzz`, or `npm run fuzz -- test/fuzz/grammar.test.ts` for a part of it.
 *
 * RUNS says how many times as many cases as `npm test` tries (20 if left out), SEED which ones (others in every run). Both are
 * printed, and together they repeat a run.
 */

import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";

const { RUNS = "20", SEED = String(randomInt(2 ** 31)) } = process.env;
for (const [name, value] of Object.entries({ RUNS, SEED }))
  if (!/^[0-9]{1,9}$/.test(value) && !(name === "SEED" && /^[0-9]{1,10}$/.test(value))) {
    console.error(`${name}=${value} is not a whole number`);
    process.exit(2);
  }

const [, , ...chosen] = process.argv;
const again = `RUNS=${RUNS} SEED=${SEED} npm run fuzz${chosen.length === 0 ? "" : ` -- ${chosen.join(" ")}`}`;
console.log(`this run again: ${again}`);
const { status } = spawnSync("vitest", ["run", ...(chosen.length === 0 ? ["test/fuzz"] : chosen)], {
  stdio: "inherit",
  env: { ...process.env, RUNS, SEED, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
});
console.log(`this run again: ${again}`);
process.exit(status ?? 1);
