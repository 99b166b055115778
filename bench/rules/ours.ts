/** This library's rules as a gateway has them, without the tool: what packets meet is the same. */

import { compile, type FarmSpec, type TargetSpec } from "../../src/core";
import { nftablesBase, nftablesLock } from "../../test/trace/kernel";
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

/** What the tool puts around the guards of forwarded packets (`ipt_plan`): what is translated passes them by; the rest only locks. */
const PASS = "-A NFLB-FORWARD -m conntrack --ctstate DNAT -j RETURN";
const EXPECTED = "-A NFLB-FORWARD -m conntrack --ctstate SNAT --ctstatus EXPECTED -j RETURN";
const STOP = "-A NFLB-FORWARD -j DROP";

/**
 * All farms as one input of iptables-restore, with the shared chains and the jumps that the tool adds.
 * @param locked whether only what is translated is forwarded
 */
export function iptablesText(ruleSets: readonly string[], locked = false): string {
  const tables = new Map<string, { chains: string[]; rules: string[] }>();
  for (const ruleSet of ruleSets) {
    let table = { chains: [] as string[], rules: [] as string[] };
    for (const line of ruleSet.split("\n")) {
      if (line.startsWith("*")) {
        table = tables.get(line) ?? { chains: [], rules: [] };
        tables.set(line, table);
      } else if (line.startsWith(":")) table.chains.push(line);
      else if (line.startsWith("-A ")) table.rules.push(line);
    }
  }
  const { rules = [] } = tables.get("*mangle") ?? {};
  if (locked) rules.push(STOP);
  if (rules.some((rule) => rule.startsWith("-A NFLB-FORWARD ")))
    rules.unshift(PASS, ...(locked ? [EXPECTED] : []));
  return [...tables].map(([name, { chains, rules }]) => block(name, chains, rules)).join("");
}

function block(table: string, chains: readonly string[], rules: readonly string[]): string {
  const named = rules.map((rule) => /^-A NFLB-([A-Z]+) /.exec(rule)?.[1]);
  const hooks = [...new Set(named)].filter((hook) => hook !== undefined);
  return [
    table,
    ...hooks.map((hook) => `:NFLB-${hook} - [0:0]`),
    ...chains,
    ...hooks.map((hook) => `-A ${hook} -j NFLB-${hook}`),
    ...rules,
    "COMMIT\n",
  ].join("\n");
}

export function nftables(scenery: Scenery): string {
  return nftablesText(ruleSetsOf(scenery, { dataPlane: "nftables" }));
}

export function iptables(scenery: Scenery): string {
  return iptablesText(ruleSetsOf(scenery, { dataPlane: "iptables" }));
}

/** As on a gateway that forwarded nothing before its farms. */
export function nftablesLocked(scenery: Scenery): string {
  return nftables(scenery) + nftablesLock("ip");
}

export function iptablesLocked(scenery: Scenery): string {
  return iptablesText(ruleSetsOf(scenery, { dataPlane: "iptables" }), true);
}

export function zevenetLayout(scenery: Scenery): string {
  return iptablesText(ruleSetsOf(scenery, { dataPlane: "iptables", layout: "zevenet" }));
}
