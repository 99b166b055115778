import { type Outcomes, type Packet, translatedTo } from "./packet";
import { Rational } from "./rational";

/**
 * Walks packets through the text of an nftables rule set and the shared table that docs/rule-set.md describes, and knows
 * nothing of how that text is made. Random numbers are followed all ways; a counter (`inc`) counts from packet to packet.
 */
export class NftablesGateway {
  /** `FAMILY CHAIN` to its statements; a map's lines are joined to the statement that opens it. */
  private readonly chains = new Map<string, Statement[]>();
  private readonly elements: Element[] = [];

  constructor(ruleSet: string) {
    let family = "";
    let chain: Statement[] = [];
    let open: Statement | undefined;
    for (const line of ruleSet.split("\n")) {
      const text = line.trim().replace(/ *#.*/, "");
      if (text === "") continue;
      const table = /^table (ip6?) netfilter_lb \{$/.exec(text);
      const opening = /^chain (\S+) \{$/.exec(text);
      const element = /^add element (ip6?) netfilter_lb (\S+) \{ (.+?)(?: : goto (\S+))? \}$/.exec(text);
      if (table) family = table[1]!;
      else if (opening) {
        chain = [];
        this.chains.set(`${family} ${opening[1]}`, chain);
      } else if (element) this.elements.push(parseElement(element.slice(1)));
      else if (text === "}") open = undefined;
      else if (open) open.entries.push(parseEntry(text));
      else {
        const statement: Statement = { text: text.replace(/ \{$/, ""), entries: [], count: 0 };
        if (text.endsWith(" {")) open = statement;
        else if (!text.startsWith("table")) open = undefined;
        chain.push(statement);
      }
    }
  }

  /** What becomes of a new connection. */
  open(packet: Packet): Outcomes {
    const family = packet.address.includes(":") ? "ip6" : "ip";
    const service = this.find(family, ["services", "ranges", "addresses"], packet);
    if (!service) return new Map([[this.guards(packet) ? "dropped" : "untouched", Rational.ONE]]);

    const outcomes: Outcomes = new Map();
    for (const { connmark, dnat, part } of this.walk(`${family} ${service.chain}`, packet)) {
      const outcome = dnat
        ? translatedTo(dnat.address, dnat.port ?? packet.port, connmark, this.source(family, packet))
        : this.guards(packet)
          ? "dropped"
          : "untouched";
      outcomes.set(outcome, (outcomes.get(outcome) ?? Rational.ZERO).plus(part));
    }
    return outcomes;
  }

  /** Whether a packet that no rule translated would be stopped. */
  guards(packet: Packet): boolean {
    const family = packet.address.includes(":") ? "ip6" : "ip";
    return this.find(family, ["guarded", "guarded_ranges", "guarded_addresses"], packet) !== undefined;
  }

  private find(family: string, maps: string[], packet: Packet): Element | undefined {
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
    const [statement, ...more] = this.chains.get(`${family} ${element.chain}`)!;
    if (more.length > 0) throw new Error(`${element.chain} has more than one statement`);
    if (statement!.text === "masquerade") return "masquerade";
    if (statement!.text === `snat to ct original ${family} daddr`) return packet.address;
    return /^snat to (\S+)$/.exec(statement!.text)![1]!;
  }

  private walk(chain: string, packet: Packet): End[] {
    const statements = this.chains.get(chain);
    if (!statements) throw new Error(`${chain} is not there`);
    let flow: End[] = [{ connmark: packet.connmark ?? 0, dnat: undefined, part: Rational.ONE }];
    for (const statement of statements) {
      flow = flow.flatMap((at): End[] => {
        if (at.dnat) return [at];
        const { text } = statement;
        const [, protocols, rest] =
          /^(?:meta l4proto (?:\{ (?=.*\}))?([a-z, ]+?)(?: \})? )?((?:ct|dnat|numgen).*)$/.exec(text)!;
        if (protocols !== undefined && !protocols.split(", ").includes(packet.protocol)) return [at];

        const plain = /^ct mark set (0x[0-9a-f]+)$/.exec(rest!);
        if (plain) return [{ ...at, connmark: Number(plain[1]) }];
        const masked = /^ct mark set ct mark & (0x[0-9a-f]+) \| (0x[0-9a-f]+)$/.exec(rest!);
        if (masked)
          return [{ ...at, connmark: ((at.connmark & Number(masked[1])) | Number(masked[2])) >>> 0 }];
        if (/^ct mark set numgen/.test(rest!))
          return draw(statement, at).map(({ value, ...drawn }) => ({ ...drawn, connmark: Number(value) }));
        if (/^numgen .* vmap$/.test(rest!))
          return draw(statement, at).flatMap(({ value, part }) =>
            this.walk(`${chain.split(" ")[0]} ${/^goto (\S+)$/.exec(value)![1]}`, packet).map((end) => ({
              ...end,
              part: end.part.times(part),
            })),
          );
        if (rest === "dnat to ct mark map") {
          const entry = statement.entries.find(({ key }) => Number(key) === at.connmark);
          return [entry ? { ...at, dnat: parseTarget(entry.value, " . ") } : at];
        }
        return [{ ...at, dnat: parseTarget(/^dnat to (\S+)$/.exec(rest!)![1]!, ":") }];
      });
    }
    return flow;
  }
}

interface Statement {
  text: string;
  entries: { key: string; value: string }[];
  count: number;
}

interface Element {
  family: string;
  map: string;
  enters: string | undefined;
  address: string;
  protocol: string | undefined;
  from: number;
  to: number;
  chain: string | undefined;
}

interface End {
  connmark: number;
  dnat: { address: string; port: number | undefined } | undefined;
  part: Rational;
}

function parseElement([family, map, key, chain]: (string | undefined)[]): Element {
  const parts = key!.split(" . ");
  const enters = map!.startsWith("interface_") ? parts.shift()!.replace(/^"(.*)"$/, "$1") : undefined;
  const [address, protocol, ports] = parts;
  const [from, to = from] = (ports ?? "0").split("-").map(Number);
  return { family: family!, map: map!, enters, address: address!, protocol, from: from!, to: to!, chain };
}

function holds({ address, protocol, from, to, enters }: Element, packet: Packet): boolean {
  if (address !== packet.address || (enters !== undefined && enters !== packet.enters)) return false;
  if (protocol === undefined) return true;
  return (
    protocol === packet.protocol && packet.port !== undefined && packet.port >= from && packet.port <= to
  );
}

function parseEntry(text: string): { key: string; value: string } {
  const [, key, value] = /^(\S+) : (.+),$/.exec(text)!;
  return { key: key!, value: value! };
}

/** All that a number generator may give, each with its part; the slots must hold every number exactly once. */
function draw(statement: Statement, at: End): (End & { value: string })[] {
  const [, generator, modulus] = /numgen (random|inc) mod (\d+) v?map$/.exec(statement.text)!;
  const slots = statement.entries.map(({ key, value }) => {
    const [from, to = from] = key.split("-").map(Number);
    return { from: from!, to: to!, value };
  });
  let next = 0;
  for (const { from, to } of slots) {
    if (from !== next || to < from) throw new Error(`slot ${from}-${to} does not follow ${next}`);
    next = to + 1;
  }
  if (next !== Number(modulus)) throw new Error(`${next} slots for a modulus of ${modulus}`);
  if (generator === "random")
    return slots.map(({ from, to, value }) => ({
      ...at,
      value,
      part: at.part.times(Rational.of(to - from + 1, next)),
    }));
  const turn = statement.count++ % next;
  return [{ ...at, value: slots.find(({ from, to }) => from <= turn && turn <= to)!.value }];
}

function parseTarget(text: string, separator: " . " | ":"): NonNullable<End["dnat"]> {
  if (separator === " . ") {
    const [address, port] = text.split(" . ");
    return { address: address!, port: port === undefined ? undefined : Number(port) };
  }
  const [, address, port] =
    /^\[(.+)\]:(\d+)$/.exec(text) ?? /^([\d.]+):(\d+)$/.exec(text) ?? ([text, text] as const);
  return { address: address!, port: port === undefined ? undefined : Number(port) };
}
