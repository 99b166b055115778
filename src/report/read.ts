import { kernelChance } from "../explain/chance";
import { startOf } from "../explain/conntrack";
import { traceIptables } from "../explain/iptables";
import { traceNftables } from "../explain/nftables";
import { everyWay, type Oracle } from "../explain/oracle";
import type { Arrival } from "../explain/packet";
import type { End, Trace } from "../explain/trace";
import { renderIptRules } from "../iptables/render";
import type { IptRuleSet } from "../iptables/ruleset";
import { renderNftRules } from "../nftables/render";
import type { NftRuleSet } from "../nftables/ruleset";
import { Fraction } from "../plan/fraction";
import { RULE_SET_VERSION } from "../plan/header";
import { type Family, parseAddress } from "../spec/address";
import { backendKey } from "../spec/check";
import { EVERY_PORT } from "../spec/ports";
import type { Service } from "../spec/service";
import type { Algorithm, Protocol } from "../spec/types";
import { askedFor } from "./chance";
import { parseIptables } from "./iptables";
import { parseNftables } from "./nftables";
import { Lines, notARuleSet } from "./text";

/** What a rule set does, read from its text. */
export interface ReadFarm {
  name: string;
  /** `nftables`, `iptables nat` or `iptables zevenet`. */
  dataPlane: string;
  services: Service[];
  /** Undefined where nothing tells: a single backend needs no choice. */
  algorithm: Algorithm | undefined;
  /** `none`, `masquerade`, `vip` or an address. */
  sourceNat: string;
  interface: string | undefined;
  backends: ReadBackend[];
}

export interface ReadBackend {
  family: Family;
  key: string;
  address: string;
  /** Undefined: the port that was dialled. */
  port: number | undefined;
  mark: number;
  /** Of the connections of its address family. */
  share: Fraction;
}

/**
 * Reads a rule set back. What it does is found out by packets that are sent through its rules; that nothing was
 * overlooked, by rendering those rules again: the text must be the same.
 *
 * @throws SpecError where the text is not a rule set of this package
 */
export function readRuleSet(text: string): ReadFarm {
  const lines = new Lines(text.split("\n"));
  const version = lines.need(/^# netfilter-lb rule set (\d+)$/)[1];
  if (Number(version) !== RULE_SET_VERSION) throw notARuleSet(`is of version ${version}`);
  const name = lines.need(/^# farm (\S+)$/)[1]!;
  lines.need(/^# short-name (\S+)$/);
  const dataPlane = lines.need(/^# data-plane (nftables|iptables nat|iptables zevenet)$/)[1]!;
  const services = lines
    .takeAll(/^# service (\S+) (tcp|udp|sctp|all) (?:(\d+)(?:-(\d+))?|-)$/)
    .map(readService);
  if (services.length === 0) lines.fail();
  const header = text.split("\n").slice(0, 4 + services.length);

  const rules = dataPlane === "nftables" ? readNft(parseNftables(lines)) : readIpt(parseIptables(lines));
  if ([...header, ...rules.text, ""].join("\n") !== text)
    throw notARuleSet("has lines in another order or form");
  return { name, dataPlane, services, ...rules.facts, ...follow(services, rules) };
}

function readService([, address, protocol, from, to]: string[]): Service {
  const parsed = parseAddress(address!);
  if (!parsed) throw notARuleSet(`has a service at ${address}`);
  const ports = from === "" ? EVERY_PORT : { from: Number(from), to: Number(to || from) };
  return { family: parsed.family, address: parsed.text, protocol: protocol as Protocol, ports };
}

/** Typed rules, and how to send a packet through them. */
interface Rules {
  text: string[];
  facts: { algorithm: Algorithm | undefined; interface: string | undefined };
  trace: (packet: Arrival, end: End, oracle: Oracle) => Trace;
}

function readNft(set: NftRuleSet): Rules {
  const choice = set.chains
    .flatMap(({ rules }) => rules)
    .find((rule) => rule.kind === "chooseMark" || rule.kind === "chooseChain");
  return {
    text: renderNftRules(set),
    facts: {
      algorithm: choice && (choice.generator === "random" ? "random" : "roundRobin"),
      interface: set.elements.find((element) => element.interface !== undefined)?.interface,
    },
    trace: (packet, end, oracle) => traceNftables(set, packet, end, oracle),
  };
}

function readIpt(set: IptRuleSet): Rules {
  const matches = set.families
    .flatMap(({ tables }) => tables.flatMap(({ rules }) => rules))
    .flatMap((rule) => rule.matches);
  const enters = matches.find(({ kind }) => kind === "inInterface");
  const thresholds = matches.flatMap((match) => (match.kind === "statisticRandom" ? [match.threshold] : []));
  const asked = new Map(thresholds.map((threshold) => [threshold, askedFor(threshold)]));
  const sure = [...asked.values()].every((chance) => chance !== undefined);
  const chanceOf = sure ? (threshold: number) => asked.get(threshold)! : kernelChance;
  const turns = matches.some(({ kind }) => kind === "statisticNth");
  return {
    text: renderIptRules(set),
    facts: {
      algorithm: turns ? "roundRobin" : thresholds.length > 0 ? "random" : undefined,
      interface: enters?.kind === "inInterface" ? enters.name : undefined,
    },
    trace: (packet, end, oracle) => traceIptables(set, packet, end, oracle, chanceOf),
  };
}

/** Backends and source address, as packets to the services find them. All services of a family share their backends. */
function follow(services: readonly Service[], rules: Rules): Pick<ReadFarm, "backends" | "sourceNat"> {
  const backends = new Map<string, ReadBackend>();
  const seen = new Set<string>();
  for (const family of ["ip", "ip6"] as const) {
    const [first, ...others] = services.filter((service) => service.family === family);
    if (!first) continue;
    const send = (service: Service) => (oracle: Oracle) => {
      const packet = packetTo(service, rules.facts.interface);
      const { end } = rules.trace(packet, startOf(packet), oracle);
      if (!end.translation) throw notARuleSet(`leads packets to ${service.address} nowhere`);
      seen.add(sourceOf(end, service));
      return { ...end, translation: end.translation };
    };
    for (const { value, chance } of everyWay(send(first))) {
      const { address, port } = value.translation;
      const key = backendKey({ address, ...(port !== undefined && { port }) });
      const share = (backends.get(key)?.share ?? Fraction.ZERO).plus(chance);
      backends.set(key, { family, key, address, port, mark: value.mark, share });
    }
    // An address that backends see may be that of the first service by chance.
    const elsewhere = others.find(({ address }) => address !== first.address);
    if (elsewhere) send(elsewhere)(FIRST);
  }
  seen.delete(seen.size > 1 ? "vip" : "");
  return { backends: [...backends.values()], sourceNat: [...seen].join(", ") };
}

/** Goes one way of many. */
const FIRST: Oracle = {
  draw: (chances) => chances.findIndex((chance) => !chance.isZero()),
  take: (_, optionOf) => optionOf(0),
  split: () => true,
};

function packetTo({ family, address, protocol, ports }: Service, enters: string | undefined): Arrival {
  return {
    family,
    source: family === "ip" ? "192.0.2.1" : "2001:db8::1",
    destination: address,
    protocol: protocol === "all" ? "icmp" : protocol,
    sourcePort: undefined,
    port: protocol === "all" ? undefined : ports.to,
    interface: enters,
    from: "client",
    state: "new",
    mark: 0,
    syn: protocol === "tcp",
    remembered: undefined,
    over: new Set(),
    anyClient: true,
  };
}

function sourceOf({ source }: End, service: Service): string {
  if (!source) return "none";
  if (source.kind === "masquerade") return "masquerade";
  return source.address === service.address ? "vip" : source.address;
}
