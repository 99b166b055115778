/** A bare gateway for the tool: a network, `/etc` and `/run` of its own, nothing of the machine's. */

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { dirname } from "node:path";
import { toolText } from "../../src/host/tool";
import { bootSetup, diskSetup, type FilesOptions } from "../support/lab/files";
import { Namespace } from "../support/lab/namespace";
import { type Outcome, plainEnvironment, type RunOptions } from "../support/lab/process";

/** Where the tool under test is; not its own place, which is for tests of its installation. */
export const TOOL = "/usr/local/lib/netfilter-lb";
export const OWNER = "shop/prod/edge-1";

export interface MachineOptions extends Partial<FilesOptions> {
  /** The shell that runs the tool. @default ["dash"] */
  readonly shell?: readonly string[];
}

export interface ApplyOptions {
  readonly owner?: string;
  readonly ssh?: string;
  /** Seconds that the set is on trial. @default it is not */
  readonly confirm?: number;
  /** What arrives, if not all of it. */
  readonly arrives?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** The mark of a repair. */
  readonly repair?: string;
}

export class Machine {
  private constructor(
    private readonly disk: Namespace,
    private kernel: Namespace,
    private readonly files: FilesOptions,
    readonly shell: readonly string[],
  ) {}

  get running(): Namespace {
    return this.kernel;
  }

  static async start(options: MachineOptions = {}): Promise<Machine> {
    const files: FilesOptions = { name: "gateway", hide: [], systemd: false, iptables: "nft", ...options };
    const disk = await Namespace.start({
      unshare: ["--mount", "--propagation", "private"],
      setup: diskSetup(files),
    });
    await disk.run(["sh", "-c", `mkdir -p ${dirname(TOOL)} && cat >${TOOL}`], { input: toolText() });
    return new Machine(disk, await boot(disk, files), files, options.shell ?? ["dash"]);
  }

  /** Ends every process and the network at once, and boots from its files. @returns what the services said that start */
  async reboot(): Promise<string> {
    await this.kernel.end();
    this.kernel = await boot(this.disk, this.files);
    return this.files.systemd ? await this.sh("systemctl boot") : "";
  }

  async end(): Promise<void> {
    await this.kernel.end();
    await this.disk.end();
  }

  /** Runs the tool, however it ends. */
  tool(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return this.running.run([...this.shell, TOOL, ...args], options);
  }

  apply(farm: string, set: string, options: ApplyOptions = {}): Promise<Outcome> {
    const trial = options.confirm === undefined ? [] : ["--confirm", String(options.confirm)];
    const mark = options.repair === undefined ? [] : ["--repair", options.repair];
    const more = [...sshArgument(options.ssh), ...trial, ...mark];
    return this.tool([...applyArguments(farm, set, options.owner), ...more], {
      input: options.arrives ?? set,
      env: { ...plainEnvironment, ...options.env },
    });
  }

  /** @param sets of the group, one after the other */
  applyGroup(group: string, sets: string, { owner, ssh, env }: ApplyOptions = {}): Promise<Outcome> {
    return this.tool([...applyArguments(group, sets, owner, "apply-group"), ...sshArgument(ssh)], {
      input: sets,
      env: { ...plainEnvironment, ...env },
    });
  }

  removeGroup(group: string, owner = OWNER): Promise<Outcome> {
    return this.tool(["remove-group", group, "--owner", owner]);
  }

  /** Starts an apply and kills the tool after some milliseconds. @param group what it has started too, as for want of memory */
  killedApply(farm: string, set: string, milliseconds: number, group = false): Promise<void> {
    return this.killed(applyArguments(farm, set), milliseconds, set, group);
  }

  /** Starts the tool and kills it after some milliseconds. */
  killed(words: readonly string[], milliseconds: number, input = "", group = false): Promise<void> {
    const [command = "", ...args] = this.running.enter;
    // In its own shell, because nsenter waits for a child in the PID namespace.
    const script = `cat >/tmp/payload-$$; setsid ${this.shell.join(" ")} "$0" "$@" </tmp/payload-$$ & echo $!; wait; rm /tmp/payload-$$`;
    const child = spawn(command, [...args, "sh", "-c", script, TOOL, ...words], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    return new Promise((resolve) => {
      child.stdout.once("data", (bytes: Buffer) => {
        const pid = bytes.toString().split("\n")[0];
        setTimeout(() => {
          this.running.run(["kill", "-9", "--", `${group ? "-" : ""}${pid}`]);
        }, milliseconds);
      });
      child.on("close", () => resolve());
      child.stdin.end(input);
    });
  }

  remove(farm: string, owner = OWNER): Promise<Outcome> {
    return this.tool(["remove", farm, "--owner", owner]);
  }

  sh(command: string, options?: RunOptions): Promise<string> {
    return this.running.sh(command, options);
  }

  /** All rules of the machine, without counters: what must be the same before and after. */
  rules(): Promise<string> {
    return this.sh(
      "nft -s list ruleset; for t in iptables ip6tables; do $t-save | sed -e 's/\\[[0-9:]*\\]//' -e '/^#/d'; done",
    );
  }

  /** The stored farm as it was sent: without the lines that the tool puts before it, and the hash in its chains' names. */
  async stored(farm: string): Promise<string> {
    const text = await this.sh(`cat /etc/netfilter-lb/farms/${farm}.rules 2>/dev/null || :`);
    return text
      .slice(text.indexOf("# netfilter-lb rule set"))
      .replace(/((?:chain|goto) [\w-]+)\.[0-9a-f]{8}/g, "$1.farm");
  }
}

function boot(disk: Namespace, { name, systemd }: FilesOptions): Promise<Namespace> {
  const kinds = ["--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child"];
  return Namespace.start({
    within: disk,
    unshare: [...kinds, "--propagation", "private"],
    setup: bootSetup(name, systemd),
  });
}

export function applyArguments(name: string, set: string, owner = OWNER, command = "apply"): string[] {
  const sha256 = createHash("sha256").update(set).digest("hex");
  return [command, name, "--owner", owner, "--length", String(Buffer.byteLength(set)), "--sha256", sha256];
}

function sshArgument(ssh: string | undefined): string[] {
  return ssh === undefined ? [] : ["--ssh", ssh];
}
