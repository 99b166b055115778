import * as pulumi from "@pulumi/pulumi";

/** Runs a Pulumi program against mocks, and tells what it would have made. */

/** A resource as the engine would have been asked for it. */
export interface Made {
  type: string;
  name: string;
  /** Plain values; what is secret or unknown is one of the two signs below. */
  inputs: Record<string, unknown>;
  /** The same with what is secret laid open. */
  revealed: Record<string, unknown>;
  /** The parent's name; undefined: the stack. */
  parent: string | undefined;
  deleteBeforeReplace: boolean;
  retainOnDelete: boolean;
}

export const SECRET = "[secret]";
export const UNKNOWN = "[unknown]";

export interface Circumstances {
  preview?: boolean;
  /** `edge-1:host` to its value. */
  config?: Record<string, string>;
  /** Those of the keys that are secret. */
  secretKeys?: string[];
}

/**
 * What the program makes.
 *
 * @throws what it threw, or what one of its values rejected with
 */
export async function run(program: () => unknown, circumstances: Circumstances = {}): Promise<Made[]> {
  const { preview = false, config = {}, secretKeys = [] } = circumstances;
  const made: Made[] = [];
  await pulumi.runtime.setMocks(
    {
      newResource: ({ name, inputs }) => ({
        id: preview ? undefined : `${name}-id`,
        // What the `echo` of an example prints.
        state: { ...inputs, stdout: /^echo (.*)$/.exec(inputs.create)?.[1] },
      }),
      call: ({ inputs }) => inputs,
    },
    "project",
    "stack",
    preview,
  );
  pulumi.runtime.setAllConfig(config, secretKeys);
  record(made);
  await orRejection(async () => {
    await program();
    await pulumi.runtime.disconnect();
  });
  return made;
}

/**
 * Where a value rejects while resources are made, nothing waits for it: the runtime prints each error once and ends the
 * program. So does this.
 */
async function orRejection(action: () => Promise<void>): Promise<void> {
  const listeners = process.listeners("unhandledRejection");
  process.removeAllListeners("unhandledRejection");
  const errors = new Set<unknown>();
  const rejected = new Promise<never>((_, reject) => {
    process.on("unhandledRejection", (error) => {
      errors.add(error);
      reject(error);
    });
  });
  try {
    await Promise.race([action(), rejected]);
  } catch (error) {
    // Others may reject for the same reason, in the turns to come.
    await new Promise((resolve) => setTimeout(resolve, 50));
    pulumi.runtime.resetOptions("project", "stack", 1, "", "", false, ""); // forgets what the program still waits for
    throw errors.size > 1 ? new AggregateError(errors) : error;
  } finally {
    process.removeAllListeners("unhandledRejection");
    for (const listener of listeners) process.on("unhandledRejection", listener);
  }
}

interface Request {
  getType(): string;
  getName(): string;
  getParent(): string;
  getObject(): { toJavaScript(): Record<string, unknown> };
  getDeletebeforereplace(): boolean;
  getRetainondelete(): boolean;
}

/** Writes down every request, options and secrets included, which the mocks' own arguments lack. */
function record(made: Made[]): void {
  const monitor = pulumi.runtime.getMonitor() as unknown as {
    registerResource(request: Request, callback: unknown): Promise<void>;
  };
  const register = monitor.registerResource.bind(monitor);
  monitor.registerResource = (request, callback) => {
    const object = request.getObject().toJavaScript();
    made.push({
      type: request.getType(),
      name: request.getName(),
      inputs: plain(object, () => SECRET) as Record<string, unknown>,
      revealed: plain(object, (value) => value) as Record<string, unknown>,
      parent: request.getParent().split("::").pop() || undefined,
      deleteBeforeReplace: request.getDeletebeforereplace(),
      retainOnDelete: request.getRetainondelete(),
    });
    return register(request, callback);
  };
}

/** Keys of the engine's wire format: a value that is marked, and the mark of a secret (`sdk/go/common/resource/sig`). */
const SIGNATURE = "4dabf18193072939515e22adb298388d";
const SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270";

function plain(value: unknown, secret: (value: unknown) => unknown): unknown {
  if (value === pulumi.runtime.unknownValue) return UNKNOWN;
  if (Array.isArray(value)) return value.map((entry) => plain(entry, secret));
  if (typeof value !== "object" || value === null) return value;
  const fields = value as Record<string, unknown>;
  if (fields[SIGNATURE] === SECRET_SIGNATURE) return secret(plain(fields.value, secret));
  return Object.fromEntries(Object.entries(fields).map(([key, entry]) => [key, plain(entry, secret)]));
}

/** An Output whose value is known only after an update. */
export function unknown<T>(): pulumi.Output<T> {
  return pulumi.output(pulumi.unknown) as unknown as pulumi.Output<T>;
}

/** What an Output comes to. */
export function settled<T>(output: pulumi.Output<T>): Promise<T> {
  return new Promise((resolve) => output.apply(resolve));
}
