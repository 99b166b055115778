/** A Command that runs on this machine. */
import { spawn } from "node:child_process";
import { Output, previousOutput } from "./output.mjs";
import { runError } from "./run-error.mjs";

/** Runs `command` and returns `{ stdout, stderr }`. @throws when it cannot start or exits other than 0. */
export async function runLocal(command, inputs, previous, log) {
  const [program, ...args] = [
    ...(inputs.interpreter?.length ? inputs.interpreter : ["/bin/sh", "-c"]),
    command,
  ];
  const output = new Output(inputs.logging, log);
  const child = spawn(program, args, {
    cwd: inputs.dir ?? process.cwd(),
    env: { ...process.env, ...inputs.environment, ...previousOutput(inputs, previous) },
  });
  child.stdout.on("data", (data) => output.stdout(data));
  child.stderr.on("data", (data) => output.stderr(data));
  // A command need not read its stdin.
  child.stdin.on("error", () => {});
  child.stdin.end(inputs.stdin ?? "");

  const reason = await new Promise((resolve) => {
    child.on("error", (error) => resolve(`fork/exec ${program}: ${error.message}`));
    child.on("close", (code, signal) =>
      resolve(signal ? `signal: ${signal}` : code ? `exit status ${code}` : ""),
    );
  });
  output.end();
  if (reason) throw runError(reason, command, output.text);
  return output.result();
}
