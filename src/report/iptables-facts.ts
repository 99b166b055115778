import { chainsOf } from "../explain/iptables-chains";
import { leafOf } from "../explain/iptables-slots";
import type { IptFamily, IptMatch, IptRule, IptRuleSet, IptTarget } from "../iptables/ruleset";
import { pinnedRanges } from "../plan/pins";
import type { Family } from "../spec/address";
import { type Prefix, parsePrefix } from "../spec/prefix";
import { show } from "../spec/problem";
import type { AffinityKey, Algorithm, WhenEmpty } from "../spec/types";
import { backendId, type Facts } from "./facts";
import type { ReadHash, ReadPin } from "./features";
import type { Header, HeaderBackend } from "./header";
import { notARuleSet } from "./text";

/** What iptables rules say without being asked by packets. */
export function iptFacts(set: IptRuleSet, header: Header): Facts {
  const rules = set.families.flatMap(({ tables }) => tables.flatMap((table) => table.rules));
  const match = <K extends IptMatch["kind"]>(kind: K) => matchesOf(rules, kind)[0];
  const target = <K extends IptTarget["kind"]>(kind: K) =>
    rules.map((rule) => rule.target).find((one): one is Extract<IptTarget, { kind: K }> => one.kind === kind);

  const allow = lists(set, "allow");
  const hash = target("hashMark");
  const log = target("log");
  const logged = match("rateUpTo");
  const rate = matchesOf(rules, "rateAbove");
  return {
    algorithm: hash ? hashAlgorithm(hash) : listAlgorithm(rules),
    interface: match("inInterface")?.name,
    sourceNat: sourceNatOf(set),
    hash: Object.fromEntries(
      set.families.flatMap((family) => {
        const read = readHash(set, family, header);
        return read ? [[family.family, read]] : [];
      }),
    ),
    affinity: affinityOf(set, target("addToSet")),
    pins: set.families.flatMap((family) => readPins(family, header)),
    allow: allow.length > 0 ? allow : undefined,
    deny: lists(set, "deny"),
    limits: {
      connections: limitIn(rules, header.shortName),
      rate: rateOf(rate.find(({ of }) => of === "all")),
      sourceRate: rateOf(rate.find(({ of }) => of === "source")),
    },
    backendLimits: backendLimits(set, header),
    empty: Object.fromEntries(set.families.flatMap((family) => emptyOf(family, header))),
    looseTcp: match("notSyn") ? false : takesTcp(header) ? true : undefined,
    helper: target("helper")?.name,
    log: log && logged && { prefix: log.prefix, perSecond: logged.perSecond, burst: logged.burst },
    localNetworks: set.families.flatMap((family) => localNetworks(family)),
  };
}

function matchesOf<K extends IptMatch["kind"]>(
  rules: readonly IptRule[],
  kind: K,
): Extract<IptMatch, { kind: K }>[] {
  return rules.flatMap(({ matches }) =>
    matches.filter((match): match is Extract<IptMatch, { kind: K }> => match.kind === kind),
  );
}

function rateOf(match: Extract<IptMatch, { kind: "rateAbove" }> | undefined) {
  return match && { perSecond: match.perSecond, burst: match.burst };
}

/** A hash of the source leaves the destination out. */
function hashAlgorithm({ destination }: Extract<IptTarget, { kind: "hashMark" }>): Algorithm {
  return destination === 0 ? "sourceHash" : "flowHash";
}

function listAlgorithm(rules: readonly IptRule[]): Algorithm | undefined {
  if (matchesOf(rules, "statisticNth").length > 0) return "roundRobin";
  return matchesOf(rules, "statisticRandom").length > 0 ? "random" : undefined;
}

function sourceNatOf({ families }: IptRuleSet): string {
  // An address that backends see may be that of a service by chance.
  const kinds = new Set(families.flatMap(seenSources));
  if (kinds.size > 1) kinds.delete("vip");
  return [...kinds].join(", ") || "none";
}

function seenSources(family: IptFamily): string[] {
  const rules = natRules(family);
  return rules
    .filter(({ chain }) => chain === "POSTROUTING")
    .flatMap(({ matches, target }) => {
      const last = target.kind === "goto" ? targetsIn(rules, target.to)[0] : target;
      if (last?.kind === "masquerade")
        return matches.some(({ kind }) => kind === "source") ? "auto" : "masquerade";
      if (last?.kind !== "snat") return [];
      const { address } = last;
      return matches.some((match) => match.kind === "originalDestination" && match.address === address)
        ? "vip"
        : address;
    });
}

function targetsIn(rules: readonly IptRule[], chain: string): IptTarget[] {
  return rules.filter((rule) => isIn(rule, chain)).map(({ target }) => target);
}

function backendsOf({ family }: IptFamily, { backends }: Header): Map<string, HeaderBackend> {
  return new Map(backends.filter((one) => one.family === family).map((one) => [one.mark.toString(16), one]));
}

/** The backend whose leaf a chain is. */
function ownerOf(chain: string, backends: ReadonlyMap<string, HeaderBackend>): HeaderBackend | undefined {
  return backends.get(chain.slice(chain.lastIndexOf(".") + 1));
}

function natRules({ tables }: IptFamily): IptRule[] {
  return tables.find(({ name }) => name === "nat")?.rules ?? [];
}

function isIn({ chain }: IptRule, own: string): boolean {
  return typeof chain !== "string" && chain.own === own;
}

function readHash(set: IptRuleSet, family: IptFamily, header: Header): ReadHash | undefined {
  const rules = natRules(family);
  const at = rules.findIndex(({ target }) => target.kind === "hashMark");
  const hash = rules[at]?.target;
  if (hash?.kind !== "hashMark") return undefined;
  const backends = backendsOf(family, header);
  const chains = chainsOf(set)[family.family];
  const behind = rules.slice(at + 1).filter((rule) => isIn(rule, header.shortName));
  return {
    of: hash.destination === 0 ? "source" : "flow",
    prefix: hash.source,
    slots: Array.from({ length: hash.modulus }, (_, slot) => {
      const owner = ownerOf(leafOf(slot, behind, chains) ?? "", backends);
      if (!owner) throw notARuleSet(`leads slot ${slot} of a hash nowhere`);
      return owner.key;
    }),
  };
}

const KEYS: Readonly<Record<string, AffinityKey>> = {
  src: "sourceIp",
  "src,src": "sourceIpPort",
  dst: "destinationIp",
};

function affinityOf(
  { families }: IptRuleSet,
  adds: Extract<IptTarget, { kind: "addToSet" }> | undefined,
): Facts["affinity"] {
  const set = families.flatMap(({ sets }) => sets).find(({ name }) => name === adds?.set);
  if (!adds || set?.timeout === undefined) return undefined;
  return { by: KEYS[adds.key]!, timeout: set.timeout, maxEntries: set.maxEntries };
}

function readPins(family: IptFamily, header: Header): ReadPin[] {
  const backends = backendsOf(family, header);
  const pins = pinRules(family, header).map(
    ({ matches, target }): { source: Prefix; backend: HeaderBackend } => {
      const [match] = matches;
      const network = match?.kind === "source" ? match.network : EVERYBODY[family.family];
      return {
        source: prefixOf(network, family),
        backend: ownerOf(target.kind === "goto" ? target.to : "", backends)!,
      };
    },
  );
  return pinnedRanges(pins, family.family).map(({ first, last, backend }) => ({
    family: family.family,
    first,
    last,
    backend: backend.key,
  }));
}

/** In the farm's own chain: what goes to a leaf by its source alone. The first that matches counts. */
function pinRules(family: IptFamily, header: Header): IptRule[] {
  const backends = backendsOf(family, header);
  const rules = natRules(family).filter((rule) => isIn(rule, header.shortName));
  // The last rule of a choice takes what is left.
  const candidates = isEmpty(family, header) ? rules : rules.slice(0, -1);
  return candidates.filter(
    ({ matches, target }) =>
      target.kind === "goto" &&
      ownerOf(target.to, backends) !== undefined &&
      (matches.length === 0 || (matches.length === 1 && matches[0]!.kind === "source")),
  );
}

/** The same without its pins: one may hold every client. */
export function withoutPins({ families }: IptRuleSet, header: Header): IptRuleSet {
  return {
    families: families.map((family) => {
      const pins = new Set(pinRules(family, header));
      const tables = family.tables.map((table) => ({
        ...table,
        rules: table.rules.filter((rule) => !pins.has(rule)),
      }));
      return { ...family, tables };
    }),
  };
}

const EVERYBODY = { ip: "0.0.0.0/0", ip6: "::/0" } as const;

/** A set has everybody as two halves. */
const FIRST_HALF: Readonly<Record<string, string>> = { "0.0.0.0/1": "0.0.0.0/0", "::/1": "::/0" };
const SECOND_HALF: readonly string[] = ["128.0.0.0/1", "8000::/1"];

function lists({ families }: IptRuleSet, list: "allow" | "deny"): string[] {
  return families.flatMap(({ sets }) =>
    sets
      .filter(({ name, type }) => type === "hash:net" && name.replace(/6$/, "").endsWith(`.${list}`))
      .flatMap(({ entries }) => {
        const halved = SECOND_HALF.some((half) => entries.includes(half));
        if (!halved) return entries;
        return entries.flatMap((entry) => (SECOND_HALF.includes(entry) ? [] : [FIRST_HALF[entry] ?? entry]));
      }),
  );
}

function limitIn(rules: readonly IptRule[], chain: string): number | undefined {
  return matchesOf(
    rules.filter((rule) => isIn(rule, chain)),
    "connectionsAbove",
  )[0]?.limit;
}

function backendLimits({ families }: IptRuleSet, header: Header): Map<string, number> {
  const limits = new Map<string, number>();
  for (const family of families) {
    const backends = backendsOf(family, header);
    for (const { chain, matches } of natRules(family)) {
      const match = matches.find(({ kind }) => kind === "connectionsAbove");
      if (match?.kind !== "connectionsAbove" || typeof chain === "string") continue;
      const backend = chain.own === header.shortName ? undefined : ownerOf(chain.own, backends);
      if (backend) limits.set(backendId(family.family, backend.mark), match.limit);
    }
  }
  return limits;
}

/** No rule says that none is active: the choice is not there. That nothing gets a backend, packets find out. */
function isEmpty({ family }: IptFamily, { backends }: Header): boolean {
  return backends.every((one) => one.family !== family || one.share.isZero());
}

function emptyOf(family: IptFamily, header: Header): [Family, WhenEmpty][] {
  if (!isEmpty(family, header)) return [];
  const rejects = family.tables.some(({ rules }) => rules.some(({ target }) => target.kind === "reject"));
  return [[family.family, rejects ? "reject" : "drop"]];
}

function takesTcp({ services }: Header): boolean {
  return services.some(({ protocol }) => protocol === "tcp" || protocol === "all");
}

function localNetworks(family: IptFamily): string[] {
  const posted = family.tables.flatMap(({ rules }) => rules.filter(({ chain }) => chain === "POSTROUTING"));
  return [...new Set(matchesOf(posted, "source").map(({ network }) => prefixOf(network, family).text))];
}

/** @throws SpecError where a rule matches what is no network of its family */
function prefixOf(network: string, { family }: IptFamily): Prefix {
  const prefix = parsePrefix(network);
  if (prefix?.family !== family) throw notARuleSet(`has a rule about the network ${show(network)}`);
  return prefix;
}
