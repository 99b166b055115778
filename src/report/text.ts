import { SpecError, show } from "../spec/problem";

/** Rule-set text, line by line. */
export class Lines {
  private at = 0;

  constructor(private readonly lines: readonly string[]) {}

  /** The line that comes next; undefined behind the last. */
  peek(): string | undefined {
    return this.lines[this.at];
  }

  /** How many lines there are from the next one on. */
  get left(): number {
    return this.lines.length - this.at;
  }

  /** What a pattern finds in the next line, which is then passed; undefined where it does not match. */
  take(pattern: RegExp): string[] | undefined {
    const found = pattern.exec(this.peek() ?? "");
    if (!found || this.at >= this.lines.length) return undefined;
    this.at++;
    return [...found].map((part) => part ?? "");
  }

  /** What it finds in each of the lines that follow, as long as it does. */
  takeAll(pattern: RegExp): string[][] {
    const all: string[][] = [];
    for (let found = this.take(pattern); found; found = this.take(pattern)) all.push(found);
    return all;
  }

  /** The same, where nothing else can stand. */
  need(pattern: RegExp): string[] {
    return this.take(pattern) ?? this.fail();
  }

  /** @throws SpecError that shows the next line */
  fail(): never {
    const line = this.peek();
    throw notARuleSet(line === undefined ? "ends too early" : `line ${this.at + 1} is ${show(line)}`);
  }
}

export function notARuleSet(what: string): SpecError {
  return new SpecError("rule set", [
    {
      path: [],
      text: `${what}, which no rule set of this package has; give the text of compile(), or the standard input of a farm's Command, as it is`,
    },
  ]);
}
