import type { NftPin, NftRule, NftTarget, PortProtocol } from "../nftables/ruleset";
import { FULL_MASK } from "../plan/mark";
import type { RateLimit } from "../plan/plan";
import type { Family } from "../spec/address";
import type { AffinityKey, Helper } from "../spec/types";
import { parseGroups, parseHash, parseSlots, parseValue } from "./nftables-slots";
import type { Lines } from "./text";

/** One rule of a farm's chain, whatever the number of its lines. */
export function parseRule(family: Family, lines: Lines): NftRule {
  for (const [form, say] of FORMS) {
    const found = lines.take(form);
    if (found) return say(found, lines, family);
  }
  return lines.fail();
}

type Say = (found: string[], lines: Lines, family: Family) => NftRule;

/** Each rule's first line, and what it and the lines behind it say. */
const FORMS: readonly (readonly [form: RegExp, say: Say])[] = (
  [
    [/tcp flags .* != syn drop/, () => ({ kind: "requireSyn" })],
    [/ip6? saddr (!= )?\{/, ([, not], lines) => parseNetworks(not !== "", lines)],
    [
      /update @(\S+) \{ ip6? saddr timeout (\d+)s limit rate over (\d+)\/second burst (\d+) packets \} drop/,
      ([, set, timeout, perSecond, burst]) => ({
        kind: "limitSources",
        set: set!,
        rate: rateOf(perSecond, burst),
        timeout: Number(timeout),
      }),
    ],
    [
      /update @(\S+) \{ ip6? daddr & \S+ limit rate over (\d+)\/second burst (\d+) packets \} drop/,
      ([, set, perSecond, burst]) => ({ kind: "limitRate", set: set!, rate: rateOf(perSecond, burst) }),
    ],
    [
      /add @(\S+) \{ ip6? daddr & \S+ ct count over (\d+) \} drop/,
      ([, set, limit]) => ({ kind: "limitConnections", set: set!, limit: Number(limit) }),
    ],
    [
      /ct helper set "(\S+\.([a-z0-9-]+)\.(tcp|udp|sctp))"/,
      ([, object, helper, protocol]) => ({
        kind: "bindHelper",
        object: object!,
        helper: helper as Helper,
        protocol: protocol as PortProtocol,
      }),
    ],
    [
      /limit rate (\d+)\/second burst (\d+) packets log prefix "(\S+)" level info/,
      ([, perSecond, burst, prefix]) => ({ kind: "log", ...rateOf(perSecond, burst), prefix: prefix! }),
    ],
    [/ct mark set ip6? saddr map \{/, (_, lines) => ({ kind: "pin", pins: parsePins(lines).pins })],
    [/ip6? saddr vmap \{/, (_, lines) => ({ kind: "pinChain", ...parsePins(lines) })],
    [/ct mark vmap \{/, (_, lines) => parseKeep(lines)],
    [
      /ct mark set (ip6? [sd]addr(?: \. th sport)?) map @(\S+)/,
      ([, key, map]) => ({ kind: "recall", by: clientOf(key!), map: map! }),
    ],
    [
      /delete @(\S+) \{ (ip6? [sd]addr(?: \. th sport)?) : ct mark \}/,
      ([, map, key]) => ({ kind: "forget", by: clientOf(key!), map: map! }),
    ],
    [/ct mark set (0x[0-9a-f]+)/, ([, mark]) => ({ kind: "setMark", mark: Number(mark), mask: FULL_MASK })],
    [
      /ct mark set ct mark & (0x[0-9a-f]+) \| (0x[0-9a-f]+)/,
      ([, others, mark]) => ({ kind: "setMark", mark: Number(mark), mask: ~Number(others) >>> 0 }),
    ],
    [
      /ct mark set numgen (random|inc) mod (\d+) map \{/,
      ([, generator, modulus], lines) => {
        const { slots } = parseSlots(lines, Number(modulus));
        return { kind: "chooseMark", ...generatorOf(generator, modulus), slots };
      },
    ],
    [
      /numgen (random|inc) mod (\d+) vmap \{/,
      ([, generator, modulus], lines) => ({
        kind: "chooseChain",
        ...generatorOf(generator, modulus),
        ...parseSlots(lines, Number(modulus)),
      }),
    ],
    [
      /ct mark set (jhash .+) map \{/,
      ([, text], lines, family) => {
        const hash = parseHash(text!, family) ?? lines.fail();
        return { kind: "hashMark", hash, groups: parseGroups(lines, hash.slots).groups };
      },
    ],
    [
      /(jhash .+) vmap \{/,
      ([, text], lines, family) => {
        const hash = parseHash(text!, family) ?? lines.fail();
        const { groups, prefix } = parseGroups(lines, hash.slots);
        return { kind: "hashChain", hash, groups, prefix };
      },
    ],
    [
      /ct mark set (jhash .+)/,
      ([, text], lines, family) => ({ kind: "hashSlot", hash: parseHash(text!, family) ?? lines.fail() }),
    ],
    [
      /ct mark set ct mark map \{/,
      (_, lines) => {
        const { groups, slots } = parseGroups(lines);
        return { kind: "markOfSlot", slots, groups };
      },
    ],
    [/meta l4proto tcp reject with tcp reset/, () => ({ kind: "rejectTcp" })],
    [/reject/, () => ({ kind: "reject" })],
    [/drop/, () => ({ kind: "drop" })],
    [/goto (\S+)/, ([, chain]) => ({ kind: "goto", chain: chain! })],
    [/ct mark \{/, (_, lines) => parseBackendLimit(lines)],
    [
      /add @(\S+) \{ (ct mark(?: & 0x[0-9a-f]+)?) ct count over (\d+) \} drop/,
      ([, set, mark, limit]) => ({
        kind: "limitBackend",
        set: set!,
        limit: Number(limit),
        mask: maskOf(mark!),
      }),
    ],
    [
      /update @(\S+) \{ (ip6? [sd]addr(?: \. th sport)?) timeout (\d+)s : ct mark \}/,
      ([, map, key, timeout]) => ({
        kind: "remember",
        by: clientOf(key!),
        map: map!,
        timeout: Number(timeout),
      }),
    ],
    [
      /update @(\S+) \{ (ct mark(?: & 0x[0-9a-f]+)?) \}/,
      ([, set, mark]) => ({ kind: "count", set: set!, mask: maskOf(mark!) }),
    ],
    [
      /(meta l4proto .+? )?dnat to ct mark map \{/,
      ([, protocols], lines) => ({
        kind: "translateByMark",
        protocols: protocolsOf(protocols!),
        targets: parseTargets(lines),
      }),
    ],
    [
      /(meta l4proto .+? )?dnat to (\S+)/,
      ([, protocols, place], _, family) => ({
        kind: "translate",
        protocols: protocolsOf(protocols!),
        target: { mark: 0, ...placeOf(family, place!) },
      }),
    ],
    [/masquerade/, () => ({ kind: "masquerade" })],
    [/snat to ct original ip6? daddr/, () => ({ kind: "sourceVip" })],
    [/snat to (\S+)/, ([, address]) => ({ kind: "sourceAddress", address: address! })],
  ] satisfies [RegExp, Say][]
).map(([form, say]) => [new RegExp(`^\\t\\t${form.source}$`), say]);

function generatorOf(generator: string | undefined, modulus: string | undefined) {
  return { generator: generator as "random" | "inc", modulus: Number(modulus) };
}

function rateOf(perSecond: string | undefined, burst: string | undefined): RateLimit {
  return { perSecond: Number(perSecond), burst: Number(burst) };
}

function parseNetworks(not: boolean, lines: Lines): NftRule {
  const networks = lines.takeAll(/^\t\t\t([0-9a-f.:/]+),$/).map(([, network]) => network!);
  const [, verdict] = lines.need(/^\t\t\} (drop|masquerade)$/);
  if (verdict === "masquerade") return { kind: "masqueradeFrom", networks };
  return { kind: not ? "allow" : "deny", sources: networks };
}

function parsePins(lines: Lines): { pins: NftPin[]; prefix: string } {
  let prefix = "";
  const pins: NftPin[] = [];
  while (!lines.take(/^\t\t\}$/)) {
    const next = lines.peek() ?? "";
    const [, first, last = first, text, key] =
      /^\t\t\t([0-9a-f.:]+)(?:-([0-9a-f.:]+))? : ([^,]+), # (\S+)$/.exec(next) ?? lines.fail();
    const value = parseValue(text!) ?? lines.fail();
    ({ prefix } = value);
    lines.need(/./);
    pins.push({ first: first!, last: last!, backend: { key: key!, mark: value.mark } });
  }
  return { pins, prefix };
}

function parseKeep(lines: Lines): NftRule {
  const entries = lines.takeAll(/^\t\t\t(0x[0-9a-f]+) : goto (\S+), # (\S+)$/);
  if (entries.length === 0) lines.fail();
  lines.need(/^\t\t\}$/);
  const backends = entries.map(([, mark, , key]) => ({ key: key!, mark: Number(mark) }));
  return { kind: "keep", backends, chain: entries[0]![2]! };
}

function parseBackendLimit(lines: Lines): NftRule {
  const backends = lines
    .takeAll(/^\t\t\t(0x[0-9a-f]+), # (\S+)$/)
    .map(([, mark, key]) => ({ key: key!, mark: Number(mark) }));
  const [, set, limit] = lines.need(/^\t\t\} add @(\S+) \{ ct mark ct count over (\d+) \} drop$/);
  return { kind: "limitBackends", set: set!, limit: Number(limit), backends };
}

function parseTargets(lines: Lines): NftTarget[] {
  const targets: NftTarget[] = [];
  while (!lines.take(/^\t\t\}$/)) {
    const [, mark, address, port] = lines.need(/^\t\t\t(0x[0-9a-f]+) : ([0-9a-f.:]+)(?: \. (\d+))?,$/);
    targets.push({ mark: Number(mark), address: address!, port: port ? Number(port) : undefined });
  }
  return targets;
}

/** What a client is remembered by. */
function clientOf(key: string): AffinityKey {
  if (key.endsWith("daddr")) return "destinationIp";
  return key.endsWith("sport") ? "sourceIpPort" : "sourceIp";
}

function maskOf(mark: string): number {
  const [, mask] = mark.split(" & ");
  return mask === undefined ? FULL_MASK : Number(mask);
}

function protocolsOf(text: string): PortProtocol[] {
  return (text.match(/\b(tcp|udp|sctp)\b/g) ?? []) as PortProtocol[];
}

function placeOf(family: Family, text: string): { address: string; port: number | undefined } {
  const found = family === "ip" ? /^([\d.]+):(\d+)$/.exec(text) : /^\[(.+)\]:(\d+)$/.exec(text);
  return found ? { address: found[1]!, port: Number(found[2]) } : { address: text, port: undefined };
}
