import { renderHeader } from "../plan/header";
import { kernelHelper } from "../plan/helper";
import type { Plan } from "../plan/plan";
import { lower } from "./lower";
import { renderRule } from "./render-rule";
import type { NftElement, NftKey, NftObject, NftRuleSet } from "./ruleset";

/** The table that all farms of a gateway share. */
const TABLE = "netfilter_lb";

/** The text that a gateway gets: header, the farm's own objects and chains, the elements that lead to them. */
export function renderNftables(plan: Plan): string {
  return [...renderHeader(plan, "nftables"), ...renderNftRules(lower(plan)), ""].join("\n");
}

/** What stands behind the header. */
export function renderNftRules(set: NftRuleSet): string[] {
  return [...renderTables(set), ...set.elements.map(renderElement)];
}

function renderTables({ objects, chains }: NftRuleSet): string[] {
  return (["ip", "ip6"] as const).flatMap((family) => {
    const own = chains.filter((chain) => chain.family === family);
    if (own.length === 0) return [];
    return [
      `table ${family} ${TABLE} {`,
      ...objects.filter((object) => object.family === family).map((object) => `\t${renderObject(object)}`),
      ...own.flatMap(({ name, rules }) => [
        `\tchain ${name} {`,
        ...rules.flatMap((rule) => renderRule(family, rule)).map((line) => `\t\t${line}`),
        "\t}",
      ]),
      "}",
    ];
  });
}

/** Sources and marks that a set of a limit, or of counters, has room for. */
const SET_SIZE = 65_536;

function renderObject({ family, name, ...object }: NftObject): string {
  const address = family === "ip" ? "ipv4_addr" : "ipv6_addr";
  switch (object.kind) {
    case "affinity": {
      const key = object.by === "sourceIpPort" ? `${address} . inet_service` : address;
      return `map ${name} { type ${key} : mark; size ${object.size}; flags dynamic,timeout; }`;
    }
    case "connections":
    case "rateAll":
      return `set ${name} { type ${address}; size 1; flags dynamic; }`;
    case "backendConnections":
      return `set ${name} { type mark; size ${SET_SIZE}; flags dynamic; }`;
    case "rate":
      return `set ${name} { type ${address}; size ${SET_SIZE}; flags dynamic,timeout; }`;
    case "counters":
      return `set ${name} { type mark; size ${SET_SIZE}; flags dynamic; counter; }`;
    case "helper":
      return `ct helper ${name} { type "${kernelHelper(object.helper)}" protocol ${object.protocol}; }`;
    default:
      throw object satisfies never;
  }
}

const NAMES = {
  guard: { port: "guarded", range: "guarded_ranges", address: "guarded_addresses" },
  service: { port: "services", range: "ranges", address: "addresses" },
  source: { port: "sources", range: "source_ranges", address: "source_addresses" },
} as const;

function renderElement(element: NftElement): string {
  return `add element ${element.family} ${TABLE} ${elementMap(element)} { ${elementEntry(element)} }`;
}

/** The map or set of the shared table that an element goes to. */
export function elementMap(element: NftElement): string {
  return `${element.interface === undefined ? "" : "interface_"}${NAMES[element.role][element.key.kind]}`;
}

/** `203.0.113.10 . tcp . 80 : goto web.farm`. */
export function elementEntry(element: NftElement): string {
  const key = `${element.interface === undefined ? "" : `"${element.interface}" . `}${renderKey(element.key)}`;
  return `${key}${element.chain === undefined ? "" : ` : goto ${element.chain}`}`;
}

function renderKey(key: NftKey): string {
  switch (key.kind) {
    case "port":
      return `${key.address} . ${key.protocol} . ${key.port}`;
    case "range":
      return `${key.address} . ${key.protocol} . ${key.from}-${key.to}`;
    case "address":
      return key.address;
    default:
      throw key satisfies never;
  }
}
