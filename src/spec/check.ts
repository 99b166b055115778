import { type Family, parseAddress } from "./address";
import { isPort } from "./ports";
import type { Problem } from "./problem";
import { formatService, type Service, servicesOf, servicesOverlap } from "./service";
import type { BackendSpec, FarmSpec, ListenerSpec, TargetSpec } from "./types";

/**
 * What no single field shows: fields that contradict each other, duplicates, families that do not match. Entries that
 * are wrong in themselves, or not known yet, are passed over; the schema reports those.
 */

/** A listener or backend that is right in itself, and where it stands. */
interface Entry<T> {
  index: number;
  value: T;
}

/** Whether what stands at this path is right in itself and known. */
export type Soundness = (...path: (string | number)[]) => boolean;

/** More turns a round than that make a rule set that no one reads and the kernel takes seconds to load. */
const MAX_TURNS = 16_384;

/**
 * @param spec a farm in which some entries may be wrong or pending
 */
export function checkFarm(spec: FarmSpec, sound: Soundness): Problem[] {
  const listeners = entries(spec.listeners, (i) => sound("listeners", i));
  const backends = entries(spec.backends, (i) => sound("backends", i));
  const complete = listeners.length === spec.listeners?.length && backends.length === spec.backends?.length;
  return [
    ...listeners.flatMap(checkPorts),
    ...checkClaims(listeners),
    ...checkTwins(backends),
    ...checkMarks(backends),
    ...checkLoops(listeners, backends),
    ...checkBackendPorts(listeners, backends),
    ...(complete ? checkFamilies(listeners, backends) : []),
    ...(sound("sourceNat") ? checkSourceNat(spec.sourceNat, listeners) : []),
    ...(spec.algorithm === "roundRobin" ? checkTurns(backends) : []),
  ];
}

/** What a gateway's own fields and the farm's marks contradict. */
export function checkTarget(target: TargetSpec, spec: FarmSpec, sound: Soundness): Problem[] {
  const problems: Problem[] = [];
  if (target.layout !== undefined && target.dataPlane === "nftables")
    problems.push({
      path: ["layout"],
      text: `"${target.layout}" is a layout of iptables; leave it out with nftables`,
    });
  if (typeof target.markMask === "number") {
    const mask = target.markMask;
    const room = 2 ** popcount(mask) - 1;
    const backends = Array.isArray(spec?.backends) ? spec.backends : [];
    if (backends.length > room)
      problems.push({
        path: ["markMask"],
        text: `${hex(mask)} has room for ${room} marks; the farm has ${backends.length} backends`,
      });
    for (const { index, value } of entries(backends, (i) => sound("backends", i)))
      if (value.mark !== undefined && (value.mark & ~mask) !== 0)
        problems.push({
          path: ["markMask"],
          text: `${hex(mask)} does not hold backends[${index}].mark ${hex(value.mark)}`,
        });
  }
  return problems;
}

/** A mark as every message and rule has it. */
export function hex(mark: number): string {
  return `0x${(mark >>> 0).toString(16)}`;
}

function entries<T>(list: T[] | undefined, sound: (index: number) => boolean): Entry<T>[] {
  return Array.isArray(list)
    ? list.map((value, index) => ({ index, value })).filter(({ index }) => sound(index))
    : [];
}

function checkPorts({ index, value }: Entry<ListenerSpec>): Problem[] {
  const { protocol, port, ports } = value;
  if (protocol === "all" && (port !== undefined || ports !== undefined))
    return [
      {
        path: ["listeners", index, port !== undefined ? "port" : "ports"],
        text: "goes with tcp, udp or sctp; write a listener for each protocol, or leave the port out for everything",
      },
    ];
  if (port !== undefined && ports !== undefined)
    return [{ path: ["listeners", index, "ports"], text: "stands beside port; give one of the two" }];
  return [];
}

function checkClaims(listeners: Entry<ListenerSpec>[]): Problem[] {
  const problems: Problem[] = [];
  const claimed = new Map<string, { index: number; service: Service }[]>();
  for (const { index, value } of listeners) {
    for (const service of servicesOf(value)) {
      const sameAddress = claimed.get(service.address) ?? [];
      const other = sameAddress.find(
        (claim) => claim.index !== index && servicesOverlap(claim.service, service),
      );
      if (other)
        problems.push({
          path: ["listeners", index],
          text: `${formatService(service)} is claimed by listeners[${other.index}] already; claim each port once`,
        });
      claimed.set(service.address, [...sameAddress, { index, service }]);
    }
  }
  return problems;
}

/** Address and port of a backend, by which it is known: `10.0.0.3`, `10.0.0.3:80`, `[2001:db8::3]:80`. */
export function backendKey({ address, port }: Pick<BackendSpec, "address" | "port">): string {
  const { family, text } = parseAddress(address)!;
  if (port === undefined) return text;
  return family === "ip" ? `${text}:${port}` : `[${text}]:${port}`;
}

/** The key of a backend that is named by text; undefined where that is no address, with or without a port. */
export function canonicalKey(text: string): string | undefined {
  const [, bracketed, plain, port] = /^(?:\[(.+)\]|([\d.]+)):(\d+)$/.exec(text) ?? [];
  const address = bracketed ?? plain ?? text;
  if (!parseAddress(address) || (port !== undefined && !isPort(Number(port)))) return undefined;
  return backendKey({ address, ...(port !== undefined && { port: Number(port) }) });
}

function checkTwins(backends: Entry<BackendSpec>[]): Problem[] {
  return twice(backends, ({ value }) => backendKey(value)).map(([entry, first]) => ({
    path: ["backends", entry.index],
    text: `${backendKey(entry.value)} is backends[${first.index}] already; name each once and give it a weight`,
  }));
}

function checkMarks(backends: Entry<BackendSpec>[]): Problem[] {
  const marked = backends.filter(({ value }) => value.mark !== undefined);
  return twice(marked, ({ value }) => value.mark).map(([entry, first]) => ({
    path: ["backends", entry.index, "mark"],
    text:
      `${hex(entry.value.mark!)} of ${backendKey(entry.value)} is the mark of backends[${first.index}], ` +
      `${backendKey(first.value)}, too; give each its own`,
  }));
}

function checkLoops(listeners: Entry<ListenerSpec>[], backends: Entry<BackendSpec>[]): Problem[] {
  // Of several listeners with one address the first is named.
  const dialled = new Map(
    listeners.map(({ index, value }) => [parseAddress(value.address)!.text, index] as const).reverse(),
  );
  return backends.flatMap(({ index, value }) => {
    const listener = dialled.get(parseAddress(value.address)!.text);
    if (listener === undefined) return [];
    return [
      {
        path: ["backends", index, "address"],
        text: `"${value.address}" is the address of listeners[${listener}]; a packet sent there would come back`,
      },
    ];
  });
}

function checkBackendPorts(listeners: Entry<ListenerSpec>[], backends: Entry<BackendSpec>[]): Problem[] {
  const all = listeners.find(({ value }) => value.protocol === "all");
  if (!all) return [];
  return backends
    .filter(({ value }) => value.port !== undefined)
    .map(({ index, value }) => ({
      path: ["backends", index, "port"],
      text:
        `${value.port} goes with tcp, udp or sctp, but listeners[${all.index}] takes every protocol; ` +
        "leave the port out, or give the listener a protocol",
    }));
}

function checkFamilies(listeners: Entry<ListenerSpec>[], backends: Entry<BackendSpec>[]): Problem[] {
  const familyOf = (entry: Entry<{ address: string }>): Family => parseAddress(entry.value.address)!.family;
  const unmatched = (side: Entry<{ address: string }>[], other: Entry<{ address: string }>[]) =>
    side.filter((entry) => !other.some((candidate) => familyOf(candidate) === familyOf(entry)));
  return [
    ...unmatched(listeners, backends).map((entry) => ({
      path: ["listeners", entry.index, "address"],
      text: `"${entry.value.address}" has no backend of its family; NAT does not turn ${FAMILY[familyOf(entry)]} into another`,
    })),
    ...unmatched(backends, listeners).map((entry) => ({
      path: ["backends", entry.index, "address"],
      text: `"${entry.value.address}" has no listener of its family; NAT does not turn another into ${FAMILY[familyOf(entry)]}`,
    })),
  ];
}

const FAMILY: Record<Family, string> = { ip: "IPv4", ip6: "IPv6" };

function checkSourceNat(sourceNat: string | undefined, listeners: Entry<ListenerSpec>[]): Problem[] {
  const source = sourceNat === undefined ? undefined : parseAddress(sourceNat);
  if (!source) return [];
  const stranger = listeners.find(({ value }) => parseAddress(value.address)!.family !== source.family);
  if (!stranger) return [];
  return [
    {
      path: ["sourceNat"],
      text:
        `"${sourceNat}" is ${FAMILY[source.family]}, but listeners[${stranger.index}] is not; ` +
        "take masquerade or vip, or make a farm for each family",
    },
  ];
}

function checkTurns(backends: Entry<BackendSpec>[]): Problem[] {
  const weights = backends.map(({ value }) => value.weight ?? 1);
  const divisor = weights.reduce(greatestCommonDivisor, 0);
  const turns = weights.reduce((sum, weight) => sum + weight, 0) / (divisor || 1);
  if (turns <= MAX_TURNS) return [];
  return [
    {
      path: ["backends"],
      text: `weights make a round of ${turns} turns; ${MAX_TURNS} are allowed with roundRobin: take smaller weights, or random`,
    },
  ];
}

/** The entries whose key an earlier one has, each with that one. */
function twice<T>(list: Entry<T>[], key: (entry: Entry<T>) => unknown): [Entry<T>, Entry<T>][] {
  const first = new Map<unknown, Entry<T>>();
  return list.flatMap((entry): [Entry<T>, Entry<T>][] => {
    const earlier = first.get(key(entry));
    if (earlier) return [[entry, earlier]];
    first.set(key(entry), entry);
    return [];
  });
}

export function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

function popcount(mask: number): number {
  return [...(mask >>> 0).toString(2)].filter((bit) => bit === "1").length;
}
