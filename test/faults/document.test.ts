import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { NOT_SHOWN, TITLES } from "./catalogue";

/** docs/reliability.md is written by a run; this sees to it that it is one of today's catalogue. */

const page = readFileSync(join(__dirname, "../../docs/reliability.md"), "utf8");
const rows = [...page.matchAll(/^\| (\d+) \| (.*?) \|/gm)].map(([, number, title]) => [
  Number(number),
  title,
]);

test("the page has each fault of the catalogue once, and none that failed or was not run", () => {
  expect(rows).toEqual([...TITLES]);
  expect(page).not.toMatch(/\*\*(failed|not run)\*\*/);
});

test("the page counts what cannot be shown apart", () => {
  const hidden = Object.keys(NOT_SHOWN).length;
  expect(page).toContain(`\n${TITLES.size - hidden} faults held, 0 failed, ${hidden} cannot be shown`);
});
