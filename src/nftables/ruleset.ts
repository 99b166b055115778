import type { Family } from "../spec/address";
import type { Protocol } from "../spec/types";

/**
 * A farm's part of an nftables gateway, as data: its own chains, and the elements that lead to them in the table that all
 * farms share (docs/rule-set.md). `render` makes it text.
 */
export interface NftRuleSet {
  chains: NftChain[];
  elements: NftElement[];
}

export interface NftChain {
  family: Family;
  name: string;
  rules: NftRule[];
}

/** A transport protocol that has ports. */
export type PortProtocol = Exclude<Protocol, "all">;

/** Numbers `from` to `to` of those that a generator gives, and the backend that they stand for. */
export interface NftSlots {
  from: number;
  to: number;
  backend: { key: string; mark: number; weight: number };
}

export interface NftTarget {
  mark: number;
  address: string;
  /** Undefined: the port that was dialled. */
  port: number | undefined;
}

export type NftRule =
  /** `ct mark set MARK`, in the bits of `mask` only. */
  | { kind: "setMark"; mark: number; mask: number }
  /** Draws a number below `modulus` (`random`) or counts (`inc`), and sets the mark that it stands for. */
  | { kind: "chooseMark"; generator: "random" | "inc"; modulus: number; slots: NftSlots[] }
  /** The same, but goes to the chain `prefix.MARK`. */
  | { kind: "chooseChain"; generator: "random" | "inc"; modulus: number; slots: NftSlots[]; prefix: string }
  /** DNAT to where the mark says. Ports need `protocols`. */
  | { kind: "translateByMark"; protocols: PortProtocol[]; targets: NftTarget[] }
  /** DNAT to one place. */
  | { kind: "translate"; protocols: PortProtocol[]; target: NftTarget }
  | { kind: "masquerade" }
  /** SNAT to the address that the client dialled. */
  | { kind: "sourceVip" }
  | { kind: "sourceAddress"; address: string };

/** How exactly a service is named in the shared table's maps and sets. */
export type NftKey =
  | { kind: "port"; address: string; protocol: PortProtocol; port: number }
  | { kind: "range"; address: string; protocol: PortProtocol; from: number; to: number }
  | { kind: "address"; address: string };

/** An element of the shared table: which family of maps it goes to, and the chain it leads to (`guard`: none). */
export interface NftElement {
  family: Family;
  role: "guard" | "service" | "source";
  key: NftKey;
  interface: string | undefined;
  chain: string | undefined;
}
