import type { Family } from "../spec/address";
import type { PortRange } from "../spec/ports";
import type { Protocol } from "../spec/types";

/**
 * A farm's part of an iptables gateway, as data: lines for the chains that all farms share, and the farm's own chains
 * (docs/rule-set.md). `render` makes it text.
 */
export interface IptRuleSet {
  families: { family: Family; tables: IptTable[] }[];
}

export type TableName = "mangle" | "nat" | "filter";

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

export type IptMatch =
  | { kind: "destination"; address: string }
  | { kind: "inInterface"; name: string }
  /** With the destination port where there is one. */
  | { kind: "protocol"; protocol: Exclude<Protocol, "all">; ports: PortRange | undefined }
  /** A translated connection, by the destination it had before. */
  | { kind: "originalDestination"; address: string; ports: PortRange | undefined }
  | { kind: "stateNew" }
  | ({ kind: "mark" } & MaskedMark)
  /** `threshold` of 2^31, as the kernel keeps it. */
  | { kind: "statisticRandom"; threshold: number }
  /** Of every `every` packets that the rule is asked about, number `packet` (from 0). */
  | { kind: "statisticNth"; every: number; packet: number }
  /** Zevenet's name of a backend: `FARM_app_0_`. */
  | { kind: "backendComment"; farm: string; index: number };

export type IptTarget =
  | { kind: "drop" }
  | { kind: "accept" }
  | { kind: "goto"; to: string }
  | ({ kind: "setMark" } & MaskedMark)
  | ({ kind: "setConnmark" } & MaskedMark)
  | { kind: "saveMark"; mask: number }
  | { kind: "restoreMark"; mask: number }
  | { kind: "dnat"; address: string; port: number | undefined }
  | { kind: "snat"; address: string }
  | { kind: "masquerade" };
