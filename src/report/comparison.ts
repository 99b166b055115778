import type { Ratio } from "../plan/fraction";
import type { Moved } from "./moved";
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
  /** `none`, `masquerade`, `vip` or an address. */
  sourceNat: Change<string>;
  /** The one interface that is balanced; undefined: any. */
  interface: Change<string>;
  services: { added: string[]; removed: string[]; kept: string[] };
  /** By address family and address. */
  backends: BackendChange[];
  /** The part of new connections to kept services that goes elsewhere; services of one part stand together. */
  moved: { services: string[]; fraction: Ratio; percent: string }[];
  /** The whole in plain sentences, the most important first. The same change gives the same words. */
  words: string[];
}

export interface Change<T> {
  before: T | undefined;
  after: T | undefined;
}

export interface BackendChange extends Change<{ share: Ratio; mark: number }> {
  /** `10.0.0.3`, or `10.0.0.3:80` where it has a port. */
  backend: string;
}

/**
 * What other farms of the gateway do in the same change: a service that one loses and another gets is never without rules.
 * Service (as `services` has it) to the other farm.
 */
export interface ServiceMoves {
  to?: Record<string, string>;
  from?: Record<string, string>;
}

/** The same with exact numbers in it, for words. */
export interface Difference {
  before: ReadFarm | undefined;
  after: ReadFarm | undefined;
  services: ServiceChange;
  backends: (Change<ReadBackend> & { key: string })[];
  moved: Moved[];
  moves: Required<ServiceMoves>;
}
