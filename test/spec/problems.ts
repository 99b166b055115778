import { compile, formatProblem, SpecError } from "../../src/core";
import { FARM, NFTABLES } from "./farms";

/** The fields that an error names. */
export const BACKEND_FIELDS = "address, port, weight, mark, state, priority, maxConnections";
export const FARM_FIELDS =
  "listeners, backends, algorithm, sourceNat, localNetworks, prefixLength, prefixLength6, slots, affinity, pins, " +
  "minActive, whenEmpty, onRemoval, limits, allow, deny, looseTcp, helper, log";

/** What a farm is told, a line a problem; an empty list where it compiles. Everything is of the wrong type on purpose. */
export function problemsOf(
  spec: unknown,
  { name = "web", target = NFTABLES }: { name?: unknown; target?: unknown } = {},
): string[] {
  try {
    compile(name as never, spec as never, target as never);
    return [];
  } catch (error) {
    if (error instanceof SpecError) return error.problems.map(formatProblem);
    throw error;
  }
}

/** What a farm with this one listener is told. */
export function listenerProblems(listener: unknown): string[] {
  return problemsOf({ ...FARM, listeners: [listener] });
}

/** What a farm is told whose first backend is this one. */
export function backendProblems(backend: unknown): string[] {
  return problemsOf({ ...FARM, backends: [backend, { address: "10.0.0.4" }] });
}
