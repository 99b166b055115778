import { PREFIX, renderRule } from "../iptables/render";
import type { IptRule, IptRuleSet, IptTarget, SharedChain, TableName } from "../iptables/ruleset";
import type { Fraction } from "../plan/fraction";
import { chainsOf } from "./iptables-chains";
import { type Met, miss } from "./iptables-match";
import { findRun } from "./iptables-run";
import { memo } from "./memo";
import type { Oracle } from "./oracle";
import type { Arrival } from "./packet";
import { type Effect, type End, type Hook, type Step, type Trace, withBits } from "./trace";

/**
 * A packet through an iptables gateway that has one farm. Built-in chains jump to the shared chains; the kernel asks
 * those of the nat table about a connection's first packet only.
 *
 * @param end what connection tracking knows of the packet's connection already
 * @param chanceOf what a threshold of 2^31 stands for
 */
export function traceIptables(
  set: IptRuleSet,
  packet: Arrival,
  end: End,
  oracle: Oracle,
  chanceOf: (threshold: number) => Fraction,
): Trace {
  const steps: Step[] = [];
  const met: Met = { packet, end, mark: 0 };
  const chains = chainsOf(set)[packet.family];

  /** Through one shared chain. */
  const pass = (hook: Hook, table: TableName, shared: SharedChain): void => {
    // Connection tracking knows the translation already, or that there is none.
    if (table === "nat" && packet.state !== "new") return;
    walk(hook, table, shared);
  };

  const walk = (hook: Hook, table: TableName, chain: string): void => {
    const rules = chains.get(`${table} ${chain}`) ?? [];
    const note = (rule: IptRule, why: string, effect: Effect | undefined) =>
      steps.push({
        hook,
        table,
        chain: PREFIX + chain,
        rule: textsOf(rule)[packet.family],
        matched: true,
        why,
        effect,
      });
    const skip = (rule: IptRule, why: string) =>
      steps.push({
        hook,
        table,
        chain: PREFIX + chain,
        rule: textsOf(rule)[packet.family],
        matched: false,
        why,
        effect: undefined,
      });

    for (let i = 0; i < rules.length; i++) {
      const rule = rules[i]!;
      const run = findRun(rules, i);
      if (run) {
        const index = run.choose(oracle, chanceOf);
        if (index !== undefined)
          note(
            rules[i + index]!,
            "the last of the list that this packet is drawn or counted for",
            apply(rules[i + index]!.target),
          );
        i += run.length - 1;
        continue;
      }
      const why = miss(rule, met, oracle, chanceOf);
      if (why !== undefined) {
        skip(rule, why);
        continue;
      }
      note(rule, rule.matches.length === 0 ? "every packet" : "all of it", apply(rule.target));
      if (rule.target.kind === "goto") walk(hook, table, rule.target.to);
      if (ENDS.has(rule.target.kind)) return;
    }
  };

  const apply = (target: IptTarget): Effect | undefined => {
    switch (target.kind) {
      case "drop":
        end.dropped = "guard";
        return { kind: "drop" };
      case "accept":
        return { kind: "accept" };
      case "goto":
        return { kind: "goto", chain: PREFIX + target.to };
      case "setMark":
        return packetMark(withBits(met.mark, target.mark, target.mask));
      case "restoreMark":
        return packetMark(withBits(met.mark, end.mark, target.mask));
      case "setConnmark":
        return connectionMark(withBits(end.mark, target.mark, target.mask));
      case "saveMark":
        return connectionMark(withBits(end.mark, met.mark, target.mask));
      case "dnat":
        end.translation = { address: target.address, port: target.port };
        return { kind: "translate", to: { address: target.address, port: target.port ?? packet.port } };
      case "snat":
        end.source = { kind: "address", address: target.address };
        return { kind: "source", source: end.source };
      case "masquerade":
        end.source = { kind: "masquerade" };
        return { kind: "source", source: end.source };
      default:
        throw target satisfies never;
    }
  };

  // A packet that conntrack finds INVALID belongs to no connection, so there is no mark to copy.
  const tracked = packet.state !== "invalid";
  const packetMark = (after: number): Effect => {
    const before = met.mark;
    if (tracked) met.mark = after;
    return { kind: "mark", of: "packet", before, after: met.mark };
  };
  const connectionMark = (after: number): Effect => {
    const before = end.mark;
    if (tracked) end.mark = after;
    return { kind: "mark", of: "connection", before, after: end.mark };
  };

  if (packet.from === "gateway") {
    pass("output", "mangle", "OUTPUT");
    pass("output", "nat", "OUTPUT");
    pass("output", "filter", "OUTPUT");
  } else {
    pass("prerouting", "mangle", "PREROUTING");
    pass("prerouting", "nat", "PREROUTING");
    // What is not translated goes to the gateway itself, or on where the address is not its own: the guards are the same.
    if (!end.translation) pass("input", "mangle", "INPUT");
    else {
      pass("forward", "mangle", "FORWARD");
      pass("forward", "filter", "FORWARD");
    }
  }
  if (end.translation && !end.dropped) pass("postrouting", "nat", "POSTROUTING");
  return { steps, end };
}

/** Targets behind which a packet meets no further rule of the chain. */
const ENDS: ReadonlySet<IptTarget["kind"]> = new Set([
  "drop",
  "accept",
  "dnat",
  "snat",
  "masquerade",
  // Behind the end of a chain that was gone to, the caller's caller goes on: here, the built-in chain.
  "goto",
]);

const textsOf = memo((rule: IptRule) => ({ ip: renderRule("ip", rule), ip6: renderRule("ip6", rule) }));
