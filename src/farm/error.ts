import * as pulumi from "@pulumi/pulumi";

/**
 * What is wrong in a program, told without a stack trace.
 *
 * The trace is gone for good and not only hidden: Pulumi passes every error to `util.inspect`, and that of Node 20 never ends
 * over a line such as `node_modules/@pulumi/output.ts:397`, as the SDK's source maps give for what is thrown in an `apply`.
 */
export function runError(message: string): pulumi.RunError {
  const error = new pulumi.RunError(message);
  delete error.stack;
  return error;
}
