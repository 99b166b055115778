import type {
  NftChain,
  NftElement,
  NftKey,
  NftRule,
  NftRuleSet,
  NftSlots,
  NftTarget,
  PortProtocol,
} from "../nftables/ruleset";
import { FULL_MASK } from "../plan/mark";
import type { Family } from "../spec/address";
import type { Lines } from "./text";

/** An nftables rule set's text (without its header) as typed rules: `render`, backwards. */
export function parseNftables(lines: Lines): NftRuleSet {
  const set: NftRuleSet = { chains: [], elements: [] };
  for (let table = lines.take(TABLE); table; table = lines.take(TABLE)) {
    while (!lines.take(/^\}$/)) set.chains.push(parseChain(table[1] as Family, lines));
  }
  while (lines.peek() !== "") set.elements.push(parseElement(lines));
  return set;
}

const TABLE = /^table (ip6?) netfilter_lb \{$/;

function parseChain(family: Family, lines: Lines): NftChain {
  const [, name] = lines.need(/^\tchain (\S+) \{$/);
  const rules: NftRule[] = [];
  while (!lines.take(/^\t\}$/)) rules.push(parseRule(family, lines));
  return { family, name: name!, rules };
}

function parseRule(family: Family, lines: Lines): NftRule {
  let found = lines.take(/^\t\tct mark set (0x[0-9a-f]+)$/);
  if (found) return { kind: "setMark", mark: Number(found[1]), mask: FULL_MASK };
  found = lines.take(/^\t\tct mark set ct mark & (0x[0-9a-f]+) \| (0x[0-9a-f]+)$/);
  if (found) return { kind: "setMark", mark: Number(found[2]), mask: ~Number(found[1]) >>> 0 };
  found = lines.take(/^\t\tct mark set numgen (random|inc) mod (\d+) map \{$/);
  if (found)
    return {
      kind: "chooseMark",
      ...generator(found),
      slots: parseSlots(lines, found, /^(0x[0-9a-f]+)$/).slots,
    };
  found = lines.take(/^\t\tnumgen (random|inc) mod (\d+) vmap \{$/);
  if (found) {
    const { slots, prefix } = parseSlots(lines, found, /^goto (\S+)\.([0-9a-f]+)$/);
    return { kind: "chooseChain", ...generator(found), slots, prefix };
  }
  found = lines.take(/^\t\t(meta l4proto .+? )?dnat to ct mark map \{$/);
  if (found)
    return { kind: "translateByMark", protocols: protocolsOf(found[1]!), targets: parseTargets(lines) };
  found = lines.take(/^\t\t(meta l4proto .+? )?dnat to (\S+)$/);
  if (found)
    return {
      kind: "translate",
      protocols: protocolsOf(found[1]!),
      target: { mark: 0, ...placeOf(family, found[2]!) },
    };
  if (lines.take(/^\t\tmasquerade$/)) return { kind: "masquerade" };
  if (lines.take(/^\t\tsnat to ct original ip6? daddr$/)) return { kind: "sourceVip" };
  found = lines.need(/^\t\tsnat to (\S+)$/);
  return { kind: "sourceAddress", address: found[1]! };
}

function generator([, kind, modulus]: string[]): { generator: "random" | "inc"; modulus: number } {
  return { generator: kind as "random" | "inc", modulus: Number(modulus) };
}

/**
 * @param choice as `generator` has it: every number below its modulus must have a slot
 * @param verdict finds the mark, behind the prefix of a chain's name where there is one
 */
function parseSlots(lines: Lines, choice: string[], verdict: RegExp): { slots: NftSlots[]; prefix: string } {
  let next = 0;
  let prefix = "";
  const slots: NftSlots[] = [];
  while (!lines.take(/^\t\t\}$/)) {
    const entry = /^\t\t\t(\d+)(?:-(\d+))? : ([^,]+), # (\S+) weight (\d+)$/.exec(lines.peek() ?? "");
    const found = entry && verdict.exec(entry[3]!);
    if (!entry || !found || Number(entry[1]) !== next) lines.fail();
    lines.need(/./);
    const [, from, to = from, , key, weight] = entry;
    const mark = found[2] === undefined ? Number(found[1]) : Number.parseInt(found[2], 16);
    if (found[2] !== undefined) prefix = found[1]!;
    slots.push({ from: Number(from), to: Number(to), backend: { key: key!, mark, weight: Number(weight) } });
    next = Number(to) + 1;
  }
  if (next !== generator(choice).modulus) lines.fail();
  return { slots, prefix };
}

function parseTargets(lines: Lines): NftTarget[] {
  const targets: NftTarget[] = [];
  while (!lines.take(/^\t\t\}$/)) {
    const [, mark, address, port] = lines.need(/^\t\t\t(0x[0-9a-f]+) : ([0-9a-f.:]+)(?: \. (\d+))?,$/);
    targets.push({ mark: Number(mark), address: address!, port: port ? Number(port) : undefined });
  }
  return targets;
}

function protocolsOf(text: string): PortProtocol[] {
  return (text.match(/\b(tcp|udp|sctp)\b/g) ?? []) as PortProtocol[];
}

function placeOf(family: Family, text: string): { address: string; port: number | undefined } {
  const found = family === "ip" ? /^([\d.]+):(\d+)$/.exec(text) : /^\[(.+)\]:(\d+)$/.exec(text);
  return found ? { address: found[1]!, port: Number(found[2]) } : { address: text, port: undefined };
}

function parseElement(lines: Lines): NftElement {
  const [, family, map, key, chain] = lines.need(
    /^add element (ip6?) netfilter_lb ([a-z_]+) \{ (.+?)(?: : goto (\S+))? \}$/,
  );
  const [, enters, rest] = /^(?:"([^"]+)" \. )?(.*)$/.exec(key!)!;
  const role = /guarded/.test(map!) ? "guard" : /source/.test(map!) ? "source" : "service";
  return {
    family: family as Family,
    role,
    key: parseKey(rest!),
    interface: enters,
    chain: chain || undefined,
  };
}

function parseKey(text: string): NftKey {
  const [address, protocol, ports] = text.split(" . ") as [string, PortProtocol?, string?];
  if (protocol === undefined || ports === undefined) return { kind: "address", address };
  const [from, to] = ports.split("-").map(Number);
  if (to === undefined) return { kind: "port", address, protocol, port: from! };
  return { kind: "range", address, protocol, from: from!, to };
}
