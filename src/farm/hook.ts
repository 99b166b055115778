import { AsyncResource } from "node:async_hooks";
import * as pulumi from "@pulumi/pulumi";
import { changesOf } from "../report/group";
import { type Rules, sayRules } from "../report/rules";

/**
 * Lets `pulumi preview` itself say what a change does to traffic, where the stack's setting `netfilter-lb:report` is true.
 *
 * A resource hook sees the old rule set and the new one. The report can be done without, so where hooks cannot be registered the program
 * goes on. The SDK would end it: it registers a hook as soon as that is made, waits for it when it registers the resource, and throws
 * what went wrong, such as `UNIMPLEMENTED` from a language host that is older than the engine (which the engine's list of
 * features does not show). So the resource waits for the registration here, and only then has the hook or none.
 *
 * What leaves the program has no hook (a `beforeDelete` makes `pulumi destroy` fail): `netfilter-lb report` tells it.
 *
 * @param who whose rules they are: a farm's, or those of a group of farms
 * @returns options for the resource that holds the rules on a gateway
 */
export function reportOptions(who: Who, gateway: string): pulumi.CustomResourceOptions {
  const monitor = pulumi.runtime.getMonitor() as Monitor | undefined;
  if (!pulumi.runtime.isDryRun() || !isWanted()) return {};
  // The monitor of unit tests has no hooks, although it says so.
  if (!hasEngine() || monitor === undefined) return {};

  const hook = makeHook(who, gateway);
  let registered = false;
  const settled: Promise<pulumi.Resource[]> = Promise.resolve(hook.__registered).then(
    () => {
      registered = true;
      return [];
    },
    () => {
      sayUnsupported(monitor);
      return [];
    },
  );
  const hooks = lateBinding(() => (registered ? [hook] : []));
  return {
    dependsOn: settled,
    // `mergeOptions`, which every generated resource calls, would read the binding at once.
    transformations: [({ props, opts }) => ({ props, opts: { ...opts, hooks } })],
  };
}

/** Hooks that are asked for when all that the resource waits for is there. A user's transformation may add its own. */
function lateBinding(hooksOf: () => pulumi.ResourceHook[]): pulumi.ResourceHookBinding {
  const binding: pulumi.ResourceHookBinding = {};
  for (const when of ["beforeCreate", "beforeUpdate"] as const) {
    let others: NonNullable<(typeof binding)[typeof when]> = [];
    Object.defineProperty(binding, when, {
      enumerable: true,
      get: () => [...others, ...hooksOf()],
      set: (merged: typeof others) => {
        others = merged.filter((one) => !hooksOf().includes(one as pulumi.ResourceHook));
      },
    });
  }
  return binding;
}

/** Whether an engine runs the program, and not a unit test (`setMocks`), which knows neither hooks nor transforms. */
export function hasEngine(): boolean {
  return typeof (pulumi.runtime.getMonitor() as Monitor | undefined)?.registerResourceHook === "function";
}

interface Monitor {
  registerResourceHook?: unknown;
}

function isWanted(): boolean {
  return new pulumi.Config("netfilter-lb").getBoolean("report") === true;
}

/** Whose rules a resource holds. */
export type Who = { farm: string } | { group: string };

/** Farms of a group that a preview tells of one by one. */
const TOLD = 20;

function makeHook(who: Who, gateway: string): pulumi.ResourceHook & { __registered?: Promise<void> } {
  const print = ({ oldInputs, newInputs }: pulumi.ResourceHookArgs): void => {
    const [before, after] = [rulesOf(oldInputs), rulesOf(newInputs)];
    // Not with the resource, whose URN comes only after this.
    void pulumi.log.info(
      ("farm" in who
        ? sayFarm(who.farm, gateway, before, after)
        : sayGroup(who.group, gateway, before, after)
      ).join("\n"),
    );
  };
  const name = "farm" in who ? `farm:${who.farm}` : `group:${who.group}`;
  // It is called from outside, and finds its program again: several may run in one process.
  return new pulumi.ResourceHook(`netfilter-lb:report:${name}:${gateway}`, AsyncResource.bind(print), {
    onDryRun: true,
    ignoreErrors: true,
  });
}

function sayFarm(farm: string, gateway: string, before: Rules, after: Rules): string[] {
  return [`${farm} on ${gateway}`, ...sayRules(before, after).map((line) => `  ${line}`)];
}

/** The farms of the group that change; where none does, or all is hidden, the group as if it were a farm. */
function sayGroup(group: string, gateway: string, before: Rules, after: Rules): string[] {
  const changes = changesOf(before, after);
  if (changes.length === 0) return sayFarm(`group ${group}`, gateway, before, after);
  const left = changes.length - TOLD;
  return [
    ...changes.slice(0, TOLD).flatMap((change) => sayFarm(change.farm, gateway, change.before, change.after)),
    ...(left > 0
      ? [
          `group ${group} on ${gateway}: ${left} more farms change; pulumi preview --json | npx netfilter-lb report tells all`,
        ]
      : []),
  ];
}

function rulesOf(inputs: Record<string, unknown> | undefined): Rules {
  if (!inputs) return { kind: "none" };
  const { stdin } = inputs;
  if (typeof stdin === "string") return { kind: "text", text: stdin };
  return { kind: pulumi.Output.isInstance(stdin) ? "secret" : "unknown" };
}

/** Monitors of runs that were told. */
const told = new WeakSet<object>();

function sayUnsupported(monitor: object): void {
  if (told.has(monitor)) return;
  told.add(monitor);
  void pulumi.log.info(
    "netfilter-lb:report is set, but no resource hook can be registered here (Pulumi's language host is older than its engine?): " +
      "for what this changes for traffic, run pulumi preview --json | npx netfilter-lb report",
  );
}
