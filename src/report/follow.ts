import { startOf } from "../explain/conntrack";
import { everyWay, type Oracle } from "../explain/oracle";
import type { Arrival } from "../explain/packet";
import type { End, Trace } from "../explain/trace";
import { Fraction } from "../plan/fraction";
import { backendKey } from "../spec/check";
import type { Service } from "../spec/service";
import type { Facts } from "./facts";
import type { Header, HeaderBackend } from "./header";
import { notARuleSet } from "./text";

/** Typed rules, and how to send a packet through them. */
export interface Rules {
  text: string[];
  facts: Facts;
  /** Whether a way's chance is the share itself. A threshold of iptables is rounded to 2^-31. */
  isExact: boolean;
  trace: (packet: Arrival, end: End, oracle: Oracle) => Trace;
}

/**
 * Sends packets that stand for every client to the services, and compares where they come to with what the header says. All
 * services of a family share their backends.
 *
 * @throws SpecError where it says something else
 */
export function follow({ services, backends }: Header, rules: Rules): void {
  for (const family of ["ip", "ip6"] as const) {
    const [first, ...others] = services.filter((service) => service.family === family);
    const own = backends.filter((backend) => backend.family === family);
    if (!first) {
      if (own.length > 0) throw notARuleSet(`has a backend ${own[0]!.key} and no service of its family`);
      continue;
    }
    const send = (service: Service) => (oracle: Oracle) => {
      const packet = packetTo(service, rules.facts.interface);
      return rules.trace(packet, startOf(packet), oracle).end;
    };
    if (rules.facts.empty[family] !== undefined) {
      checkEmpty(send(first)(FIRST), own);
      continue;
    }
    check(found(first, everyWay(send(first))), own, rules.isExact);
    const elsewhere = others.find(({ address }) => address !== first.address);
    if (elsewhere) placeOf(send(elsewhere)(FIRST), elsewhere);
  }
}

interface Found {
  mark: number;
  share: Fraction;
}

/** What part of the ways leads to each backend, by key. */
function found(service: Service, ways: { value: End; chance: Fraction }[]): Map<string, Found> {
  const found = new Map<string, Found>();
  for (const { value, chance } of ways) {
    const key = placeOf(value, service);
    const share = (found.get(key)?.share ?? Fraction.ZERO).plus(chance);
    found.set(key, { mark: value.mark, share });
  }
  return found;
}

function placeOf({ translation }: End, service: Service): string {
  if (!translation) throw notARuleSet(`leads packets to ${service.address} nowhere`);
  const { address, port } = translation;
  return backendKey({ address, ...(port !== undefined && { port }) });
}

function check(
  found: ReadonlyMap<string, Found>,
  backends: readonly HeaderBackend[],
  isExact: boolean,
): void {
  const carrying = backends.filter(({ share }) => !share.isZero());
  const bound = isExact ? Fraction.ZERO : Fraction.of(carrying.length, 2n ** 32n);
  const isTrue = carrying.every(({ key, mark, share, role }) => {
    const one = found.get(key);
    return role === "active" && one?.mark === mark && !bound.isLessThan(distance(one.share, share));
  });
  if (!isTrue || found.size !== carrying.length)
    throw notARuleSet("gives backends other marks or shares than its header says");
}

function distance(a: Fraction, b: Fraction): Fraction {
  return a.isLessThan(b) ? b.minus(a) : a.minus(b);
}

function checkEmpty({ translation }: End, backends: readonly HeaderBackend[]): void {
  if (translation || backends.some(({ share, role }) => !share.isZero() || role === "active"))
    throw notARuleSet("gives no backend what its header says");
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
    sourcePort: undefined,
    destination: address,
    protocol: protocol === "all" ? "icmp" : protocol,
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
