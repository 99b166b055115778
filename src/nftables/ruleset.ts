import type { PlannedLog, RateLimit } from "../plan/plan";
import type { Family } from "../spec/address";
import type { AffinityKey, Helper, Protocol } from "../spec/types";

/**
 * A farm's part of an nftables gateway, as data: what it learns and counts in, its own chains, and the elements that lead
 * to them in the table that all farms share (docs/rule-set.md). `render` makes it text.
 */
export interface NftRuleSet {
  objects: NftObject[];
  chains: NftChain[];
  elements: NftElement[];
}

/** What outlives a change of the farm. Its parameters are in its name, so that another size is another object. */
export type NftObject = { family: Family; name: string } & NftObjectKind;

export type NftObjectKind =
  /** A client to the mark of its backend. */
  | { kind: "affinity"; by: AffinityKey; size: number }
  /** Counts the farm's connections. */
  | { kind: "connections" }
  /** Counts connections by mark. */
  | { kind: "backendConnections" }
  /** A bucket for each source. */
  | { kind: "rate" }
  /** The farm's bucket. */
  | { kind: "rateAll" }
  /** Packets and bytes of first packets by mark: the packets are the connections. */
  | { kind: "counters" }
  | { kind: "helper"; helper: Helper; protocol: PortProtocol };

export interface NftChain {
  family: Family;
  name: string;
  rules: NftRule[];
}

/** A transport protocol that has ports. */
export type PortProtocol = Exclude<Protocol, "all">;

/** A backend as rules name it. */
export interface NftBackend {
  /** In comments. */
  key: string;
  mark: number;
}

/** Numbers `from` to `to` of those that a generator gives, and the backend that they stand for. */
export interface NftSlots {
  from: number;
  to: number;
  backend: NftBackend & { weight: number };
}

/** All slots of a hash that one backend has; every slot once, runs of them with `from` and `to`. */
export interface NftSlotGroup {
  backend: NftBackend & { weight: number };
  runs: { from: number; to: number }[];
}

/** A number below `slots`, from what a packet has. */
export interface NftHash {
  /** `addresses`: a flow's, without ports, where a listener takes every protocol. */
  of: "source" | "flow" | "addresses";
  /** How much of the source address counts, in bits. */
  prefix: number;
  slots: number;
}

/** Sources from `first` to `last`. */
export interface NftPin {
  first: string;
  last: string;
  backend: NftBackend;
}

export interface NftTarget {
  mark: number;
  address: string;
  /** Undefined: the port that was dialled. */
  port: number | undefined;
}

/** A rule in the order in which a farm's chain has them. `set` and `map` are names of objects. */
export type NftRule =
  /** Drops what is tcp and no SYN. */
  | { kind: "requireSyn" }
  | { kind: "deny"; sources: string[] }
  | { kind: "allow"; sources: string[] }
  /** `timeout`: seconds after which an idle source is forgotten. */
  | { kind: "limitSources"; set: string; rate: RateLimit; timeout: number }
  | { kind: "limitRate"; set: string; rate: RateLimit }
  | { kind: "limitConnections"; set: string; limit: number }
  | { kind: "bindHelper"; object: string; helper: Helper; protocol: PortProtocol }
  | ({ kind: "log" } & PlannedLog)
  /** Sets the mark of a pinned source's backend. */
  | { kind: "pin"; pins: NftPin[] }
  /** The same, but goes to the chain `prefix.MARK`. */
  | { kind: "pinChain"; pins: NftPin[]; prefix: string }
  /** Goes on to `chain` with the marks of these. */
  | { kind: "keep"; backends: NftBackend[]; chain: string }
  /** Sets the mark that a client is remembered with. */
  | { kind: "recall"; by: AffinityKey; map: string }
  /** An entry that is there cannot get another mark. */
  | { kind: "forget"; by: AffinityKey; map: string }
  /** `ct mark set MARK`, in the bits of `mask` only. */
  | { kind: "setMark"; mark: number; mask: number }
  /** Draws a number below `modulus` (`random`) or counts (`inc`), and sets the mark that it stands for. */
  | { kind: "chooseMark"; generator: "random" | "inc"; modulus: number; slots: NftSlots[] }
  /** The same, but goes to the chain `prefix.MARK`. */
  | { kind: "chooseChain"; generator: "random" | "inc"; modulus: number; slots: NftSlots[]; prefix: string }
  /** Hashes, and sets the mark that the slot stands for. */
  | { kind: "hashMark"; hash: NftHash; groups: NftSlotGroup[] }
  /** The same, but goes to the chain `prefix.MARK`. */
  | { kind: "hashChain"; hash: NftHash; groups: NftSlotGroup[]; prefix: string }
  /** Sets the mark to the slot itself: nft 1.0.6 takes no part of an address as the key of a map. */
  | { kind: "hashSlot"; hash: NftHash }
  /** Behind it: the mark that the slot stands for. */
  | { kind: "markOfSlot"; slots: number; groups: NftSlotGroup[] }
  /** A TCP reset for tcp. */
  | { kind: "rejectTcp" }
  /** ICMP port unreachable. */
  | { kind: "reject" }
  | { kind: "drop" }
  | { kind: "goto"; chain: string }
  /** Drops connections with the marks of these, each beyond the limit. */
  | { kind: "limitBackends"; set: string; limit: number; backends: NftBackend[] }
  /** The same in a backend's own chain. */
  | { kind: "limitBackend"; set: string; limit: number; mask: number }
  /** `timeout`: seconds. */
  | { kind: "remember"; by: AffinityKey; map: string; timeout: number }
  | { kind: "count"; set: string; mask: number }
  /** DNAT to where the mark says. Ports need `protocols`. */
  | { kind: "translateByMark"; protocols: PortProtocol[]; targets: NftTarget[] }
  /** DNAT to one place. */
  | { kind: "translate"; protocols: PortProtocol[]; target: NftTarget }
  | { kind: "masquerade" }
  | { kind: "masqueradeFrom"; networks: string[] }
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
