import { renderRule } from "../iptables/render";
import { PREFIX } from "../iptables/render-rule";
import type { IptRule, IptRuleSet, IptTarget, PacketHash, SharedChain, TableName } from "../iptables/ruleset";
import type { Fraction } from "../plan/fraction";
import { hmark } from "./hmark";
import { chainsOf, setsOf } from "./iptables-chains";
import { type Met, miss } from "./iptables-match";
import { findRun } from "./iptables-run";
import { slotGroups } from "./iptables-slots";
import { obey, setPacketMark } from "./iptables-target";
import { memo } from "./memo";
import type { Oracle } from "./oracle";
import type { Arrival } from "./packet";
import type { Effect, End, Hook, Step, Trace } from "./trace";

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
  const met: Met = {
    packet,
    end,
    mark: 0,
    refused: undefined,
    sets: setsOf(set)[packet.family],
  };
  const chains = chainsOf(set)[packet.family];

  /** Through one shared chain. */
  const pass = (hook: Hook, table: TableName, shared: SharedChain): void => {
    // Connection tracking knows the translation and the helper already, or that there is none.
    if ((table === "nat" || table === "raw") && packet.state !== "new") return;
    if (!end.dropped && !end.rejected) walk(hook, table, shared);
  };

  const walk = (hook: Hook, table: TableName, chain: string): void => {
    const rules = chains.get(`${table} ${chain}`) ?? [];
    const note = (rule: IptRule, matched: boolean, why: string, effect?: Effect) =>
      steps.push({
        hook,
        table,
        chain: PREFIX + chain,
        rule: textsOf(rule)[packet.family],
        matched,
        why,
        effect,
      });

    for (let i = 0; i < rules.length; i++) {
      const rule = rules[i]!;
      const run = findRun(rules, i);
      if (run) {
        const index = run.choose(oracle, chanceOf);
        if (index !== undefined) {
          const last = rules[i + index]!;
          note(last, true, "the last of the list that this packet is drawn or counted for", obey(last, met));
        }
        i += run.length - 1;
        continue;
      }
      const why = miss(rule, met, oracle, chanceOf);
      if (why !== undefined) {
        note(rule, false, why);
        continue;
      }
      if (rule.target.kind === "hashMark") {
        const { slot, says } = hash(rule, rule.target);
        note(rule, true, says, setPacketMark(met, slot));
        continue;
      }
      note(rule, true, rule.matches.length === 0 ? "every packet" : "all of it", obey(rule, met));
      if (rule.target.kind === "goto") walk(hook, table, rule.target.to);
      if (ENDS.has(rule.target.kind)) return;
    }
  };

  /** The slot of the packet; where it lacks what is hashed, one for each leaf, with the part of the slots that lead there. */
  const hash = (rule: IptRule, of: PacketHash): { slot: number; says: string } => {
    const slot = hmark(of, packet);
    if (slot !== undefined) return { slot, says: `hashed to slot ${slot}` };
    const groups = slotGroups(rule, chains);
    const group = groups[oracle.draw(groups.map(({ chance }) => chance))]!;
    return { slot: group.slot, says: `hashed to one of ${group.count} of ${of.modulus} slots` };
  };

  if (packet.from === "gateway") {
    pass("output", "raw", "OUTPUT");
    pass("output", "mangle", "OUTPUT");
    pass("output", "nat", "OUTPUT");
    pass("output", "filter", "OUTPUT");
  } else {
    pass("prerouting", "raw", "PREROUTING");
    pass("prerouting", "mangle", "PREROUTING");
    pass("prerouting", "nat", "PREROUTING");
    // What is not translated goes to the gateway itself, or on where the address is not its own: the guards are the same.
    if (!end.translation) {
      pass("input", "mangle", "INPUT");
      pass("input", "filter", "INPUT");
    } else {
      pass("forward", "mangle", "FORWARD");
      pass("forward", "filter", "FORWARD");
    }
  }
  if (end.translation) pass("postrouting", "nat", "POSTROUTING");
  return { steps, end };
}

/** Targets behind which a packet meets no further rule of the chain. */
const ENDS: ReadonlySet<IptTarget["kind"]> = new Set([
  "drop",
  "accept",
  "reject",
  "return",
  "dnat",
  "snat",
  "masquerade",
  // Behind the end of a chain that was gone to, the caller's caller goes on: here, the built-in chain.
  "goto",
]);

const textsOf = memo((rule: IptRule) => ({ ip: renderRule("ip", rule), ip6: renderRule("ip6", rule) }));
