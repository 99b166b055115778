import { type IpSet, isMember, parseSet } from "./ipset";
import { hmarkSlot } from "./kernel-hash";
import { bytesOf, isWithin } from "./network";
import {
  flagBits,
  type Hashing,
  type Memory,
  NO_TRACES,
  type Outcomes,
  type Packet,
  type Traces,
  translatedTo,
  withTraces,
} from "./packet";
import { Rational } from "./rational";

/**
 * Walks packets through the text of an iptables rule set, as the kernel would, and knows nothing of how that text is made.
 * Random draws are followed both ways with their exact probabilities; `nth` rules count from packet to packet.
 */
export class IptablesGateway {
  private readonly chains = new Map<string, Rule[]>();
  private readonly sets = new Map<string, IpSet>();
  /** Zevenet's layout routes by nothing but its marks. */
  private readonly keepsMarks: boolean;

  constructor(ruleSet: string) {
    this.keepsMarks = ruleSet.includes("# data-plane iptables zevenet");
    let family = "";
    let table = "";
    for (const line of ruleSet.split("\n")) {
      if (/^# ip6?$/.test(line)) family = line.slice(2);
      else if (/^(create|add) /.test(line)) parseSet(line, family, this.sets);
      else if (line.startsWith("*")) table = line.slice(1);
      else if (line.startsWith(":")) this.chains.set(`${family} ${table} ${line.slice(1).split(" ")[0]}`, []);
      else if (line.startsWith("-A ")) {
        const [, chain, text] = /^-A (\S+) (.*)$/.exec(line)!;
        const key = `${family} ${table} ${chain}`;
        const shared = /^NFLB-(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING)$/.test(chain!);
        if (!this.chains.has(key) && !shared) throw new Error(`${key} is not declared`);
        const rules = this.chains.get(key) ?? [];
        rules.push(parseRule(text!, chain!, this.sets));
        this.chains.set(key, rules);
      } else if (line !== "" && line !== "COMMIT" && !line.startsWith("#"))
        throw new Error(`not understood: ${line}`);
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
    const entrance = packet.enters === undefined ? "OUTPUT" : "PREROUTING";
    let flow = single(beginning(packet, memory, hashing));
    for (const table of ["raw", "mangle", "nat"])
      if (table !== "nat" || !packet.invalid) flow = this.pass(`${family} ${table} NFLB-${entrance}`, flow);

    const outcomes: Outcomes = new Map();
    for (const { state, part } of flow.values()) {
      const said = say(this.outcome(family, state), state.traces);
      outcomes.set(said, (outcomes.get(said) ?? Rational.ZERO).plus(part));
    }
    return outcomes;
  }

  /** Whether a packet that no rule translated would be stopped. */
  guards(packet: Packet): boolean {
    return this.stopped(familyOf(packet), beginning(packet, {}, "any")) !== undefined;
  }

  /**
   * What becomes of a further packet of a connection that was translated: no rule of nat sees it. `NEW` is one of a flow
   * that was never answered.
   */
  further(packet: Packet, dnat: NonNullable<State["dnat"]>, ctstate: "NEW" | "ESTABLISHED"): Further {
    const family = familyOf(packet);
    const state = { ...beginning(packet, {}, "any"), ctstate };
    const [at, ...more] = [...this.pass(`${family} mangle NFLB-PREROUTING`, single(state)).values()];
    if (!at || more.length > 0) throw new Error("a connection under way is left to chance");
    const translated = { ...at.state, dnat };
    const stopped = this.stopped(family, translated) !== undefined;
    const accepted = this.isAccepted(family, translated);
    return { goesOn: !stopped && accepted, mark: at.state.mark, connmark: at.state.connmark };
  }

  private outcome(family: string, state: State): string {
    const stopped = this.stopped(family, state);
    if (stopped) return stopped;
    if (!state.dnat) return "untouched";
    if (state.mark !== 0 && !this.keepsMarks)
      throw new Error("a translated packet keeps a mark of the farm's");
    const { address, port } = state.dnat;
    return translatedTo(address, port, state.connmark, this.leave(family, state));
  }

  /** The way out of a translated connection: it must be let through, and may get another source. */
  private leave(family: string, state: State): string {
    if (state.packet.enters !== undefined && !this.isAccepted(family, state))
      throw new Error("a translated connection is not accepted in FORWARD");
    const [left] = [...this.pass(`${family} nat NFLB-POSTROUTING`, single(state)).values()];
    return left!.state.source ?? "none";
  }

  private isAccepted(family: string, state: State): boolean {
    return [...this.pass(`${family} filter NFLB-FORWARD`, single(state)).values()].every(
      (at) => at.state.verdict === "accepted",
    );
  }

  /** What stops a packet on its way to the gateway itself or to another machine: the same for both. */
  private stopped(family: string, state: State): string | undefined {
    const ways =
      state.packet.enters === undefined
        ? [["filter NFLB-OUTPUT"]]
        : [
            ["mangle NFLB-INPUT", "filter NFLB-INPUT"],
            ["mangle NFLB-FORWARD", "filter NFLB-FORWARD"],
          ];
    const [first, ...others] = ways.map((way) =>
      this.stoppedOn(
        way.map((hook) => `${family} ${hook}`),
        state,
      ),
    );
    if (others.some((other) => other !== first)) throw new Error("the guards of INPUT and FORWARD differ");
    return first;
  }

  private stoppedOn(hooks: string[], state: State): string | undefined {
    for (const hook of hooks) {
      const [at, ...more] = [...this.pass(hook, single(state)).values()];
      if (!at || more.length > 0) throw new Error("a guard leaves something to chance");
      const { verdict } = at.state;
      if (verdict !== undefined) return verdict === "accepted" ? undefined : verdict;
    }
    return undefined;
  }

  /** Through a chain from its first rule; what a rule ends, and what runs off the end, comes out together. */
  private pass(chain: string, entering: Flow): Flow {
    const out: Flow = new Map();
    let flow = entering;
    for (const rule of this.chains.get(chain) ?? []) {
      const next: Flow = new Map();
      for (const { state, part } of flow.values()) {
        const matched = rule.matches.every((match) => match(state)) ? rule.statistic() : Rational.ZERO;
        const { after, matches } = rule.takes?.(state) ?? { after: state, matches: true };
        if (matched.isZero()) add(next, state, part);
        else if (!matches) add(next, after, part);
        else {
          add(next, state, part.times(Rational.ONE.minus(matched)));
          this.act(chain, rule, after, part.times(matched), rule.ends ? out : next, out);
        }
      }
      flow = next;
    }
    for (const { state, part } of flow.values()) add(out, state, part);
    return out;
  }

  private act(chain: string, rule: Rule, state: State, part: Rational, behind: Flow, out: Flow): void {
    if (rule.goto !== undefined) {
      const to = chain.replace(/\S+$/, rule.goto);
      if (!this.chains.has(to)) throw new Error(`${chain} goes to ${to}, which is not declared`);
      // Behind the end of a chain that was gone to, the caller's caller goes on: here, the built-in chain.
      for (const at of this.pass(to, single(state, part)).values()) add(out, at.state, at.part);
      return;
    }
    const after = rule.target!(state);
    for (const one of Array.isArray(after) ? after : [after])
      add(behind, one, Array.isArray(after) ? part.times(Rational.of(1, after.length)) : part);
  }
}

export interface Further {
  goesOn: boolean;
  /** The packet's. */
  mark: number;
  connmark: number;
}

interface State {
  packet: Packet;
  memory: Memory;
  hashing: Hashing;
  ctstate: "NEW" | "ESTABLISHED" | "INVALID";
  mark: number;
  connmark: number;
  dnat: { address: string; port: number | undefined } | undefined;
  source: string | undefined;
  /** `accepted`, `dropped`, `rejected …` */
  verdict: string | undefined;
  traces: Traces;
}

type Flow = Map<string, { state: State; part: Rational }>;

interface Rule {
  matches: ((state: State) => boolean)[];
  /** A limit, which counts what it lets through. */
  takes?: (state: State) => { after: State; matches: boolean };
  /** Which part of the packets that match otherwise this rule takes. */
  statistic: () => Rational;
  goto?: string;
  /** What it makes of a packet; of several, each is as likely as the others. */
  target?: (state: State) => State | State[];
  ends?: boolean;
}

function familyOf({ address }: Packet): "ip" | "ip6" {
  return address.includes(":") ? "ip6" : "ip";
}

function beginning(packet: Packet, memory: Memory, hashing: Hashing): State {
  return {
    packet,
    memory,
    hashing,
    ctstate: packet.invalid ? "INVALID" : "NEW",
    mark: 0,
    connmark: packet.connmark ?? 0,
    dnat: undefined,
    source: undefined,
    verdict: undefined,
    traces: NO_TRACES,
  };
}

function single(state: State, part = Rational.ONE): Flow {
  return new Map([[keyOf(state), { state, part }]]);
}

function add(flow: Flow, state: State, part: Rational): void {
  if (part.isZero()) return;
  const known = flow.get(keyOf(state));
  flow.set(keyOf(state), { state, part: known ? known.part.plus(part) : part });
}

function keyOf({ mark, connmark, dnat, source, verdict, traces }: State): string {
  return JSON.stringify([mark, connmark, dnat, source, verdict, traces]);
}

/** One rule, word by word; a word that is not known here is an error. */
function parseRule(text: string, chain: string, sets: ReadonlyMap<string, IpSet>): Rule {
  const words = [...text.matchAll(/"([^"]*)"|\S+/g)].map(([word, quoted]) => quoted ?? word);
  const rule: Rule = { matches: [], statistic: () => Rational.ONE };
  const word = () => words.shift() ?? fail(text);
  /** The value of an option that must be next. */
  const next = (option: string) => (word() === option ? word() : fail(text));
  const maybe = (option: string) => (words[0] === option ? next(option) : undefined);
  let protocol: string | undefined;
  let negated = false;
  const match = (matches: (state: State) => boolean) => {
    const not = negated;
    rule.matches.push((state) => matches(state) !== not);
    negated = false;
  };
  const takes = (bucket: "source" | "farm" | "log", burst: number, above: boolean) => {
    if (rule.takes) fail(text);
    rule.takes = (state) => {
      const { recent } = state.memory;
      const taken = bucket === "source" ? recent?.sources?.get(state.packet.source) : recent?.[bucket];
      const limited = (taken ?? 0) >= burst;
      const { traces } = state;
      return above && !limited
        ? { after: { ...state, traces: { ...traces, took: [...traces.took, bucket] } }, matches: false }
        : { after: state, matches: limited === above };
    };
  };
  while (words.length > 0) {
    const option = word();
    switch (option) {
      case "!":
        if (negated) fail(text);
        negated = true;
        continue;
      case "-d": {
        const network = word();
        match(({ packet, dnat }) => isWithin(dnat?.address ?? packet.address, network));
        break;
      }
      case "-s": {
        const network = word();
        match(({ packet }) => isWithin(packet.source, network));
        break;
      }
      case "-i": {
        const name = word();
        match(({ packet }) => packet.enters === name);
        break;
      }
      case "-p": {
        const wanted = word();
        protocol = wanted;
        match(({ packet }) => packet.protocol === wanted);
        break;
      }
      case "-m":
        if (["tcp", "udp", "sctp"].includes(words[0]!) && words[0] !== protocol) fail(text);
        word();
        break;
      case "--dport":
      case "--ctorigdstport": {
        if (protocol === undefined) fail(text);
        const [from, to = from] = word().split(":").map(Number);
        match(({ packet: { port } }) => port !== undefined && port >= from! && port <= to!);
        break;
      }
      case "--tcp-flags": {
        if (protocol !== "tcp") fail(text);
        const [mask, wanted] = [word(), word()].map((flags) => flagBits(flags.split(",")));
        match(({ packet }) => (flagBits(packet.flags ?? ["syn"]) & mask!) === wanted);
        break;
      }
      case "--ctorigdst": {
        const network = word();
        match(({ packet }) => isWithin(packet.address, network));
        break;
      }
      case "--ctrepldst":
        word();
        break;
      // Nothing here is the data connection of another.
      case "--ctstatus":
        if (word() !== "EXPECTED") fail(text);
        match(() => false);
        break;
      case "--ctstate": {
        const wanted = word();
        if (!["DNAT", "NEW", "INVALID"].includes(wanted)) fail(text);
        match(({ dnat, ctstate }) => (wanted === "DNAT" ? dnat !== undefined : ctstate === wanted));
        break;
      }
      case "--mark": {
        const [mark, mask] = masked(word());
        match((state) => (state.mark & mask) >>> 0 === mark);
        break;
      }
      case "--match-set": {
        const [name, direction] = [word(), word()];
        const set = sets.get(name) ?? fail(text);
        match(({ packet, memory }) => isMember(set, direction, packet, memory));
        break;
      }
      case "--connlimit-above": {
        const limit = Number(word());
        if (next("--connlimit-mask") !== "0" || word() !== "--connlimit-saddr") fail(text);
        // A leaf's name ends in its mark: what passes there are the connections of that backend.
        const leaf = /^NFLB-[^.]+\.([0-9a-f]{1,8})$/.exec(chain)?.[1];
        match(({ memory: { connections, backendConnections } }) => {
          const under = leaf === undefined ? connections : backendConnections?.get(Number.parseInt(leaf, 16));
          return (under ?? 0) + 1 > limit;
        });
        break;
      }
      case "--hashlimit-above": {
        const [, perSecond] = /^(\d+)\/sec$/.exec(word()) ?? fail(text);
        const burst = Number(maybe("--hashlimit-burst") ?? 5); // iptables-extensions(8)
        const mode = maybe("--hashlimit-mode");
        if (mode !== undefined && mode !== "srcip") fail(text);
        next("--hashlimit-name");
        // Who is forgotten has the whole burst again; without the option that is after a second.
        const forgotten = Number(maybe("--hashlimit-htable-expire") ?? 1000);
        if (forgotten * Number(perSecond) < burst * 1000) fail(text);
        takes(mode === undefined ? "farm" : "source", burst, true);
        break;
      }
      case "--limit":
        if (!/^\d+\/sec$/.test(word())) fail(text);
        takes("log", Number(maybe("--limit-burst") ?? 5), false);
        break;
      case "--comment":
        word();
        break;
      case "--mode":
        if (!["random", "nth"].includes(word())) fail(text);
        break;
      case "--probability": {
        // iptables: lround(0x80000000 * p); the kernel: 31 random bits below it (net/netfilter/xt_statistic.c).
        const drawn = Rational.of(
          Rational.parse(word())
            .times(Rational.of(2 ** 31))
            .round(),
          2 ** 31,
        );
        rule.statistic = () => drawn;
        break;
      }
      case "--every": {
        const every = Number(word());
        const packet = Number(next("--packet"));
        let count = 0;
        rule.statistic = () => (count++ % every === packet ? Rational.ONE : Rational.ZERO);
        break;
      }
      case "-g":
        rule.goto = word();
        break;
      case "-j":
        parseTarget(rule, word(), words, text, sets);
        break;
      default:
        fail(text);
    }
    if (negated) fail(text);
  }
  if (rule.goto === undefined && !rule.target) fail(text);
  return rule;
}

function parseTarget(
  rule: Rule,
  name: string,
  words: string[],
  text: string,
  sets: ReadonlyMap<string, IpSet>,
): void {
  const options = words.splice(0);
  const optional = (option: string) => {
    const at = options.indexOf(option);
    return at === -1 ? undefined : (options.splice(at, 2)[1] ?? fail(text));
  };
  const value = (option: string) => optional(option) ?? fail(text);
  rule.ends = ["DROP", "ACCEPT", "RETURN", "REJECT", "DNAT", "SNAT", "MASQUERADE"].includes(name);
  rule.target = target();
  if (options.length > 0) fail(text);

  function target(): NonNullable<Rule["target"]> {
    switch (name) {
      case "DROP":
        return (state) => ({ ...state, verdict: "dropped" });
      case "ACCEPT":
        return (state) => ({ ...state, verdict: "accepted" });
      case "RETURN":
        return (state) => state;
      case "REJECT": {
        const how = value("--reject-with").replace(/^icmp6?-/, "");
        if (how !== "tcp-reset" && how !== "port-unreachable") fail(text);
        return (state) => {
          if (how === "tcp-reset" && state.packet.protocol !== "tcp") throw new Error("no reset without TCP");
          return { ...state, verdict: `rejected ${how}` };
        };
      }
      case "LOG": {
        const logged = value("--log-prefix");
        if (value("--log-level") !== "6") fail(text);
        return (state) => ({ ...state, traces: { ...state.traces, logged } });
      }
      case "CT": {
        const helper = value("--helper");
        return (state) => ({ ...state, traces: { ...state.traces, helper } });
      }
      case "SET": {
        const at = options.indexOf("--add-set");
        const [, setName, direction] = options.splice(at, 3);
        if (at === -1 || options.shift() !== "--exist") fail(text);
        const set = sets.get(setName!) ?? fail(text);
        return (state) => {
          const remembered = { client: set.clientOf(direction!, state.packet), mark: set.mark! };
          return { ...state, traces: { ...state.traces, remembered } };
        };
      }
      case "MARK": {
        const mark = value("--set-xmark");
        return (state) => ({ ...state, mark: xmark(state.mark, mark) });
      }
      case "HMARK": {
        const [modulus, seed] = [Number(value("--hmark-mod")), Number(value("--hmark-rnd"))];
        const offset = Number(optional("--hmark-offset") ?? 0);
        const tuple = hmarkTuple(optional);
        return (state) => {
          const mark = (slot: number): State => ({ ...state, mark: (slot + offset) >>> 0 });
          if (state.hashing === "any") return Array.from({ length: modulus }, (_, slot) => mark(slot));
          return mark(hmarkSlot(tuple(state.packet), modulus, seed));
        };
      }
      case "CONNMARK": {
        const set = optional("--set-xmark");
        if (set !== undefined) return (state) => ({ ...state, connmark: xmark(state.connmark, set) });
        const way = options.shift();
        if (way !== "--save-mark" && way !== "--restore-mark") fail(text);
        const [nfmask, ctmask] = [Number(value("--nfmask")), Number(value("--ctmask"))];
        return (state) =>
          way === "--save-mark"
            ? { ...state, connmark: ((state.connmark & ~ctmask) ^ (state.mark & nfmask)) >>> 0 }
            : { ...state, mark: ((state.mark & ~nfmask) ^ (state.connmark & ctmask)) >>> 0 };
      }
      case "DNAT": {
        const [, bracketed, plain, port] = /^(?:\[(.+)\]|([^[\]]+?))(?::(\d+))?$/.exec(
          destination(value("--to-destination")),
        )!;
        return (state) => ({
          ...state,
          dnat: { address: bracketed ?? plain!, port: port ? Number(port) : state.packet.port },
        });
      }
      case "SNAT": {
        const source = value("--to-source");
        return (state) => ({ ...state, source });
      }
      case "MASQUERADE":
        return (state) => ({ ...state, source: "masquerade" });
      default:
        return fail(text);
    }
  }
}

/** What HMARK reads of a packet (iptables-extensions(8)): what no option names counts as 0. */
function hmarkTuple(optional: (option: string) => string | undefined) {
  const [source, destination] = ["src", "dst"].map((end) => Number(optional(`--hmark-${end}-prefix`) ?? 0));
  // The mask of both ports at once, the source's in the upper half.
  const ports = Number(optional("--hmark-spi-mask") ?? 0);
  const protocol = Number(optional("--hmark-proto-mask") ?? 0);
  if (protocol !== 0) throw new Error("a mask of the protocol is not known here");
  return ({ source: from, address, sourcePort = 0, port = 0 }: Packet) => ({
    source: hmarkAddress(from, source!),
    destination: hmarkAddress(address, destination!),
    sourcePort: sourcePort & (ports >>> 16),
    destinationPort: port & 0xffff & ports,
    protocol: 0,
  });
}

/** `hmark_addr_mask`: an IPv6 address is the exclusive or of its four masked words. */
function hmarkAddress(address: string, length: number): number {
  const bytes = bytesOf(address);
  let word = 0;
  for (let i = 0; i < bytes.length; i += 4) {
    const kept = Math.min(Math.max(length - 8 * i, 0), 32);
    const mask = kept === 0 ? 0 : -1 << (32 - kept);
    word ^= bytes.readInt32BE(i) & mask;
  }
  return word >>> 0;
}

/** An IPv6 address without a port stands without brackets. */
function destination(text: string): string {
  return text.includes(":") && !text.startsWith("[") && text.split(":").length > 2 ? `[${text}]` : text;
}

function xmark(mark: number, text: string): number {
  const [value, mask] = masked(text);
  return ((mark & ~mask) ^ value) >>> 0;
}

function masked(text: string): [value: number, mask: number] {
  const [value, mask = "0xffffffff"] = text.split("/");
  return [Number(value), Number(mask)];
}

function fail(text: string): never {
  throw new Error(`not understood: ${text}`);
}
