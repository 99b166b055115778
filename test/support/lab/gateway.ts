/** A gateway of the lab: a Linux host with a disk of its own, two network interfaces and sshd. */

import { Host } from "../traffic/host";
import type { ConnectOptions, ConnectResult } from "../traffic/types";
import { type Family, frontLink } from "./addresses";
import { bootSetup, diskSetup } from "./files";
import { Namespace } from "./namespace";
import type { Outcome, RunOptions } from "./process";
import { type Connection, SshServer } from "./ssh";

export interface GatewayOptions {
  /** Also its host name. */
  readonly name: string;
  /** Interface towards the clients. @default "eth0" */
  readonly front?: string;
  /** Interface towards the backends. @default "eth1" */
  readonly back?: string;
  /**
   * Look like a host that systemd booted: `/run/systemd/system` exists, `systemctl` (a stand-in) enables and starts units
   * of `/etc/systemd/system`, and a reboot applies `/etc/sysctl.d` and starts what is enabled. @default false
   */
  readonly systemd?: boolean;
  /** Commands that this gateway does not have, such as `nft`. @default none */
  readonly hide?: readonly string[];
  /** Which variant `iptables` and `ip6tables` are. @default "nft" */
  readonly iptables?: "nft" | "legacy";
  /** Forward packets from the start, as after a boot with `net.ipv4.ip_forward=1`. @default false */
  readonly forwarding?: boolean;
}

export class Gateway {
  readonly name: string;
  readonly front: string;
  readonly back: string;

  private host: Host;
  private sshServer: SshServer | undefined;

  private constructor(
    readonly index: number,
    private readonly options: GatewayOptions,
    private readonly disk: Namespace,
    private running: Namespace,
    private readonly wire: (gateway: Gateway) => Promise<void>,
    private readonly unplug: (gateway: Gateway) => Promise<void>,
  ) {
    this.name = options.name;
    this.front = options.front ?? "eth0";
    this.back = options.back ?? "eth1";
    this.host = new Host(running);
  }

  /** @internal Made by `Lab.create`. */
  static async create(
    index: number,
    options: GatewayOptions,
    wire: (gateway: Gateway) => Promise<void>,
    unplug: (gateway: Gateway) => Promise<void>,
  ): Promise<Gateway> {
    const { name, hide = [], systemd = false, iptables = "nft" } = options;
    const disk = await Namespace.start({
      unshare: ["--mount", "--propagation", "private"],
      setup: diskSetup({ name, hide, systemd, iptables }),
    });
    const gateway = new Gateway(index, options, disk, await boot(disk, options), wire, unplug);
    await wire(gateway);
    gateway.sshServer = await SshServer.create(() => gateway.running);
    return gateway;
  }

  /** Its network and processes since the last boot. */
  get namespace(): Namespace {
    return this.running;
  }

  /** sshd: make it unreachable, move it, give it another key. */
  get ssh(): SshServer {
    if (!this.sshServer) throw new Error(`${this.name} is not up yet`);
    return this.sshServer;
  }

  /** How to reach it as root. */
  get connection(): Connection {
    return this.ssh.connection();
  }

  /** SSH connections accepted since the lab began. */
  get sshConnections(): number {
    return this.ssh.accepted;
  }

  /** Its address on the link to the clients. */
  address(family: Family = 4): string {
    return frontLink(this.index, family).gateway;
  }

  /** Connections that start on the gateway itself. */
  connect(options: ConnectOptions): Promise<ConnectResult> {
    return this.host.connect(options);
  }

  /** The gateway as a source of every other traffic. After a reboot, ask for it again. */
  get traffic(): Host {
    return this.host;
  }

  /** Runs a shell command on the gateway, without SSH; resolves with its output, throws with what it said. */
  sh(command: string, options?: RunOptions): Promise<string> {
    return this.running.sh(command, options);
  }

  /** The same, however it ends. */
  try(command: string, options?: RunOptions): Promise<Outcome> {
    return this.running.run(["sh", "-c", command], options);
  }

  /** Writes a file on the gateway. */
  async write(path: string, text: string, mode = "644"): Promise<void> {
    await this.running.sh(`cat >'${path}' && chmod ${mode} '${path}'`, { input: text });
  }

  /**
   * Adds a user who logs in with the same key.
   *
   * @param sudoers - What it may do, such as `ALL=(ALL) NOPASSWD: ALL`; needs the `sudo` package on this machine.
   */
  async addUser(name: string, sudoers?: string): Promise<Connection> {
    // A locked password (useradd's default) would also refuse keys where sshd runs without PAM; `*` does not.
    await this.running.sh(`useradd --no-create-home --home-dir / --shell /bin/sh --password '*' ${name}`);
    if (sudoers !== undefined) {
      await this.running.sh(`mkdir -p /etc/sudoers.d`);
      await this.write(`/etc/sudoers.d/${name}`, `${name} ${sudoers}\n`, "440");
    }
    return this.ssh.connection(name);
  }

  /**
   * Restarts it: another kernel network and no process of before, `/run` empty, interfaces plugged in again. Files in
   * `/etc` and `/usr/local` stay.
   *
   * Only with the option `systemd` is anything started, and that before the interfaces are there, as services are that
   * come before `network-pre.target`. Otherwise what happens at boot is the test's to do.
   *
   * @returns what the services said; one that failed is named.
   */
  async reboot(): Promise<string> {
    this.ssh.cut();
    await this.unplug(this);
    await this.running.end();
    this.running = await boot(this.disk, this.options);
    this.host = new Host(this.running);
    const said = this.options.systemd ? await this.sh("systemctl boot") : "";
    await this.wire(this);
    return said;
  }

  /** @internal */
  async close(): Promise<void> {
    await this.sshServer?.stop();
    await this.running.end();
    await this.disk.end();
  }
}

/** The gateway between two reboots: network, processes, `/proc` and `/run`, over the files of its disk. */
function boot(
  disk: Namespace,
  { name, systemd = false, forwarding = false }: GatewayOptions,
): Promise<Namespace> {
  const forward = "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding";
  return Namespace.start({
    within: disk,
    unshare: [
      ...["--net", "--pid", "--mount", "--uts", "--ipc"],
      ...["--fork", "--kill-child", "--propagation", "private"],
    ],
    setup: bootSetup(name, systemd) + (forwarding ? forward : ""),
  });
}
