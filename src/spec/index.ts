/**
 * Checks what a user wrote, as a whole: every problem at once, each with its path, the value and what would be right.
 */
import { checkFarm, checkTarget, type Soundness } from "./check";
import { type Problem, SpecError } from "./problem";
import { checkName, checkShape, PENDING, schemas } from "./schema";
import type { FarmSpec, TargetSpec } from "./types";

/**
 * Problems of a farm. Leaves may be `PENDING` (not known before an update); what depends on them is then not checked.
 */
export function farmProblems(spec: unknown): Problem[] {
  const shape = checkShape(schemas.farm, spec);
  return [...shape, ...relations(spec, shape)];
}

/** Problems of the properties of a gateway, alone and together with the farm. */
export function targetProblems(target: unknown, spec: unknown): Problem[] {
  const shape = checkShape(schemas.target, target);
  return shape.length > 0 ? shape : checkTarget(target as TargetSpec, spec as FarmSpec, soundness(spec, []));
}

/** The contradictions in what is right in itself. `shape` has the problems of the single fields. */
export function relations(spec: unknown, shape: readonly Problem[]): Problem[] {
  if (typeof spec !== "object" || spec === null) return [];
  return checkFarm(spec as FarmSpec, soundness(spec, shape));
}

/**
 * @throws SpecError with every problem
 */
export function assertValid(name: unknown, spec: unknown, target: unknown): asserts spec is FarmSpec {
  const problems = [...checkName(name), ...farmProblems(spec), ...targetProblems(target, spec)];
  if (problems.length > 0) throw new SpecError(`farm ${String(name)}`, problems);
}

/** Tells whether what stands at a path is known, and no problem was found at or below it. */
export function soundness(spec: unknown, problems: readonly Problem[]): Soundness {
  const wrong = new Set(
    problems.flatMap(({ path }) => path.map((_, end) => path.slice(0, end + 1).join("."))),
  );
  return (...path) => {
    const value = path.reduce<unknown>(
      (at, key) => (at as Record<string | number, unknown> | undefined)?.[key],
      spec,
    );
    return !wrong.has(path.join(".")) && !hasPending(value);
  };
}

function hasPending(value: unknown): boolean {
  return (
    value === PENDING ||
    (typeof value === "object" && value !== null && Object.values(value).includes(PENDING))
  );
}
