/** This library's rules as a gateway has them, without the tool: what packets meet is the same. */

import { compile, type FarmSpec, type TargetSpec } from "../../src/core";
import { iptablesRestore, nftablesBase, nftablesLock } from "../../test/trace/kernel";
import { backendsOf, type Scenery, servicesOf } from "./scenery";

/** Name and description of each farm. */
export function farmsOf(scenery: Scenery): [name: string, spec: FarmSpec][] {
  const { protocol, weights, algorithm = "random" } = scenery;
  const backends = backendsOf(scenery).map((address, k) => ({ address, weight: weights?.[k] ?? 1 }));
  return servicesOf(scenery).map(({ address, port }, k) => [
    `farm${k}`,
    { listeners: [{ address, protocol, port }], backends, algorithm },
  ]);
}

function ruleSetsOf(scenery: Scenery, target: TargetSpec): string[] {
  return farmsOf(scenery).map(([name, spec]) => compile(name, spec, target).ruleSet);
}

/** The shared table and all farms, as one input of nft. */
export function nftablesText(ruleSets: readonly string[]): string {
  const text = ruleSets.join("");
  return nftablesBase(text) + text;
}

export function nftables(scenery: Scenery): string {
  return nftablesText(ruleSetsOf(scenery, { dataPlane: "nftables" }));
}

export function iptables(scenery: Scenery): string {
  return iptablesRestore(ruleSetsOf(scenery, { dataPlane: "iptables" }).join(""));
}

/** As on a gateway that forwarded nothing before its farms. */
export function nftablesLocked(scenery: Scenery): string {
  return nftables(scenery) + nftablesLock("ip");
}

export function iptablesLocked(scenery: Scenery): string {
  return iptablesRestore(ruleSetsOf(scenery, { dataPlane: "iptables" }).join(""), { locked: true });
}

export function zevenetLayout(scenery: Scenery): string {
  return iptablesRestore(ruleSetsOf(scenery, { dataPlane: "iptables", layout: "zevenet" }).join(""));
}
