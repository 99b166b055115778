import * as pulumi from "@pulumi/pulumi";
import { SpecError } from "../spec/problem";

/**
 * What is wrong in a program, told as it stands and without a stack trace.
 *
 * The trace is gone for good and not only hidden: Pulumi passes every error to `util.inspect`, and that of Node 20 never ends
 * over a line such as `node_modules/@pulumi/output.ts:397`, as the SDK's source maps give for what is thrown in an `apply`.
 * The message cannot be changed, because the SDK writes `error serializing property "create":` before it, again for each
 * property that waits for the value.
 */
export function runError(message: string): pulumi.RunError {
  const error = new pulumi.RunError(message);
  delete error.stack;
  Object.defineProperty(error, "message", { get: () => message, set: () => {} });
  return error;
}

/** Makes an error of the arguments one of the program. */
export function asRunError<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw error instanceof SpecError ? runError(error.message) : error;
  }
}
