import * as pulumi from "@pulumi/pulumi";
import { type Compiled, compile } from "../core";
import { applyGroupCommand, removeGroupCommand } from "../host/commands";
import { specError } from "../spec";
import { type Problem, SpecError } from "../spec/problem";
import type { FarmSpec, TargetSpec } from "../spec/types";
import type { LoadBalancerFarmsArgs } from "./args";
import { checkGroup, trialText } from "./check-group";
import { touchesSsh } from "./confirm";
import { describeShortly, marksOf, probabilitiesOf, sharesOf } from "./describe";
import { asRunError } from "./error";
import { commandOn, describeGateways, type NamedGateway, targetOf } from "./gateway";
import { reportOptions } from "./hook";
import { hostOf } from "./host";
import { Registry } from "./registry";
import { tellWarnings, warningLines } from "./warn";

/**
 * The farms of a group as one gateway gets them, in the order of their names. As a function, because Pulumi copies objects whenever
 * it puts Outputs together, and knows no Map.
 */
type CompiledGroup = () => ReadonlyMap<string, Compiled>;
/** What the farms of a group are, likewise. */
type Specs = () => Record<string, FarmSpec>;

/**
 * Many farms on the same gateways. They travel together: each gateway gets all of them by one `remote.Command`, whose standard
 * input is their rule sets, one after the other by name, so that a preview's diff shows the lines of the farms that change. On the
 * gateway those that differ from what is there change at once, all of them or none; the others are not touched.
 *
 * For some tens of farms `LoadBalancerFarm` does as well; with hundreds of Commands the engine takes long, and gigabytes. A farm of a
 * group is on no trial: see `confirm`.
 *
 * @throws RunError (at construction, or in the preview where values come from other resources) with every problem of the
 * arguments, each with its path (`farms.web.backends[0].weight`), the value and what would be right
 */
export class LoadBalancerFarms extends pulumi.ComponentResource {
  /** Farm to backend (`10.0.0.3`, or `10.0.0.3:80` where it has a port) to its share of the new connections, 0 to 1. */
  readonly shares!: pulumi.Output<Record<string, Record<string, number>>>;
  /** Farm to backend to its connection mark (where gateways differ in `markMask`: on the first). */
  readonly marks!: pulumi.Output<Record<string, Record<string, number>>>;
  /** Farm to backend to the probability that its rule carries: as in `LoadBalancerFarm`. */
  readonly probabilities!: pulumi.Output<Record<string, Record<string, number>>>;
  /** Farm to gateway to the rule set that is applied there. */
  readonly ruleSets!: pulumi.Output<Record<string, Record<string, string>>>;

  constructor(name: string, args: LoadBalancerFarmsArgs, opts?: pulumi.ComponentResourceOptions) {
    if (opts?.urn !== undefined) {
      // A reference to a group that another program made: nothing to create.
      super("netfilter-lb:index:LoadBalancerFarms", name, {}, opts);
      return;
    }
    const gateways = asRunError(() => checkGroup(name, args));
    const specs = pulumi.output(args.farms).apply(
      (farms): Specs =>
        () =>
          farms as Record<string, FarmSpec>,
    );
    const unconfirmed = args.confirm?.withinSeconds === 0;
    const compiled = gateways.map((gateway) => {
      const group = compileFor(name, specs, gateway);
      return { gateway, group: unconfirmed ? group : withoutSsh(name, gateway, group) };
    });
    const first = compiled[0]!.group;

    super(
      "netfilter-lb:index:LoadBalancerFarms",
      name,
      {
        // One text, because the engine prints every entry of an object in which one changes; of a text it prints the lines that change.
        farms: first.apply((group) =>
          [...group().values()].map(({ plan, ruleSet }) => describeShortly(plan, ruleSet)).join("\n"),
        ),
        gateways: describeGateways(gateways),
        ...(args.confirm && { confirm: "never: a change counts at once" }),
      },
      opts,
    );

    for (const { gateway, group } of compiled) this.apply(name, gateway, group, opts);
    this.warn(name, specs, compiled);

    this.shares = first.apply((group) => each(group, ({ plan }) => sharesOf(plan)));
    this.marks = first.apply((group) => each(group, ({ plan }) => marksOf(plan)));
    this.probabilities = first.apply((group) => each(group, ({ plan }) => probabilitiesOf(plan)));
    this.ruleSets = pulumi
      .all(compiled.map(({ group }) => group))
      .apply((groups) =>
        each(groups[0]!, (_, farm) =>
          Object.fromEntries(
            groups.map((group, index) => [gateways[index]!.name, group().get(farm)!.ruleSet]),
          ),
        ),
      );
    this.registerOutputs({
      shares: this.shares,
      marks: this.marks,
      probabilities: this.probabilities,
      ruleSets: this.ruleSets,
    });
  }

  private apply(
    name: string,
    gateway: NamedGateway,
    group: pulumi.Output<CompiledGroup>,
    opts: pulumi.ComponentResourceOptions | undefined,
  ): void {
    const { owner, command: host } = hostOf(gateway, `group ${name}`, this, opts);
    const options = { sudo: gateway.sudo ?? false };
    const registry = Registry.current();
    registry.nameGroup(name, gateway.name, opts?.parent);
    const text = group.apply((farms) => [...farms().values()].map(({ ruleSet }) => ruleSet).join(""));
    commandOn(
      gateway,
      registry.nameCommand(name, gateway.name, "", opts?.parent),
      {
        stdin: text,
        create: text.apply((sets) => applyGroupCommand(name, owner, sets, options)),
        delete: removeGroupCommand(name, owner, options),
        triggers: [host.id],
      },
      { parent: this, ...reportOptions({ group: name }, gateway.name) },
    );
  }

  /** What its gateways will run short of, in one warning. */
  private warn(
    name: string,
    specs: pulumi.Output<Specs>,
    compiled: readonly { gateway: NamedGateway; group: pulumi.Output<CompiledGroup> }[],
  ): void {
    if (!pulumi.runtime.isDryRun()) return;
    const known = compiled.map(({ group, gateway }) => pulumi.all([targetOf(gateway), group]));
    pulumi.all([specs, pulumi.all(known)]).apply(([farms, worked]) => {
      const lines = Object.entries(farms()).flatMap(([farm, spec]) =>
        warningLines(
          spec,
          worked.map(([target, group], index) => ({
            gateway: compiled[index]!.gateway,
            target,
            plan: group().get(farm)!.plan,
          })),
          ["farms", farm],
        ),
      );
      tellWarnings(this, `group ${name}`, lines);
    });
  }
}

/** The same group, refused where SSH comes in by an address of it. That two addresses are the same is no secret. */
function withoutSsh(
  name: string,
  { connection, gone = false }: NamedGateway,
  group: pulumi.Output<CompiledGroup>,
): pulumi.Output<CompiledGroup> {
  if (gone) return group;
  const checked = pulumi.unsecret(
    pulumi.all([connection.host, group]).apply(([host, farms]) => {
      const problems = [...farms()].flatMap(([farm, { plan }]): Problem[] => {
        const service = plan.pools
          .flatMap(({ services }) => services)
          .find(({ address }) => touchesSsh(host, [address]));
        return service ? [{ path: ["farms", farm], text: trialText(service.address) }] : [];
      });
      if (problems.length > 0) asRunError(() => fail(name, problems));
    }),
  );
  return pulumi.all([group, checked]).apply(([farms]) => farms);
}

function compileFor(
  name: string,
  specs: pulumi.Output<Specs>,
  gateway: NamedGateway,
): pulumi.Output<CompiledGroup> {
  const registry = Registry.current();
  return pulumi.all([specs, targetOf(gateway)]).apply(([farms, target]) =>
    asRunError(() => {
      const group = compileGroup(name, farms(), target);
      for (const [farm, { plan }] of group) registry.claim(gateway.name, farm, plan, name);
      return () => group;
    }),
  );
}

/** @throws SpecError with every problem of every farm */
function compileGroup(
  name: string,
  farms: Record<string, FarmSpec>,
  target: TargetSpec,
): Map<string, Compiled> {
  const group = new Map<string, Compiled>();
  const problems: Problem[] = [];
  for (const farm of Object.keys(farms).sort()) {
    try {
      group.set(farm, compile(farm, farms[farm]!, target));
    } catch (error) {
      if (!(error instanceof SpecError)) throw error;
      problems.push(...error.problems.map(({ path, text }) => ({ path: ["farms", farm, ...path], text })));
    }
  }
  if (problems.length > 0) fail(name, problems);
  return group;
}

function fail(name: string, problems: readonly Problem[]): never {
  throw specError(name, problems, "group");
}

function each<T>(group: CompiledGroup, value: (compiled: Compiled, farm: string) => T): Record<string, T> {
  return Object.fromEntries([...group()].map(([farm, compiled]) => [farm, value(compiled, farm)]));
}
