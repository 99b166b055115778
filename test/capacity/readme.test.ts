import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { table } from "./table";

test("README has the table that the command prints", () => {
  const readme = readFileSync(join(__dirname, "../../README.md"), "utf8");
  expect(readme).toContain(`\n${table()}\n`);
});
