import type { Plan, PlannedBackend, Pool } from "../plan/plan";
import type { Family } from "../spec/address";
import type { AffinityKey } from "../spec/types";
import type { IptSet, SetKey } from "./ruleset";

/** The sets of ipset that a farm's rules ask: its lists of clients, and those that each backend has seen. */
export function setsOf(plan: Plan, pool: Pool): IptSet[] {
  const { affinity } = plan;
  return [
    ...(pool.deny.length > 0 ? [listOf(listName(plan, pool, "deny"), pool.deny)] : []),
    ...(pool.allow ? [listOf(listName(plan, pool, "allow"), pool.allow)] : []),
    ...(affinity
      ? pool.remembered.map(
          (backend): IptSet => ({
            name: clientsOf(plan, backend, affinity.by),
            type: TYPE[affinity.by],
            maxEntries: affinity.maxEntries,
            timeout: affinity.timeout,
            entries: [],
          }),
        )
      : []),
  ];
}

/** The two families have lists of their own, because a set has one family. */
export function listName({ shortName }: Plan, { family }: Pool, list: "allow" | "deny"): string {
  return `${shortName}.${list}${family === "ip" ? "" : "6"}`;
}

/** The set of a backend's clients. A set of another type has another name, because one that rules ask cannot change its type. */
export function clientsOf({ shortName }: Plan, { mark }: PlannedBackend, by: AffinityKey): string {
  return `${shortName}.${mark.toString(16)}${SUFFIX[by]}`;
}

export const SET_KEY: Record<AffinityKey, SetKey> = {
  sourceIp: "src",
  sourceIpPort: "src,src",
  destinationIp: "dst",
};

const TYPE: Record<AffinityKey, IptSet["type"]> = {
  sourceIp: "hash:ip",
  sourceIpPort: "hash:ip,port",
  destinationIp: "hash:ip",
};

/** The longest name, `NFLB-`, 12 characters, `.`, 8 hex digits and `.port`, has just the 31 characters of IPSET_MAXNAMELEN − 1. */
const SUFFIX: Record<AffinityKey, string> = { sourceIp: "", sourceIpPort: ".port", destinationIp: ".dest" };

/** As many as a list may have. */
const LIST_SIZE = 65_536;

function listOf(name: string, networks: readonly string[]): IptSet {
  return {
    name,
    type: "hash:net",
    maxEntries: LIST_SIZE,
    timeout: undefined,
    entries: networks.flatMap((network) => HALVES[network] ?? [network]),
  };
}

/** `hash:net` has no prefix of length 0 (ipset(8)). */
const HALVES: Record<string, string[]> = {
  "0.0.0.0/0": ["0.0.0.0/1", "128.0.0.0/1"],
  "::/0": ["::/1", "8000::/1"],
};

/** A network as rules have it, always with its length; undefined for one that holds every address, which is no match at all. */
export function matchedNetwork(network: string, family: Family): string | undefined {
  if (network.endsWith("/0")) return undefined;
  return network.includes("/") ? network : `${network}/${family === "ip" ? 32 : 128}`;
}
