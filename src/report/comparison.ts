import type { Ratio } from "../plan/fraction";
import type { Family } from "../spec/address";
import type { OnRemoval } from "../spec/types";
import type { ReadPin, ReadRole } from "./features";

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
