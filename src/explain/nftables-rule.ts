import { backendChain } from "../nftables/choose";
import type { NftBackend, NftPin, NftRule } from "../nftables/ruleset";
import { FULL_MASK } from "../plan/mark";
import { hex } from "../spec/check";
import { type Prefix, parsePrefix, toNumber } from "../spec/prefix";
import { memo } from "./memo";
import { byHash, byNumber, type Choice } from "./nftables-choice";
import { slotOf } from "./nftables-hash";
import type { Oracle } from "./oracle";
import type { Arrival, Limit } from "./packet";
import { type DropReason, type Effect, type End, formatPlace, type Translation, withBits } from "./trace";

/** What a rule says to a packet. */
export interface Answer {
  matched: boolean;
  why: string;
  effect: Effect | undefined;
}

/** Asks one rule of a farm's chains about a packet, and changes `end` as the rule does. */
export function askRule(rule: NftRule, packet: Arrival, end: End, oracle: Oracle): Answer {
  switch (rule.kind) {
    case "requireSyn":
      if (packet.protocol !== "tcp") return miss(`protocol is ${packet.protocol}`);
      return packet.syn ? miss("it is a SYN") : drop("noSyn", "it is no SYN");
    case "deny":
      return isIn(rule.sources, packet)
        ? drop("denied", `has ${packet.source}`)
        : miss(`has no ${packet.source}`);
    case "allow":
      return packet.anyClient || isIn(rule.sources, packet)
        ? miss(`has ${packet.source}`)
        : drop("notAllowed", `has no ${packet.source}`);
    case "limitSources":
      return limit("sourceRate");
    case "limitRate":
      return limit("rate");
    case "limitConnections":
      return limit("connections");
    case "bindHelper":
      if (packet.protocol !== rule.protocol) return miss(`protocol is ${packet.protocol}`);
      return match("every packet", { kind: "helper", helper: rule.helper });
    case "log":
      return match("unless there were too many lines", { kind: "log", prefix: rule.prefix });
    case "pin": {
      const pin = findPin(rule.pins, packet);
      return pin ? match(sayPin(pin), setMark(pin.backend.mark)) : miss(`has no ${packet.source}`);
    }
    case "pinChain": {
      const pin = findPin(rule.pins, packet);
      return pin
        ? match(sayPin(pin), goto(backendChain(rule.prefix, pin.backend.mark)))
        : miss(`has no ${packet.source}`);
    }
    case "keep":
      return has(rule.backends) ? match(`has ${hex(end.mark)}`, goto(rule.chain)) : missMark();
    case "recall":
      if (!packet.remembered) return miss("remembers nothing of its client");
      return match(`remembers ${packet.remembered.key}`, setMark(packet.remembered.mark));
    case "forget":
      return packet.remembered
        ? match("its client finds another backend", { kind: "forget" })
        : miss("there is nothing to forget");
    case "setMark":
      return match("every packet", setMark(rule.mark, rule.mask));
    case "chooseMark":
      return choose(byNumber(rule, oracle), setMark);
    case "chooseChain":
      return choose(byNumber(rule, oracle), (mark) => goto(backendChain(rule.prefix, mark)));
    case "hashMark":
      return choose(byHash(rule.groups, slotOf(rule.hash, packet), oracle), setMark);
    case "hashChain":
      return choose(byHash(rule.groups, slotOf(rule.hash, packet), oracle), (mark) =>
        goto(backendChain(rule.prefix, mark)),
      );
    case "hashSlot": {
      const slot = slotOf(rule.hash, packet);
      if (slot === undefined) return match("hashed to a slot of any client", setMark(0));
      return match(`hashed to slot ${slot}`, setMark(slot));
    }
    case "markOfSlot":
      return choose(byHash(rule.groups, packet.anyClient ? undefined : end.mark, oracle), setMark);
    case "rejectTcp":
      return packet.protocol === "tcp" ? reject("tcp-reset") : miss(`protocol is ${packet.protocol}`);
    case "reject":
      return reject("port-unreachable");
    case "drop":
      return drop("noBackend", "every packet");
    case "goto":
      return match("every packet", goto(rule.chain));
    case "limitBackends":
      return has(rule.backends) ? limit("backendConnections") : missMark();
    case "limitBackend":
      return limit("backendConnections");
    case "remember":
      return match("every packet", { kind: "remember", seconds: rule.timeout });
    case "count":
      return match("every packet", { kind: "count" });
    case "translateByMark": {
      const target = targetsOf(rule).get(end.mark);
      if (speaksOther(rule.protocols, packet)) return miss(`protocol is ${packet.protocol}`);
      if (!target) return missMark();
      return match(`has ${hex(end.mark)} : ${formatPlace(target)}`, translate(target));
    }
    case "translate":
      if (speaksOther(rule.protocols, packet)) return miss(`protocol is ${packet.protocol}`);
      return match("every packet", translate(rule.target));
    case "masquerade":
      return match("every packet", setSource({ kind: "masquerade" }));
    case "masqueradeFrom":
      return isIn(rule.networks, packet)
        ? match(`has ${packet.source}`, setSource({ kind: "masquerade" }))
        : miss(`has no ${packet.source}`);
    case "sourceVip":
      return match("every packet", setSource({ kind: "address", address: packet.destination }));
    case "sourceAddress":
      return match("every packet", setSource({ kind: "address", address: rule.address }));
    default:
      throw rule satisfies never;
  }

  function setMark(mark: number, mask = FULL_MASK): Effect {
    const before = end.mark;
    end.mark = withBits(before, mark, mask);
    return { kind: "mark", of: "connection", before, after: end.mark };
  }
  function choose({ mark, why }: Choice, take: (mark: number) => Effect): Answer {
    return match(why, take(mark));
  }
  function translate({ address, port }: Translation): Effect {
    end.translation = { address, port };
    return { kind: "translate", to: { address, port: port ?? packet.port } };
  }
  function setSource(source: NonNullable<End["source"]>): Effect {
    end.source = source;
    return { kind: "source", source };
  }
  function limit(of: Limit): Answer {
    return packet.over.has(of) ? drop(of, "the limit is reached") : miss("the limit is not reached");
  }
  function drop(by: DropReason, why: string): Answer {
    end.dropped = by;
    return match(why, { kind: "drop" });
  }
  function reject(answer: NonNullable<End["rejected"]>): Answer {
    end.rejected = answer;
    return match("every packet", { kind: "reject", with: answer });
  }
  function has(backends: NftBackend[]): boolean {
    return marksOf(backends).has(end.mark);
  }
  function missMark(): Answer {
    return miss(`has no ${hex(end.mark)}`);
  }
}

function match(why: string, effect: Effect): Answer {
  return { matched: true, why, effect };
}

function miss(why: string): Answer {
  return { matched: false, why, effect: undefined };
}

function goto(chain: string): Effect {
  return { kind: "goto", chain };
}

function speaksOther(protocols: readonly string[], { protocol }: Arrival): boolean {
  return protocols.length > 0 && !protocols.includes(protocol);
}

function isIn(networks: string[], { source, anyClient }: Arrival): boolean {
  if (anyClient) return false;
  const address = toNumber(source);
  return prefixesOf(networks).some(({ first, last }) => first <= address && address <= last);
}

function findPin(pins: NftPin[], { source, anyClient }: Arrival): NftPin | undefined {
  if (anyClient) return undefined;
  const address = toNumber(source);
  return boundsOf(pins).find(({ first, last }) => first <= address && address <= last)?.pin;
}

function sayPin({ first, last, backend }: NftPin): string {
  return `has ${first === last ? first : `${first}-${last}`}: ${backend.key}, mark ${hex(backend.mark)}`;
}

const marksOf = memo((backends: NftBackend[]) => new Set(backends.map(({ mark }) => mark)));

const prefixesOf = memo((networks: string[]): Prefix[] => networks.map((network) => parsePrefix(network)!));

const boundsOf = memo((pins: NftPin[]) =>
  pins.map((pin) => ({ first: toNumber(pin.first), last: toNumber(pin.last), pin })),
);

const targetsOf = memo(
  ({ targets }: Extract<NftRule, { kind: "translateByMark" }>) =>
    new Map(targets.map((target) => [target.mark, target])),
);
