/** What is asked of a traffic host, and what it answers. The programs inside speak these as JSON lines. */

export type Protocol = "tcp" | "udp";

/** What a backend said about one connection or datagram. */
export interface Answer {
  /** The backend's own address, as the connection ends there. */
  readonly address: string;
  readonly port: number;
  /** Whom the backend sees. */
  readonly source: string;
  readonly sourcePort: number;
  /** From the first packet to the answer. */
  readonly ms: number;
}

/** `refused`: RST or ICMP port unreachable. `unreachable`: no route. Otherwise Node's error code. */
export type Failure = "refused" | "timeout" | "unreachable" | "reset" | "closed" | (string & {});

/** Where to, and from where. */
export interface Target {
  readonly to: string;
  readonly port: number;
  /** @default "tcp" */
  readonly protocol?: Protocol;
  /** Source address. @default the kernel's choice */
  readonly from?: string;
  /** Source port. @default an ephemeral one */
  readonly fromPort?: number;
  /** Milliseconds until an attempt counts as lost. A lost SYN is sent again after 1,000. @default 3000 */
  readonly timeout?: number;
  /** Bytes of each question and each answer; but TCP's first, which nobody asks for. @default as many as it takes */
  readonly bytes?: number;
}

/** Where to, and from where, over and over. */
export interface Targets extends Target {
  /** Source addresses, used in turn instead of `from`. */
  readonly fromEach?: readonly string[];
}

export interface ConnectOptions extends Targets {
  /** How many connections, or UDP flows of one datagram each. @default 1 */
  readonly count?: number;
  /** How many at a time; 1 is strictly one after the other. @default 64 */
  readonly concurrency?: number;
  /** Source port of the first; each further one has the next. @default as `fromPort` */
  readonly firstPort?: number;
}

export interface ConnectResult {
  /** In the order in which the attempts began; the lost ones are left out. */
  readonly answers: readonly Answer[];
  /** Backend address → how many connections. */
  readonly counts: Readonly<Record<string, number>>;
  /** How many attempts got no answer. */
  readonly lost: number;
  readonly refused: number;
  readonly timedOut: number;
  /** How often each kind of failure came up. */
  readonly failures: Readonly<Record<Failure, number>>;
}

/**
 * A stream of UDP uses each source port again after 64,512 flows, which may be sooner than the gateway forgets one
 * (30 s): a fast and long one needs several source addresses.
 */
export interface SteadyOptions extends Targets {
  /** Milliseconds between two connections. @default 20 */
  readonly every?: number;
  /** Instead of a rhythm: this many at a time, each followed by the next at once. */
  readonly concurrency?: number;
}

export interface LostConnection {
  /** Milliseconds after the start of the stream. */
  readonly at: number;
  readonly failure: Failure;
}

export interface SteadyResult {
  /** How many were tried. */
  readonly count: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly lost: readonly LostConnection[];
  /** Answers that took a second or more: a packet was lost and sent again. */
  readonly slow: number;
  /** The longest time between two answers, in milliseconds. */
  readonly longestGap: number;
}
