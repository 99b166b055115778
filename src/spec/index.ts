/**
 * Checks what a user wrote, as a whole: every problem at once, each with its path, the value and what would be right.
 */
import { checkFarm } from "./check-farm";
import { checkTarget } from "./check-target";
import type { Soundness } from "./entry";
import { type Problem, SpecError, show } from "./problem";
import { checkName, checkShape, PENDING, schemas } from "./schema";
import type { FarmSpec, TargetSpec } from "./types";

/**
 * The contradictions in what is right in itself. Leaves may be `PENDING` (not known before an update); what depends on
 * them is then not checked.
 *
 * @param shape the problems of the single fields
 */
export function relations(spec: unknown, shape: readonly Problem[]): Problem[] {
  if (shape.some(({ path }) => path.length === 0)) return [];
  return checkFarm(spec as FarmSpec, soundness(spec, shape));
}

/**
 * @throws SpecError with every problem
 */
export function assertValid(name: unknown, spec: unknown, target: unknown): asserts spec is FarmSpec {
  assertFor(schemas.target, name, spec, target);
}

/**
 * The same for a gateway of which is said what it can carry.
 *
 * @throws SpecError with every problem
 */
export function assertCapacity(name: unknown, spec: unknown, gateway: unknown): asserts spec is FarmSpec {
  assertFor(schemas.capacityGateway, name, spec, gateway);
}

function assertFor(
  schema: (typeof schemas)["target" | "capacityGateway"],
  name: unknown,
  spec: unknown,
  target: unknown,
): void {
  const shape = checkShape(schemas.farm, spec);
  const targetShape = checkShape(schema, target);
  const problems = [
    ...checkName(name),
    ...shape,
    ...relations(spec, shape),
    ...targetShape,
    ...(targetShape.length > 0
      ? []
      : checkTarget(target as TargetSpec, spec as FarmSpec, soundness(spec, shape))),
  ];
  if (problems.length > 0) throw specError(name, problems);
}

/**
 * The same for a farm alone, without a gateway.
 *
 * @throws SpecError with every problem
 */
export function assertFarm(name: unknown, spec: unknown): asserts spec is FarmSpec {
  const shape = checkShape(schemas.farm, spec);
  const problems = [...checkName(name), ...shape, ...relations(spec, shape)];
  if (problems.length > 0) throw specError(name, problems);
}

/** One error for a farm or a group of farms, whatever its name is. */
export function specError(
  name: unknown,
  problems: readonly Problem[],
  what: "farm" | "group" = "farm",
): SpecError {
  if (name === undefined) return new SpecError(`${what} without a name`, problems);
  return new SpecError(`${what} ${checkName(name).length === 0 ? name : show(name)}`, problems);
}

/** Tells whether what stands at a path is known, and no problem was found at, above or below it. */
export function soundness(spec: unknown, problems: readonly Problem[]): Soundness {
  if (problems.some(({ path }) => path.length === 0)) return () => false;
  const wrong = new Set(problems.map(({ path }) => path.join(".")));
  const holdsWrong = new Set(problems.flatMap(({ path }) => beginnings(path)));
  return (...path) => {
    const value = path.reduce<unknown>(
      (at, key) => (at as Record<string | number, unknown> | undefined)?.[key],
      spec,
    );
    return (
      !holdsWrong.has(path.join(".")) &&
      !beginnings(path).some((part) => wrong.has(part)) &&
      !hasPending(value)
    );
  };
}

/** `backends`, `backends.2`, `backends.2.weight`. */
function beginnings(path: readonly PropertyKey[]): string[] {
  return path.map((_, end) => path.slice(0, end + 1).join("."));
}

function hasPending(value: unknown): boolean {
  return (
    value === PENDING ||
    (typeof value === "object" && value !== null && Object.values(value).some(hasPending))
  );
}
