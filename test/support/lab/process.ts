/** Running a program to its end, with its output kept. */

import { spawn } from "node:child_process";

/** How a program ended. */
export interface Outcome {
  /** Exit code; 128 + signal number is not used, a signal is reported as -1. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** Bytes for standard input. @default none, standard input is empty */
  readonly input?: string;
  /** The whole environment. @default {@link plainEnvironment} */
  readonly env?: NodeJS.ProcessEnv;
}

/** What a program in the lab sees: the same on every machine, nothing of the caller's own environment. */
export const plainEnvironment: NodeJS.ProcessEnv = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/root",
  LANG: "C.UTF-8",
};

/** Runs `argv` and resolves however it ends; rejects only when it cannot be started at all. */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const [command = "", ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: options.env ?? plainEnvironment,
      stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout?.on("data", (bytes: Buffer) => stdout.push(bytes));
    child.stderr?.on("data", (bytes: Buffer) => stderr.push(bytes));
    child.stdin?.on("error", () => {}); // A program that does not read its input is none of our business.
    child.stdin?.end(options.input);
    child.on("error", reject);
    child.on("close", (code) =>
      resolve({
        code: code ?? -1,
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString(),
      }),
    );
  });
}

/** The output of a program that must succeed; otherwise an error that shows what it said. */
export async function output(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const outcome = await run(argv, options);
  return expectSuccess(argv.join(" "), outcome);
}

export function expectSuccess(what: string, outcome: Outcome): string {
  if (outcome.code === 0) return outcome.stdout;
  const said = [outcome.stderr.trim(), outcome.stdout.trim()].filter(Boolean).join("\n");
  throw new Error(`exit ${outcome.code}: ${what}\n${said}`);
}
