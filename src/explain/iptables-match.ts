import type { IptMatch, IptRule, IptSet } from "../iptables/ruleset";
import { Fraction } from "../plan/fraction";
import { hex } from "../spec/check";
import { formatPorts, type PortRange } from "../spec/ports";
import { holds, parsePrefix, toNumber } from "../spec/prefix";
import { refusalOf } from "./iptables-refusal";
import { memo } from "./memo";
import type { Oracle } from "./oracle";
import type { Arrival, Limit } from "./packet";
import type { DropReason, End } from "./trace";

/** A packet under way. */
export interface Met {
  packet: Arrival;
  /** What its connection has got so far. */
  end: End;
  /** The packet's own mark. */
  mark: number;
  /** Why the farm did not let its connection in; undefined: it did so far. */
  refused: DropReason | undefined;
  sets: ReadonlyMap<string, IptSet>;
}

/** Why a rule does not match; undefined where it does. Asks the oracle only where all else matches, as the kernel does. */
export function miss(
  rule: IptRule,
  met: Met,
  oracle: Oracle,
  chanceOf: (threshold: number) => Fraction,
): string | undefined {
  for (const match of rule.matches) {
    const why = missOf(rule, match, met, oracle, chanceOf);
    if (why !== undefined) return why;
  }
  return undefined;
}

function missOf(
  rule: IptRule,
  match: IptMatch,
  { packet, end, mark, sets }: Met,
  oracle: Oracle,
  chanceOf: (threshold: number) => Fraction,
): string | undefined {
  switch (match.kind) {
    case "source":
      return !packet.anyClient && holds(prefixOf(match), packet.source)
        ? undefined
        : `source is ${packet.source}`;
    case "destination": {
      const destination = end.translation?.address ?? packet.destination;
      return destination === match.address ? undefined : `destination is ${destination}`;
    }
    case "inInterface":
      if (packet.interface === match.name) return undefined;
      return packet.interface === undefined ? "it did not enter" : `it entered at ${packet.interface}`;
    case "protocol": {
      if (packet.protocol !== match.protocol) return `protocol is ${packet.protocol}`;
      return missOfPort(match.ports, end.translation?.port ?? packet.port, "destination port");
    }
    case "notSyn":
      return packet.syn ? "it is a SYN" : undefined;
    case "originalDestination":
      if (!end.translation) return "it was not translated";
      if (packet.destination !== match.address) return `it was sent to ${packet.destination}`;
      return missOfPort(match.ports, packet.port, "the port that was dialled");
    case "expected":
      return "no helper expected it";
    case "stateNew":
      return packet.state === "new" ? undefined : `state is ${packet.state.toUpperCase()}`;
    case "mark":
      return (mark & match.mask) >>> 0 === match.mark ? undefined : `mark is ${hex(mark)}`;
    case "otherMark":
      return mark === match.mark ? `mark is ${hex(mark)}` : undefined;
    case "inSet":
      return !packet.anyClient && isIn(sets.get(match.set)!, packet)
        ? undefined
        : `${match.set} has no ${packet.source}`;
    case "notInSet":
      return packet.anyClient || isIn(sets.get(match.set)!, packet)
        ? `${match.set} has ${packet.source}`
        : undefined;
    case "rateAbove":
    case "connectionsAbove":
      return packet.over.has(refusalOf(rule) as Limit) ? undefined : "the limit is not reached";
    case "rateUpTo":
      return undefined;
    case "statisticRandom": {
      const chance = chanceOf(match.threshold);
      return oracle.draw([chance, Fraction.ONE.minus(chance)]) === 0 ? undefined : "not drawn";
    }
    case "statisticNth":
      return oracle.split(match.every, match.packet) ? undefined : "not its turn";
    case "backendComment":
      return undefined;
    default:
      throw match satisfies never;
  }
}

/** Whether a set has a packet's client: a list by its networks, the clients of a backend by whom affinity remembers. */
function isIn(set: IptSet, { source, remembered }: Arrival): boolean {
  if (set.type !== "hash:net") return set.name.split(".")[1] === remembered?.mark.toString(16);
  const address = toNumber(source);
  return prefixesOf(set).some(({ first, last }) => first <= address && address <= last);
}

const prefixesOf = memo(({ entries }: IptSet) => entries.map((entry) => parsePrefix(entry)!));

const prefixOf = memo(({ network }: Extract<IptMatch, { kind: "source" }>) => parsePrefix(network)!);

function missOfPort(
  ports: PortRange | undefined,
  port: number | undefined,
  what: string,
): string | undefined {
  if (ports === undefined) return undefined;
  if (port !== undefined && ports.from <= port && port <= ports.to) return undefined;
  return `${what} is ${port ?? "none"}, not ${formatPorts(ports)}`;
}
