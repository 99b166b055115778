import { toolText } from "../host/tool";
import { SpecError } from "../spec/problem";
import { InputError, UsageError } from "./errors";
import { explainCommand } from "./explain";
import { HELP } from "./help";
import { reportCommand } from "./report";

/** Exit codes, as `--help` has them. */
const DONE = 0;
const FAILED = 1;
const USAGE = 2;

/** Runs the command line. @returns the exit code */
export function main(args: readonly string[]): number {
  const [command, ...rest] = args;
  try {
    switch (command) {
      case "explain":
        write(rest.includes("--help") ? HELP : explainCommand(rest));
        return DONE;
      case "report":
        write(rest.includes("--help") ? HELP : reportCommand(rest));
        return DONE;
      case "tool":
        write(rest.includes("--help") ? HELP : toolText());
        return DONE;
      case "help":
      case "--help":
        write(HELP);
        return DONE;
      default:
        throw new UsageError(command === undefined ? "a command is missing" : `${command} is not a command`);
    }
  } catch (error) {
    if (error instanceof UsageError) {
      process.stderr.write(`netfilter-lb: ${error.message}; see netfilter-lb --help\n`);
      return USAGE;
    }
    if (error instanceof InputError || error instanceof SpecError) {
      process.stderr.write(`netfilter-lb: ${error.message}\n`);
      return FAILED;
    }
    throw error;
  }
}

function write(text: string): void {
  process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
}
