import type { PlannedAffinity, PlannedLimits, PlannedLog, Role } from "../plan/plan";
import type { Family } from "../spec/address";
import type { Helper, OnRemoval, WhenEmpty } from "../spec/types";

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
