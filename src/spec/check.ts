import { addressProblem, FAMILY_NAME, parseAddress } from "./address";
import { type Entry, familyOf, type Known, twice } from "./entry";
import { isPort } from "./ports";
import type { Problem } from "./problem";
import { formatService, type Service, servicesOf, servicesOverlap } from "./service";
import type { BackendSpec, ListenerSpec } from "./types";

/** What no single listener or backend shows: fields that contradict each other, duplicates, families that do not match. */
export function checkEnds({ listeners, backends, allListeners, allBackends }: Known): Problem[] {
  return [
    ...listeners.flatMap(checkPorts),
    ...checkClaims(listeners),
    ...checkTwins(backends),
    ...checkMarks(backends),
    ...checkLoops(listeners, backends),
    ...checkBackendPorts(listeners, backends),
    ...(allListeners && allBackends ? checkFamilies(listeners, backends) : []),
  ];
}

/** A mark as every message and rule has it. */
export function hex(mark: number): string {
  return `0x${(mark >>> 0).toString(16)}`;
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

/** Address and port of a backend that is named by its key; undefined where the text is none. */
export function parseKey(text: string): Pick<BackendSpec, "address" | "port"> | undefined {
  const [, bracketed, plain, digits] = /^(?:\[(.+)\]|([\d.]+)):(\d+)$/.exec(text) ?? [];
  const address = bracketed ?? plain ?? text;
  const port = digits === undefined ? undefined : Number(digits);
  if (addressProblem(address) !== undefined || (port !== undefined && !isPort(port))) return undefined;
  return { address, ...(port !== undefined && { port }) };
}

/** The key as `backendKey` writes it; undefined where the text is none. */
export function canonicalKey(text: string): string | undefined {
  const named = parseKey(text);
  return named && backendKey(named);
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
  const unmatched = (side: Entry<{ address: string }>[], other: Entry<{ address: string }>[]) =>
    side.filter((entry) => !other.some((candidate) => familyOf(candidate) === familyOf(entry)));
  return [
    ...unmatched(listeners, backends).map((entry) => ({
      path: ["listeners", entry.index, "address"],
      text: `"${entry.value.address}" has no backend of its family; NAT does not turn ${FAMILY_NAME[familyOf(entry)]} into another`,
    })),
    ...unmatched(backends, listeners).map((entry) => ({
      path: ["backends", entry.index, "address"],
      text: `"${entry.value.address}" has no listener of its family; NAT does not turn another into ${FAMILY_NAME[familyOf(entry)]}`,
    })),
  ];
}

export function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
