/**
 * Anonymous namespaces, and the process that keeps them alive.
 *
 * A namespace has no name and no file: it exists as long as its holder process does, and the holder exits when its
 * standard input closes, which the kernel does for us when this process ends, by SIGKILL too. The holder is also the
 * first process of a PID namespace, so with it the kernel ends every process that was started inside.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { expectSuccess, type Outcome, output, plainEnvironment, type RunOptions, run } from "./process";

export interface NamespaceOptions {
  /** Shell lines that the holder runs first, inside. */
  readonly setup?: string;
  /** What to isolate, as options of unshare(1). @default network and processes */
  readonly unshare?: readonly string[];
  /** Start from the mounts of this namespace instead of the machine's. */
  readonly within?: Namespace;
}

const networkAndProcesses = ["--net", "--pid", "--fork", "--kill-child"];

/** Printed by a holder once its setup is done. */
const READY = "ready\n";

/**
 * `env --ignore-signal=CHLD` makes the kernel reap orphans: the holder is their new parent and never waits for them.
 */
const HOLD = "printf 'ready\\n'; exec env --ignore-signal=CHLD cat >/dev/null 2>&1";

export class Namespace {
  private constructor(
    private readonly holder: ChildProcess,
    private readonly kinds: readonly string[],
  ) {}

  static async start(options: NamespaceOptions = {}): Promise<Namespace> {
    const kinds = options.unshare ?? networkAndProcesses;
    const argv = [
      ...(options.within ? ["nsenter", `--mount=${options.within.path("mnt")}`] : []),
      ...["unshare", ...kinds, "sh", "-c", `set -e\n${options.setup ?? ""}\n${HOLD}`],
    ];
    const [command = "", ...args] = argv;
    // In a process group of its own, so that Ctrl-C in a terminal leaves the orderly end to us.
    const holder = spawn(command, args, { env: plainEnvironment, stdio: "pipe", detached: true });
    await ready(holder);
    letGo(holder);
    return new Namespace(holder, kinds);
  }

  /** The holder, as seen by the machine. `ip link … netns PID` takes it. */
  get pid(): number {
    return this.holder.pid ?? 0;
  }

  /** The file that stands for one of its namespaces. */
  path(kind: "net" | "mnt" | "uts" | "pid_for_children"): string {
    return `/proc/${this.pid}/ns/${kind}`;
  }

  /** The command that runs what follows it inside all of these namespaces. */
  get enter(): string[] {
    const flags: string[] = [];
    if (this.kinds.includes("--net")) flags.push(`--net=${this.path("net")}`);
    if (this.kinds.includes("--mount")) flags.push(`--mount=${this.path("mnt")}`);
    if (this.kinds.includes("--uts")) flags.push(`--uts=${this.path("uts")}`);
    // The holder's parent, unshare, stays outside of the PID namespace that it made for its children.
    if (this.kinds.includes("--pid")) flags.push(`--pid=${this.path("pid_for_children")}`);
    return ["nsenter", ...flags];
  }

  /** The command that runs what follows it in this network, with the machine's files. */
  get enterNetwork(): string[] {
    return ["nsenter", `--net=${this.path("net")}`, `--pid=${this.path("pid_for_children")}`];
  }

  run(argv: readonly string[], options?: RunOptions): Promise<Outcome> {
    return run([...this.enter, ...argv], options);
  }

  /** Runs a shell command inside and returns its output; throws with what it said when it fails. */
  async sh(command: string, options?: RunOptions): Promise<string> {
    return expectSuccess(command, await this.run(["sh", "-c", command], options));
  }

  /**
   * Runs lines of ip(8) in this network. Not in its PID namespace, so that `netns PID` means what it means outside.
   */
  async ip(lines: readonly string[], family: "-4" | "-6" = "-4"): Promise<void> {
    if (lines.length === 0) return;
    const argv = ["nsenter", `--net=${this.path("net")}`, "ip", family, "-batch", "-"];
    await output(argv, { input: `${lines.join("\n")}\n` });
  }

  /** Ends every process inside and waits until they are gone; the kernel then takes the network apart. */
  end(): Promise<void> {
    const { holder } = this;
    if (holder.exitCode !== null || holder.signalCode !== null) return Promise.resolve();
    return new Promise((resolve) => {
      holder.ref();
      const impatience = setTimeout(() => holder.kill("SIGKILL"), 2_000);
      holder.once("exit", () => {
        clearTimeout(impatience);
        resolve();
      });
      holder.stdin?.end();
    });
  }
}

function ready(holder: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = "";
    let stdout = "";
    holder.stderr?.on("data", (bytes: Buffer) => {
      said += bytes;
    });
    holder.stdout?.on("data", (bytes: Buffer) => {
      stdout += bytes;
      if (stdout.endsWith(READY)) resolve();
    });
    holder.once("error", reject);
    holder.once("exit", (code) => {
      const hint = /Operation not permitted|Permission denied/.test(said)
        ? "\nThe lab makes network, mount and PID namespaces: run it as root on a machine or in a container that may " +
          "(docker run --privileged)."
        : "";
      reject(new Error(`a host of the lab could not start (exit ${code}): ${said.trim()}${hint}`));
    });
  });
}

/** A lab that was never closed must not keep the process from ending. */
function letGo(child: ChildProcess): void {
  child.unref();
  for (const stream of [child.stdin, child.stdout, child.stderr]) {
    (stream as { unref?: () => void } | null)?.unref?.();
  }
}
