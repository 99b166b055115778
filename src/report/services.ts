import { EVERY_PORT, formatPorts, type PortRange } from "../spec/ports";
import { type Service, servicesOverlap } from "../spec/service";

/** What a change does to the packets that a farm claims, whatever the lines are by which it claims them. */
export interface ServiceChange {
  /** In both: each as narrow as it is in the narrower of the two. */
  kept: Service[];
  /** `203.0.113.10 tcp 443`. */
  added: string[];
  removed: string[];
}

export function compareServices(before: readonly Service[], after: readonly Service[]): ServiceChange {
  return {
    kept: before.flatMap((one) =>
      after.filter((other) => servicesOverlap(one, other)).map((other) => common(one, other)),
    ),
    added: after.flatMap((one) => without(one, before)),
    removed: before.flatMap((one) => without(one, after)),
  };
}

/** @param a overlaps `b` */
function common(a: Service, b: Service): Service {
  if (a.protocol === "all") return b;
  if (b.protocol === "all") return a;
  const [from, to] = [Math.max(a.ports.from, b.ports.from), Math.min(a.ports.to, b.ports.to)];
  return { ...a, ports: { from, to } };
}

/** What of a service no other one has, in words. */
function without(service: Service, others: readonly Service[]): string[] {
  const overlapping = others.filter((other) => servicesOverlap(service, other));
  if (overlapping.some(({ protocol }) => protocol === "all")) return [];
  if (service.protocol === "all") {
    const but = overlapping.map(({ protocol, ports }) => `${protocol} ${sayPorts(ports)}`);
    return [sayService(service) + (but.length === 0 ? "" : ` but ${but.join(", ")}`)];
  }
  const left = overlapping.reduce<PortRange[]>(
    (ranges, { ports }) =>
      ranges.flatMap((range) => [
        ...(range.from < ports.from ? [{ from: range.from, to: Math.min(range.to, ports.from - 1) }] : []),
        ...(range.to > ports.to ? [{ from: Math.max(range.from, ports.to + 1), to: range.to }] : []),
      ]),
    [service.ports],
  );
  return left.map((ports) => sayService({ ...service, ports }));
}

/** `203.0.113.10 tcp 443`, `203.0.113.10 udp every port`, `203.0.113.10 all protocols`. */
export function sayService({ address, protocol, ports }: Service): string {
  return protocol === "all" ? `${address} all protocols` : `${address} ${protocol} ${sayPorts(ports)}`;
}

function sayPorts(ports: PortRange): string {
  return ports.from === EVERY_PORT.from && ports.to === EVERY_PORT.to ? "every port" : formatPorts(ports);
}
