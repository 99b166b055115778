import type * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { Owner } from "../host/commands";
import type { GatewayAnswer } from "../host/report";
import type { Plan } from "../plan/plan";
import { Claims } from "./claims";
import { runError } from "./error";
import type { NamedGateway } from "./gateway";

/** A gateway that is set up, once a stack however many farms use it. */
export interface Host {
  owner: Owner;
  gateway: NamedGateway;
  /** Who named the gateway first: `farm web`, `group edge`. */
  user: string;
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

  /** Gateway to what the farms there claim. */
  private readonly gateways = new Map<string, Claims>();

  /** Groups by gateway and name, with their parents. */
  private readonly groups = new Map<string, unknown>();

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
   * What the gateway knows a group by is its name alone.
   *
   * @throws RunError where another group of that name is on the gateway already, below another parent
   */
  nameGroup(group: string, gateway: string, parent: unknown): void {
    const key = `${group} on gateway ${gateway}`;
    if (this.groups.has(key) && this.groups.get(key) !== parent)
      throw runError(`there are two groups ${key}; rename one of them`);
    this.groups.set(key, parent);
  }

  /** @throws RunError where the farm and another one cannot both be on the gateway, see {@link Claims.claim} */
  claim(gateway: string, farm: string, plan: Plan, group?: string): void {
    const claims = this.gateways.get(gateway) ?? new Claims(gateway);
    this.gateways.set(gateway, claims);
    claims.claim(farm, plan, group);
  }
}
