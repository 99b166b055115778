/**
 * Brings a bare machine to where the tests and the demo can run: npm packages, Debian packages, the
 * Pulumi engine with its `command` provider, the built library. Each step looks first and does nothing
 * when there is nothing to do. Node's own modules only: node_modules may not be there yet.
 */
import { installDebianPackages } from "./install/debian.mjs";
import { installEngine } from "./install/engine.mjs";
import { buildLibrary } from "./install/library.mjs";
import { installNpmPackages } from "./install/npm.mjs";
import { StepError } from "./install/run.mjs";

try {
  await installNpmPackages();
  await installDebianPackages();
  await installEngine();
  await buildLibrary();
} catch (error) {
  if (!(error instanceof StepError)) throw error;
  console.error(`\ninstall: ${error.message}`);
  process.exitCode = 1;
}
