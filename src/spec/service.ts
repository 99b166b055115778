import { type Family, parseAddress } from "./address";
import { EVERY_PORT, formatPorts, type PortRange, parsePorts, portsOverlap } from "./ports";
import type { ListenerSpec, Protocol } from "./types";

/** What a listener claims on a gateway: an address, a protocol, and one port or range. A listener of a list has several. */
export interface Service {
  family: Family;
  /** Canonical text. */
  address: string;
  protocol: Protocol;
  /** Every port where the protocol is `all`. */
  ports: PortRange;
}

/** The services of a listener, lowest port first. */
export function servicesOf({ address, protocol, port, ports }: ListenerSpec): Service[] {
  const { family, text } = parseAddress(address)!;
  const ranges =
    port !== undefined ? [{ from: port, to: port }] : ports !== undefined ? parsePorts(ports)! : [EVERY_PORT];
  return ranges.map((range) => ({ family, address: text, protocol, ports: range }));
}

/** Whether some packet belongs to both. */
export function servicesOverlap(a: Service, b: Service): boolean {
  return (
    a.address === b.address &&
    (a.protocol === b.protocol || a.protocol === "all" || b.protocol === "all") &&
    portsOverlap(a.ports, b.ports)
  );
}

/** `203.0.113.10 tcp 80`, as a rule set's header and every message has it; `-` where the protocol has no ports. */
export function formatService({ address, protocol, ports }: Service): string {
  return `${address} ${protocol} ${protocol === "all" ? "-" : formatPorts(ports)}`;
}
