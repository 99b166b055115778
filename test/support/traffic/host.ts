/** A host of the lab as a source and a sink of traffic. */

import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Namespace } from "../lab/namespace";
import { plainEnvironment } from "../lab/process";
import type {
  Answer,
  ConnectOptions,
  ConnectResult,
  Failure,
  SteadyOptions,
  SteadyResult,
  Target,
} from "./types";

export interface ServeOptions {
  readonly tcp?: readonly number[];
  readonly udp?: readonly number[];
}

export interface SendOptions extends Omit<Target, "protocol" | "timeout" | "bytes"> {
  /** @default 1 */
  readonly count?: number;
  /** Milliseconds between two of them. @default 0 */
  readonly every?: number;
  readonly text?: string;
}

export interface TwinOptions {
  readonly to: string;
  readonly port: number;
  readonly from: string;
  /** Source port of the first pair; each further one has the next. */
  readonly firstPort: number;
  readonly pairs: number;
  /** Milliseconds to wait for the last answer. @default 1000 */
  readonly timeout?: number;
}

export interface FtpOptions {
  readonly to: string;
  readonly from?: string;
  readonly mode: "active" | "passive";
  /** Milliseconds. @default 3000 (TFTP: 1000) */
  readonly timeout?: number;
}

/** A file transfer's second connection. */
export interface Transferred {
  readonly failure?: Failure;
  /** The server's own address. */
  readonly address?: string;
  /** What the server said where it listens; IPv6 has no address there. */
  readonly told?: { readonly address?: string; readonly port: number };
  /** From where the data came, as the client sees it. */
  readonly peer?: string;
}

/** A connection, or UDP flow, that stays open. */
export interface HeldConnection {
  /** What the backend said first, or why the connection failed. */
  readonly first: Answer | { readonly failure: Failure };
  /** Sends one more line over it; the answer tells whether it still works and where it ends. */
  ask(timeout?: number): Promise<Answer | { readonly failure: Failure }>;
  close(): Promise<void>;
}

/** A stream of connections that is under way. */
export interface Steady {
  /** Ends it, waits for the connections under way and reports. */
  stop(): Promise<SteadyResult>;
}

export class Host {
  private agent: Agent | undefined;

  /** @param addresses - The host's own, where it serves UDP. */
  constructor(
    readonly namespace: Namespace,
    private readonly addresses: readonly string[] = [],
  ) {}

  /** Answers on these ports, in addition to those it already serves; TCP on every address of the host. */
  async serve({ tcp = [], udp = [] }: ServeOptions): Promise<void> {
    await this.do("serve", { tcp, udp, addresses: this.addresses });
  }

  /** Refuses new connections on these ports. */
  async stopServing({ tcp = [], udp = [] }: ServeOptions): Promise<void> {
    await this.do("stopServing", { tcp, udp });
  }

  /** Opens connections and closes each once the backend has said who it is. */
  connect(options: ConnectOptions): Promise<ConnectResult> {
    return this.do("connect", options);
  }

  /** Begins to open one connection after the other, in the background. */
  async steady(options: SteadyOptions): Promise<Steady> {
    const number = await this.do<number>("startSteady", options);
    return { stop: () => this.do("stopSteady", number) };
  }

  /** Opens one connection and keeps it. */
  async open(target: Target): Promise<HeldConnection> {
    const { number, first } = await this.do<{ number: number; first: HeldConnection["first"] }>(
      "open",
      target,
    );
    return {
      first,
      ask: (timeout) => this.do("ask", { number, timeout }),
      close: () => this.do("hangUp", { number }),
    };
  }

  /** Sends UDP datagrams from one source port and waits for no answer. */
  async send(options: SendOptions): Promise<void> {
    await this.do("send", options);
  }

  /** Sends pairs of datagrams, each from one source port and at one instant. @returns who answered, for each pair */
  askTwice(options: TwinOptions): Promise<string[][]> {
    return this.do("askTwice", options);
  }

  /** Answers FTP at port 21 of every address, and TFTP at port 69. */
  async serveFiles(): Promise<void> {
    await this.do("serveFtp", {});
    await this.do("serveTftp", { addresses: this.addresses });
  }

  /** Has one FTP data connection opened: by the client (`passive`) or by the server (`active`). */
  transfer(options: FtpOptions): Promise<Transferred> {
    return this.do("transfer", options);
  }

  /** Asks for one block by TFTP. */
  fetchTftp(options: Omit<FtpOptions, "mode">): Promise<Transferred> {
    return this.do("fetchTftp", options);
  }

  /** Runs a shell command in this host's network. */
  sh(command: string): Promise<string> {
    return this.namespace.sh(command);
  }

  /** @internal */
  async close(): Promise<void> {
    this.agent?.end();
    await this.namespace.end();
  }

  private async do<Result>(what: string, options: unknown): Promise<Result> {
    if (!this.agent || this.agent.ended) this.agent = new Agent(this.namespace.enterNetwork);
    return (await this.agent.ask(what, options)) as Result;
  }
}

interface Pending {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/** The program inside, started at the first use and kept. */
class Agent {
  ended = false;

  private readonly child: ChildProcess;
  private readonly pending = new Map<number, Pending>();
  private asked = 0;

  constructor(enter: readonly string[]) {
    const [command = "", ...args] = [...enter, process.execPath, join(__dirname, "agent.mjs")];
    this.child = spawn(command, args, {
      env: plainEnvironment,
      stdio: ["pipe", "pipe", "inherit"],
      detached: true,
    });
    this.child.stdin?.on("error", () => {});
    this.child.on("error", (error) => this.fail(error));
    this.child.on("exit", (code) => this.fail(new Error(`the traffic program ended (exit ${code})`)));
    const { stdout } = this.child;
    if (stdout) createInterface({ input: stdout }).on("line", (line) => this.settle(JSON.parse(line)));
    this.keepAlive(false);
  }

  ask(what: string, options: unknown): Promise<unknown> {
    this.asked += 1;
    const id = this.asked;
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject });
      this.keepAlive(true);
      this.child.stdin?.write(`${JSON.stringify({ id, do: what, with: options })}\n`);
    });
  }

  end(): void {
    this.child.stdin?.end();
  }

  private settle(reply: { id: number; result?: unknown; error?: string }): void {
    const waiting = this.pending.get(reply.id);
    this.pending.delete(reply.id);
    if (this.pending.size === 0) this.keepAlive(false);
    if (reply.error === undefined) waiting?.resolve(reply.result);
    else waiting?.reject(new Error(reply.error));
  }

  private fail(error: Error): void {
    this.ended = true;
    for (const { reject } of this.pending.values()) reject(error);
    this.pending.clear();
  }

  /** This process may end while nothing is asked of the program, and must not while something is. */
  private keepAlive(yes: boolean): void {
    const change = yes ? "ref" : "unref";
    this.child[change]();
    for (const stream of [this.child.stdin, this.child.stdout]) {
      (stream as { ref?: () => void; unref?: () => void } | null)?.[change]?.();
    }
  }
}
