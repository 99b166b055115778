/** One call of the Pulumi CLI. */
import { type ChildProcess, spawn } from "node:child_process";

export interface CallOptions {
  cwd?: string;
  /** Added to the engine's environment; undefined takes a variable away. */
  env?: NodeJS.ProcessEnv;
  /** Default: none. */
  stdin?: string;
}

export interface Result {
  /** Exit code; null when a signal ended the CLI. */
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** Both, in the order in which they came. */
  output: string;
}

/** A call under way: `process` to send signals to, `result` when it ends (never rejects on a failure). */
export interface Call {
  process: ChildProcess;
  result: Promise<Result>;
}

export function startCli(program: string, args: string[], options: CallOptions): Call {
  const child = spawn(program, args, { cwd: options.cwd, env: options.env, stdio: ["pipe", "pipe", "pipe"] });
  const printed = { stdout: "", stderr: "", output: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      printed[name] += text;
      printed.output += text;
    });
  }
  child.stdin.on("error", () => {});
  child.stdin.end(options.stdin ?? "");
  const result = new Promise<Result>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, ...printed }));
  });
  return { process: child, result };
}
