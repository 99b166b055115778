/**
 * Reads the part of nft's language that a rule set may use (nft(8)), word by word; a word that is not known here is an error.
 */

/** A value that a packet or a connection has, or that is made of such. */
export type Expression =
  | { kind: "field"; name: Field }
  | { kind: "constant"; text: string }
  | { kind: "concatenation"; parts: Expression[] }
  | { kind: "and" | "or"; of: Expression; with: string }
  | { kind: "numgen"; how: "random" | "inc"; modulus: number /** Of `inc`. */; turn: { next: number } }
  | { kind: "jhash"; of: Expression; modulus: number; seed: number }
  | { kind: "lookup"; of: Expression; in: Table };

const FIELDS = [
  "ip saddr",
  "ip daddr",
  "ip6 saddr",
  "ip6 daddr",
  "meta l4proto",
  "th sport",
  "th dport",
  "ct mark",
  "tcp flags",
  "ct original ip daddr",
  "ct original ip6 daddr",
] as const;
export type Field = (typeof FIELDS)[number];

/** A map or a set: its elements as they stand, or a name. */
export type Table = { name: string } | { entries: Entry[] };

export interface Entry {
  key: string;
  value: string | undefined;
}

export type Statement =
  | { kind: "match"; of: Expression; negated: boolean; in: Table }
  | { kind: "vmap"; of: Expression; in: Table }
  | { kind: "setMark"; to: Expression }
  | { kind: "dynamic"; how: "add" | "update" | "delete"; set: string; key: Expression; does: Element }
  | { kind: "limit"; limit: Limit }
  | { kind: "log"; prefix: string }
  | { kind: "helper"; name: string }
  | { kind: "dnat" | "snat"; to: Expression }
  | { kind: "verdict"; verdict: Verdict };

/** What stands behind the key of an element that a packet adds. */
export interface Element {
  timeout?: number;
  limit?: Limit;
  /** `ct count over`. */
  over?: number;
  data?: Expression;
}

export interface Limit {
  over: boolean;
  perSecond: number;
  burst: number;
}

export type Verdict =
  | { kind: "drop" | "accept" | "return" | "masquerade" }
  | { kind: "goto" | "jump"; to: string }
  | { kind: "reject"; how: "tcp-reset" | "port-unreachable" };

/** @param text one rule, its lines joined by blanks, without comments */
export function parseRule(text: string): Statement[] {
  const words = new Words(text);
  const statements: Statement[] = [];
  while (!words.done()) statements.push(statement(words));
  return statements;
}

/** @param text what stands to the right of a colon in a verdict map */
export function parseVerdict(text: string): Verdict {
  const words = new Words(text);
  const parsed = verdict(words);
  if (!parsed || !words.done()) words.fail();
  return parsed!;
}

export function parseConstant(text: string): Expression {
  return { kind: "constant", text };
}

class Words {
  private readonly words: string[];
  private at = 0;

  constructor(private readonly text: string) {
    this.words = text.match(/"[^"]*"|[{}(),;]|[^\s{}(),;"]+/g) ?? [];
  }

  done(): boolean {
    return this.at === this.words.length;
  }

  /** The next word, if it is this one. */
  has(...wanted: string[]): boolean {
    if (!wanted.every((word, i) => this.words[this.at + i] === word)) return false;
    this.at += wanted.length;
    return true;
  }

  peek(): string | undefined {
    return this.words[this.at];
  }

  take(): string {
    return this.words[this.at++] ?? this.fail();
  }

  must(...wanted: string[]): void {
    if (!this.has(...wanted)) this.fail();
  }

  number(suffix = ""): number {
    const [, digits] = new RegExp(`^(\\d+|0x[0-9a-f]+)${suffix}$`).exec(this.take()) ?? this.fail();
    return Number(digits);
  }

  fail(): never {
    throw new Error(`not understood at ${this.words[this.at] ?? "its end"}: ${this.text}`);
  }
}

function statement(words: Words): Statement {
  const first = verdict(words);
  if (first) return { kind: "verdict", verdict: first };
  if (words.has("ct", "mark", "set")) return { kind: "setMark", to: expression(words) };
  if (words.has("ct", "helper", "set")) return { kind: "helper", name: unquoted(words.take()) };
  if (words.has("dnat", "to")) return { kind: "dnat", to: expression(words) };
  if (words.has("snat", "to")) return { kind: "snat", to: expression(words) };
  if (words.has("limit")) return { kind: "limit", limit: limit(words) };
  if (words.has("log")) {
    words.must("prefix");
    const prefix = unquoted(words.take());
    words.must("level", "info");
    return { kind: "log", prefix };
  }
  for (const how of ["add", "update", "delete"] as const)
    if (words.has(how)) {
      const set = words.take();
      if (!set.startsWith("@")) words.fail();
      words.must("{");
      const key = expression(words);
      const does = element(words);
      words.must("}");
      return { kind: "dynamic", how, set: set.slice(1), key, does };
    }

  const of = expression(words);
  if (of.kind === "constant" || of.kind === "concatenation") words.fail();
  if (words.has("vmap")) return { kind: "vmap", of, in: table(words) };
  const negated = words.has("!=");
  if (!negated) words.has("==");
  const word = words.peek() ?? words.fail();
  if (word === "{" || word.startsWith("@")) return { kind: "match", of, negated, in: table(words) };
  return { kind: "match", of, negated, in: { entries: [{ key: constant(words), value: undefined }] } };
}

function verdict(words: Words): Verdict | undefined {
  for (const kind of ["drop", "accept", "return", "masquerade"] as const)
    if (words.has(kind)) return { kind };
  for (const kind of ["goto", "jump"] as const) if (words.has(kind)) return { kind, to: words.take() };
  if (words.has("reject", "with", "tcp", "reset")) return { kind: "reject", how: "tcp-reset" };
  // nft(8): without more, `reject` answers with "port unreachable" of the packet's family.
  if (words.has("reject")) return { kind: "reject", how: "port-unreachable" };
  return undefined;
}

function expression(words: Words): Expression {
  const parts = [primary(words)];
  while (words.has(".")) parts.push(primary(words));
  let of: Expression = parts.length === 1 ? parts[0]! : { kind: "concatenation", parts };
  while (words.has("map")) of = { kind: "lookup", of, in: table(words) };
  return of;
}

function primary(words: Words): Expression {
  let of = generator(words) ?? field(words) ?? parseConstant(constant(words));
  for (;;) {
    if (words.has("&")) of = { kind: "and", of, with: constant(words) };
    else if (words.has("|")) of = { kind: "or", of, with: constant(words) };
    else return of;
  }
}

function generator(words: Words): Expression | undefined {
  if (words.has("numgen")) {
    const how = words.has("inc") ? "inc" : "random";
    if (how === "random") words.must("random");
    words.must("mod");
    return { kind: "numgen", how, modulus: words.number(), turn: { next: 0 } };
  }
  if (!words.has("jhash")) return undefined;
  const of = expression(words);
  words.must("mod");
  const modulus = words.number();
  words.must("seed");
  return { kind: "jhash", of, modulus, seed: words.number() };
}

function field(words: Words): Expression | undefined {
  // "ct original ip daddr" begins like no other.
  for (const name of FIELDS) if (words.has(...name.split(" "))) return { kind: "field", name };
  return undefined;
}

/** A word, or flags: `( fin | syn )`, also without the brackets of a single one. */
function constant(words: Words): string {
  if (!words.has("(")) {
    const word = words.take();
    if (/^[{}(),;:.|&]$/.test(word)) words.fail();
    return word;
  }
  const flags = [words.take()];
  while (words.has("|")) flags.push(words.take());
  words.must(")");
  return flags.join(",");
}

function table(words: Words): Table {
  const name = words.peek();
  if (name?.startsWith("@")) return { name: words.take().slice(1) };
  words.must("{");
  const entries: Entry[] = [];
  while (!words.has("}")) {
    const [key, value] = [[] as string[], [] as string[]];
    let side = key;
    for (let word = words.take(); word !== ","; word = words.take()) {
      if (word === ":") side = value;
      else side.push(word);
      if (words.peek() === "}") break;
    }
    entries.push({ key: key.join(" "), value: side === key ? undefined : value.join(" ") });
  }
  if (entries.length === 0) words.fail();
  return { entries };
}

function element(words: Words): Element {
  const does: Element = {};
  for (;;) {
    if (words.has("timeout")) does.timeout = words.number("s");
    else if (words.has("limit")) does.limit = limit(words);
    else if (words.has("ct", "count", "over")) does.over = words.number();
    else if (words.has(":")) does.data = expression(words);
    else return does;
  }
}

function limit(words: Words): Limit {
  words.must("rate");
  const over = words.has("over");
  const perSecond = words.number("/second");
  words.must("burst");
  const burst = words.number();
  words.must("packets");
  return { over, perSecond, burst };
}

function unquoted(word: string): string {
  const [, inner] = /^"(.*)"$/.exec(word) ?? [];
  if (inner === undefined) throw new Error(`${word} has no quotes`);
  return inner;
}
