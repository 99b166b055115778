import { FULL_MASK } from "../plan/mark";
import type { RateLimit } from "../plan/plan";
import type { Family } from "../spec/address";
import { hex } from "../spec/check";
import type { AffinityKey } from "../spec/types";
import { backendChain } from "./choose";
import { renderGroups, renderHash, renderSlots } from "./render-hash";
import type { NftBackend, NftPin, NftRule, NftTarget, PortProtocol } from "./ruleset";

/** A rule's lines: a list or map has one for each entry, a hash's map one for some slots of one backend. */
export function renderRule(family: Family, rule: NftRule): string[] {
  switch (rule.kind) {
    case "requireSyn":
      return ["tcp flags & (fin | syn | rst | ack) != syn drop"];
    case "deny":
      return block(`${family} saddr {`, rule.sources.map(listed), "} drop");
    case "allow":
      return block(`${family} saddr != {`, rule.sources.map(listed), "} drop");
    case "limitSources":
      return [
        `update @${rule.set} { ${family} saddr timeout ${rule.timeout}s ${renderRate("over", rule.rate)} } drop`,
      ];
    case "limitRate":
      return [`update @${rule.set} { ${NOTHING[family]} ${renderRate("over", rule.rate)} } drop`];
    case "limitConnections":
      return [`add @${rule.set} { ${NOTHING[family]} ct count over ${rule.limit} } drop`];
    case "bindHelper":
      return [`ct helper set "${rule.object}"`];
    case "log":
      return [`${renderRate("", rule)} log prefix "${rule.prefix}" level info`];
    case "pin":
      return block(
        `ct mark set ${family} saddr map {`,
        rule.pins.map((pin) => renderPin(pin, hex(pin.backend.mark))),
      );
    case "pinChain":
      return block(
        `${family} saddr vmap {`,
        rule.pins.map((pin) => renderPin(pin, `goto ${backendChain(rule.prefix, pin.backend.mark)}`)),
      );
    case "keep":
      return block(
        "ct mark vmap {",
        rule.backends.map(({ mark, key }) => `${hex(mark)} : goto ${rule.chain}, # ${key}`),
      );
    case "recall":
      return [`ct mark set ${renderClient(family, rule.by)} map @${rule.map}`];
    case "forget":
      return [`delete @${rule.map} { ${renderClient(family, rule.by)} : ct mark }`];
    case "setMark":
      if (rule.mask === FULL_MASK) return [`ct mark set ${hex(rule.mark)}`];
      return [`ct mark set ct mark & ${hex(~rule.mask)} | ${hex(rule.mark)}`];
    case "chooseMark":
      return block(
        `ct mark set numgen ${rule.generator} mod ${rule.modulus} map {`,
        rule.slots.map((slots) => renderSlots(slots, hex(slots.backend.mark))),
      );
    case "chooseChain":
      return block(
        `numgen ${rule.generator} mod ${rule.modulus} vmap {`,
        rule.slots.map((slots) =>
          renderSlots(slots, `goto ${backendChain(rule.prefix, slots.backend.mark)}`),
        ),
      );
    case "hashMark":
      return block(
        `ct mark set ${renderHash(family, rule.hash)} map {`,
        renderGroups(rule.groups, rule.hash.slots, markOf),
      );
    case "hashChain":
      return block(
        `${renderHash(family, rule.hash)} vmap {`,
        renderGroups(rule.groups, rule.hash.slots, ({ mark }) => `goto ${backendChain(rule.prefix, mark)}`),
      );
    case "hashSlot":
      return [`ct mark set ${renderHash(family, rule.hash)}`];
    case "markOfSlot":
      return block("ct mark set ct mark map {", renderGroups(rule.groups, rule.slots, markOf));
    case "rejectTcp":
      return ["meta l4proto tcp reject with tcp reset"];
    case "reject":
      return ["reject"];
    case "drop":
      return ["drop"];
    case "goto":
      return [`goto ${rule.chain}`];
    case "limitBackends":
      return block(
        "ct mark {",
        rule.backends.map(({ mark, key }) => `${hex(mark)}, # ${key}`),
        `} add @${rule.set} { ct mark ct count over ${rule.limit} } drop`,
      );
    case "limitBackend":
      return [`add @${rule.set} { ${renderMark(rule.mask)} ct count over ${rule.limit} } drop`];
    case "remember":
      return [`update @${rule.map} { ${renderClient(family, rule.by)} timeout ${rule.timeout}s : ct mark }`];
    case "count":
      return [`update @${rule.set} { ${renderMark(rule.mask)} }`];
    case "translateByMark":
      return block(
        `${renderProtocols(rule.protocols)}dnat to ct mark map {`,
        rule.targets.map(
          ({ mark, address, port }) => `${hex(mark)} : ${address}${port === undefined ? "" : ` . ${port}`},`,
        ),
      );
    case "translate":
      return [`${renderProtocols(rule.protocols)}dnat to ${renderTarget(family, rule.target)}`];
    case "masquerade":
      return ["masquerade"];
    case "masqueradeFrom":
      return block(`${family} saddr {`, rule.networks.map(listed), "} masquerade");
    case "sourceVip":
      return [`snat to ct original ${family} daddr`];
    case "sourceAddress":
      return [`snat to ${rule.address}`];
    default:
      throw rule satisfies never;
  }
}

function block(opening: string, entries: readonly string[], closing = "}"): string[] {
  return [opening, ...entries.map((entry) => `\t${entry}`), closing];
}

const listed = (network: string) => `${network},`;

/** What every packet has the same of: the one key of a set that counts for the whole farm. */
const NOTHING: Record<Family, string> = { ip: "ip daddr & 0.0.0.0", ip6: "ip6 daddr & ::" };

function renderRate(over: "over" | "", { perSecond, burst }: RateLimit): string {
  return `limit rate ${over && "over "}${perSecond}/second burst ${burst} packets`;
}

function renderPin({ first, last, backend }: NftPin, value: string): string {
  return `${first === last ? first : `${first}-${last}`} : ${value}, # ${backend.key}`;
}

/** What a client is remembered by. */
function renderClient(family: Family, by: AffinityKey): string {
  switch (by) {
    case "sourceIp":
      return `${family} saddr`;
    case "sourceIpPort":
      return `${family} saddr . th sport`;
    case "destinationIp":
      return `${family} daddr`;
    default:
      throw by satisfies never;
  }
}

const markOf = ({ mark }: NftBackend) => hex(mark);

function renderMark(mask: number): string {
  return mask === FULL_MASK ? "ct mark" : `ct mark & ${hex(mask)}`;
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
