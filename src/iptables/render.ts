import { LINE_LENGTH, renderHeader } from "../plan/header";
import { FULL_MASK } from "../plan/mark";
import type { Plan } from "../plan/plan";
import { formatThreshold } from "../plan/probability";
import type { Family } from "../spec/address";
import { hex } from "../spec/check";
import type { PortRange } from "../spec/ports";
import type { Layout } from "../spec/types";
import { lower } from "./lower";
import type { IptMatch, IptRule, IptRuleSet, IptTable, IptTarget } from "./ruleset";

/** What the names of this library's chains start with. */
export const PREFIX = "NFLB-";

/** The text that a gateway gets: header, then for each family the tables, as `iptables-save` prints them. */
export function renderIptables(plan: Plan, layout: Layout): string {
  return [...renderHeader(plan, `iptables ${layout}`), ...renderIptRules(lower(plan, layout)), ""].join("\n");
}

/** What stands behind the header. */
export function renderIptRules({ families }: IptRuleSet): string[] {
  return families.flatMap(({ family, tables }) => [
    `# ${family}`,
    ...tables.flatMap((table) => renderTable(family, table)),
  ]);
}

function renderTable(family: Family, { name, chains, rules }: IptTable): string[] {
  if (rules.length === 0) return [];
  return [
    `*${name}`,
    ...chains.map((chain) => `:${PREFIX}${chain} - [0:0]`),
    ...rules.map((rule) => renderRule(family, rule)),
    "COMMIT",
  ];
}

/** A rule's line. */
export function renderRule(family: Family, { chain, matches, target }: IptRule): string {
  const head = `-A ${PREFIX}${typeof chain === "string" ? chain : chain.own}`;
  const line = (comment: string) =>
    [head, ...matches.map((match) => renderMatch(family, match, comment)), renderTarget(family, target)].join(
      " ",
    );
  const comment = matches.find((match) => match.kind === "backendComment");
  if (!comment) return line("");
  // A comment is for the reader: where the line would be cut, first the farm's name gives way, then all but the number.
  const tail = `_${comment.index}_`;
  const room = LINE_LENGTH - line(`FARM_${tail}`).length;
  return line(room < 0 ? tail : `FARM_${comment.farm.slice(0, room)}${tail}`);
}

function renderMatch(family: Family, match: IptMatch, comment: string): string {
  switch (match.kind) {
    case "destination":
      return `-d ${match.address}/${family === "ip" ? 32 : 128}`;
    case "inInterface":
      return `-i ${match.name}`;
    case "protocol":
      if (match.ports === undefined) return `-p ${match.protocol}`;
      return `-p ${match.protocol} -m ${match.protocol} --dport ${renderPorts(match.ports)}`;
    case "originalDestination":
      return [
        `-m conntrack --ctstate DNAT --ctorigdst ${match.address}`,
        ...(match.ports === undefined ? [] : [`--ctorigdstport ${renderPorts(match.ports)}`]),
      ].join(" ");
    case "stateNew":
      return "-m conntrack --ctstate NEW";
    case "mark":
      return `-m mark --mark ${hex(match.mark)}${match.mask === FULL_MASK ? "" : `/${hex(match.mask)}`}`;
    case "statisticRandom":
      return `-m statistic --mode random --probability ${formatThreshold(match.threshold)}`;
    case "statisticNth":
      return `-m statistic --mode nth --every ${match.every} --packet ${match.packet}`;
    case "backendComment":
      return `-m comment --comment ${comment}`;
    default:
      throw match satisfies never;
  }
}

function renderTarget(family: Family, target: IptTarget): string {
  switch (target.kind) {
    case "drop":
      return "-j DROP";
    case "accept":
      return "-j ACCEPT";
    case "goto":
      return `-g ${PREFIX}${target.to}`;
    case "setMark":
      return `-j MARK --set-xmark ${hex(target.mark)}/${hex(target.mask)}`;
    case "setConnmark":
      return `-j CONNMARK --set-xmark ${hex(target.mark)}/${hex(target.mask)}`;
    case "saveMark":
      return `-j CONNMARK --save-mark --nfmask ${hex(target.mask)} --ctmask ${hex(target.mask)}`;
    case "restoreMark":
      return `-j CONNMARK --restore-mark --nfmask ${hex(target.mask)} --ctmask ${hex(target.mask)}`;
    case "dnat":
      return `-j DNAT --to-destination ${renderDestination(family, target.address, target.port)}`;
    case "snat":
      return `-j SNAT --to-source ${target.address}`;
    case "masquerade":
      return "-j MASQUERADE";
    default:
      throw target satisfies never;
  }
}

function renderDestination(family: Family, address: string, port: number | undefined): string {
  if (port === undefined) return address;
  return family === "ip" ? `${address}:${port}` : `[${address}]:${port}`;
}

function renderPorts({ from, to }: PortRange): string {
  return from === to ? String(from) : `${from}:${to}`;
}
