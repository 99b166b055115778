import { kernelHelper } from "../plan/helper";
import { FULL_MASK } from "../plan/mark";
import { formatThreshold } from "../plan/probability";
import type { Family } from "../spec/address";
import { hex } from "../spec/check";
import type { PortRange } from "../spec/ports";
import { formatService, type Service } from "../spec/service";
import type { IptMatch, IptTarget, PacketHash } from "./ruleset";

/** Words of a rule, just as `iptables-save` prints them, so that what is read back can be compared. */

/** What the names of this library's chains and sets start with. */
export const PREFIX = "NFLB-";

/** A match as a rule has it. @param comment of a `backendComment` */
export function renderMatch(family: Family, match: IptMatch, comment: string): string {
  switch (match.kind) {
    case "source":
      return `-s ${match.network}`;
    case "destination":
      return `-d ${match.address}/${family === "ip" ? 32 : 128}`;
    case "inInterface":
      return `-i ${match.name}`;
    case "protocol":
      if (match.ports === undefined) return `-p ${match.protocol}`;
      return `-p ${match.protocol} -m ${match.protocol} --dport ${renderPorts(match.ports)}`;
    case "notSyn":
      return "-m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN";
    case "originalDestination":
      return [
        `-m conntrack --ctstate DNAT --ctorigdst ${match.address}`,
        ...(match.ports === undefined ? [] : [`--ctorigdstport ${renderPorts(match.ports)}`]),
      ].join(" ");
    case "expected": {
      const { address } = match.service;
      return `-m conntrack ${EXPECTED_BY[match.by]} ${address} --ctstatus EXPECTED -m comment --comment ${claim(match.service)}`;
    }
    case "stateNew":
      return "-m conntrack --ctstate NEW";
    case "mark":
      return `-m mark --mark ${hex(match.mark)}${match.mask === FULL_MASK ? "" : `/${hex(match.mask)}`}`;
    case "otherMark":
      return `-m mark ! --mark ${hex(match.mark)}`;
    case "inSet":
      return `-m set --match-set ${PREFIX}${match.set} ${match.key}`;
    case "notInSet":
      return `-m set ! --match-set ${PREFIX}${match.set} ${match.key}`;
    case "rateAbove":
      return [
        `-m hashlimit --hashlimit-above ${match.perSecond}/sec --hashlimit-burst ${match.burst}`,
        ...(match.of === "source" ? ["--hashlimit-mode srcip"] : []),
        `--hashlimit-name ${match.name} --hashlimit-htable-expire ${match.timeout * 1000}`,
      ].join(" ");
    case "rateUpTo":
      // `iptables-save` leaves its default burst out.
      return `-m limit --limit ${match.perSecond}/sec${match.burst === 5 ? "" : ` --limit-burst ${match.burst}`}`;
    case "connectionsAbove":
      return `-m connlimit --connlimit-above ${match.limit} --connlimit-mask 0 --connlimit-saddr`;
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

/** A target as a rule has it. */
export function renderTarget(family: Family, target: IptTarget): string {
  switch (target.kind) {
    case "drop":
      return "-j DROP";
    case "accept":
      return "-j ACCEPT";
    case "reject":
      return `-j REJECT --reject-with ${target.with}`;
    case "return":
      return "-j RETURN";
    case "goto":
      return `-g ${PREFIX}${target.to}`;
    case "log":
      return `-j LOG --log-prefix ${quoted(target.prefix)} --log-level 6`;
    case "helper":
      return `-j CT --helper ${kernelHelper(target.name)}`;
    case "addToSet":
      return `-j SET --add-set ${PREFIX}${target.set} ${target.key} --exist`;
    case "setMark":
      return `-j MARK --set-xmark ${hex(target.mark)}/${hex(target.mask)}`;
    case "hashMark":
      return renderHash(target);
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

/** A data connection has ports of its own: the comment says whose line this is. `tcp_21`, `all_-`. */
function claim(service: Service): string {
  return formatService(service).split(" ").slice(1).join("_");
}

const EXPECTED_BY = { original: "--ctorigdst", reply: "--ctrepldst" } as const;

function renderDestination(family: Family, address: string, port: number | undefined): string {
  if (port === undefined) return address;
  return family === "ip" ? `${address}:${port}` : `[${address}]:${port}`;
}

/** Both ports are masked as one number (an SPI has their place): masked apart they make a line too long. */
function renderHash({ source, destination, ports, seed, modulus }: PacketHash): string {
  return [
    `-j HMARK --hmark-src-prefix ${source}`,
    ...(destination === 0 ? [] : [`--hmark-dst-prefix ${destination}`]),
    ...(ports ? ["--hmark-spi-mask 0xffffffff"] : []),
    `--hmark-rnd ${hex(seed)} --hmark-mod ${modulus}`,
  ].join(" ");
}

/** As `iptables-save` quotes (libxtables, `xtables_save_string`). */
function quoted(text: string): string {
  return /^[A-Za-z0-9_-]+$/.test(text) ? text : `"${text}"`;
}

function renderPorts({ from, to }: PortRange): string {
  return from === to ? String(from) : `${from}:${to}`;
}
