import { compile, type FarmSpec, type TargetSpec } from "../../src/core";
import { FARM, NFTABLES } from "../spec/farms";

/** Steps of `pulumi preview --json`, as far as a report looks at them. */

export function rules(spec: Partial<FarmSpec> = {}, target: TargetSpec = NFTABLES, name = "web"): string {
  return compile(name, { ...FARM, ...spec }, target).ruleSet;
}

export interface StepOptions {
  farm?: string;
  /** In place of a farm: the rule sets are those of a group. */
  group?: string;
  gateway?: string;
  before?: string;
  after?: string;
  op?: string;
}

export function step({ farm = "web", group, gateway = "edge-1", before, after, op }: StepOptions): object {
  const remove = group === undefined ? `remove ${farm}` : `remove-group ${group}`;
  const name = group ?? farm;
  const state = (stdin: string | undefined) =>
    stdin === undefined
      ? undefined
      : {
          inputs: {
            stdin,
            delete: `if [ -x /usr/local/sbin/netfilter-lb ]; then /usr/local/sbin/netfilter-lb ${remove} --owner project/stack/${gateway}; fi`,
          },
        };
  return {
    op: op ?? (before === undefined ? "create" : after === undefined ? "delete" : "update"),
    urn: `urn:pulumi:stack::project::netfilter-lb:index:LoadBalancerFarm$command:remote:Command::${name}-${gateway}`,
    oldState: state(before),
    newState: state(after),
  };
}

export function preview(...steps: object[]): string {
  return JSON.stringify({ steps });
}
