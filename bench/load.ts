/** The load generator, a Go program of this folder: built on first use into the user's cache, called in a namespace. */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { expectSuccess, run } from "../test/support/lab/process";

const SOURCE = join(__dirname, "load");
const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "pulumi-netfilter-lb");

let built: string | undefined;

/** Calls the generator behind `enter`, the command that leads into a namespace, and returns what it says. */
export async function load<Answer>(enter: readonly string[], args: readonly string[]): Promise<Answer> {
  built ??= build();
  const argv = [...enter, built, ...args];
  return JSON.parse(expectSuccess(argv.join(" "), await run(argv)));
}

/** One build for each state of the sources. */
function build(): string {
  const hash = createHash("sha256");
  for (const name of readdirSync(SOURCE).sort())
    hash.update(`${name}\n${readFileSync(join(SOURCE, name))}\n`);
  const program = join(CACHE, `bench-load-${hash.digest("hex").slice(0, 16)}`);
  if (existsSync(program)) return program;
  const partial = `${program}.${process.pid}.partial`;
  mkdirSync(CACHE, { recursive: true });
  try {
    execFileSync(findGo(), ["build", "-trimpath", "-o", partial, "."], {
      cwd: SOURCE,
      // Nothing is fetched: the program has no modules, and whatever Go is here will do.
      env: { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=mod", GOTOOLCHAIN: "local", GOPROXY: "off" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    renameSync(partial, program);
  } finally {
    rmSync(partial, { force: true });
  }
  return program;
}

function findGo(): string {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/local/go/bin", "/usr/lib/go/bin"];
  const found = folders.map((folder) => join(folder, "go")).find(existsSync);
  if (!found)
    throw new Error(
      "the load generator needs Go 1.21 or newer: apt-get install golang-go, or see https://go.dev/dl",
    );
  return found;
}

export function goVersion(): string {
  const go = findGo();
  const path = `${process.env.PATH}${delimiter}${dirname(go)}`;
  return execFileSync(go, ["env", "GOVERSION"], {
    encoding: "utf8",
    env: { ...process.env, PATH: path },
  }).trim();
}
