/** A stack, driven through the CLI. */
import type { Call, CallOptions, Result } from "./cli";
import type { Engine } from "./engine";
import { type ProjectOptions, writeFiles } from "./project";

/** A call that did not end as the test expects. The message is all that the CLI printed. */
export class CallError extends Error {
  constructor(
    readonly args: string[],
    readonly result: Result,
    expected: string,
  ) {
    const ended = result.signal ?? `exit code ${result.code}`;
    super(`pulumi ${args[0]}: ${ended}, expected ${expected}\n${result.output}`);
  }
}

export interface RunOptions extends CallOptions {
  /** The call is to fail, and its result is wanted. Default: it is to succeed. `"either"`: both will do. */
  fails?: boolean | "either";
}

export interface UpdateOptions extends RunOptions {
  /** Print the changes as a diff. */
  diff?: boolean;
  /** Further arguments, such as `--target`. */
  args?: string[];
}

/** A resource as `pulumi stack export` has it. */
export interface ResourceState {
  urn: string;
  type: string;
  id?: string;
  inputs?: Record<string, unknown>;
  outputs?: Record<string, unknown>;
  [key: string]: unknown;
}

/** What `pulumi stack export` prints. */
export interface StackState {
  version: number;
  deployment: { resources?: ResourceState[]; pending_operations?: unknown[]; [key: string]: unknown };
}

/** What `pulumi preview --json` prints, as far as tests look at it. */
export interface PreviewJson {
  steps: {
    op: string;
    urn: string;
    oldState?: ResourceState;
    newState?: ResourceState;
    diffReasons?: string[] | null;
    replaceReasons?: string[] | null;
    detailedDiff?: Record<string, { kind: string; inputDiff: boolean }> | null;
  }[];
  diagnostics?: { severity: string; message: string; urn?: string }[];
  changeSummary?: Record<string, number>;
}

export class PulumiStack {
  readonly name: string;

  constructor(
    readonly engine: Engine,
    /** The project folder that the engine works in. */
    readonly folder: string,
    private readonly options: ProjectOptions,
  ) {
    this.name = options.stack ?? "test";
  }

  /** @internal */
  async init(): Promise<void> {
    await this.run(["stack", "init", this.name]);
    await this.configure(this.options.config ?? {}, this.options.secrets);
  }

  /** Adds to the stack's settings. */
  async configure(
    config: Record<string, string | number | boolean>,
    secrets: Record<string, string> = {},
  ): Promise<void> {
    const plain = Object.entries(config).flatMap(([key, value]) => ["--plaintext", `${key}=${value}`]);
    if (plain.length > 0) await this.run(["config", "set-all", "--stack", this.name, ...plain]);
    // By stdin: a command line can be read by everybody on the machine. One final line break is dropped.
    for (const [key, value] of Object.entries(secrets)) {
      const args = ["config", "set", "--secret", key, "--stack", this.name];
      await this.run(args, { stdin: `${value}\n` });
    }
  }

  /** Writes files of the program anew. Only for a project made from text. */
  async write(files: Record<string, string>): Promise<void> {
    await writeFiles(this.folder, files);
  }

  async up(options: UpdateOptions = {}): Promise<Result> {
    return await this.#update(["up", "--yes", "--skip-preview"], options);
  }

  /** What would change, as text. */
  async preview(options: UpdateOptions = {}): Promise<Result> {
    return await this.#update(["preview"], options);
  }

  /** What would change, as data. */
  async previewJson(options: UpdateOptions = {}): Promise<PreviewJson> {
    return JSON.parse((await this.#update(["preview", "--json"], options)).stdout);
  }

  async destroy(options: UpdateOptions = {}): Promise<Result> {
    return await this.#update(["destroy", "--yes", "--skip-preview"], options);
  }

  async refresh(options: UpdateOptions = {}): Promise<Result> {
    return await this.#update(["refresh", "--yes", "--skip-preview"], options);
  }

  /** Ends an update that another process has under way, and its lock. */
  async cancel(options: RunOptions = {}): Promise<Result> {
    return await this.run(["cancel", "--yes", "--stack", this.name], options);
  }

  /** The program's outputs, secret ones in the clear. */
  async outputs<T = Record<string, unknown>>(): Promise<T> {
    const args = ["stack", "output", "--json", "--show-secrets", "--stack", this.name];
    return JSON.parse((await this.run(args)).stdout);
  }

  async exportState(options: { showSecrets?: boolean } = {}): Promise<StackState> {
    const args = [
      "stack",
      "export",
      "--stack",
      this.name,
      ...(options.showSecrets ? ["--show-secrets"] : []),
    ];
    return JSON.parse((await this.run(args)).stdout);
  }

  async importState(state: StackState, options: RunOptions = {}): Promise<Result> {
    return await this.run(["stack", "import", "--stack", this.name], {
      ...options,
      stdin: JSON.stringify(state),
    });
  }

  /** The resources in the state, the stack itself and providers left out. */
  async resources(): Promise<ResourceState[]> {
    const all = (await this.exportState()).deployment.resources ?? [];
    return all.filter(({ type }) => type !== "pulumi:pulumi:Stack" && !type.startsWith("pulumi:providers:"));
  }

  /** Starts any command of the CLI and does not wait: for signals and for two calls at once. */
  start(args: string[], options: CallOptions = {}): Call {
    return this.engine.start([...args, "--non-interactive", "--color", "never"], {
      cwd: this.folder,
      ...options,
      env: { ...this.options.env, ...options.env },
    });
  }

  /** Runs any command of the CLI. @throws {CallError} when it does not end as `options.fails` says */
  async run(args: string[], options: RunOptions = {}): Promise<Result> {
    const result = await this.start(args, options).result;
    const failed = result.code !== 0;
    const wanted = options.fails ?? false;
    if (wanted === "either" || failed === wanted) return result;
    throw new CallError(args, result, wanted ? "a failure" : "success");
  }

  async #update(
    [command, ...flags]: string[],
    { diff, args = [], ...options }: UpdateOptions,
  ): Promise<Result> {
    const shown = ["--suppress-permalink=true", ...(diff ? ["--diff"] : [])];
    return await this.run([command!, ...flags, "--stack", this.name, ...shown, ...args], options);
  }
}
