import * as pulumi from "@pulumi/pulumi";
import { type Compiled, compile } from "../core";
import { applyCommand, confirmCommand, removeCommand } from "../host/commands";
import { assertFarm } from "../spec";
import type { FarmSpec } from "../spec/types";
import { Drift, type LoadBalancerFarmArgs } from "./args";
import { checkArgs } from "./check";
import { askedConfirm, confirmSeconds, describeConfirm } from "./confirm";
import { type Description, describe, FEATURES, marksOf, probabilitiesOf, sharesOf } from "./describe";
import { driftOptions } from "./drift";
import { asRunError } from "./error";
import { commandOn, describeGateways, type NamedGateway, targetOf } from "./gateway";
import { reportOptions } from "./hook";
import { hostOf } from "./host";
import { Registry } from "./registry";
import { warnOfCapacity } from "./warn";

/**
 * A layer-4 load balancer on plain Linux gateways: connections to its listeners are spread over its backends, by netfilter.
 *
 * Each gateway gets the farm's rules as a `remote.Command` whose standard input is the rule set, so a preview's diff
 * shows the rules that change. The component's own inputs say the same in a sentence a backend.
 *
 * @throws RunError (at construction, or in the preview where values come from other resources) with every problem of the
 * arguments, each with its path, the value and what would be right
 */
export class LoadBalancerFarm extends pulumi.ComponentResource {
  /** Backend (`10.0.0.3`, or `10.0.0.3:80` where it has a port) to its share of the new connections, 0 to 1. */
  readonly shares!: pulumi.Output<Record<string, number>>;
  /** Backend to its connection mark (where gateways differ in `markMask`: on the first). */
  readonly marks!: pulumi.Output<Record<string, number>>;
  /**
   * With `random`: backend to the probability that its rule carries, as the kernel keeps it: 1/n, 1/(n−1) … 1 for equal
   * weights; 0 where new connections are not given to it.
   */
  readonly probabilities!: pulumi.Output<Record<string, number>>;
  /** Gateway to the rule set that is applied there. */
  readonly ruleSets!: pulumi.Output<Record<string, string>>;

  constructor(name: string, args: LoadBalancerFarmArgs, opts?: pulumi.ComponentResourceOptions) {
    if (opts?.urn !== undefined) {
      // A reference to a farm that another program made: nothing to create.
      super("netfilter-lb:index:LoadBalancerFarm", name, {}, opts);
      return;
    }
    const gateways = asRunError(() => checkArgs(name, args));
    const spec = specOf(name, args);
    const compiled = gateways.map((gateway) => ({ gateway, result: compileFor(name, spec, gateway) }));
    const first = compiled[0]!.result;
    const description = first.apply(({ plan }) => describe(plan));
    const asked = askedConfirm(name, args);

    super(
      "netfilter-lb:index:LoadBalancerFarm",
      name,
      {
        algorithm: description.algorithm,
        backends: description.backends,
        gateways: describeGateways(gateways),
        listeners: description.listeners,
        sourceNat: description.sourceNat,
        ...featuresOf(args, description),
        ...(asked && { confirm: asked.apply(describeConfirm) }),
      },
      opts,
    );

    for (const { gateway, result } of compiled)
      this.apply(
        name,
        gateway,
        result,
        confirmSeconds(args, gateway, asked),
        args.drift ?? Drift.Ignore,
        opts,
      );
    warnOfCapacity(
      this,
      name,
      spec,
      compiled.map(({ gateway, result }) => ({ gateway, target: targetOf(gateway), compiled: result })),
    );

    this.shares = first.apply(({ plan }) => sharesOf(plan));
    this.marks = first.apply(({ plan }) => marksOf(plan));
    this.probabilities = first.apply(({ plan }) => probabilitiesOf(plan));
    this.ruleSets = pulumi
      .all(
        compiled.map(({ gateway, result }) =>
          result.apply(({ ruleSet }) => [gateway.name, ruleSet] as const),
        ),
      )
      .apply((entries) => Object.fromEntries(entries));
    this.registerOutputs({
      shares: this.shares,
      marks: this.marks,
      probabilities: this.probabilities,
      ruleSets: this.ruleSets,
    });
  }

  /** The rules on one gateway: standard input is the rule set and nothing else, so a diff of it is a diff of the rules. */
  private apply(
    name: string,
    gateway: NamedGateway,
    compiled: pulumi.Output<Compiled>,
    seconds: pulumi.Output<number> | undefined,
    drift: Drift,
    opts: pulumi.ComponentResourceOptions | undefined,
  ): void {
    const { owner, command: host } = hostOf(gateway, `farm ${name}`, this, opts);
    const options = { sudo: gateway.sudo ?? false };
    const ruleSet = compiled.ruleSet;
    const text = pulumi.all([ruleSet, seconds ?? 0]);
    const drifting = driftOptions(drift, name, gateway, owner, ruleSet);
    const nameOf = (suffix = "") => Registry.current().nameCommand(name, gateway.name, suffix, opts?.parent);
    const rules = commandOn(
      gateway,
      nameOf(),
      {
        stdin: ruleSet,
        create: text.apply(([set, confirm]) => applyCommand(name, owner, set, { ...options, confirm })),
        delete: removeCommand(name, owner, options),
        triggers: [host.id],
      },
      { parent: this, ...reportOptions({ farm: name }, gateway.name), ...drifting },
    );
    if (seconds === undefined) return;
    // A Command dials for itself, so this is the new connection. It runs whenever the rules do: their texts change together, and a
    // replacement of the rules (a taint, another host) replaces it too. Having no `delete`, it goes without a dial.
    commandOn(
      gateway,
      nameOf("-confirm"),
      {
        create: text.apply(([set, within]) => confirmCommand(name, owner, set, { ...options, within })),
        triggers: [rules.id],
      },
      { parent: this, ...drifting },
    );
  }
}

/**
 * The farm's own part of the arguments, once all of it is known. The connections stay out: their secrets would spread.
 * It is checked here, so that a mistake is told once and not by every gateway.
 */
function specOf(name: string, args: LoadBalancerFarmArgs): pulumi.Output<FarmSpec> {
  const { gateways: _, confirm: __, drift: ___, ...farm } = args;
  return pulumi.output(farm).apply((spec) =>
    asRunError(() => {
      assertFarm(name, spec);
      return spec;
    }),
  );
}

/** What is said of the features that the user asked for. */
function featuresOf(
  args: LoadBalancerFarmArgs,
  description: pulumi.Output<Description>,
): Record<string, pulumi.Output<unknown>> {
  return Object.fromEntries(
    FEATURES.filter((feature) => args[feature] !== undefined).map((feature) => [
      feature,
      description.apply((text) => text[feature]),
    ]),
  );
}

function compileFor(
  name: string,
  spec: pulumi.Output<FarmSpec>,
  gateway: NamedGateway,
): pulumi.Output<Compiled> {
  const registry = Registry.current();
  return pulumi.all([spec, targetOf(gateway)]).apply(([farm, target]) =>
    asRunError(() => {
      const compiled = compile(name, farm, target);
      registry.claim(gateway.name, name, compiled.plan);
      return compiled;
    }),
  );
}
