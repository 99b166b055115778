import type * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { Owner } from "../host/commands";
import { formatService, type Service, servicesOverlap } from "../spec/service";
import { runError } from "./error";
import type { NamedGateway } from "./gateway";

/** A gateway that is set up, once a stack however many farms use it. */
export interface Host {
  owner: Owner;
  gateway: NamedGateway;
  /** The farm that named the gateway first. */
  farm: string;
  command: command.remote.Command;
}

/**
 * What the farms of one run know of each other: which gateways are set up already, and who claims what there.
 * Each run of a program (Automation API programs run side by side in one process) has its own.
 */
export class Registry {
  private static readonly runs = new WeakMap<object, Registry>();

  static current(): Registry {
    const run = pulumi.runtime.getStackResource() ?? pulumi.runtime.getMonitor() ?? Registry;
    const known = Registry.runs.get(run);
    if (known) return known;
    const registry = new Registry();
    Registry.runs.set(run, registry);
    return registry;
  }

  readonly hosts = new Map<string, Host>();

  private readonly claims = new Map<string, { farm: string; service: Service }[]>();

  /** @throws RunError that names both farms, where another one claims a packet that these services claim */
  claim(gateway: string, farm: string, services: readonly Service[]): void {
    // A program may compile a farm again; its own earlier claim then goes.
    const others = (this.claims.get(gateway) ?? []).filter((claim) => claim.farm !== farm);
    for (const service of services) {
      const other = others.find((claim) => servicesOverlap(claim.service, service));
      if (other)
        throw runError(
          `farm ${farm} and farm ${other.farm} both claim ${formatService(service)} on gateway ${gateway}` +
            `${formatService(other.service) === formatService(service) ? "" : ` (${formatService(other.service)})`}; ` +
            "give one of them another address or port",
        );
    }
    this.claims.set(gateway, [...others, ...services.map((service) => ({ farm, service }))]);
  }
}
