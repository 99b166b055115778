import { kernelChance } from "../explain/chance";
import { traceIptables } from "../explain/iptables";
import { traceNftables } from "../explain/nftables";
import { renderIptRules } from "../iptables/render";
import type { IptRuleSet } from "../iptables/ruleset";
import { renderNftRules } from "../nftables/render";
import type { Fraction } from "../plan/fraction";
import type { Family } from "../spec/address";
import type { Service } from "../spec/service";
import type { Algorithm } from "../spec/types";
import { askedFor } from "./chance";
import { backendId } from "./facts";
import type { ReadFeatures, ReadStanding } from "./features";
import { follow, type Rules } from "./follow";
import { type Header, parseHeader } from "./header";
import { parseIptables } from "./iptables";
import { checkIptables } from "./iptables-check";
import { iptFacts, withoutPins } from "./iptables-facts";
import { parseNftables } from "./nftables";
import { checkNftables } from "./nftables-check";
import { nftFacts } from "./nftables-facts";
import { Lines, notARuleSet } from "./text";

/** What a rule set does, read from its text. */
export interface ReadFarm extends ReadFeatures {
  name: string;
  /** `nftables`, `iptables nat` or `iptables zevenet`. */
  dataPlane: string;
  services: Service[];
  /** Undefined where nothing tells: a single backend needs no choice. */
  algorithm: Algorithm | undefined;
  /** `none`, `masquerade`, `vip`, `auto` or an address. */
  sourceNat: string;
  interface: string | undefined;
  backends: ReadBackend[];
}

export interface ReadBackend extends ReadStanding {
  family: Family;
  key: string;
  address: string;
  /** Undefined: the port that was dialled. */
  port: number | undefined;
  mark: number;
  /** Of the connections of its address family. */
  share: Fraction;
}

/**
 * Reads a rule set back. The header names the backends and their shares; packets that are sent through the rules find out
 * whether it is true. That nothing was overlooked, rendering the rules again shows: the text must be the same.
 *
 * @throws SpecError where the text is not a rule set of this package
 */
export function readRuleSet(text: string): ReadFarm {
  const all = text.split("\n");
  const lines = new Lines(all);
  const header = parseHeader(lines);
  const opening = all.slice(0, all.length - lines.left);
  const rules = header.dataPlane === "nftables" ? readNft(lines, header) : readIpt(lines, header);
  if ([...opening, ...rules.text, ""].join("\n") !== text)
    throw notARuleSet("has lines in another order or form");
  follow(header, rules);
  const { backendLimits, sourceNat, ...facts } = rules.facts;
  return {
    name: header.name,
    dataPlane: header.dataPlane,
    services: header.services,
    ...facts,
    sourceNat,
    onRemoval: header.onRemoval,
    backends: header.backends.map((backend) => ({
      ...backend,
      maxConnections: backendLimits.get(backendId(backend.family, backend.mark)),
    })),
  };
}

function readNft(lines: Lines, header: Header): Rules {
  const set = parseNftables(lines);
  checkNftables(set, header);
  return {
    text: renderNftRules(set),
    facts: nftFacts(set),
    isExact: true,
    trace: (packet, end, oracle) => traceNftables(set, packet, end, oracle),
  };
}

function readIpt(lines: Lines, header: Header): Rules {
  const set = parseIptables(lines);
  checkIptables(set);
  const chanceOf = chancesIn(set);
  const walked = withoutPins(set, header);
  return {
    text: renderIptRules(set),
    facts: iptFacts(set, header),
    isExact: false,
    trace: (packet, end, oracle) => traceIptables(walked, packet, end, oracle, chanceOf),
  };
}

/** What was asked for, where every threshold tells it; else what the kernel makes of them. */
function chancesIn({ families }: IptRuleSet): (threshold: number) => Fraction {
  const matches = families.flatMap(({ tables }) =>
    tables.flatMap(({ rules }) => rules.flatMap((rule) => rule.matches)),
  );
  const thresholds = matches.flatMap((match) => (match.kind === "statisticRandom" ? [match.threshold] : []));
  const asked = new Map(thresholds.map((threshold) => [threshold, askedFor(threshold)]));
  const sure = [...asked.values()].every((chance) => chance !== undefined);
  return sure ? (threshold) => asked.get(threshold)! : kernelChance;
}
