/** The official downloads. Where they cannot be reached, or fail, the caller goes another way. */
import { mkdirSync, renameSync, rmSync } from "node:fs";
import { ROOT, run, say } from "./run.mjs";
import { CLI, COMMAND_PROVIDER } from "./versions.mjs";

const REACHABLE_WITHIN_MS = 4_000;
const DOWNLOAD_WITHIN_MS = 300_000;

let reachable;

/** Whether Pulumi's own download site answers. Asked once, and only where something is missing. */
export function isReachable() {
  reachable ??= fetch("https://get.pulumi.com/latest-version", {
    signal: AbortSignal.timeout(REACHABLE_WITHIN_MS),
  })
    .then((response) => response.ok)
    .catch(() => false);
  return reachable;
}

/** Downloads CLI and language hosts into `folder`/bin. Leaves nothing half. */
export async function downloadEngine(folder) {
  say(`engine: downloading Pulumi ${CLI}`);
  const partial = `${folder}.${process.pid}.partial`;
  const program = `
    const { PulumiCommand } = require("@pulumi/pulumi/automation");
    const semver = require("semver");
    PulumiCommand.install({ root: process.argv[1], version: new semver.SemVer(process.argv[2]) })
      .catch((error) => { console.error(error.message); process.exit(1); });`;
  try {
    mkdirSync(partial, { recursive: true });
    await run(process.execPath, ["-e", program, partial, CLI], {
      cwd: ROOT,
      progress: "downloading Pulumi",
      timeout: DOWNLOAD_WITHIN_MS,
    });
    renameSync(partial, folder);
  } catch (error) {
    say(`engine: the download failed (${lastLine(error.message)})`);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

/** Downloads the command provider into `home`/plugins. */
export async function downloadProvider(pulumi, home) {
  say(`engine: downloading the command provider ${COMMAND_PROVIDER}`);
  try {
    await run(pulumi, ["plugin", "install", "resource", "command", COMMAND_PROVIDER], {
      env: { PULUMI_HOME: home, PULUMI_SKIP_UPDATE_CHECK: "true" },
      progress: "downloading the command provider",
      timeout: DOWNLOAD_WITHIN_MS,
    });
  } catch (error) {
    say(`engine: the command provider cannot be downloaded (${lastLine(error.message)})`);
  }
}

const lastLine = (text) => text.trimEnd().split("\n").at(-1);
