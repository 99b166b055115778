import { nftSlot } from "./kernel-hash";
import { bytesOf, numberOf, rangeOf } from "./network";
import {
  type Element,
  type Expression,
  type Field,
  type Limit,
  parseRule,
  parseVerdict,
  type Statement,
  type Table,
  type Verdict,
} from "./nft-parse";
import {
  flagBits,
  type Hashing,
  type Memory,
  NO_TRACES,
  type Outcomes,
  type Packet,
  PROTOCOL_NUMBER,
  type Traces,
  translatedTo,
  withTraces,
} from "./packet";
import { Rational } from "./rational";

/**
 * Walks packets through the text of an nftables rule set and the shared table that docs/rule-set.md describes, and knows
 * nothing of how that text is made. Random numbers are followed all ways; a counter (`inc`) counts from packet to packet.
 */
export class NftablesGateway {
  /** `FAMILY CHAIN` to its rules. */
  private readonly chains = new Map<string, Statement[][]>();
  /** `FAMILY NAME` to what a helper is for, or to nothing for a map or set. */
  private readonly objects = new Map<string, { helper: string; protocol: string } | undefined>();
  private readonly elements: Claimed[] = [];

  constructor(ruleSet: string) {
    let family = "";
    let chain: Statement[][] = [];
    let open = "";
    for (const line of ruleSet.split("\n")) {
      const text = line.trim().replace(/ *#.*/, "");
      if (text === "") continue;
      const table = /^table (ip6?) netfilter_lb \{$/.exec(text);
      const opening = /^chain (\S+) \{$/.exec(text);
      const object = /^(?:map|set|ct helper) (\S+) \{ (.*;) \}$/.exec(text);
      const element = /^add element (ip6?) netfilter_lb (\S+) \{ (.+?)(?: : goto (\S+))? \}$/.exec(text);
      if (open !== "" || /[{(]$/.test(text.replace(/^(table|chain) .*/, ""))) {
        open = `${open} ${text}`;
        if (open.split("{").length > open.split("}").length) continue;
        chain.push(parseRule(open));
        open = "";
      } else if (table) family = table[1]!;
      else if (opening) {
        chain = [];
        this.chains.set(`${family} ${opening[1]}`, chain);
      } else if (object) {
        const helper = /^type "(.+)" protocol (.+);$/.exec(object[2]!);
        const known = helper ? { helper: helper[1]!, protocol: helper[2]! } : undefined;
        if (!known && !/^type .*; size \d+; flags dynamic/.test(object[2]!))
          throw new Error(`not understood: ${text}`);
        this.objects.set(`${family} ${object[1]}`, known);
      } else if (element) this.elements.push(parseElement(element.slice(1)));
      else if (text !== "}") chain.push(parseRule(text));
    }
  }

  /** What becomes of a new connection, without what it leaves behind. */
  open(packet: Packet, memory: Memory = {}, hashing: Hashing = "any"): Outcomes {
    return this.follow(packet, memory, hashing, (outcome) => outcome);
  }

  /** What becomes of a new connection, with what it leaves behind. */
  trace(packet: Packet, memory: Memory = {}, hashing: Hashing = "any"): Outcomes {
    return this.follow(packet, memory, hashing, withTraces);
  }

  private follow(
    packet: Packet,
    memory: Memory,
    hashing: Hashing,
    say: (outcome: string, traces: Traces) => string,
  ): Outcomes {
    const family = familyOf(packet);
    const untranslated = this.guards(packet) ? "dropped" : "untouched";
    const service = packet.invalid
      ? undefined
      : this.find(family, ["services", "ranges", "addresses"], packet);
    if (!service) return new Map([[untranslated, Rational.ONE]]);

    const outcomes: Outcomes = new Map();
    for (const at of this.walk(family, service.chain!, { packet, memory, hashing })) {
      const isCounted = at.counted && at.counted === (at.connmark & at.counted) >>> 0;
      if ((at.dnat !== undefined) !== Boolean(isCounted))
        throw new Error("translated and counted are not the same");
      const outcome = at.dnat
        ? translatedTo(at.dnat.address, at.dnat.port ?? packet.port, at.connmark, this.source(family, packet))
        : at.verdict?.kind === "reject"
          ? `rejected ${at.verdict.how}`
          : at.verdict?.kind === "drop"
            ? "dropped"
            : untranslated;
      const said = say(outcome, at.traces);
      outcomes.set(said, (outcomes.get(said) ?? Rational.ZERO).plus(at.part));
    }
    return outcomes;
  }

  /** Whether a packet that no rule translated would be stopped. */
  guards(packet: Packet): boolean {
    return (
      this.find(familyOf(packet), ["guarded", "guarded_ranges", "guarded_addresses"], packet) !== undefined
    );
  }

  private find(family: string, maps: string[], packet: Packet): Claimed | undefined {
    const asked = [...maps, ...(packet.enters === undefined ? [] : maps.map((map) => `interface_${map}`))];
    for (const map of asked) {
      const found = this.elements.find(
        (one) => one.family === family && one.map === map && holds(one, packet),
      );
      if (found) return found;
    }
    return undefined;
  }

  /** The original destination decides, wherever the connection came in. */
  private source(family: string, packet: Packet): string {
    const element = this.find(family, ["sources", "source_ranges", "source_addresses"], {
      ...packet,
      enters: undefined,
    });
    if (!element) return "none";
    const [end, ...more] = this.walk(family, element.chain!, { packet, memory: {}, hashing: "own" });
    if (!end || more.length > 0) throw new Error(`${element.chain} leaves something to chance`);
    return end.snat ?? "none";
  }

  /** Through a chain, with all that chance may have it be. */
  private walk(family: string, chain: string, way: Way, entering: State = beginning(way)): State[] {
    const rules = this.chains.get(`${family} ${chain}`);
    if (!rules) throw new Error(`${family} ${chain} is not there`);
    let flow = [entering];
    for (const rule of rules) {
      flow = merged(
        flow.flatMap((state) => (isDecided(state) ? [state] : this.obey(family, rule, way, state))),
      );
    }
    return flow;
  }

  /** One rule. Where a statement does not match, those behind it are not asked. */
  private obey(family: string, rule: readonly Statement[], way: Way, entering: State): State[] {
    let flow: State[] = [entering];
    const out: State[] = [];
    for (const statement of rule)
      flow = flow.flatMap((state) => {
        const { goes, on } = this.step(family, statement, way, state);
        out.push(...on);
        return goes;
      });
    return [...flow, ...out];
  }

  /** @returns those that go on to the rule's next statement, and those for which the rule is over */
  private step(family: string, statement: Statement, way: Way, state: State): { goes: State[]; on: State[] } {
    const [goes, on]: [State[], State[]] = [[], []];
    const trace = (traces: Partial<Traces>): State => ({ ...state, traces: { ...state.traces, ...traces } });
    switch (statement.kind) {
      case "match":
        for (const { value, part } of this.evaluate(family, statement.of, way, state)) {
          const found = value && find(statement.in, value) !== undefined;
          // What a packet does not have is neither like nor unlike anything.
          (found !== undefined && found !== statement.negated ? goes : on).push({ ...state, part });
        }
        break;
      case "vmap":
        for (const { text, part } of this.lookUp(family, statement.of, statement.in, way, state))
          if (text === undefined) on.push({ ...state, part });
          else on.push(...this.decide(family, parseVerdict(text), way, { ...state, part }));
        break;
      case "setMark":
        for (const { value, part } of this.evaluate(family, statement.to, way, state))
          if (value) goes.push({ ...state, part, connmark: Number(value[0]!.number) });
          else on.push({ ...state, part });
        break;
      case "dynamic":
        for (const { value } of this.evaluate(family, statement.key, way, state)) {
          if (!value) throw new Error(`${statement.set}: a packet has no such key`);
          if (!this.objects.has(`${family} ${statement.set}`))
            throw new Error(`${statement.set} is not declared`);
          const { matches, after } = this.learn(family, statement.how, statement.does, value, way, state);
          (matches ? goes : on).push(after);
        }
        break;
      case "limit": {
        // What stands in a chain begins anew with every change of the farm: that is good enough for a log alone.
        if (statement.limit.over) throw new Error("a limit that forgets with its chain");
        (isLimited(statement.limit, way.memory.recent?.log) ? on : goes).push(state);
        break;
      }
      case "log":
        goes.push(trace({ logged: statement.prefix }));
        break;
      case "helper": {
        const object = this.objects.get(`${family} ${statement.name}`);
        if (!object) throw new Error(`${statement.name} is not declared`);
        goes.push(object.protocol === way.packet.protocol ? trace({ helper: object.helper }) : state);
        break;
      }
      case "dnat":
      case "snat":
        for (const { value, part } of this.evaluate(family, statement.to, way, state))
          if (!value) on.push({ ...state, part });
          else if (statement.kind === "dnat") on.push({ ...state, part, dnat: parseTarget(value) });
          else on.push({ ...state, part, snat: value[0]!.text });
        break;
      case "verdict":
        on.push(...this.decide(family, statement.verdict, way, state));
        break;
      default:
        throw statement satisfies never;
    }
    return { goes, on };
  }

  private decide(family: string, verdict: Verdict, way: Way, state: State): State[] {
    switch (verdict.kind) {
      case "goto":
        // Behind the end of a chain that was gone to, nothing of the farm's is asked any more.
        return this.walk(family, verdict.to, way, state).map((end) =>
          isDecided(end) ? end : { ...end, verdict: { kind: "accept" } },
        );
      case "jump":
        return this.walk(family, verdict.to, way, state);
      case "masquerade":
        return [{ ...state, snat: "masquerade", verdict }];
      case "reject":
        if (verdict.how === "tcp-reset" && way.packet.protocol !== "tcp")
          throw new Error("no reset without TCP");
        return [{ ...state, verdict }];
      case "drop":
      case "accept":
        return [{ ...state, verdict }];
      default:
        throw new Error(`${verdict.kind} is not expected`);
    }
  }

  /** An element that a packet adds, renews or deletes, and whether the rule goes on. */
  private learn(
    family: string,
    how: "add" | "update" | "delete",
    { timeout, limit, over, data }: Element,
    key: Value,
    { packet, memory, hashing }: Way,
    state: State,
  ): { matches: boolean; after: State } {
    const client = key.map(({ text }) => text).join(" ");
    const after = (traces: Partial<Traces>) => ({ ...state, traces: { ...state.traces, ...traces } });
    if (limit) {
      const [{ number, field }] = key as [Part];
      const bucket = field?.endsWith("saddr") ? "source" : "farm";
      if (bucket === "farm" && number !== 0n) throw new Error("a farm's rate is counted by something else");
      if ((timeout === undefined) !== (bucket === "farm"))
        throw new Error("a limit by source that never forgets one, or a farm's that does");
      if (timeout !== undefined && timeout * limit.perSecond < limit.burst)
        throw new Error("a source is forgotten before its bucket is full");
      const limited = isLimited(
        limit,
        bucket === "source" ? memory.recent?.sources?.get(client) : memory.recent?.farm,
      );
      return { matches: limited, after: limited ? state : after({ took: [...state.traces.took, bucket] }) };
    }
    if (over !== undefined) {
      const [{ number, field }] = key as [Part];
      const under = field === "ct mark" ? memory.backendConnections?.get(Number(number)) : memory.connections;
      if (field !== "ct mark" && number !== 0n) throw new Error("connections are counted by something else");
      return { matches: (under ?? 0) + 1 > over, after: state };
    }
    if (!data) return { matches: true, after: { ...state, counted: Number(key[0]!.number) } };
    if (how === "delete") return { matches: true, after: { ...state, forgot: client } };
    if (timeout === undefined) throw new Error("affinity that never ends");
    // The kernel renews an element that is there, and leaves its data (net/netfilter/nft_dynset.c).
    const value = this.single(family, data, { packet, memory, hashing }, state)!;
    const mark = remembered(memory, state, client) ?? Number(value[0]!.number);
    return { matches: true, after: after({ remembered: { client, mark } }) };
  }

  /** All that a written map may give, each once; nothing where it does not have the key. */
  private lookUp(
    family: string,
    of: Expression,
    table: Table,
    way: Way,
    state: State,
  ): { text: string | undefined; part: Rational }[] {
    const found = new Map<string | undefined, Rational>();
    const add = (text: string | undefined, part: Rational) =>
      found.set(text, (found.get(text) ?? Rational.ZERO).plus(part));
    if (of.kind === "numgen" || of.kind === "jhash") mustHoldAll(table, of.modulus);
    if (isDrawn(of, way))
      for (const { first, last, entry } of rangesOf(table))
        add(entry.value, state.part.times(Rational.of(last - first + 1n, of.modulus)));
    else
      for (const { value, part } of this.evaluate(family, of, way, state))
        add(value && find(table, value)?.value, part);
    return [...found].map(([text, part]) => ({ text, part }));
  }

  /** The value of an expression that leaves nothing to chance. */
  private single(family: string, expression: Expression, way: Way, state: State): Value | undefined {
    const [first, ...more] = this.evaluate(family, expression, way, state);
    if (!first || more.length > 0) throw new Error("chance is not expected here");
    return first.value;
  }

  /** All values that an expression may have; none where the packet has no such thing, or a map no such key. */
  private evaluate(
    family: string,
    expression: Expression,
    way: Way,
    state: State,
  ): { value: Value | undefined; part: Rational }[] {
    const sure = (value: Value | undefined) => [{ value, part: state.part }];
    switch (expression.kind) {
      case "constant":
        return sure([constant(expression.text)]);
      case "field": {
        const part = field(expression.name, family, way.packet, state.connmark);
        return sure(part && [part]);
      }
      case "concatenation": {
        const parts = expression.parts.map((one) => this.single(family, one, way, state)?.[0]);
        return sure(parts.some((part) => part === undefined) ? undefined : (parts as Value));
      }
      case "and":
      case "or":
        return this.evaluate(family, expression.of, way, state).map(({ value, part }) => ({
          value: value && [combined(expression.kind === "and", value[0]!, constant(expression.with))],
          part,
        }));
      case "numgen":
        if (expression.how === "inc") return sure([whole(expression.turn.next++ % expression.modulus)]);
        return spread(expression.modulus, state.part);
      case "jhash": {
        if (way.hashing === "any") return spread(expression.modulus, state.part);
        const value = this.single(family, expression.of, way, state);
        if (!value) throw new Error("a packet has not what is hashed");
        return sure([
          whole(
            nftSlot(
              value.map(({ bytes }) => bytes),
              expression.modulus,
              expression.seed,
            ),
          ),
        ]);
      }
      case "lookup": {
        const { of, in: table } = expression;
        if ("name" in table) {
          if (!this.objects.has(`${family} ${table.name}`)) throw new Error(`${table.name} is not declared`);
          const value = this.single(family, of, way, state);
          const mark = value && remembered(way.memory, state, value.map(({ text }) => text).join(" "));
          return sure(mark === undefined ? undefined : [whole(mark)]);
        }
        return this.lookUp(family, of, table, way, state).map(({ text, part }) => ({
          value: text?.split(" . ").map(constant),
          part,
        }));
      }
      default:
        throw expression satisfies never;
    }
  }
}

/** What stays the same on a packet's way. */
interface Way {
  packet: Packet;
  memory: Memory;
  hashing: Hashing;
}

interface State {
  connmark: number;
  dnat: { address: string; port: number | undefined } | undefined;
  snat: string | undefined;
  verdict: Verdict | undefined;
  /** The client whose affinity was deleted on the way. */
  forgot: string | undefined;
  /** The mark by which it was counted. */
  counted: number | undefined;
  traces: Traces;
  part: Rational;
}

/** One value, or those of a concatenation. */
type Value = Part[];

interface Part {
  number: bigint;
  bytes: Buffer;
  text: string;
  /** Where it comes from. */
  field?: Field;
}

interface Claimed {
  family: string;
  map: string;
  enters: string | undefined;
  address: string;
  protocol: string | undefined;
  from: number;
  to: number;
  chain: string | undefined;
}

function familyOf({ address }: Packet): "ip" | "ip6" {
  return address.includes(":") ? "ip6" : "ip";
}

function beginning({ packet }: Way): State {
  return {
    connmark: packet.connmark ?? 0,
    dnat: undefined,
    snat: undefined,
    verdict: undefined,
    forgot: undefined,
    counted: undefined,
    traces: NO_TRACES,
    part: Rational.ONE,
  };
}

function isDecided({ dnat, snat, verdict }: State): boolean {
  return dnat !== undefined || snat !== undefined || verdict !== undefined;
}

/** Whether each number below a modulus is as likely as the others. */
function isDrawn(of: Expression, { hashing }: Way): of is Expression & { modulus: number } {
  return of.kind === "numgen" ? of.how === "random" : of.kind === "jhash" && hashing === "any";
}

/** States that are alike, as one. */
function merged(flow: readonly State[]): State[] {
  const known = new Map<string, State>();
  for (const state of flow) {
    const { part, ...rest } = state;
    const key = JSON.stringify(rest);
    const other = known.get(key);
    known.set(key, other ? { ...other, part: other.part.plus(part) } : state);
  }
  return [...known.values()];
}

function parseElement([family, map, key, chain]: (string | undefined)[]): Claimed {
  const parts = key!.split(" . ");
  const enters = map!.startsWith("interface_") ? parts.shift()!.replace(/^"(.*)"$/, "$1") : undefined;
  const [address, protocol, ports] = parts;
  const [from, to = from] = (ports ?? "0").split("-").map(Number);
  return { family: family!, map: map!, enters, address: address!, protocol, from: from!, to: to!, chain };
}

function holds({ address, protocol, from, to, enters }: Claimed, packet: Packet): boolean {
  if (address !== packet.address || (enters !== undefined && enters !== packet.enters)) return false;
  if (protocol === undefined) return true;
  return (
    protocol === packet.protocol && packet.port !== undefined && packet.port >= from && packet.port <= to
  );
}

function remembered({ affinity }: Memory, { forgot }: State, client: string): number | undefined {
  return client === forgot ? undefined : affinity?.get(client);
}

function isLimited({ burst }: Limit, taken = 0): boolean {
  return taken >= burst;
}

function field(name: Field, family: string, packet: Packet, connmark: number): Part | undefined {
  const address = (text: string): Part => ({
    number: numberOf(text),
    bytes: bytesOf(text),
    text,
    field: name,
  });
  const number = (value: number | undefined, size: number, text = String(value)): Part | undefined => {
    if (value === undefined) return undefined;
    const bytes = Buffer.alloc(size);
    bytes.writeUIntBE(value, 0, size);
    return { number: BigInt(value), bytes, text, field: name };
  };
  const { protocol } = packet;
  switch (name) {
    case `${family} saddr`:
      return address(packet.source);
    case `${family} daddr`:
    case `ct original ${family} daddr`:
      return address(packet.address);
    case "meta l4proto":
      return number(protocol === "icmp" && family === "ip6" ? 58 : PROTOCOL_NUMBER[protocol], 1, protocol);
    case "th sport":
      return number(packet.sourcePort, 2);
    case "th dport":
      return number(packet.port, 2);
    case "ct mark":
      return number(connmark, 4);
    case "tcp flags":
      return number(protocol === "tcp" ? flagBits(packet.flags ?? ["syn"]) : undefined, 1);
    default:
      throw new Error(`${name} in family ${family}`);
  }
}

function whole(value: number): Part {
  return { number: BigInt(value), bytes: Buffer.alloc(0), text: String(value) };
}

/** A single value as it is written: a number, an address, a protocol, flags of TCP. */
function constant(text: string): Part {
  const [from, to] = componentRange(text);
  return { number: from === to ? from : -1n, bytes: Buffer.alloc(0), text };
}

function combined(and: boolean, part: Part, other: Part): Part {
  const number = and ? part.number & other.number : part.number | other.number;
  const size = part.bytes.length;
  const bytes = size === 0 ? part.bytes : Buffer.from(number.toString(16).padStart(2 * size, "0"), "hex");
  return { ...part, number, bytes, text: String(number) };
}

function spread(modulus: number, part: Rational): { value: Value; part: Rational }[] {
  const each = part.times(Rational.of(1, modulus));
  return Array.from({ length: modulus }, (_, i) => ({ value: [whole(i)], part: each }));
}

/** First and last value of one component of a key. */
function componentRange(text: string): [first: bigint, last: bigint] {
  if (/^(fin|syn|rst|psh|ack|ece|cwr)(,|$)/.test(text)) {
    const bits = BigInt(flagBits(text.split(",")));
    return [bits, bits];
  }
  if (text in PROTOCOL_NUMBER) {
    const number = BigInt(PROTOCOL_NUMBER[text as keyof typeof PROTOCOL_NUMBER]);
    return [number, number];
  }
  const [, from, to = from] = /^(0x[0-9a-f]+|\d+)(?:-(\d+))?$/.exec(text) ?? [];
  if (from !== undefined) return [BigInt(from), BigInt(to!)];
  const target = /^\[(.+)\]:\d+$/.exec(text) ?? /^([\d.]+):\d+$/.exec(text);
  return rangeOf(target?.[1] ?? text);
}

interface Ranges {
  first: bigint;
  last: bigint;
  entry: { key: string; value: string | undefined };
}

/** The tables of one component as ranges in order, made once. */
const ordered = new WeakMap<Table, Ranges[]>();

function rangesOf(table: Table): Ranges[] {
  const known = ordered.get(table);
  if (known) return known;
  if ("name" in table) throw new Error(`@${table.name} is not to be read here`);
  const ranges = table.entries.map((entry): Ranges => {
    const [first, last] = componentRange(entry.key);
    if (last < first) throw new Error(`${entry.key} ends before it begins`);
    return { first, last, entry };
  });
  ranges.sort((a, b) => (a.first < b.first ? -1 : 1));
  ranges.slice(1).forEach(({ first, entry }, i) => {
    if (first <= ranges[i]!.last) throw new Error(`${entry.key} overlaps ${ranges[i]!.entry.key}`);
  });
  ordered.set(table, ranges);
  return ranges;
}

function find(table: Table, value: Value): { key: string; value: string | undefined } | undefined {
  if (value.length !== 1) throw new Error("a concatenation is looked up in a written table");
  const ranges = rangesOf(table);
  const { number } = value[0]!;
  let [low, high] = [0, ranges.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (ranges[middle]!.first <= number) low = middle;
    else high = middle - 1;
  }
  const range = ranges[low];
  return range && range.first <= number && number <= range.last ? range.entry : undefined;
}

/** A drawn number must have a place, every one of them, and no other may have. */
function mustHoldAll(table: Table, modulus: number): void {
  let next = 0n;
  for (const { first, last } of rangesOf(table)) {
    if (first !== next) throw new Error(`slot ${first} does not follow ${next}`);
    next = last + 1n;
  }
  if (next !== BigInt(modulus)) throw new Error(`${next} slots for a modulus of ${modulus}`);
}

function parseTarget([target, port]: Value): NonNullable<State["dnat"]> {
  if (port) return { address: target!.text, port: Number(port.text) };
  const [, address, dialled] =
    /^\[(.+)\]:(\d+)$/.exec(target!.text) ?? /^([\d.]+):(\d+)$/.exec(target!.text) ?? [];
  if (address === undefined) return { address: target!.text, port: undefined };
  return { address, port: Number(dialled) };
}
