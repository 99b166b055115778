/**
 * What a rule set would touch on a gateway, read on its own: by the lexical rules of nft and of iptables-restore, and with no look at
 * how the compilers write or the tool reads. A test compares the names with those that are the farm's.
 */

export interface Reach {
  /** Chains, maps, sets and helpers that are made or filled, each as a program would name it. */
  made: Set<string>;
  /** Chains, maps, sets and helpers that a rule leads to, asks or writes to. */
  used: Set<string>;
  /** Elements of shared maps and rules of shared chains, by the service that each is about. */
  services: Set<string>;
  /** Addresses whose expected connections (the data connections of a helper) a rule of a shared chain is about, whatever their ports. */
  expecting: Set<string>;
  /** What no farm may hold at all. */
  strange: string[];
}

export function reachOf(text: string): Reach {
  const reach: Reach = {
    made: new Set(),
    used: new Set(),
    services: new Set(),
    expecting: new Set(),
    strange: [],
  };
  if (/^# data-plane nftables$/m.test(text)) readNft(text, reach);
  else readIptables(text, reach);
  return reach;
}

/** A lexer as nft's is: a comment goes to the end of its line, a string to its closing quote, over lines too. */
function lexNft(text: string): string[] {
  return (
    text.match(/#[^\n]*|"[^"]*"|\n|[{};]|[^\s{};"#]+|"/g)?.filter((token) => !token.startsWith("#")) ?? []
  );
}

const NFT_SHARED =
  /^(interface_)?(services|ranges|addresses|guarded|guarded_ranges|guarded_addresses)$|^(sources|source_ranges|source_addresses)$/;

/** Verbs that begin a statement in a chain, or stand in one, and reach beyond the packet and its connection's mark and address. */
const NFT_FOREIGN =
  /^(queue|dup|fwd|tproxy|flow|notrack|synproxy|include|define|undefine|redefine|flush|destroy|rename|list|monitor|import|export|accept|redirect|hook|policy|device|import|tunnel|secmark|vmap@|osf|socket|exthdr|meter)$/;

function readNft(text: string, reach: Reach): void {
  const tokens = lexNft(text);
  let at = 0;
  const next = () => tokens[at++] ?? "";
  const skip = () => {
    while (tokens[at] === "\n" || tokens[at] === ";") at++;
  };
  for (skip(); at < tokens.length; skip()) {
    const words: string[] = [];
    while (at < tokens.length && !"{\n;".includes(tokens[at]!)) words.push(next());
    const [verb, kind, family, table, map] = words;
    if (next() !== "{") {
      reach.strange.push(words.join(" "));
      continue;
    }
    const body = block(next);
    if (verb === "table" && words.length === 3 && /^ip6?$/.test(kind!) && family === "netfilter_lb")
      readTable(body, reach);
    else if (
      verb === "add" &&
      kind === "element" &&
      /^ip6?$/.test(family!) &&
      table === "netfilter_lb" &&
      words.length === 5
    )
      readElement(map!, body, reach);
    else reach.strange.push(words.join(" "));
  }
}

/** What stands up to the brace that closes; an empty string where none does. */
function block(next: () => string): string[] {
  const body: string[] = [];
  for (let depth = 1; ; ) {
    const token = next();
    if (token === "") return [...body, "unclosed"];
    if (token === "{") depth++;
    if (token === "}" && --depth === 0) return body;
    body.push(token);
  }
}

function readTable(body: readonly string[], reach: Reach): void {
  let at = 0;
  const next = () => body[at++] ?? "";
  while (at < body.length) {
    const words: string[] = [];
    while (at < body.length && !"{\n;".includes(body[at]!)) words.push(next());
    const opener = next();
    if (words.length === 0) continue;
    const named = words[0] === "ct" ? words.slice(2) : words.slice(1);
    if (opener !== "{" || named.length !== 1 || !/^(chain|map|set|ct)$/.test(words[0]!)) {
      reach.strange.push(words.join(" "));
      continue;
    }
    reach.made.add(named[0]!);
    readChain(block(next), words[0] === "chain", reach);
  }
}

function readChain(body: readonly string[], isChain: boolean, reach: Reach): void {
  body.forEach((token, i) => {
    if (token.startsWith("@") && token.length > 1) reach.used.add(token.slice(1));
    if (!isChain) return;
    if (/^(goto|jump)$/.test(token)) reach.used.add(body[i + 1] ?? "");
    if (token === "set" && body[i - 1] === "helper") reach.used.add((body[i + 1] ?? "").replace(/"/g, ""));
    if (NFT_FOREIGN.test(token) || token === "type" || token === "unclosed" || token.startsWith("$"))
      reach.strange.push(token);
    if (token === "reset" && body[i - 1] !== "tcp") reach.strange.push(token);
    // A statement that changes a packet: only its mark, its connection's, its addresses, its helper.
    if (token === "set" && !/^(mark|helper)$/.test(body[i - 1] ?? ""))
      reach.strange.push(`${body[i - 1]} set`);
  });
}

function readElement(map: string, body: readonly string[], reach: Reach): void {
  if (!NFT_SHARED.test(map)) reach.strange.push(`element of ${map}`);
  const text = body.filter((token) => token !== "\n").join(" ");
  const [key = "", verdict] = text.split(" : ");
  if (key.includes(",") || text.includes(";")) reach.strange.push(text);
  const parts = key.split(" . ");
  const [address, protocol = "all", port = "-"] = map.startsWith("interface_") ? parts.slice(1) : parts;
  reach.services.add(`${address} ${protocol} ${port}`);
  const [way, target = "", ...rest] = verdict?.split(" ") ?? [];
  if (map.includes("guarded") ? verdict !== undefined : way !== "goto" || rest.length > 0)
    reach.strange.push(text);
  if (target !== "") reach.used.add(target);
}

/** Targets that end in the packet and its connection. */
const IPT_TARGETS = /^(DROP|ACCEPT|RETURN|REJECT|LOG|MARK|CONNMARK|HMARK|SET|CT|DNAT|SNAT|MASQUERADE)$/;

/** iptables-restore's words: parted by blanks, quotes hold some together, a backslash keeps the next letter. */
function wordsOf(line: string): string[] {
  return (
    line
      .match(/(?:"(?:\\.|[^"\\])*"?|[^\s"])+/g)
      ?.map((word) =>
        word.replace(/"((?:\\.|[^"\\])*)"?/g, (_, inner: string) => inner.replace(/\\(.)/g, "$1")),
      ) ?? []
  );
}

function readIptables(text: string, reach: Reach): void {
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#") || line === "COMMIT") continue;
    const words = wordsOf(line);
    const [verb = "", name = ""] = words;
    if (/^\*(raw|mangle|nat|filter)$/.test(line)) continue;
    if (verb.startsWith(":")) reach.made.add(verb.slice(1));
    else if (verb === "create") reach.made.add(name);
    else if (verb === "add" && words.length === 3) reach.made.add(name);
    else if (verb === "-A") readRule(name, words, reach);
    else reach.strange.push(line);
  }
}

function readRule(chain: string, words: readonly string[], reach: Reach): void {
  const valueBehind = (...names: string[]) => words[words.findIndex((word) => names.includes(word)) + 1];
  const after = (...names: string[]) => words.filter((_, i) => names.includes(words[i - 1] ?? ""));
  const has = (name: string) => words.includes(name);
  if (!/^NFLB-[A-Z]+$/.test(chain)) reach.made.add(chain);
  else if (has("--ctstatus")) {
    reach.expecting.add(valueBehind("--ctorigdst", "--ctrepldst") ?? "any");
    if (valueBehind("--ctstatus") !== "EXPECTED" || has("!")) reach.strange.push(words.join(" "));
  } else {
    const address = has("-d") ? valueBehind("-d") : has("--ctorigdst") ? valueBehind("--ctorigdst") : "any";
    const protocol = has("-p") ? valueBehind("-p") : "all";
    const port = has("--dport")
      ? valueBehind("--dport")
      : has("--ctorigdstport")
        ? valueBehind("--ctorigdstport")
        : undefined;
    reach.services.add(
      `${address!.replace(/\/(32|128)$/, "")} ${protocol} ${protocol === "all" ? "-" : (port?.replace(":", "-") ?? "0-65535")}`,
    );
    const at = words.findIndex((word) => /^(-d|-p|--ctorigdst|--dport|--ctorigdstport)$/.test(word));
    if (words[at - 1] === "!") reach.strange.push(words.join(" "));
  }
  for (const target of after("-j", "-g", "--jump", "--goto"))
    if (!IPT_TARGETS.test(target)) reach.used.add(target);
  for (const set of after("--match-set", "--add-set", "--del-set", "--map-set")) reach.used.add(set);
  for (const word of words)
    if (
      /^-[MIDRFXNPZEtcLSC]$|^--(modprobe|table|queue-num|tee|gateway|on-port|on-ip|del-set|map-set|notrack|zone)/.test(
        word,
      )
    )
      reach.strange.push(word);
}
