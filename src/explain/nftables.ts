import { backendChain } from "../nftables/lower";
import { renderRule } from "../nftables/render";
import type { NftElement, NftRule, NftRuleSet, NftSlots } from "../nftables/ruleset";
import { Fraction } from "../plan/fraction";
import { FULL_MASK } from "../plan/mark";
import type { Family } from "../spec/address";
import { hex } from "../spec/check";
import { memo } from "./memo";
import { ask } from "./nftables-table";
import type { Oracle } from "./oracle";
import type { Arrival } from "./packet";
import {
  type Effect,
  type End,
  formatPlace,
  type Hook,
  type Step,
  type Trace,
  type Translation,
  withBits,
} from "./trace";

type Slotted = Extract<NftRule, { slots: NftSlots[] }>;

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
      const why = missOf(rule, packet, end);
      const text = textsOf(rule)[packet.family];
      if (why !== undefined) {
        note(hook, chain, text, false, why);
        continue;
      }
      const { effect, says } = apply(rule);
      note(hook, chain, text, true, says, effect);
      if (effect.kind === "goto") walk(hook, effect.chain);
      if (effect.kind !== "mark") return;
    }
  };

  const apply = (rule: NftRule): { effect: Effect; says: string } => {
    switch (rule.kind) {
      case "setMark":
        return { effect: setMark(rule.mark, rule.mask), says: "every packet" };
      case "chooseMark": {
        const slots = choose(rule, oracle);
        return { effect: setMark(slots.backend.mark, FULL_MASK), says: sayChoice(rule, slots) };
      }
      case "chooseChain": {
        const slots = choose(rule, oracle);
        const chain = backendChain(rule.prefix, slots.backend.mark);
        return { effect: { kind: "goto", chain }, says: sayChoice(rule, slots) };
      }
      case "translateByMark": {
        const target = targetsOf(rule).get(end.mark)!;
        return { effect: translate(target), says: `has ${hex(end.mark)} : ${formatPlace(target)}` };
      }
      case "translate":
        return { effect: translate(rule.target), says: "every packet" };
      case "masquerade":
        return { effect: setSource({ kind: "masquerade" }), says: "every packet" };
      case "sourceVip":
        return {
          effect: setSource({ kind: "address", address: packet.destination }),
          says: "every packet",
        };
      case "sourceAddress":
        return { effect: setSource({ kind: "address", address: rule.address }), says: "every packet" };
      default:
        throw rule satisfies never;
    }
  };

  const setMark = (mark: number, mask: number): Effect => {
    const before = end.mark;
    end.mark = withBits(before, mark, mask);
    return { kind: "mark", of: "connection", before, after: end.mark };
  };
  const translate = ({ address, port }: Translation): Effect => {
    end.translation = { address, port };
    return { kind: "translate", to: { address, port: port ?? packet.port } };
  };
  const setSource = (source: NonNullable<End["source"]>): Effect => {
    end.source = source;
    return { kind: "source", source };
  };

  if (packet.state === "new") pass(entrance, own ? "output" : "translate", "service");
  const guard = own ? "output_guard" : "guard";
  if (end.translation)
    note(entrance, guard, "ct status dnat accept", true, "it was translated", { kind: "accept" });
  else if (pass(entrance, guard, "guard")) end.dropped = "guard";
  if (end.translation && packet.state === "new") pass("postrouting", "source", "source");
  return { steps, end };
}

/** Why a rule does not match; undefined where it does. */
function missOf(rule: NftRule, packet: Arrival, end: End): string | undefined {
  if (rule.kind !== "translate" && rule.kind !== "translateByMark") return undefined;
  const protocols: readonly string[] = rule.protocols;
  if (protocols.length > 0 && !protocols.includes(packet.protocol)) return `protocol is ${packet.protocol}`;
  if (rule.kind === "translate" || targetsOf(rule).has(end.mark)) return undefined;
  return `has no ${hex(end.mark)}`;
}

function choose(rule: Slotted, oracle: Oracle): NftSlots {
  const { modulus, slots, generator } = rule;
  const chances = chancesOf(rule);
  if (generator === "random") return slots[oracle.draw(chances)]!;
  const optionOf = (turn: number) => slots.findIndex(({ from, to }) => from <= turn && turn <= to);
  return slots[oracle.take(modulus, optionOf, chances)]!;
}

function sayChoice({ generator, modulus }: Slotted, { from, to, backend }: NftSlots): string {
  const numbers = from === to ? String(from) : `${from} to ${to}`;
  const chosen = `${generator === "random" ? "drew" : "counted"} ${numbers} below ${modulus}`;
  return `${chosen}: ${backend.key}, mark ${hex(backend.mark)}`;
}

const chancesOf = memo(({ modulus, slots }: Slotted) =>
  slots.map(({ from, to }) => Fraction.of(to - from + 1, modulus)),
);

const targetsOf = memo(
  ({ targets }: Extract<NftRule, { kind: "translateByMark" }>) =>
    new Map(targets.map((target) => [target.mark, target])),
);

/** A rule on one line: a map's entries are left out. */
const textsOf = memo((rule: NftRule) => ({ ip: textOf("ip", rule), ip6: textOf("ip6", rule) }));

function textOf(family: Family, rule: NftRule): string {
  const [first, ...entries] = renderRule(family, rule);
  return entries.length === 0 ? first! : `${first} … }`;
}

const chainsOf = memo(({ chains }: NftRuleSet) => {
  const of = (family: Family) =>
    new Map(chains.filter((chain) => chain.family === family).map(({ name, rules }) => [name, rules]));
  return { ip: of("ip"), ip6: of("ip6") };
});
