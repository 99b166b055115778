import type { NftChain, NftElement, NftKey, NftObject, NftRuleSet, PortProtocol } from "../nftables/ruleset";
import type { Family } from "../spec/address";
import type { AffinityKey, Helper } from "../spec/types";
import { parseRule } from "./nftables-rule";
import type { Lines } from "./text";

/** An nftables rule set's text (without its header) as typed rules: `render`, backwards. */
export function parseNftables(lines: Lines): NftRuleSet {
  const set: NftRuleSet = { objects: [], chains: [], elements: [] };
  for (let table = lines.take(TABLE); table; table = lines.take(TABLE)) {
    const family = table[1] as Family;
    for (let object = parseObject(family, lines); object; object = parseObject(family, lines))
      set.objects.push(object);
    while (!lines.take(/^\}$/)) set.chains.push(parseChain(family, lines));
  }
  while (lines.peek() !== "") set.elements.push(parseElement(lines));
  return set;
}

const TABLE = /^table (ip6?) netfilter_lb \{$/;

/** What stands behind the name tells the kind; what is written otherwise, rendering it again finds. */
function parseObject(family: Family, lines: Lines): NftObject | undefined {
  let found = lines.take(
    /^\tmap (\S+\.affinity\.(source|source-port|destination)\.\d+) \{ .* size (\d+); .*\}$/,
  );
  if (found)
    return { family, name: found[1]!, kind: "affinity", by: KEYS[found[2]!]!, size: Number(found[3]) };
  found = lines.take(/^\tset (\S+\.(connections|backend-connections|rate|rate-all|counters)[\d.]*) \{ .*\}$/);
  if (found) return { family, name: found[1]!, kind: SETS[found[2]!]! };
  found = lines.take(/^\tct helper (\S+\.([a-z0-9-]+)\.(tcp|udp|sctp)) \{ .*\}$/);
  if (!found) return undefined;
  const [, name, helper, protocol] = found;
  return {
    family,
    name: name!,
    kind: "helper",
    helper: helper as Helper,
    protocol: protocol as PortProtocol,
  };
}

/** In the name of a map of affinity. */
const KEYS: Readonly<Record<string, AffinityKey>> = {
  source: "sourceIp",
  "source-port": "sourceIpPort",
  destination: "destinationIp",
};

/** In the name of a set. */
const SETS = {
  connections: "connections",
  "backend-connections": "backendConnections",
  rate: "rate",
  "rate-all": "rateAll",
  counters: "counters",
} as const satisfies Record<string, NftObject["kind"]> as Readonly<
  Record<string, "connections" | "backendConnections" | "rate" | "rateAll" | "counters">
>;

function parseChain(family: Family, lines: Lines): NftChain {
  const [, name] = lines.need(/^\tchain (\S+) \{$/);
  const rules: NftChain["rules"] = [];
  while (!lines.take(/^\t\}$/)) rules.push(parseRule(family, lines));
  return { family, name: name!, rules };
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
