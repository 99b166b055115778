import { renderHeader } from "../plan/header";
import { FULL_MASK } from "../plan/mark";
import type { Plan } from "../plan/plan";
import type { Family } from "../spec/address";
import { hex } from "../spec/check";
import { backendChain, lower } from "./lower";
import type {
  NftChain,
  NftElement,
  NftKey,
  NftRule,
  NftRuleSet,
  NftSlots,
  NftTarget,
  PortProtocol,
} from "./ruleset";

/** The table that all farms of a gateway share. */
const TABLE = "netfilter_lb";

/** The text that a gateway gets: header, the farm's own chains, the elements that lead to them. */
export function renderNftables(plan: Plan): string {
  return [...renderHeader(plan, "nftables"), ...renderNftRules(lower(plan)), ""].join("\n");
}

/** What stands behind the header. */
export function renderNftRules({ chains, elements }: NftRuleSet): string[] {
  return [...renderChains(chains), ...elements.map(renderElement)];
}

function renderChains(chains: readonly NftChain[]): string[] {
  return (["ip", "ip6"] as const).flatMap((family) => {
    const own = chains.filter((chain) => chain.family === family);
    if (own.length === 0) return [];
    return [
      `table ${family} ${TABLE} {`,
      ...own.flatMap(({ name, rules }) => [
        `\tchain ${name} {`,
        ...rules.flatMap((rule) => renderRule(family, rule)).map((line) => `\t\t${line}`),
        "\t}",
      ]),
      "}",
    ];
  });
}

/** A rule's lines: a map has one for each entry. */
export function renderRule(family: Family, rule: NftRule): string[] {
  switch (rule.kind) {
    case "setMark":
      if (rule.mask === FULL_MASK) return [`ct mark set ${hex(rule.mark)}`];
      return [`ct mark set ct mark & ${hex(~rule.mask)} | ${hex(rule.mark)}`];
    case "chooseMark":
      return [
        `ct mark set numgen ${rule.generator} mod ${rule.modulus} map {`,
        ...rule.slots.map((slots) => renderSlots(slots, hex(slots.backend.mark))),
        "}",
      ];
    case "chooseChain":
      return [
        `numgen ${rule.generator} mod ${rule.modulus} vmap {`,
        ...rule.slots.map((slots) =>
          renderSlots(slots, `goto ${backendChain(rule.prefix, slots.backend.mark)}`),
        ),
        "}",
      ];
    case "translateByMark":
      return [
        `${renderProtocols(rule.protocols)}dnat to ct mark map {`,
        ...rule.targets.map(
          ({ mark, address, port }) =>
            `\t${hex(mark)} : ${address}${port === undefined ? "" : ` . ${port}`},`,
        ),
        "}",
      ];
    case "translate":
      return [`${renderProtocols(rule.protocols)}dnat to ${renderTarget(family, rule.target)}`];
    case "masquerade":
      return ["masquerade"];
    case "sourceVip":
      return [`snat to ct original ${family} daddr`];
    case "sourceAddress":
      return [`snat to ${rule.address}`];
    default:
      throw rule satisfies never;
  }
}

function renderSlots({ from, to, backend }: NftSlots, value: string): string {
  return `\t${from === to ? from : `${from}-${to}`} : ${value}, # ${backend.key} weight ${backend.weight}`;
}

function renderTarget(family: Family, { address, port }: NftTarget): string {
  if (port === undefined) return address;
  return family === "ip" ? `${address}:${port}` : `[${address}]:${port}`;
}

/** A port can be translated only behind a match of the protocol. */
function renderProtocols(protocols: readonly PortProtocol[]): string {
  if (protocols.length === 0) return "";
  return `meta l4proto ${protocols.length === 1 ? protocols[0] : `{ ${protocols.join(", ")} }`} `;
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
