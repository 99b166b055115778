import { renderRule } from "../nftables/render-rule";
import type { NftElement, NftRule, NftRuleSet } from "../nftables/ruleset";
import type { Family } from "../spec/address";
import { memo } from "./memo";
import { askRule } from "./nftables-rule";
import { ask } from "./nftables-table";
import type { Oracle } from "./oracle";
import type { Arrival } from "./packet";
import type { Effect, End, Hook, Step, Trace } from "./trace";

/**
 * A packet through an nftables gateway that has one farm: the chains of the shared table, and where they lead to. The kernel
 * asks its nat chains about a connection's first packet only.
 *
 * @param end what connection tracking knows of the packet's connection already
 */
export function traceNftables(set: NftRuleSet, packet: Arrival, end: End, oracle: Oracle): Trace {
  const steps: Step[] = [];
  const own = packet.from === "gateway";
  const entrance: Hook = own ? "output" : "prerouting";
  const chains = chainsOf(set)[packet.family];

  const note = (hook: Hook, chain: string, rule: string, matched: boolean, why: string, effect?: Effect) =>
    steps.push({ hook, table: "netfilter_lb", chain, rule, matched, why, effect });

  /** Through a shared chain. @returns the element that the packet found */
  const pass = (hook: Hook, chain: string, role: NftElement["role"]): NftElement | undefined => {
    const byInterface = !own && role !== "source";
    let last: NftElement | undefined;
    for (const { rule, found, why } of ask(set, role, packet, byInterface)) {
      last = found;
      const to: Effect = found?.chain === undefined ? { kind: "drop" } : { kind: "goto", chain: found.chain };
      note(hook, chain, rule, found !== undefined, why, found && to);
      if (found?.chain !== undefined) walk(hook, found.chain);
    }
    return last;
  };

  const walk = (hook: Hook, chain: string): void => {
    for (const rule of chains.get(chain) ?? []) {
      const { matched, why, effect } = askRule(rule, packet, end, oracle);
      note(hook, chain, textsOf(rule)[packet.family], matched, why, effect);
      if (effect?.kind === "goto") walk(hook, effect.chain);
      if (effect && ENDS.has(effect.kind)) return;
    }
  };

  if (packet.state === "new") pass(entrance, own ? "output" : "translate", "service");
  if (end.dropped || end.rejected) return { steps, end };
  const guard = own ? "output_guard" : "guard";
  if (end.translation)
    note(entrance, guard, "ct status dnat accept", true, "it was translated", { kind: "accept" });
  else if (pass(entrance, guard, "guard")) end.dropped = "guard";
  if (end.translation && packet.state === "new") pass("postrouting", "source", "source");
  return { steps, end };
}

/** Effects behind which a packet meets no further rule of the chain, nor of those that led there. */
const ENDS: ReadonlySet<Effect["kind"]> = new Set(["goto", "drop", "reject", "translate", "source"]);

/** A rule on one line: a map's entries are left out. */
const textsOf = memo((rule: NftRule) => ({ ip: textOf("ip", rule), ip6: textOf("ip6", rule) }));

function textOf(family: Family, rule: NftRule): string {
  const lines = renderRule(family, rule);
  return lines.length === 1 ? lines[0]! : `${lines[0]} … ${lines.at(-1)}`;
}

const chainsOf = memo(({ chains }: NftRuleSet) => {
  const of = (family: Family) =>
    new Map(chains.filter((chain) => chain.family === family).map(({ name, rules }) => [name, rules]));
  return { ip: of("ip"), ip6: of("ip6") };
});
