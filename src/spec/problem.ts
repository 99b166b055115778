/** One thing that is wrong with what a user wrote. */
export interface Problem {
  /** Where: `["backends", 2, "weight"]`. */
  path: readonly PropertyKey[];
  /** The value and what would be right: `0 is not between 1 and 65535; …`. */
  text: string;
}

/** Everything that is wrong with a farm, in one error. */
export class SpecError extends Error {
  override readonly name = "SpecError";

  constructor(
    readonly subject: string,
    readonly problems: readonly Problem[],
  ) {
    const lines = problems.map((problem) => `  ${formatProblem(problem)}`);
    super(
      `${subject}: ${problems.length === 1 ? "1 problem" : `${problems.length} problems`}\n${lines.join("\n")}`,
    );
  }
}

/** `backends[2].weight: 0 is not between 1 and 65535; …`. */
export function formatProblem({ path, text }: Problem): string {
  const where = path.map(formatKey).join("");
  return where === "" ? text : `${where}: ${text}`;
}

function formatKey(key: PropertyKey, position: number): string {
  if (typeof key === "number") return `[${key}]`;
  const name = String(key);
  // A field that nobody foresaw may be called anything.
  if (!/^\w{1,63}$/.test(name)) return `[${show(name)}]`;
  return position === 0 ? name : `.${name}`;
}

/** A value as an error shows it: on one line, never long, and with nothing that a terminal would obey or not show. */
export function show(value: unknown): string {
  const raw = typeof value === "string" ? JSON.stringify(value) : describe(value);
  const text = raw.replace(/\p{C}/gu, escaped);
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}

function escaped(character: string): string {
  const units = Array.from({ length: character.length }, (_, unit) => character.charCodeAt(unit));
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "function") return "a function";
  if (typeof value === "symbol") return "a symbol";
  if (typeof value === "object" && value !== null) return "an object";
  return String(value);
}
