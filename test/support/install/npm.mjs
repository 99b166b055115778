/** npm packages, exactly as the lock file has them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, run, say } from "./run.mjs";

export async function installNpmPackages() {
  if (matchesLock()) return;
  say("npm packages (npm ci)");
  // Whatever the user's settings omit, the tests need it. Install scripts are not: nothing here needs one.
  const flags = ["--ignore-scripts", "--include=dev", "--include=optional", "--no-audit", "--no-fund"];
  await npm(["ci", ...flags], {
    progress: "npm ci",
    remedy:
      "npm could not install the packages of package-lock.json: see whether `npm ping` reaches your registry.",
  });
}

/** Whether node_modules holds what the lock file asks for. npm notes there what it installed. */
function matchesLock() {
  let wanted;
  let present;
  try {
    wanted = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")).packages;
    present = JSON.parse(readFileSync(join(ROOT, "node_modules/.package-lock.json"), "utf8")).packages;
  } catch {
    return false;
  }
  return Object.entries(wanted).every(
    ([path, { version, optional }]) =>
      path === "" || present[path]?.version === version || (optional && !present[path]),
  );
}

/** Runs npm: under `npm test` the one that runs us, else the one on PATH. */
export async function npm(args, options) {
  const cli = process.env.npm_execpath ?? "";
  if (!/\bnpm-cli\.c?js$/.test(cli)) return await run("npm", args, options);
  return await run(process.execPath, [cli, ...args], options);
}
