import type { IptMatch, IptRule } from "../iptables/ruleset";
import { Fraction } from "../plan/fraction";
import { hex } from "../spec/check";
import { formatPorts, type PortRange } from "../spec/ports";
import type { Oracle } from "./oracle";
import type { Arrival } from "./packet";
import type { End } from "./trace";

/** A packet under way. */
export interface Met {
  packet: Arrival;
  /** What its connection has got so far. */
  end: End;
  /** The packet's own mark. */
  mark: number;
}

/** Why a rule does not match; undefined where it does. Asks the oracle only where all else matches, as the kernel does. */
export function miss(
  { matches }: IptRule,
  met: Met,
  oracle: Oracle,
  chanceOf: (threshold: number) => Fraction,
): string | undefined {
  for (const match of matches) {
    const why = missOf(match, met, oracle, chanceOf);
    if (why !== undefined) return why;
  }
  return undefined;
}

function missOf(
  match: IptMatch,
  { packet, end, mark }: Met,
  oracle: Oracle,
  chanceOf: (threshold: number) => Fraction,
): string | undefined {
  switch (match.kind) {
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
    case "originalDestination":
      if (!end.translation) return "it was not translated";
      if (packet.destination !== match.address) return `it was sent to ${packet.destination}`;
      return missOfPort(match.ports, packet.port, "the port that was dialled");
    case "stateNew":
      return packet.state === "new" ? undefined : `state is ${packet.state.toUpperCase()}`;
    case "mark":
      return (mark & match.mask) >>> 0 === match.mark ? undefined : `mark is ${hex(mark)}`;
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

function missOfPort(
  ports: PortRange | undefined,
  port: number | undefined,
  what: string,
): string | undefined {
  if (ports === undefined) return undefined;
  if (port !== undefined && ports.from <= port && port <= ports.to) return undefined;
  return `${what} is ${port ?? "none"}, not ${formatPorts(ports)}`;
}
