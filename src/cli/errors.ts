/** The command line is not as `--help` has it. */
export class UsageError extends Error {}

/** What a command was given to read is not what it should be. */
export class InputError extends Error {}
