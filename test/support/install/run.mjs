/** Child processes and messages of the installation. */
import { spawn } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";

export const ROOT = resolve(import.meta.dirname, "../../..");

/** A step that cannot be done: what failed, and what to do about it. */
export class StepError extends Error {}

export const say = (message) => console.log(`install: ${message}`);

const PROGRESS_EVERY_MS = 15_000;
const TAIL_LINES = 15;

/**
 * Runs a program without a stdin. Returns what it printed.
 *
 * @param options.progress says every 15 s that this is still going on
 * @param options.timeout in milliseconds
 * @throws {StepError} with the end of its output when it fails; `options.remedy` says what to do
 */
export async function run(program, args, { cwd = ROOT, env, progress, timeout, remedy } = {}) {
  const started = Date.now();
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout,
  });
  const stop = () => child.kill();
  process.once("exit", stop);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      output += text;
    });
  }
  const timer =
    progress &&
    setInterval(
      () => say(`… ${progress}, ${Math.round((Date.now() - started) / 1_000)} s`),
      PROGRESS_EVERY_MS,
    );
  const problem = await new Promise((done) => {
    child.on("error", (error) => done(error.message));
    child.on("close", (code, signal) =>
      done(signal ? `ended by ${signal}` : code ? `exit code ${code}` : ""),
    );
  });
  clearInterval(timer);
  process.removeListener("exit", stop);
  if (!problem) return output;
  const tail = output.trimEnd().split("\n").slice(-TAIL_LINES).join("\n");
  throw new StepError(`${program} ${args[0] ?? ""}: ${problem}\n${tail}${remedy ? `\n\n${remedy}` : ""}`);
}

/** The full path of a command, or undefined. Looks into the system folders too, which a user's PATH may lack. */
export function which(command) {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/local/sbin", "/usr/sbin", "/sbin"];
  return folders
    .filter(Boolean)
    .map((folder) => join(folder, command))
    .find(isExecutable);
}

export function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
