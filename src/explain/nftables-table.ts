import { elementEntry, elementMap } from "../nftables/render";
import type { NftElement, NftKey, NftRuleSet } from "../nftables/ruleset";
import type { Arrival } from "./packet";

/** The table that all farms of a gateway share: its rules are the tool's own text (docs/rule-set.md). */

/** A rule of a shared chain, asked about one packet. */
export interface Asked {
  rule: string;
  /** The element that the packet found. */
  found: NftElement | undefined;
  why: string;
}

/** The order in which a shared chain asks its maps. */
const KINDS = ["port", "range", "address"] as const;

/**
 * What a shared chain finds: its maps one after the other, up to the first that has the packet. Maps in which the farm has
 * nothing are left out.
 *
 * @param byInterface whether the chain also asks the maps that are keyed by interface
 */
export function ask(
  set: NftRuleSet,
  role: NftElement["role"],
  packet: Arrival,
  byInterface: boolean,
): Asked[] {
  const asked: Asked[] = [];
  for (const withInterface of byInterface ? [false, true] : [false]) {
    for (const kind of KINDS) {
      const elements = set.elements.filter(
        (one) =>
          one.family === packet.family &&
          one.role === role &&
          one.key.kind === kind &&
          (one.interface !== undefined) === withInterface,
      );
      if (elements.length === 0) continue;
      const found = elements.find((element) => holds(element, packet));
      const why = found ? `has ${elementEntry(found)}` : `has no ${keyOf(packet, elements[0]!)}`;
      asked.push({ rule: baseRule(elements[0]!), found, why });
      if (found) return asked;
    }
  }
  return asked;
}

/** The rule of the shared table that asks an element's map. */
export function baseRule(element: NftElement): string {
  const { family, role, key, interface: enters } = element;
  const map = elementMap(element);
  const verdict = role === "guard" ? `@${map} drop` : `vmap @${map}`;
  if (role !== "source") {
    const ports = key.kind === "address" ? "" : " . meta l4proto . th dport";
    return `${enters === undefined ? "" : "iifname . "}${family} daddr${ports} ${verdict}`;
  }
  if (key.kind === "address") return `ct status dnat ct original ${family} daddr ${verdict}`;
  const original = `ct original ${family} daddr . meta l4proto . ct original proto-dst`;
  return `ct status dnat meta l4proto { tcp, udp, sctp } ${original} ${verdict}`;
}

/** What of a packet an element's map is asked for. */
function keyOf(packet: Arrival, { key, interface: enters }: NftElement): string {
  return [
    ...(enters === undefined ? [] : [`"${packet.interface}"`]),
    packet.destination,
    ...(key.kind === "address" ? [] : [packet.protocol, ...(packet.port === undefined ? [] : [packet.port])]),
  ].join(" . ");
}

function holds({ key, interface: enters }: NftElement, packet: Arrival): boolean {
  if (key.address !== packet.destination) return false;
  return (enters === undefined || enters === packet.interface) && holdsPort(key, packet);
}

function holdsPort(key: NftKey, { protocol, port }: Arrival): boolean {
  switch (key.kind) {
    case "address":
      return true;
    case "port":
      return key.protocol === protocol && key.port === port;
    case "range":
      return key.protocol === protocol && port !== undefined && key.from <= port && port <= key.to;
    default:
      throw key satisfies never;
  }
}
