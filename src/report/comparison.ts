import type { Ratio } from "../plan/fraction";
import type { PlannedAffinity, PlannedLimits, PlannedLog, Role } from "../plan/plan";
import type { Family } from "../spec/address";
import type { Helper, OnRemoval, WhenEmpty } from "../spec/types";
import type { Forgotten } from "./affinity";
import type { Moved } from "./moved";
import type { PinChange } from "./pins";
import type { ReadBackend, ReadFarm } from "./read";
import type { ServiceChange } from "./services";

/** What a change of a farm's rules on a gateway does to traffic. */
export interface Comparison {
  farm: string;
  /** `rules`: other rules that mean the same, such as backends in another order. */
  change: "created" | "removed" | "traffic" | "rules" | "none";
  /** `nftables`, `iptables nat`, `iptables zevenet`. */
  dataPlane: Change<string>;
  /** Undefined for a single backend, which needs no choice. */
  algorithm: Change<string>;
  /** `none`, `masquerade`, `vip`, `auto` or an address. */
  sourceNat: Change<string>;
  /** The one interface that is balanced; undefined: any. */
  interface: Change<string>;
  /** Of `backends` those of which connections are forgotten as soon as they leave (`cut`), or go on (`keep`). */
  onRemoval: Change<OnRemoval>;
  services: { added: string[]; removed: string[]; kept: string[] };
  /** By address family and address. One that is down is not there, as if it were removed. */
  backends: BackendChange[];
  /** The part of what is new at kept services that goes elsewhere; services of one part stand together. */
  moved: MovedPart[];
  /** The part of what affinity remembers that it forgets; for each address family in which it did and does. */
  forgotten: { family: Family; fraction: Ratio; percent: string }[];
  pins: { added: ReadPin[]; removed: ReadPin[] };
  /** Client networks. A list that comes or goes altogether changes whom it is about: `before` or `after` is undefined. */
  allow: Change<string[]>;
  deny: Change<string[]>;
  /** The whole in plain sentences, the most important first. The same change gives the same words. */
  words: string[];
}

export interface Change<T> {
  before: T | undefined;
  after: T | undefined;
}

export interface BackendChange extends Change<{ share: Ratio; mark: number; role: ReadRole }> {
  /** `10.0.0.3`, or `10.0.0.3:80` where it has a port. */
  backend: string;
}

/** What part of new connections, of clients, or of flows goes elsewhere. */
export interface MovedPart {
  services: string[];
  /** `connections` where each is drawn; `clients` or `flows` where they are hashed. */
  of: "connections" | "clients" | "flows";
  /** Of connections the least part that must, since draws are independent; of clients and flows exact. */
  fraction: Ratio;
  percent: string;
  /** Another hash, or one that comes or goes: what was found before tells nothing, and all count as moved. */
  anew: boolean;
}

/**
 * What other farms of the gateway do in the same change: a service that one loses and another gets is never without rules.
 * Service (as `services` has it) to the other farm.
 */
export interface ServiceMoves {
  to?: Record<string, string>;
  from?: Record<string, string>;
}

/**
 * What a rule set tells of what not every farm has: `ReadFarm` has it beside services, backends and the rest.
 */
export interface ReadFeatures {
  /** Families in which rules hash. One backend alone needs no hash, whatever the algorithm is. */
  hash: Partial<Record<Family, ReadHash>>;
  affinity: PlannedAffinity | undefined;
  /** Ranges that do not overlap, IPv4 first, lowest first (`pinnedRanges`, whatever form the rules have). */
  pins: ReadPin[];
  /** Canonical networks, IPv4 first, lowest first; undefined: everybody. */
  allow: string[] | undefined;
  deny: string[];
  limits: PlannedLimits;
  /** Families in which no backend is active, and what new connections get there. */
  empty: Partial<Record<Family, WhenEmpty>>;
  onRemoval: OnRemoval;
  /** Undefined where no rule tells, since no service is TCP. */
  looseTcp: boolean | undefined;
  helper: Helper | undefined;
  log: PlannedLog | undefined;
  /** With source NAT `auto`: canonical networks. */
  localNetworks: string[];
}

export interface ReadHash {
  of: "source" | "flow";
  /** How much of the source address counts, in bits. */
  prefix: number;
  /** Each slot's backend, by key. */
  slots: string[];
}

export interface ReadPin {
  family: Family;
  first: string;
  last: string;
  /** By key. */
  backend: string;
}

/** What `ReadBackend` has beside key, place, mark and share. */
export interface ReadStanding {
  role: ReadRole;
  maxConnections: number | undefined;
}

/** One that is down is not there. */
export type ReadRole = Exclude<Role, "down">;

/** The same with exact numbers in it, for words. */
export interface Difference {
  before: ReadFarm | undefined;
  after: ReadFarm | undefined;
  services: ServiceChange;
  backends: (Change<ReadBackend> & { key: string })[];
  moved: Moved[];
  forgotten: Forgotten[];
  pins: PinChange;
  moves: Required<ServiceMoves>;
}
