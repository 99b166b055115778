import type { Plan } from "../plan/plan";
import { EVERY_PORT, type PortRange } from "../spec/ports";
import type { Service } from "../spec/service";
import type { IptMatch, IptRule, IptTarget, SharedChain } from "./ruleset";

/** Lines of the shared chains that every layout has: how a service's packets are told. */

/** A packet that a client sends to a service. */
export function dialled(plan: Plan, service: Service, where: SharedChain): IptMatch[] {
  // Only these chains still know the interface that a packet entered by.
  const entered = plan.interface !== undefined && where !== "OUTPUT" && where !== "POSTROUTING";
  return [
    { kind: "destination", address: service.address },
    ...(entered ? [{ kind: "inInterface", name: plan.interface! } as const] : []),
    ...protocol(service),
  ];
}

/** A packet, of either direction, of a connection that was translated away from a service. */
export function translated({ address, protocol, ports }: Service): IptMatch[] {
  if (protocol === "all") return [{ kind: "originalDestination", address, ports: undefined }];
  return [
    { kind: "protocol", protocol, ports: undefined },
    { kind: "originalDestination", address, ports: matched(ports) },
  ];
}

function protocol({ protocol, ports }: Service): IptMatch[] {
  return protocol === "all" ? [] : [{ kind: "protocol", protocol, ports: matched(ports) }];
}

/** Every port is no match at all: `iptables-save` leaves it out, and what is read back must compare. */
function matched(ports: PortRange): PortRange | undefined {
  return ports.from === EVERY_PORT.from && ports.to === EVERY_PORT.to ? undefined : ports;
}

/** Where a service's connections start: from other machines, and from the gateway itself unless the farm names an interface. */
function entrances(plan: Plan): SharedChain[] {
  return plan.interface === undefined ? ["PREROUTING", "OUTPUT"] : ["PREROUTING"];
}

/** What sends each of the services' new packets to `chain`. */
export function dispatch(plan: Plan, services: readonly Service[], chain: string): IptRule[] {
  return toServices(plan, services, { kind: "goto", to: chain });
}

/** The same for all packets that enter for one of the services. */
export function toServices(plan: Plan, services: readonly Service[], target: IptTarget): IptRule[] {
  return services.flatMap((service) =>
    entrances(plan).map((entrance) => ({
      chain: entrance,
      matches: dialled(plan, service, entrance),
      target,
    })),
  );
}
