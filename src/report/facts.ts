import type { Family } from "../spec/address";
import type { Algorithm } from "../spec/types";
import type { ReadFeatures } from "./features";

/** What typed rules say without being asked by packets. */
export interface Facts extends Omit<ReadFeatures, "onRemoval"> {
  /** Undefined where nothing tells: a single backend needs no choice. */
  algorithm: Algorithm | undefined;
  interface: string | undefined;
  /** `none`, `masquerade`, `vip`, `auto` or an address. */
  sourceNat: string;
  /** By `backendId`. */
  backendLimits: ReadonlyMap<string, number>;
}

/** A backend's name in the maps of readers. */
export function backendId(family: Family, mark: number): string {
  return `${family} ${mark}`;
}
