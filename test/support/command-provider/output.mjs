/** What a command prints: kept apart, kept together, and logged line by line. */
import { StringDecoder } from "node:string_decoder";
import { lineLogger } from "./logger.mjs";
import { withoutFinalNewline } from "./run-error.mjs";

export class Output {
  #streams = { stdout: "", stderr: "" };
  #decoders = { stdout: new StringDecoder("utf8"), stderr: new StringDecoder("utf8") };
  #lines;
  #logged;

  /** Both streams in the order in which they arrived. */
  text = "";

  /** `logging`: what to show while the command runs; both streams unless told otherwise. */
  constructor(logging, log) {
    this.#lines = lineLogger(log.status);
    this.#logged = {
      stdout: logging == null || logging === "stdout" || logging === "stdoutAndStderr",
      stderr: logging == null || logging === "stderr" || logging === "stdoutAndStderr",
    };
  }

  stdout(data) {
    this.#add("stdout", this.#decoders.stdout.write(data));
  }

  stderr(data) {
    this.#add("stderr", this.#decoders.stderr.write(data));
  }

  #add(stream, text) {
    this.#streams[stream] += text;
    this.text += text;
    if (this.#logged[stream]) this.#lines.write(text);
  }

  end() {
    for (const stream of ["stdout", "stderr"]) this.#add(stream, this.#decoders[stream].end());
    this.#lines.end();
  }

  result() {
    return {
      stdout: withoutFinalNewline(this.#streams.stdout),
      stderr: withoutFinalNewline(this.#streams.stderr),
    };
  }
}

/** What the run before printed, as variables for the next one. */
export function previousOutput(inputs, previous) {
  const variables = {};
  if (inputs.addPreviousOutputInEnv === false) return variables;
  if (previous?.stdout) variables.PULUMI_COMMAND_STDOUT = previous.stdout;
  if (previous?.stderr) variables.PULUMI_COMMAND_STDERR = previous.stderr;
  return variables;
}
