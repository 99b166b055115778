import type { Family } from "../spec/address";
import type { PortRange } from "../spec/ports";
import type { Service } from "../spec/service";
import type { Helper, Protocol } from "../spec/types";

/**
 * A farm's part of an iptables gateway, as data: address sets, lines for the chains that all farms share, and the farm's
 * own chains (docs/rule-set.md). `render` makes it text.
 */
export interface IptRuleSet {
  families: IptFamily[];
}

export interface IptFamily {
  family: Family;
  sets: IptSet[];
  tables: IptTable[];
}

/** A set of ipset. */
export interface IptSet {
  /** Without the prefix that all names have: `web.deny`, `web.201`. */
  name: string;
  type: "hash:net" | "hash:ip" | "hash:ip,port";
  maxEntries: number;
  /** In seconds; undefined: entries stay. */
  timeout: number | undefined;
  /** Networks and addresses; none in a set that the kernel fills. */
  entries: string[];
}

export type TableName = "raw" | "mangle" | "nat" | "filter";

/** Chains that all farms of a gateway share; the built-in chain of that name jumps there first. */
export type SharedChain = "PREROUTING" | "INPUT" | "FORWARD" | "OUTPUT" | "POSTROUTING";

export interface IptTable {
  name: TableName;
  /** The farm's own chains, in the order of their declaration. */
  chains: string[];
  rules: IptRule[];
}

export interface IptRule {
  /** A shared chain, or one of the farm's own as `{ own: "web.201" }`. */
  chain: SharedChain | { own: string };
  matches: IptMatch[];
  target: IptTarget;
}

/** A mark and the bits of it that count. */
export interface MaskedMark {
  mark: number;
  mask: number;
}

/** What of a packet is looked up in a set. */
export type SetKey = "src" | "src,src" | "dst";

export type IptMatch =
  /** `network` has a prefix length always: `198.51.100.0/24`, `192.0.2.1/32`. */
  | { kind: "source"; network: string }
  | { kind: "destination"; address: string }
  | { kind: "inInterface"; name: string }
  /** With the destination port where there is one. */
  | { kind: "protocol"; protocol: Exclude<Protocol, "all">; ports: PortRange | undefined }
  /** A TCP packet that opens no connection. */
  | { kind: "notSyn" }
  /** A translated connection, by the destination it had before. */
  | { kind: "originalDestination"; address: string; ports: PortRange | undefined }
  /**
   * A connection that a helper expected, by an address of the service that it is about: the one that it was opened to, or the one that its
   * answers are sent to (a backend opened it).
   */
  | { kind: "expected"; by: "original" | "reply"; service: Service }
  | { kind: "stateNew" }
  | ({ kind: "mark" } & MaskedMark)
  /** Any mark but this. */
  | { kind: "otherMark"; mark: number }
  | { kind: "inSet"; set: string; key: SetKey }
  | { kind: "notInSet"; set: string; key: SetKey }
  /** More often than that; `name` is that of the kernel's table, which forgets after `timeout` seconds without a packet. */
  | {
      kind: "rateAbove";
      perSecond: number;
      burst: number;
      of: "source" | "all";
      name: string;
      timeout: number;
    }
  /** No more often than that. */
  | { kind: "rateUpTo"; perSecond: number; burst: number }
  /** More connections than that, this one included, that came to this rule and are still there. */
  | { kind: "connectionsAbove"; limit: number }
  /** `threshold` of 2^31, as the kernel keeps it. */
  | { kind: "statisticRandom"; threshold: number }
  /** Of every `every` packets that the rule is asked about, number `packet` (from 0). */
  | { kind: "statisticNth"; every: number; packet: number }
  /** Zevenet's name of a backend: `FARM_app_0_`. */
  | { kind: "backendComment"; farm: string; index: number };

export type IptTarget =
  | { kind: "drop" }
  | { kind: "accept" }
  | { kind: "reject"; with: "tcp-reset" | "icmp-port-unreachable" | "icmp6-port-unreachable" }
  /** Out of the farm's chains, back to the built-in one. */
  | { kind: "return" }
  | { kind: "goto"; to: string }
  | { kind: "log"; prefix: string }
  | { kind: "helper"; name: Helper }
  /** An entry that is there already lives on for another time-out. */
  | { kind: "addToSet"; set: string; key: SetKey }
  | ({ kind: "setMark" } & MaskedMark)
  | ({ kind: "hashMark" } & PacketHash)
  | ({ kind: "setConnmark" } & MaskedMark)
  | { kind: "saveMark"; mask: number }
  | { kind: "restoreMark"; mask: number }
  | { kind: "dnat"; address: string; port: number | undefined }
  | { kind: "snat"; address: string }
  | { kind: "masquerade" };

/** A hash of a packet, 0 to `modulus` − 1. */
export interface PacketHash {
  /** How much of the source address counts, in bits. */
  source: number;
  /** How much of the destination address counts; 0: nothing. */
  destination: number;
  /** Whether both ports count. */
  ports: boolean;
  seed: number;
  modulus: number;
}
