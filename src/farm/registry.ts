import type * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { Owner } from "../host/commands";
import type { GatewayAnswer } from "../host/report";
import type { Plan } from "../plan/plan";
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

  /** Commands by what they are called, with the farm's parent: below another one a name may come again. */
  private readonly names = new Map<string, { farm: string; gateway: string; parent: unknown }[]>();

  /** Gateway to what it said of itself in this run. */
  private readonly answers = new Map<string, Promise<GatewayAnswer>>();

  /** Each gateway is asked once a run, however many farms it has. */
  answerOf(gateway: string, inquire: () => Promise<GatewayAnswer>): Promise<GatewayAnswer> {
    const known = this.answers.get(gateway);
    if (known) return known;
    const answer = inquire();
    this.answers.set(gateway, answer);
    return answer;
  }

  /** Gateway to the farms there. */
  private readonly claims = new Map<string, Claim[]>();

  /**
   * What a farm's Command for a gateway is called in the stack's state.
   *
   * @throws RunError where two would have one name: those of `web-a` on `b`, and those of `web` on `a-b`
   */
  nameCommand(farm: string, gateway: string, suffix: string, parent: unknown): string {
    const name = `${farm}-${gateway}${suffix}`;
    const known = this.names.get(name) ?? [];
    const other = known.find(
      (one) => one.parent === parent && (one.farm !== farm || one.gateway !== gateway),
    );
    if (other)
      throw runError(
        `farm ${farm} on gateway ${gateway} and farm ${other.farm} on gateway ${other.gateway} would both have a resource ` +
          `${name}; rename one of them`,
      );
    this.names.set(name, [...known, { farm, gateway, parent }]);
    return name;
  }

  /**
   * @throws RunError that names both farms, where their chains would have one name, where they claim the same packet, or where one
   * sends to what the other claims: a packet is translated once
   */
  claim(gateway: string, farm: string, plan: Plan): void {
    const claim: Claim = { farm, services: plan.pools.flatMap(({ services }) => services), plan };
    // A program may compile a farm again; its own earlier claim then goes.
    const others = (this.claims.get(gateway) ?? []).filter((other) => other.farm !== farm);
    for (const other of others) {
      // A short name ends in 32 bits of a hash.
      if (plan.shortName === other.plan.shortName)
        throw runError(
          `farm ${farm} and farm ${other.farm} have the same short name ${plan.shortName} on gateway ${gateway}, by chance; ` +
            "rename one of them",
        );
      const twice = overlap(claim.services, other.services);
      if (twice)
        throw runError(
          `farm ${farm} and farm ${other.farm} both claim ${formatService(twice[0])} on gateway ${gateway}` +
            `${formatService(twice[1]) === formatService(twice[0]) ? "" : ` (${formatService(twice[1])})`}; ` +
            "give one of them another address or port",
        );
      for (const [from, to] of [
        [claim, other],
        [other, claim],
      ] as const) {
        const chained = overlap(destinationsOf(from.plan, to.services), to.services);
        if (chained)
          throw runError(
            `farm ${from.farm} sends to ${formatService(chained[1])}, which farm ${to.farm} claims on the same gateway ${gateway}; ` +
              `a packet is translated once, so give farm ${from.farm} the backends themselves`,
          );
      }
    }
    this.claims.set(gateway, [...others, claim]);
  }
}

interface Claim {
  farm: string;
  services: readonly Service[];
  plan: Plan;
}

function overlap(some: readonly Service[], others: readonly Service[]): [Service, Service] | undefined {
  for (const one of some) {
    const other = others.find((candidate) => servicesOverlap(one, candidate));
    if (other) return [one, other];
  }
  return undefined;
}

/** What a farm's packets are addressed to once they are translated, as far as it is at the addresses of these services. */
function destinationsOf(plan: Plan, services: readonly Service[]): Service[] {
  const addresses = new Set(services.map(({ address }) => address));
  return plan.pools.flatMap((pool) =>
    pool.backends
      .filter(({ address }) => addresses.has(address))
      .flatMap(({ address, port }) =>
        pool.services.map((service) => ({
          ...service,
          address,
          ports: port === undefined ? service.ports : { from: port, to: port },
        })),
      ),
  );
}
