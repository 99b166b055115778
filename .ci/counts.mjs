/** Prints `N passed, N failed` from a vitest report; exits other than 0 on a failure or without a report. */
import { readFileSync } from "node:fs";

let report;
try {
  report = JSON.parse(readFileSync(process.argv[2], "utf8"));
} catch (error) {
  console.log(`no test report: ${error.message}`);
  console.log("0 passed, 0 failed");
  process.exit(1);
}

// A file that cannot even be loaded has no failed test in it, but has failed.
const failedFiles = report.testResults.filter(
  ({ status, assertionResults }) =>
    status === "failed" && !assertionResults.some((test) => test.status === "failed"),
);
const passed = report.numPassedTests;
const failed = report.numFailedTests + failedFiles.length;
const skipped = report.numPendingTests + (report.numTodoTests ?? 0);

for (const { name, message } of failedFiles) console.log(`not loaded: ${name}: ${message}`);
console.log(`${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`);
process.exitCode = report.success && failed === 0 && passed > 0 ? 0 : 1;
