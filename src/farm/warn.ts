import * as pulumi from "@pulumi/pulumi";
import { capacityOf } from "../capacity/capacity";
import type { CapacityWarning } from "../capacity/warning";
import type { Compiled } from "../core";
import type { Plan } from "../plan/plan";
import { formatProblem } from "../spec/problem";
import type { FarmSpec, TargetSpec } from "../spec/types";
import type { NamedGateway } from "./gateway";

/** What a farm's rules on one gateway come from. */
export interface OnGateway {
  gateway: NamedGateway;
  target: pulumi.Output<TargetSpec>;
  compiled: pulumi.Output<Compiled>;
}

/**
 * Tells in a preview, as a warning of the component, what its gateways will run short of. Once for the farm: what is the same
 * on several gateways stands there once. Where values are not known before an update, nothing is told.
 */
export function warnOfCapacity(
  farm: pulumi.Resource,
  name: string,
  spec: pulumi.Output<FarmSpec>,
  places: readonly OnGateway[],
): void {
  if (!pulumi.runtime.isDryRun()) return;
  const known = places.map(({ target, compiled }) => pulumi.all([target, compiled]));
  pulumi.all([spec, pulumi.all(known)]).apply(([farmSpec, worked]) => {
    const planned = worked.map(([target, { plan }], index) => ({
      gateway: places[index]!.gateway,
      target,
      plan,
    }));
    tellWarnings(farm, `farm ${name}`, warningLines(farmSpec, planned));
  });
}

/** A farm, worked out for a gateway. */
export interface PlannedOnGateway {
  gateway: NamedGateway;
  target: TargetSpec;
  plan: Plan;
}

/** What the gateways of a farm will run short of, a line each. @param prefix of a line about the farm itself */
export function warningLines(
  farm: FarmSpec,
  places: readonly PlannedOnGateway[],
  prefix: readonly string[] = [],
): string[] {
  const found = places.flatMap(({ gateway: { capacity }, target, plan }, index) => {
    const { warnings } = capacityOf(plan, farm, { ...target, ...(capacity && { capacity }) });
    return warnings.map((warning) => ({ warning, index }));
  });
  return sayWarnings(
    found,
    places.map(({ gateway }) => gateway.name),
    prefix,
  );
}

export function tellWarnings(about: pulumi.Resource, who: string, lines: readonly string[]): void {
  if (lines.length === 0) return;
  const title = `${who}: ${lines.length === 1 ? "1 warning" : `${lines.length} warnings`} about what its gateways can carry`;
  void pulumi.log.warn([title, ...lines.map((line) => `  ${line}`)].join("\n"), about);
}

/** A line for each, with the gateways that it is about where those are not all. */
function sayWarnings(
  found: readonly { warning: CapacityWarning; index: number }[],
  gateways: readonly string[],
  prefix: readonly string[],
): string[] {
  const on = new Map<string, string[]>();
  for (const { warning, index } of found) {
    const path = warning.of === "farm" ? [...prefix, ...warning.path] : ["gateways", index, ...warning.path];
    const line = `${formatProblem({ path, text: warning.text })} [${warning.code}; ${warning.source}]`;
    on.set(line, [...(on.get(line) ?? []), ...(warning.of === "farm" ? [gateways[index]!] : gateways)]);
  }
  return [...on].map(([line, names]) =>
    names.length === gateways.length ? line : `on ${names.join(", ")}: ${line}`,
  );
}
