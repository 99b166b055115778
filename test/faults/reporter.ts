/** A line a case while the tests run, the counts in the end, and docs/reliability.md where all ran. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Reporter, TestCase, TestModule } from "vitest/node" with { "resolution-mode": "import" };
import { toDocument } from "./document";
import { type Case, outcomes, verdicts } from "./outcomes";

/** Numbers; undefined: all. */
const ONLY = process.env.FAULTS_ONLY?.split(" ");
const PAGE = join(__dirname, "../../docs/reliability.md");

export default class FaultReporter implements Reporter {
  private readonly cases: Case[] = [];
  private unreadable = 0;

  onTestCaseResult(test: TestCase): void {
    const { fault } = test.meta();
    if (fault === undefined || (ONLY !== undefined && !ONLY.includes(String(fault.number)))) return;
    const { state, errors = [] } = test.result();
    const held = state === "passed";
    this.cases.push({ ...fault, held });
    console.log(`${held ? "held  " : "FAILED"} ${test.name.replace(/^fault /, "")}`);
    for (const { message } of errors) console.log(`       ${message}`);
  }

  onTestModuleEnd(module: TestModule): void {
    for (const { message } of module.errors()) {
      this.unreadable++;
      console.log(`FAILED ${module.relativeModuleId}: ${message}`);
    }
  }

  onTestRunEnd(): void {
    const all = outcomes(this.cases);
    const { held, failed, notShown, notRun } = verdicts(all);
    console.log(
      `\n${held} faults held, ${failed} failed, ${notShown} cannot be shown here, ${notRun} were not run`,
    );
    if (process.env.FAULTS_PAGE !== "write") return;
    if (notRun > 0 || this.unreadable > 0) process.exitCode = 1;
    writeFileSync(PAGE, toDocument(all, process.env.FAULTS === "long"));
    console.log("written: docs/reliability.md");
  }
}
