import type {
  IptMatch,
  IptRule,
  IptRuleSet,
  IptTable,
  IptTarget,
  MaskedMark,
  SharedChain,
  TableName,
} from "../iptables/ruleset";
import type { PortProtocol } from "../nftables/ruleset";
import { FULL_MASK } from "../plan/mark";
import type { Family } from "../spec/address";
import type { PortRange } from "../spec/ports";
import type { Lines } from "./text";

/** An iptables rule set's text (without its header) as typed rules: `render`, backwards. */
export function parseIptables(lines: Lines): IptRuleSet {
  const families: IptRuleSet["families"] = [];
  for (let found = lines.take(FAMILY); found; found = lines.take(FAMILY)) {
    const tables: IptTable[] = [];
    for (let table = lines.take(TABLE); table; table = lines.take(TABLE))
      tables.push(parseTable(table[1] as TableName, lines));
    families.push({ family: found[1] as Family, tables });
  }
  return { families };
}

const FAMILY = /^# (ip6?)$/;
const TABLE = /^\*(mangle|nat|filter)$/;

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
  [
    /^-m conntrack --ctstate DNAT --ctorigdst (\S+) (?:--ctorigdstport (\S+) )?/,
    ([, address, ports]) => ({ kind: "originalDestination", address: address!, ports: portsOf(ports) }),
  ],
  [/^-m conntrack --ctstate NEW /, () => ({ kind: "stateNew" })],
  [/^-m mark --mark (\S+) /, ([, mark]) => ({ kind: "mark", ...markOf(mark!) })],
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
  [/^-j MASQUERADE$/, () => ({ kind: "masquerade" })],
  [/^-g NFLB-(\S+)$/, ([, to]) => ({ kind: "goto", to: to! })],
  [/^-j MARK --set-xmark (\S+)$/, ([, mark]) => ({ kind: "setMark", ...markOf(mark!) })],
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
