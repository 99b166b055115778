/**
 * A Pulumi engine for tests and the demo: the real CLI with a home, a backend and a passphrase of its own,
 * so that nothing of the user's is read or written.
 *
 *     const engine = await Engine.open();
 *     const stack = await engine.project({ "index.ts": "…" }, { config: { host }, secrets: { privateKey } });
 *     await stack.up();
 *     await engine.close();
 */
import { readFileSync, rmSync } from "node:fs";
import { chmod, mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { type InlineProgramArgs, LocalWorkspace, PulumiCommand, type Stack } from "@pulumi/pulumi/automation";
import { type Call, type CallOptions, startCli } from "./cli";
import { createProject, type ProjectOptions, type Source } from "./project";
import { PulumiStack } from "./stack";
import { makeTemporary } from "./temporary";

/** The repository. */
export const ROOT = join(__dirname, "../../..");

/** Which `command` provider runs the Commands: Pulumi's, or the tests' own implementation of its contract. */
export type ProviderKind = "official" | "stand-in";

/** What the installation found; written by test/support/install.mjs. */
interface Installation {
  pulumi: string;
  languageHost: string;
  version: string;
  origin: string;
  /** The name under which the engine looks for the command plugin. */
  pluginFolder: string;
  /** The official command plugin, where it is to be had. */
  provider?: string;
}

export class Engine {
  readonly version: string;
  readonly provider: ProviderKind;
  /** One line for logs: which engine, from where, with which provider. */
  readonly description: string;
  /** Environment of every call to the CLI. */
  readonly env: NodeJS.ProcessEnv;

  readonly #folder: string;
  readonly #running = new Set<Call>();
  #projects = 0;

  /**
   * @param options.provider asks for one of the two; default: the official one where it is to be had
   * @throws when the engine is not installed, or the official provider is asked for and not there
   */
  static async open(options: { provider?: ProviderKind } = {}): Promise<Engine> {
    const installation = readInstallation();
    const provider = options.provider ?? (installation.provider ? "official" : "stand-in");
    if (provider === "official" && !installation.provider) {
      throw new Error("the official command provider is not installed");
    }
    const folder = await makeTemporary("engine");
    await linkCli(folder, installation);
    const official = provider === "official" ? installation.provider : undefined;
    await placeProvider(folder, installation.pluginFolder, official);
    await mkdir(join(folder, "state"));
    return new Engine(folder, installation, provider);
  }

  /** Whether `open({ provider: "official" })` can succeed here. */
  static hasOfficialProvider(): boolean {
    return readInstallation().provider !== undefined;
  }

  private constructor(folder: string, installation: Installation, provider: ProviderKind) {
    this.#folder = folder;
    this.version = installation.version;
    this.provider = provider;
    this.description = `Pulumi ${installation.version} (${installation.origin}), command provider: ${provider}`;
    this.env = environment(folder);
  }

  /**
   * A stack of a project.
   *
   * @param source a project folder (it is run in a shadow, so that the stack's settings stay out of it), or the files of a program by name, `index.ts` being the one that runs
   */
  async project(source: Source, options: ProjectOptions = {}): Promise<PulumiStack> {
    this.#projects++;
    const number = this.#projects;
    const state = join(this.#folder, `state-${number}`);
    await mkdir(state);
    const folder = await createProject(join(this.#folder, `project-${number}`), source);
    const transpileOnly = options.transpileOnly ?? typeof source !== "string";
    const env = {
      PULUMI_BACKEND_URL: `file://${state}`,
      ...(transpileOnly && { PULUMI_NODEJS_TRANSPILE_ONLY: "true" }),
      ...options.env,
    };
    const stack = new PulumiStack(this, folder, { ...options, env });
    await stack.init();
    return stack;
  }

  /** A stack of the Automation API, whose program runs in this very process. */
  async inline(
    program: InlineProgramArgs["program"],
    stackName = "test",
    projectName = "inline",
  ): Promise<Stack> {
    const pulumiCommand = await PulumiCommand.get({ root: this.#folder, skipVersionCheck: true });
    return await LocalWorkspace.createStack(
      { stackName, projectName, program },
      {
        pulumiCommand,
        pulumiHome: this.env.PULUMI_HOME!,
        // Added to this process's environment, which may name an SSH agent.
        envVars: {
          SSH_AUTH_SOCK: "",
          ...(Object.fromEntries(
            Object.entries(this.env).filter(([name]) => name.startsWith("PULUMI_")),
          ) as Record<string, string>),
        },
        projectSettings: {
          name: projectName,
          runtime: "nodejs",
          backend: { url: this.env.PULUMI_BACKEND_URL! },
        },
      },
    );
  }

  /** Starts the CLI. `env` adds to the engine's environment; undefined takes a variable away. */
  start(args: string[], options: CallOptions = {}): Call {
    const call = startCli(join(this.#folder, "bin/pulumi"), args, {
      ...options,
      env: { ...this.env, ...options.env },
    });
    this.#running.add(call);
    void call.result.finally(() => this.#running.delete(call));
    return call;
  }

  /** Ends what still runs and removes everything. */
  async close(): Promise<void> {
    const running = [...this.#running];
    for (const call of running) call.process.kill("SIGKILL");
    await Promise.all(running.map((call) => call.result));
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

function readInstallation(): Installation {
  try {
    return JSON.parse(
      readFileSync(join(ROOT, "node_modules/.cache/pulumi-netfilter-lb/engine.json"), "utf8"),
    );
  } catch (cause) {
    throw new Error("the engine is not installed: run `node test/support/install.mjs`", { cause });
  }
}

/** `bin/`, as the Automation API expects it: the CLI and, beside it, what it looks for beside itself. */
async function linkCli(folder: string, { pulumi, languageHost }: Installation): Promise<void> {
  await mkdir(join(folder, "bin"));
  await symlink(pulumi, join(folder, "bin/pulumi"));
  await symlink(languageHost, join(folder, "bin/pulumi-language-nodejs"));
}

/** Puts the provider where the engine looks for plugins: the official one's files, or the stand-in. */
async function placeProvider(
  folder: string,
  pluginFolder: string,
  official: string | undefined,
): Promise<void> {
  const plugin = join(folder, "home/plugins", pluginFolder);
  await mkdir(plugin, { recursive: true });
  if (official) {
    for (const name of await readdir(dirname(official))) {
      await symlink(join(dirname(official), name), join(plugin, name));
    }
    return;
  }
  const launcher = join(plugin, "pulumi-resource-command");
  const program = join(ROOT, "test/support/command-provider/provider.mjs");
  await writeFile(launcher, `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`);
  await chmod(launcher, 0o755);
}

/** The user's environment without what would reach into a test: their Pulumi, their SSH agent. */
function environment(folder: string): NodeJS.ProcessEnv {
  const env = { ...process.env };
  for (const name of Object.keys(env)) {
    if (/^(PULUMI_|SSH_AUTH_SOCK$|NODE_OPTIONS$|VITEST)/.test(name)) delete env[name];
  }
  return {
    ...env,
    PATH: [join(folder, "bin"), dirname(process.execPath), env.PATH].join(delimiter),
    PULUMI_HOME: join(folder, "home"),
    PULUMI_BACKEND_URL: `file://${join(folder, "state")}`,
    PULUMI_CONFIG_PASSPHRASE: "a passphrase for tests",
    PULUMI_SKIP_UPDATE_CHECK: "true",
    PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK: "true",
    // A plugin that is missing is a fault of the test's set-up: no download, an error at once.
    PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
  };
}
