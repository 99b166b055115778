import type { Rational } from "./rational";

/** The first packet of a connection, as it arrives at a gateway. */
export interface Packet {
  source: string;
  /** Undefined for a protocol without ports. */
  sourcePort: number | undefined;
  address: string;
  protocol: "tcp" | "udp" | "sctp" | "icmp";
  /** Undefined for a protocol without ports. */
  port: number | undefined;
  /** Where it enters; undefined: the gateway itself starts the connection. */
  enters: string | undefined;
  /** What the connection is marked with already. */
  connmark?: number;
  /** Of TCP. Left out: a connection's proper first packet, SYN alone. */
  flags?: readonly TcpFlag[];
  /** Connection tracking can make nothing of it, so no rule of NAT sees it. */
  invalid?: boolean;
}

export type TcpFlag = "fin" | "syn" | "rst" | "psh" | "ack" | "ece" | "cwr";

/** What a gateway remembers when the packet arrives. All that is left out is nothing. */
export interface Memory {
  /** Affinity: a client, as `clientOf` says it, to its backend's mark. */
  affinity?: ReadonlyMap<string, number>;
  /** Connections of the farm that are under way, without this one. */
  connections?: number;
  /** The same by backend: its mark to their number. */
  backendConnections?: ReadonlyMap<number, number>;
  /** How many were taken of what each limit lets through at once, with no time gone by since. */
  recent?: { farm?: number; log?: number; sources?: ReadonlyMap<string, number> };
}

/** How a hash is followed: to where it takes this very packet, or over all values that it may have. */
export type Hashing = "own" | "any";

/**
 * What becomes of it, in one line: `to 10.0.0.3:80 mark 0x20c from masquerade helper ftp`, or one of these: `untouched`,
 * no rule of a farm had anything to do with it; `dropped`; `rejected tcp-reset`, `rejected port-unreachable`. Behind it what it left
 * behind, in this order: `takes source`, `takes farm` (of a limit), `logs web:`, `remembers 198.51.100.7 as 0x20c`.
 */
export type Outcome = string;

/** How likely each outcome is. They add up to one. */
export type Outcomes = Map<Outcome, Rational>;

/** Where a connection goes and how it is seen there. */
export function translatedTo(
  address: string,
  port: number | undefined,
  mark: number,
  source: string,
): Outcome {
  const where =
    port === undefined ? address : address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  return `to ${where} mark 0x${mark.toString(16)} from ${source}`;
}

/** An outcome without what it left behind. */
export function withoutTraces(outcomes: Outcomes): Outcomes {
  return regrouped(outcomes, (outcome) => outcome.replace(/ (helper|takes|logs|remembers) .*/, ""));
}

/** The same chances of what a function makes of each outcome. */
export function regrouped(outcomes: Outcomes, of: (outcome: Outcome) => Outcome): Outcomes {
  const grouped: Outcomes = new Map();
  for (const [outcome, part] of outcomes) {
    const known = grouped.get(of(outcome));
    grouped.set(of(outcome), known ? known.plus(part) : part);
  }
  return grouped;
}

/** What happens by the way, said in the words that an outcome has for it. */
export interface Traces {
  helper: string | undefined;
  took: readonly string[];
  logged: string | undefined;
  remembered: { client: string; mark: number } | undefined;
}

export const NO_TRACES: Traces = { helper: undefined, took: [], logged: undefined, remembered: undefined };

export function withTraces(outcome: Outcome, { helper, took, logged, remembered }: Traces): Outcome {
  return [
    outcome,
    // A connection that goes nowhere has nothing that its helper could find.
    ...(helper !== undefined && outcome.startsWith("to ") ? [`helper ${helper}`] : []),
    ...took.map((limit) => `takes ${limit}`),
    ...(logged === undefined ? [] : [`logs ${logged}`]),
    ...(remembered ? [`remembers ${remembered.client} as 0x${remembered.mark.toString(16)}`] : []),
  ].join(" ");
}

/**
 * A packet's client as affinity knows it: `198.51.100.7`, `198.51.100.7 40000`, or the address that it dialled. (A set of
 * ipset tells the port's protocol, too.)
 */
export function clientOf(packet: Packet, by: "sourceIp" | "sourceIpPort" | "destinationIp"): string {
  if (by === "destinationIp") return packet.address;
  return by === "sourceIp" ? packet.source : `${packet.source} ${packet.sourcePort}`;
}

/** Protocols by number (IANA). */
export const PROTOCOL_NUMBER = { icmp: 1, tcp: 6, udp: 17, sctp: 132 } as const;

/** Flags of TCP as their bits (RFC 9293, 3.1). */
export const TCP_FLAG: Record<TcpFlag, number> = {
  fin: 0x01,
  syn: 0x02,
  rst: 0x04,
  psh: 0x08,
  ack: 0x10,
  ece: 0x40,
  cwr: 0x80,
};

export function flagBits(flags: readonly string[]): number {
  return flags.reduce((bits, flag) => bits | (TCP_FLAG[flag.toLowerCase() as TcpFlag] ?? Number.NaN), 0);
}
