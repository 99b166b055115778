import type {
  IptMatch,
  IptRule,
  IptRuleSet,
  IptSet,
  IptTable,
  IptTarget,
  MaskedMark,
  SetKey,
  SharedChain,
  TableName,
} from "../iptables/ruleset";
import type { PortProtocol } from "../nftables/ruleset";
import { helperOfKernel } from "../plan/helper";
import { FULL_MASK } from "../plan/mark";
import type { Family } from "../spec/address";
import { EVERY_PORT, type PortRange } from "../spec/ports";
import type { Protocol } from "../spec/types";
import type { Lines } from "./text";

/** An iptables rule set's text (without its header) as typed rules: `render`, backwards. */
export function parseIptables(lines: Lines): IptRuleSet {
  const families: IptRuleSet["families"] = [];
  for (let found = lines.take(FAMILY); found; found = lines.take(FAMILY)) {
    const sets: IptSet[] = [];
    for (let set = lines.take(SET); set; set = lines.take(SET)) sets.push(parseSet(set, lines));
    const tables: IptTable[] = [];
    for (let table = lines.take(TABLE); table; table = lines.take(TABLE))
      tables.push(parseTable(table[1] as TableName, lines));
    families.push({ family: found[1] as Family, sets, tables });
  }
  return { families };
}

const FAMILY = /^# (ip6?)$/;
const SET =
  /^create NFLB-(\S+) (hash:net|hash:ip|hash:ip,port) family inet6? maxelem (\d+)(?: timeout (\d+))?$/;
const TABLE = /^\*(raw|mangle|nat|filter)$/;

function parseSet([, name, type, maxEntries, timeout]: string[], lines: Lines): IptSet {
  return {
    name: name!,
    type: type as IptSet["type"],
    maxEntries: Number(maxEntries),
    timeout: timeout ? Number(timeout) : undefined,
    entries: lines.takeAll(/^add NFLB-\S+ (\S+)$/).map(([, entry]) => entry!),
  };
}

function parseTable(name: TableName, lines: Lines): IptTable {
  const chains = lines.takeAll(/^:NFLB-(\S+) - \[0:0\]$/).map(([, chain]) => chain!);
  const rules: IptRule[] = [];
  while (!lines.take(/^COMMIT$/)) rules.push(parseRule(lines));
  return { name, chains, rules };
}

function parseRule(lines: Lines): IptRule {
  const [, chain, rest] = /^-A NFLB-(\S+) (.+)$/.exec(lines.peek() ?? "") ?? lines.fail();
  const matches: IptMatch[] = [];
  let text = rest!;
  for (let match = parseMatch(text); match; match = parseMatch(text)) {
    matches.push(match.match);
    text = text.slice(match.length);
  }
  const target = parseTarget(text);
  if (!target) lines.fail();
  lines.need(/./);
  return { chain: /^[A-Z]+$/.test(chain!) ? (chain as SharedChain) : { own: chain! }, matches, target };
}

/** Each match as it is written, and what it says. A longer form stands before a shorter. */
const MATCHES: readonly (readonly [form: RegExp, say: (found: string[]) => IptMatch])[] = [
  [/^-s (\S+) /, ([, network]) => ({ kind: "source", network: network! })],
  [/^-d (\S+)\/(?:32|128) /, ([, address]) => ({ kind: "destination", address: address! })],
  [/^-i (\S+) /, ([, name]) => ({ kind: "inInterface", name: name! })],
  [
    /^-p (tcp|udp|sctp) (?:-m \1 --dport (\S+) )?/,
    ([, protocol, ports]) => ({
      kind: "protocol",
      protocol: protocol as PortProtocol,
      ports: portsOf(ports),
    }),
  ],
  [/^-m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN /, () => ({ kind: "notSyn" })],
  [
    /^-m conntrack --ctstate DNAT --ctorigdst (\S+) (?:--ctorigdstport (\S+) )?/,
    ([, address, ports]) => ({ kind: "originalDestination", address: address!, ports: portsOf(ports) }),
  ],
  [
    /^-m conntrack --ct(orig|repl)dst (\S+) --ctstatus EXPECTED -m comment --comment (tcp|udp|sctp|all)_(\S+) /,
    ([, by, address, protocol, ports]) => ({
      kind: "expected",
      by: by === "orig" ? "original" : "reply",
      service: {
        family: address!.includes(":") ? "ip6" : "ip",
        address: address!,
        protocol: protocol as Protocol,
        ports: portsOf(ports === "-" ? undefined : ports!.replace("-", ":")) ?? EVERY_PORT,
      },
    }),
  ],
  [/^-m conntrack --ctstate NEW /, () => ({ kind: "stateNew" })],
  [/^-m mark --mark (\S+) /, ([, mark]) => ({ kind: "mark", ...markOf(mark!) })],
  [/^-m mark ! --mark (\S+) /, ([, mark]) => ({ kind: "otherMark", mark: Number(mark) })],
  [
    /^-m set (! )?--match-set NFLB-(\S+) (src|src,src|dst) /,
    ([, not, set, key]) => ({ kind: not ? "notInSet" : "inSet", set: set!, key: key as SetKey }),
  ],
  [
    /^-m hashlimit --hashlimit-above (\d+)\/sec --hashlimit-burst (\d+) (--hashlimit-mode srcip )?--hashlimit-name (\S+) --hashlimit-htable-expire (\d+)000 /,
    ([, perSecond, burst, bySource, name, timeout]) => ({
      kind: "rateAbove",
      perSecond: Number(perSecond),
      burst: Number(burst),
      of: bySource ? "source" : "all",
      name: name!,
      timeout: Number(timeout),
    }),
  ],
  [
    /^-m limit --limit (\d+)\/sec (?:--limit-burst (\d+) )?/,
    ([, perSecond, burst]) => ({ kind: "rateUpTo", perSecond: Number(perSecond), burst: Number(burst ?? 5) }),
  ],
  [
    /^-m connlimit --connlimit-above (\d+) --connlimit-mask 0 --connlimit-saddr /,
    ([, limit]) => ({ kind: "connectionsAbove", limit: Number(limit) }),
  ],
  [
    /^-m statistic --mode random --probability (\d\.\d+) /,
    ([, chance]) => ({ kind: "statisticRandom", threshold: Math.round(Number(chance) * 2 ** 31) }),
  ],
  [
    /^-m statistic --mode nth --every (\d+) --packet (\d+) /,
    ([, every, packet]) => ({ kind: "statisticNth", every: Number(every), packet: Number(packet) }),
  ],
  [
    /^-m comment --comment (?:FARM_(\S*))?_(\d+)_ /,
    ([, farm, index]) => ({ kind: "backendComment", farm: farm ?? "", index: Number(index) }),
  ],
];

function parseMatch(text: string): { match: IptMatch; length: number } | undefined {
  for (const [form, say] of MATCHES) {
    const found = form.exec(text);
    if (found) return { match: say([...found]), length: found[0].length };
  }
  return undefined;
}

const TARGETS: readonly (readonly [form: RegExp, say: (found: string[]) => IptTarget])[] = [
  [/^-j DROP$/, () => ({ kind: "drop" })],
  [/^-j ACCEPT$/, () => ({ kind: "accept" })],
  [/^-j RETURN$/, () => ({ kind: "return" })],
  [
    /^-j REJECT --reject-with (tcp-reset|icmp6?-port-unreachable)$/,
    ([, how]) => ({ kind: "reject", with: how as Extract<IptTarget, { kind: "reject" }>["with"] }),
  ],
  [
    /^-j LOG --log-prefix (?:"(\S+)"|(\S+)) --log-level 6$/,
    ([, quoted, plain]) => ({ kind: "log", prefix: (quoted ?? plain)! }),
  ],
  [/^-j CT --helper (\S+)$/, ([, name]) => ({ kind: "helper", name: helperOfKernel(name!) })],
  [
    /^-j SET --add-set NFLB-(\S+) (src|src,src|dst) --exist$/,
    ([, set, key]) => ({ kind: "addToSet", set: set!, key: key as SetKey }),
  ],
  [/^-j MASQUERADE$/, () => ({ kind: "masquerade" })],
  [/^-g NFLB-(\S+)$/, ([, to]) => ({ kind: "goto", to: to! })],
  [/^-j MARK --set-xmark (\S+)$/, ([, mark]) => ({ kind: "setMark", ...markOf(mark!) })],
  [
    /^-j HMARK --hmark-src-prefix (\d+) (?:--hmark-dst-prefix (\d+) )?(--hmark-spi-mask 0xffffffff )?--hmark-rnd (0x[0-9a-f]+) --hmark-mod (\d+)$/,
    ([, source, destination, ports, seed, modulus]) => ({
      kind: "hashMark",
      source: Number(source),
      destination: Number(destination ?? 0),
      ports: ports !== undefined,
      seed: Number(seed),
      modulus: Number(modulus),
    }),
  ],
  [/^-j CONNMARK --set-xmark (\S+)$/, ([, mark]) => ({ kind: "setConnmark", ...markOf(mark!) })],
  [
    /^-j CONNMARK --(save|restore)-mark --nfmask (0x[0-9a-f]+) --ctmask \2$/,
    ([, way, mask]) => ({ kind: way === "save" ? "saveMark" : "restoreMark", mask: Number(mask) }),
  ],
  [
    /^-j DNAT --to-destination (?:\[(\S+)\]|([\d.]+)):(\d+)$/,
    ([, ip6, ip, port]) => ({ kind: "dnat", address: (ip6 ?? ip)!, port: Number(port) }),
  ],
  [
    /^-j DNAT --to-destination ([0-9a-f.:]+)$/,
    ([, address]) => ({ kind: "dnat", address: address!, port: undefined }),
  ],
  [/^-j SNAT --to-source (\S+)$/, ([, address]) => ({ kind: "snat", address: address! })],
];

function parseTarget(text: string): IptTarget | undefined {
  for (const [form, say] of TARGETS) {
    const found = form.exec(text);
    if (found) return say([...found]);
  }
  return undefined;
}

function markOf(text: string): MaskedMark {
  const [mark, mask] = text.split("/").map(Number);
  return { mark: mark!, mask: mask ?? FULL_MASK };
}

function portsOf(text: string | undefined): PortRange | undefined {
  if (text === undefined) return undefined;
  const [from, to] = text.split(":").map(Number);
  return { from: from!, to: to ?? from! };
}
