import type { NftRule, NftRuleSet, NftSlotGroup } from "../nftables/ruleset";
import type { Family } from "../spec/address";
import type { Algorithm } from "../spec/types";
import { backendId, type Facts } from "./facts";
import type { ReadHash, ReadPin } from "./features";

/** What nftables rules say without being asked by packets. */
export function nftFacts(set: NftRuleSet): Facts {
  const all = set.chains.flatMap(({ family, rules }) => rules.map((rule) => ({ family, rule })));
  const every = <K extends NftRule["kind"]>(...kinds: K[]) =>
    all.filter((one): one is { family: Family; rule: Extract<NftRule, { kind: K }> } =>
      (kinds as string[]).includes(one.rule.kind),
    );
  const first = <K extends NftRule["kind"]>(kind: K) => every(kind)[0]?.rule;

  const allow = every("allow").flatMap(({ rule }) => rule.sources);
  const isTcp = every("requireSyn").length > 0;
  const log = first("log");
  return {
    algorithm: algorithmOf(all.map(({ rule }) => rule)),
    interface: set.elements.find((element) => element.interface !== undefined)?.interface,
    sourceNat: sourceNatOf(all.map(({ rule }) => rule)),
    hash: Object.fromEntries(
      every("hashMark", "hashChain", "hashSlot").map(({ family, rule }) => [
        family,
        readHash(rule, every("markOfSlot").find((one) => one.family === family)?.rule),
      ]),
    ),
    affinity: affinityOf(set, first("remember")),
    pins: every("pin", "pinChain").flatMap(({ family, rule }) =>
      rule.pins.map(({ first, last, backend }): ReadPin => ({ family, first, last, backend: backend.key })),
    ),
    allow: allow.length > 0 ? allow : undefined,
    deny: every("deny").flatMap(({ rule }) => rule.sources),
    limits: {
      connections: first("limitConnections")?.limit,
      rate: first("limitRate")?.rate,
      sourceRate: first("limitSources")?.rate,
    },
    backendLimits: limitsOf(set),
    empty: Object.fromEntries(
      every("rejectTcp", "reject", "drop").map(({ family, rule }) => [
        family,
        rule.kind === "drop" ? "drop" : "reject",
      ]),
    ),
    looseTcp: isTcp ? false : takesTcp(set) ? true : undefined,
    helper: first("bindHelper")?.helper,
    log: log && { prefix: log.prefix, perSecond: log.perSecond, burst: log.burst },
    localNetworks: every("masqueradeFrom").flatMap(({ rule }) => rule.networks),
  };
}

function algorithmOf(rules: readonly NftRule[]): Algorithm | undefined {
  for (const rule of rules) {
    if (rule.kind === "chooseMark" || rule.kind === "chooseChain")
      return rule.generator === "random" ? "random" : "roundRobin";
    if (rule.kind === "hashMark" || rule.kind === "hashChain" || rule.kind === "hashSlot")
      return rule.hash.of === "source" ? "sourceHash" : "flowHash";
  }
  return undefined;
}

function sourceNatOf(rules: readonly NftRule[]): string {
  for (const rule of rules) {
    if (rule.kind === "masquerade") return "masquerade";
    if (rule.kind === "masqueradeFrom") return "auto";
    if (rule.kind === "sourceVip") return "vip";
    if (rule.kind === "sourceAddress") return rule.address;
  }
  return "none";
}

/** @param behind the rule that gives slots to backends where `rule` does not */
function readHash(
  rule: Extract<NftRule, { kind: "hashMark" | "hashChain" | "hashSlot" }>,
  behind: { groups: NftSlotGroup[] } | undefined,
): ReadHash {
  const { of, prefix } = rule.hash;
  const groups = rule.kind === "hashSlot" ? (behind?.groups ?? []) : rule.groups;
  const slots = new Array<string>(rule.hash.slots);
  for (const { backend, runs } of groups)
    for (const { from, to } of runs) slots.fill(backend.key, from, to + 1);
  return { of: of === "source" ? "source" : "flow", prefix, slots };
}

/** Undefined also where no client can come to any backend, since only a rule that remembers says for how long. */
function affinityOf(
  { objects }: NftRuleSet,
  remember: Extract<NftRule, { kind: "remember" }> | undefined,
): Facts["affinity"] {
  const map = objects.find((object) => object.kind === "affinity");
  if (map?.kind !== "affinity" || !remember) return undefined;
  return { by: map.by, timeout: remember.timeout, maxEntries: map.size };
}

function limitsOf({ chains }: NftRuleSet): Map<string, number> {
  const limits = new Map<string, number>();
  for (const { family, rules } of chains) {
    const own = rules.find((rule) => rule.kind === "setMark");
    for (const rule of rules) {
      if (rule.kind === "limitBackends")
        for (const { mark } of rule.backends) limits.set(backendId(family, mark), rule.limit);
      if (rule.kind === "limitBackend" && own?.kind === "setMark")
        limits.set(backendId(family, own.mark), rule.limit);
    }
  }
  return limits;
}

function takesTcp({ elements }: NftRuleSet): boolean {
  return elements.some(({ key }) => key.kind === "address" || key.protocol === "tcp");
}
