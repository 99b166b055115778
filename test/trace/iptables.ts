import { type Outcomes, type Packet, translatedTo } from "./packet";
import { Rational } from "./rational";

/**
 * Walks packets through the text of an iptables rule set, as the kernel would, and knows nothing of how that text is made.
 * Random draws are followed both ways with their exact probabilities; `nth` rules count from packet to packet.
 */
export class IptablesGateway {
  private readonly chains = new Map<string, Rule[]>();

  constructor(ruleSet: string) {
    let family = "";
    let table = "";
    for (const line of ruleSet.split("\n")) {
      if (/^# ip6?$/.test(line)) family = line.slice(2);
      else if (line.startsWith("*")) table = line.slice(1);
      else if (line.startsWith(":")) this.chains.set(`${family} ${table} ${line.slice(1).split(" ")[0]}`, []);
      else if (line.startsWith("-A ")) {
        const [, chain, text] = /^-A (\S+) (.*)$/.exec(line)!;
        const key = `${family} ${table} ${chain}`;
        const shared = /^NFLB-(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING)$/.test(chain!);
        if (!this.chains.has(key) && !shared) throw new Error(`${key} is not declared`);
        this.chains.set(key, [...(this.chains.get(key) ?? []), parseRule(text!)]);
      }
    }
  }

  /** What becomes of a new connection. */
  open(packet: Packet): Outcomes {
    const family = packet.address.includes(":") ? "ip6" : "ip";
    const entrance = packet.enters === undefined ? "OUTPUT" : "PREROUTING";
    const start: State = {
      packet,
      mark: 0,
      connmark: packet.connmark ?? 0,
      dnat: undefined,
      source: undefined,
    };
    let flow: Flow = new Map([[keyOf(start), { state: start, part: Rational.ONE }]]);
    for (const hook of [`mangle NFLB-${entrance}`, `nat NFLB-${entrance}`])
      flow = this.pass(`${family} ${hook}`, flow);

    const outcomes: Outcomes = new Map();
    for (const { state, part } of flow.values()) {
      const guards =
        entrance === "OUTPUT" ? ["filter NFLB-OUTPUT"] : ["mangle NFLB-INPUT", "mangle NFLB-FORWARD"];
      const dropped = guards.map((guard) => this.drops(`${family} ${guard}`, state));
      if (dropped.some((one) => one !== dropped[0]))
        throw new Error("the guards of INPUT and FORWARD differ");
      const outcome = dropped[0] ? "dropped" : state.dnat ? this.leave(family, state) : "untouched";
      outcomes.set(outcome, (outcomes.get(outcome) ?? Rational.ZERO).plus(part));
    }
    return outcomes;
  }

  /** Whether a packet that no rule translated would be stopped. */
  guards(packet: Packet): boolean {
    const state: State = { packet, mark: 0, connmark: 0, dnat: undefined, source: undefined };
    const family = packet.address.includes(":") ? "ip6" : "ip";
    return this.drops(
      `${family} ${packet.enters === undefined ? "filter NFLB-OUTPUT" : "mangle NFLB-FORWARD"}`,
      state,
    );
  }

  /** The way out of a translated connection: it must be let through, and may get another source. */
  private leave(family: string, state: State): string {
    const forward = this.pass(`${family} filter NFLB-FORWARD`, single(state));
    if (state.packet.enters !== undefined && ![...forward.values()].every((at) => at.state.accepted))
      throw new Error("a translated connection is not accepted in FORWARD");
    const [left] = [...this.pass(`${family} nat NFLB-POSTROUTING`, single(state)).values()];
    const { address, port } = state.dnat!;
    return translatedTo(address, port, state.connmark, left!.state.source ?? "none");
  }

  private drops(chain: string, state: State): boolean {
    return [...this.pass(chain, single(state)).values()].some((at) => at.state.dropped);
  }

  /** Through a chain from its first rule; what a rule ends, and what runs off the end, comes out together. */
  private pass(chain: string, entering: Flow): Flow {
    const out: Flow = new Map();
    let flow = entering;
    for (const rule of this.chains.get(chain) ?? []) {
      const next: Flow = new Map();
      for (const { state, part } of flow.values()) {
        const matched = rule.matches.every((match) => match(state)) ? rule.statistic() : Rational.ZERO;
        add(next, state, part.times(Rational.ONE.minus(matched)));
        if (matched.isZero()) continue;
        const hit = part.times(matched);
        if (rule.goto !== undefined) {
          const to = chain.replace(/\S+$/, rule.goto);
          if (!this.chains.has(to)) throw new Error(`${chain} goes to ${to}, which is not declared`);
          // Behind the end of a chain that was gone to, the caller's caller goes on: here, the built-in chain.
          for (const at of this.pass(to, single(state, hit)).values()) add(out, at.state, at.part);
        } else {
          const after = rule.target!(state);
          add(rule.ends ? out : next, after, hit);
        }
      }
      flow = next;
    }
    for (const { state, part } of flow.values()) add(out, state, part);
    return out;
  }
}

interface State {
  packet: Packet;
  mark: number;
  connmark: number;
  dnat: { address: string; port: number | undefined } | undefined;
  source: string | undefined;
  dropped?: boolean;
  accepted?: boolean;
}

type Flow = Map<string, { state: State; part: Rational }>;

interface Rule {
  matches: ((state: State) => boolean)[];
  /** Which part of the packets that match otherwise this rule takes. */
  statistic: () => Rational;
  goto?: string;
  target?: (state: State) => State;
  ends?: boolean;
}

function single(state: State, part = Rational.ONE): Flow {
  return new Map([[keyOf(state), { state, part }]]);
}

function add(flow: Flow, state: State, part: Rational): void {
  if (part.isZero()) return;
  const known = flow.get(keyOf(state));
  flow.set(keyOf(state), { state, part: known ? known.part.plus(part) : part });
}

function keyOf({ mark, connmark, dnat, source, dropped, accepted }: State): string {
  return JSON.stringify([mark, connmark, dnat, source, dropped, accepted]);
}

/** One rule, word by word; a word that is not known here is an error. */
function parseRule(text: string): Rule {
  const words = text.split(" ");
  const rule: Rule = { matches: [], statistic: () => Rational.ONE };
  const word = () => words.shift() ?? fail(text);
  let protocol: string | undefined;
  while (words.length > 0) {
    const option = word();
    switch (option) {
      case "-d": {
        const [address, prefix] = word().split("/");
        if (prefix !== (address!.includes(":") ? "128" : "32")) fail(text);
        rule.matches.push(({ packet, dnat }) => (dnat?.address ?? packet.address) === address);
        break;
      }
      case "-i": {
        const name = word();
        rule.matches.push(({ packet }) => packet.enters === name);
        break;
      }
      case "-p":
        protocol = word();
        rule.matches.push(({ packet }) => packet.protocol === protocol);
        break;
      case "-m":
        if (["tcp", "udp", "sctp"].includes(words[0]!) && words[0] !== protocol) fail(text);
        word();
        break;
      case "--dport":
      case "--ctorigdstport": {
        if (protocol === undefined) fail(text);
        const [from, to = from] = word().split(":").map(Number);
        rule.matches.push(({ packet: { port } }) => port !== undefined && port >= from! && port <= to!);
        break;
      }
      case "--ctorigdst": {
        const address = word();
        rule.matches.push(({ packet }) => packet.address === address);
        break;
      }
      case "--ctstate": {
        const wanted = word();
        // A one-way flow stays NEW however many packets it has sent.
        rule.matches.push(({ dnat }) =>
          wanted === "DNAT" ? dnat !== undefined : wanted === "NEW" || fail(text),
        );
        break;
      }
      case "--mark": {
        const [mark, mask] = masked(word());
        rule.matches.push((state) => (state.mark & mask) >>> 0 === mark);
        break;
      }
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
        if (word() !== "--packet") fail(text);
        const packet = Number(word());
        let count = 0;
        rule.statistic = () => (count++ % every === packet ? Rational.ONE : Rational.ZERO);
        break;
      }
      case "-g":
        rule.goto = word();
        break;
      case "-j":
        parseTarget(rule, word(), words, text);
        break;
      default:
        fail(text);
    }
  }
  return rule;
}

function parseTarget(rule: Rule, name: string, words: string[], text: string): void {
  const options = words.splice(0);
  const value = (option: string) => options[options.indexOf(option) + 1] ?? fail(text);
  rule.ends = !["MARK", "CONNMARK"].includes(name);
  rule.target = (state) => {
    switch (name) {
      case "DROP":
        return { ...state, dropped: true };
      case "ACCEPT":
        return { ...state, accepted: true };
      case "MARK":
        return { ...state, mark: xmark(state.mark, value("--set-xmark")) };
      case "CONNMARK": {
        if (options[0] === "--set-xmark") return { ...state, connmark: xmark(state.connmark, options[1]!) };
        const [nfmask, ctmask] = [Number(value("--nfmask")), Number(value("--ctmask"))];
        if (options[0] === "--save-mark")
          return { ...state, connmark: ((state.connmark & ~ctmask) ^ (state.mark & nfmask)) >>> 0 };
        if (options[0] === "--restore-mark")
          return { ...state, mark: ((state.mark & ~nfmask) ^ (state.connmark & ctmask)) >>> 0 };
        return fail(text);
      }
      case "DNAT": {
        const [, bracketed, plain, port] = /^(?:\[(.+)\]|([^[\]]+?))(?::(\d+))?$/.exec(
          target(value("--to-destination")),
        )!;
        return {
          ...state,
          dnat: { address: bracketed ?? plain!, port: port ? Number(port) : state.packet.port },
        };
      }
      case "SNAT":
        return { ...state, source: value("--to-source") };
      case "MASQUERADE":
        return { ...state, source: "masquerade" };
      default:
        return fail(text);
    }
  };
}

/** An IPv6 address without a port stands without brackets. */
function target(text: string): string {
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
