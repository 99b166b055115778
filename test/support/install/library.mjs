/** The built library: examples import the package by its own name, which leads to dist/. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { npm } from "./npm.mjs";
import { ROOT, say } from "./run.mjs";

export async function buildLibrary() {
  const inputs = ["src", "package.json", "tsconfig.json", "tsconfig.build.json"].map((name) =>
    join(ROOT, name),
  );
  const built = changedAt(join(ROOT, "dist/index.js"));
  if (built && inputs.every((input) => newest(input) < built)) return;
  say("library (npm run build)");
  await npm(["run", "build"], { progress: "build", remedy: "The library does not compile: see `npx tsc`." });
}

const changedAt = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** When anything at or below `path` last changed, in milliseconds. */
function newest(path) {
  const here = changedAt(path);
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return here;
  return Math.max(here, ...readdirSync(path).map((name) => newest(join(path, name))));
}
