/**
 * The pure part: plain data in, plain data out, synchronous, without Pulumi.
 */
import { renderIptables } from "./iptables/render";
import { renderNftables } from "./nftables/render";
import { makePlan, type Plan } from "./plan/plan";
import { assertValid } from "./spec";
import type { FarmSpec, TargetSpec } from "./spec/types";

export { type Capacity, capacity } from "./capacity/capacity";
export type { ConntrackCapacity } from "./capacity/conntrack";
export type { SetCapacity } from "./capacity/sets";
export type { ShareCapacity } from "./capacity/shares";
export type { SourcePortCapacity } from "./capacity/source-ports";
export { type CapacityWarning, CapacityWarningCode } from "./capacity/warning";
export { type Explanation, explain, type Possibility } from "./explain/explain";
export type { Limit, Packet } from "./explain/packet";
export type { DropReason, Effect, Hook, Outcome, Place, Rejection, Source, Step } from "./explain/trace";
export type { Ratio } from "./plan/fraction";
export type { Plan, PlannedBackend, PlannedSourceNat, Pool } from "./plan/plan";
export { probabilityOf } from "./plan/probability";
export { compare } from "./report/compare";
export type {
  BackendChange,
  Change,
  Comparison,
  MovedPart,
  ServiceMoves,
} from "./report/comparison";
export type { ReadPin, ReadRole } from "./report/features";
export type { Address, Family } from "./spec/address";
export type { PortRange } from "./spec/ports";
export { formatProblem, type Problem, SpecError } from "./spec/problem";
export type { Service } from "./spec/service";
export * from "./spec/types";

/** A farm as one gateway gets it. */
export interface Compiled {
  plan: Plan;
  /** The very text that the gateway gets (docs/rule-set.md). */
  ruleSet: string;
}

/**
 * Works a farm out and writes its rules for one gateway. The same input gives the same bytes.
 *
 * @param name letters, digits and single `-` or `_`, a letter first, at most 63 characters
 * @throws SpecError with every problem of the farm, each with its path, the value and what would be right
 */
export function compile(name: string, spec: FarmSpec, target: TargetSpec): Compiled {
  assertValid(name, spec, target);
  const plan = makePlan(name, spec, target);
  return { plan, ruleSet: render(plan, target) };
}

function render(plan: Plan, target: TargetSpec): string {
  switch (target.dataPlane) {
    case "nftables":
      return renderNftables(plan);
    case "iptables":
      return renderIptables(plan, target.layout ?? "nat");
    default:
      throw target.dataPlane satisfies never;
  }
}
