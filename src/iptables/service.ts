import type { Plan } from "../plan/plan";
import { EVERY_PORT, type PortRange } from "../spec/ports";
import type { Service } from "../spec/service";
import type { IptMatch, IptRule, IptTarget, SharedChain } from "./ruleset";

/** Lines of the shared chains that every layout has: how a service's packets are told, guarded and let through. */

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
export function entrances(plan: Plan): SharedChain[] {
  return plan.interface === undefined ? ["PREROUTING", "OUTPUT"] : ["PREROUTING"];
}

/** What sends each of the services' new packets to `chain`. */
export function dispatch(plan: Plan, services: readonly Service[], chain: string): IptRule[] {
  return services.flatMap((service) =>
    entrances(plan).map((entrance) => ({
      chain: entrance,
      matches: dialled(plan, service, entrance),
      target: { kind: "goto", to: chain } as const,
    })),
  );
}

/**
 * What is still addressed to a service after nat had it was not translated, and must reach neither the gateway nor the uplink.
 * These stand in mangle, because DROP is refused in nat.
 */
export function guards(plan: Plan, services: readonly Service[]): IptRule[] {
  return services.flatMap((service) =>
    (["INPUT", "FORWARD"] as const).map((chain) => drop(chain, dialled(plan, service, chain))),
  );
}

/** The same for connections of the gateway itself: filter's OUTPUT is the first chain behind nat's. */
export function outputGuards(plan: Plan, services: readonly Service[]): IptRule[] {
  if (plan.interface !== undefined) return [];
  return services.map((service) => drop("OUTPUT", dialled(plan, service, "OUTPUT")));
}

function drop(chain: SharedChain, matches: IptMatch[]): IptRule {
  return { chain, matches, target: { kind: "drop" } };
}

/** A gateway whose FORWARD policy is DROP still serves: what was translated for a service passes, both ways. */
export function accepts(services: readonly Service[]): IptRule[] {
  return services.map((service) => ({
    chain: "FORWARD",
    matches: translated(service),
    target: { kind: "accept" },
  }));
}

/** The address that a service's backends shall see; undefined: the client's own. */
export function sourceTarget(plan: Plan, service: Service): IptTarget | undefined {
  const { sourceNat } = plan;
  switch (sourceNat.kind) {
    case "none":
      return undefined;
    case "masquerade":
      return { kind: "masquerade" };
    case "vip":
      return { kind: "snat", address: service.address };
    case "address":
      return { kind: "snat", address: sourceNat.to.text };
    default:
      throw sourceNat satisfies never;
  }
}
