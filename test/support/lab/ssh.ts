/**
 * OpenSSH in a gateway, reached at 127.0.0.1.
 *
 * The gateway's network is not reachable from this machine, on purpose. So we listen on the machine's loopback and
 * hand every accepted connection to a `sshd -i` of its own, started inside the gateway with the socket as its standard
 * input and output, as inetd does. From then on no byte passes through this process.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { Namespace } from "./namespace";
import { plainEnvironment } from "./process";

/** The fields that `@pulumi/command`'s `remote.ConnectionArgs` and ssh2 need. */
export interface Connection {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** OpenSSH's own PEM format. */
  readonly privateKey: string;
  /** `ssh-ed25519 AAAA…` */
  readonly hostKey: string;
}

/** No PAM: sessions must not depend on the machine's. No limits: ten connections at once are normal here. */
const CONFIG = `
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /etc/ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
PermitUserRC no
AcceptEnv LANG LC_* PULUMI_COMMAND_*
LogLevel ERROR
Subsystem sftp internal-sftp
`;

/** Lines that sshd said, kept to explain a failed test. */
const LOG_LINES = 100;

export class SshServer {
  /** Connections accepted since the lab began, failed log-ins included. */
  accepted = 0;

  private readonly sessions = new Set<ChildProcess>();
  private readonly lines: string[] = [];
  private server: Server | undefined;
  private lastPort = 0;

  private constructor(
    /** The gateway's namespace now; a reboot changes it. */
    private readonly namespace: () => Namespace,
    private readonly privateKey: string,
    private hostKey: string,
  ) {}

  /** Makes keys inside the gateway, so that none ever touches the machine's disk, and starts to listen. */
  static async create(namespace: () => Namespace): Promise<SshServer> {
    const privateKey = await namespace().sh(
      `umask 077; cd /etc/ssh
      cat >sshd_config
      ssh-keygen -q -t ed25519 -N '' -C lab -f user
      mv user.pub authorized_keys; chmod 644 authorized_keys
      cat user; rm user`,
      { input: CONFIG },
    );
    const server = new SshServer(namespace, privateKey, await makeHostKey(namespace()));
    await server.start();
    return server;
  }

  connection(user = "root"): Connection {
    return {
      host: "127.0.0.1",
      port: this.lastPort,
      user,
      privateKey: this.privateKey,
      hostKey: this.hostKey,
    };
  }

  /** What sshd complained about lately. */
  get log(): string {
    return this.lines.join("\n");
  }

  /**
   * Listens again after {@link stop}.
   *
   * @param options.port - 0 picks a free one. By default the port that was used before.
   */
  async start(options: { port?: number } = {}): Promise<void> {
    if (this.server) throw new Error("sshd of this gateway is already listening: stop it first");
    const server = createServer({ pauseOnConnect: true }, (socket) => this.accept(socket));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(options.port ?? this.lastPort, "127.0.0.1", 1024, resolve);
    });
    server.unref();
    this.server = server;
    this.lastPort = (server.address() as AddressInfo).port;
  }

  /** Refuses new connections and cuts the open ones: the gateway is unreachable. */
  async stop(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    this.cut();
    if (server) await new Promise((resolve) => server.close(resolve));
  }

  /** Cuts every open connection, as a broken network does. A command that runs on the gateway goes on. */
  cut(): void {
    // sshd shares nsenter's process group; the user's command has a session of its own and stays.
    for (const { pid } of this.sessions) if (pid) signalGroup(pid);
  }

  /** The gateway presents another host key from now on, as a machine that was set up anew does. */
  async newHostKey(): Promise<void> {
    this.hostKey = await makeHostKey(this.namespace());
  }

  private accept(socket: Socket): void {
    this.accepted += 1;
    const [command = "", ...args] = [
      ...this.namespace().enter,
      ...["/usr/sbin/sshd", "-i", "-e", "-f", "/etc/ssh/sshd_config"],
    ];
    const sshd = spawn(command, args, {
      env: plainEnvironment,
      stdio: [socket, socket, "pipe"],
      detached: true,
    });
    this.sessions.add(sshd);
    sshd.stderr?.on("data", (bytes: Buffer) => this.note(bytes.toString()));
    sshd.on("error", (error) => this.note(error.message));
    sshd.on("exit", () => this.sessions.delete(sshd));
    sshd.unref();
    (sshd.stderr as Socket | null)?.unref();
    socket.on("error", () => {});
    socket.destroy(); // Our copy of it; the child has its own.
  }

  private note(text: string): void {
    this.lines.push(...text.split(/\r?\n/).filter(Boolean));
    this.lines.splice(0, Math.max(0, this.lines.length - LOG_LINES));
  }
}

async function makeHostKey(namespace: Namespace): Promise<string> {
  const publicKey = await namespace.sh(
    `umask 077; cd /etc/ssh; rm -f ssh_host_ed25519_key*
    ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key; cat ssh_host_ed25519_key.pub`,
  );
  return publicKey.split(" ").slice(0, 2).join(" ");
}

function signalGroup(leader: number): void {
  try {
    process.kill(-leader, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
