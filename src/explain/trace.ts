import { hex } from "../spec/check";
import type { Limit } from "./packet";

/** The kernel's places at which rules are asked. */
export type Hook = "prerouting" | "input" | "forward" | "output" | "postrouting";

/** What a rule, or connection tracking, does to a packet. */
export type Effect =
  /** Sets the mark of the packet alone, or of its connection. */
  | { kind: "mark"; of: "packet" | "connection"; before: number; after: number }
  | { kind: "translate"; to: Place }
  /** The source address that the backend sees. */
  | { kind: "source"; source: Source }
  | { kind: "goto"; chain: string }
  | { kind: "accept" }
  | { kind: "drop" }
  | { kind: "reject"; with: Rejection }
  /** Leaves the chain: of iptables, where the connection stays untranslated and the guard drops it. */
  | { kind: "return" }
  /** Affinity: a table remembers the client's backend for `seconds`, or forgets it. */
  | { kind: "remember"; seconds: number }
  | { kind: "forget" }
  | { kind: "helper"; helper: string }
  | { kind: "log"; prefix: string }
  | { kind: "count" };

/** What a client is answered that finds no backend: a TCP reset, or ICMP port unreachable. */
export type Rejection = "tcp-reset" | "port-unreachable";

/** Why a packet is dropped. */
export type DropReason =
  /** It is for a service and was not translated: no first packet of a connection, or one that began before the farm. */
  | "guard"
  /** A tcp connection's first packet that is no SYN. */
  | "noSyn"
  | "denied"
  | "notAllowed"
  | "noBackend"
  /** A limit that is exhausted. */
  | Limit;

export interface Place {
  address: string;
  /** Undefined for a protocol without ports. */
  port: number | undefined;
}

export type Source =
  /** The packet's own. */
  | { kind: "kept"; address: string }
  /** The gateway's address on the interface that the packet leaves by. */
  | { kind: "masquerade" }
  | { kind: "address"; address: string };

/** One thing that a packet meets. */
export interface Step {
  hook: Hook;
  /** `netfilter_lb`; `mangle`, `nat` or `filter`; `conntrack`, where the kernel decides without a rule. */
  table: string;
  /** Empty for `conntrack`. */
  chain: string;
  /** As it is rendered, a map's entries left out; empty for `conntrack`. */
  rule: string;
  matched: boolean;
  /** What matched, or why it did not. */
  why: string;
  /** Undefined where it did not match, or matched and changed nothing. */
  effect: Effect | undefined;
}

/** What becomes of the packet. */
export type Outcome =
  | { kind: "translated"; to: Place; source: Source; mark: number }
  | { kind: "dropped"; by: DropReason; mark: number }
  /** Answered, since no backend is active. */
  | { kind: "rejected"; with: Rejection; mark: number }
  /** No rule of this farm translated or dropped it: it goes where the gateway's other rules and routes send it. */
  | { kind: "untouched"; mark: number };

/** A backend's address as rules have it. */
export interface Translation {
  address: string;
  /** Undefined: the port that was dialled. */
  port: number | undefined;
}

/** What a tracer finds out. */
export interface Trace {
  steps: Step[];
  end: End;
}

export interface End {
  dropped: DropReason | undefined;
  rejected: Rejection | undefined;
  translation: Translation | undefined;
  /** Undefined: the packet's own. */
  source: { kind: "masquerade" } | { kind: "address"; address: string } | undefined;
  /** The connection's. */
  mark: number;
}

/** Bits of `value` in the places of `mask`, the rest of `mark`: what MARK, CONNMARK and `ct mark set` do. */
export function withBits(mark: number, value: number, mask: number): number {
  return ((mark & ~mask) | (value & mask)) >>> 0;
}

/** `10.0.0.3`, `10.0.0.3:80`, `[2001:db8::3]:80`. */
export function formatPlace({ address, port }: Place): string {
  if (port === undefined) return address;
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** `to 10.0.0.3:80, source kept (198.51.100.9), mark 0x20c`. */
export function formatOutcome(outcome: Outcome): string {
  switch (outcome.kind) {
    case "translated":
      return `to ${formatPlace(outcome.to)}, ${formatSource(outcome.source)}, mark ${hex(outcome.mark)}`;
    case "dropped":
      return `dropped ${DROPPED[outcome.by]}`;
    case "rejected":
      return `no backend is active: answered with ${REJECTED[outcome.with]}`;
    case "untouched":
      return "untouched: no rule of this farm is about it";
    default:
      throw outcome satisfies never;
  }
}

const DROPPED: Record<DropReason, string> = {
  guard: "by the farm's guard",
  noSyn: "as a tcp connection that does not begin with a SYN",
  denied: "because deny has its source",
  notAllowed: "because allow has not its source",
  noBackend: "because no backend is active",
  connections: "by the farm's limit of connections",
  backendConnections: "by its backend's limit of connections",
  rate: "by the farm's limit of new connections a second",
  sourceRate: "by the limit of new connections a second for its source",
};

/** In words. */
export const REJECTED: Record<Rejection, string> = {
  "tcp-reset": "a TCP reset",
  "port-unreachable": "ICMP port unreachable",
};

/** `source masqueraded`. */
export function formatSource(source: Source): string {
  switch (source.kind) {
    case "kept":
      return `source kept (${source.address})`;
    case "masquerade":
      return "source masqueraded";
    case "address":
      return `source ${source.address}`;
    default:
      throw source satisfies never;
  }
}
