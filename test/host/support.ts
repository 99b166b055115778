/** A bare gateway for the tool: a network, `/etc` and `/run` of its own, nothing of the machine's. */

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { dirname } from "node:path";
import { toolText } from "../../src/host/tool";
import { bootSetup, diskSetup, type FilesOptions } from "../support/lab/files";
import { Namespace } from "../support/lab/namespace";
import { type Outcome, plainEnvironment, type RunOptions } from "../support/lab/process";

/** Where the tool under test is; not its own place, which is for tests of its installation. */
const TOOL = "/usr/local/lib/netfilter-lb";
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
}

export class Machine {
  private constructor(
    private readonly disk: Namespace,
    readonly running: Namespace,
    readonly shell: readonly string[],
  ) {}

  static async start(options: MachineOptions = {}): Promise<Machine> {
    const files: FilesOptions = { name: "gateway", hide: [], systemd: false, iptables: "nft", ...options };
    const disk = await Namespace.start({
      unshare: ["--mount", "--propagation", "private"],
      setup: diskSetup(files),
    });
    await disk.run(["sh", "-c", `mkdir -p ${dirname(TOOL)} && cat >${TOOL}`], { input: toolText() });
    const kinds = ["--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child"];
    const running = await Namespace.start({
      within: disk,
      unshare: [...kinds, "--propagation", "private"],
      setup: bootSetup(files.name, files.systemd),
    });
    return new Machine(disk, running, options.shell ?? ["dash"]);
  }

  async end(): Promise<void> {
    await this.running.end();
    await this.disk.end();
  }

  /** Runs the tool, however it ends. */
  tool(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return this.running.run([...this.shell, TOOL, ...args], options);
  }

  apply(farm: string, set: string, options: ApplyOptions = {}): Promise<Outcome> {
    const trial = options.confirm === undefined ? [] : ["--confirm", String(options.confirm)];
    return this.tool([...applyArguments(farm, set, options.owner), ...sshArgument(options.ssh), ...trial], {
      input: options.arrives ?? set,
      env: { ...plainEnvironment, ...options.env },
    });
  }

  killedApply(farm: string, set: string, milliseconds: number): Promise<void> {
    return this.killed(applyArguments(farm, set), milliseconds, set);
  }

  /** Starts the tool and kills it, and nothing else, after some milliseconds. */
  killed(words: readonly string[], milliseconds: number, input = ""): Promise<void> {
    const [command = "", ...args] = this.running.enter;
    // In its own shell, because nsenter waits for a child in the PID namespace.
    const script = `cat >/tmp/payload-$$; ${this.shell.join(" ")} "$0" "$@" </tmp/payload-$$ & echo $!; wait; rm /tmp/payload-$$`;
    const child = spawn(command, [...args, "sh", "-c", script, TOOL, ...words], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    return new Promise((resolve) => {
      child.stdout.once("data", (bytes: Buffer) => {
        const pid = bytes.toString().split("\n")[0];
        setTimeout(() => {
          this.running.run(["kill", "-9", pid ?? ""]);
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

export function applyArguments(farm: string, set: string, owner = OWNER): string[] {
  const sha256 = createHash("sha256").update(set).digest("hex");
  return ["apply", farm, "--owner", owner, "--length", String(Buffer.byteLength(set)), "--sha256", sha256];
}

function sshArgument(ssh: string | undefined): string[] {
  return ssh === undefined ? [] : ["--ssh", ssh];
}
