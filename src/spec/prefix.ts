import { isIP } from "node:net";
import { type Family, parseAddress } from "./address";

/** A network, in canonical text, and the addresses that it holds as numbers. */
export interface Prefix {
  family: Family;
  /** `10.0.0.0/8`; a single address has no length: `10.0.0.1`. */
  text: string;
  first: bigint;
  last: bigint;
}

/** `10.0.0.0/8`, `2001:db8::/32`, or an address alone; undefined where `text` is none, or has bits behind its length. */
export function parsePrefix(text: string): Prefix | undefined {
  const [address, length, ...rest] = text.split("/");
  if (isIP(address!) === 0 || address!.includes("%") || rest.length > 0) return undefined;
  const { family, text: canonical } = parseAddress(address!)!;
  const bits = family === "ip" ? 32 : 128;
  if (length !== undefined && !/^(0|[1-9]\d{0,2})$/.test(length)) return undefined;
  const kept = length === undefined ? bits : Number(length);
  if (kept > bits) return undefined;
  const size = 1n << BigInt(bits - kept);
  const first = toNumber(canonical);
  if (first % size !== 0n) return undefined;
  return { family, text: kept === bits ? canonical : `${canonical}/${kept}`, first, last: first + size - 1n };
}

/** Why `value` is not a network or an address; undefined where it is one. */
export function prefixProblem(value: unknown): string | undefined {
  if (typeof value !== "string") return "is not a network; write it as text, such as 198.51.100.0/24";
  const [address, length] = value.split("/");
  if (address!.includes("%")) return "has a zone; give a network that is routed";
  if (/^::ffff:/i.test(parseAddress(address!)?.text ?? "")) return "is IPv4-mapped; write it as IPv4";
  if (parsePrefix(value)) return undefined;
  if (isIP(address!) === 0) return "is not a network or an IP address, such as 198.51.100.0/24";
  const bits = isIP(address!) === 4 ? 32 : 128;
  if (!/^(0|[1-9]\d{0,2})$/.test(length ?? "") || Number(length) > bits)
    return `has no prefix length between 0 and ${bits}`;
  return `has bits behind its prefix; write ${networkOf(address!, Number(length))}`;
}

/** The network of a length that holds an address: `10.0.0.7` and 24 make `10.0.0.0/24`. */
export function networkOf(address: string, length: number): string {
  const { family, text } = parseAddress(address)!;
  const bits = family === "ip" ? 32 : 128;
  const size = 1n << BigInt(bits - length);
  const number = toNumber(text);
  return `${toText(number - (number % size), family)}/${length}`;
}

/** An address as a whole number, the first byte the highest. @param text canonical */
export function toNumber(text: string): bigint {
  return BigInt(`0x${toBytes(text).toString("hex")}`);
}

/** An address's bytes in network order: 4 or 16. @param text canonical */
export function toBytes(text: string): Buffer {
  if (!text.includes(":")) return Buffer.from(text.split(".").map(Number));
  const [head, tail] = text.split("::") as [string, string?];
  const groups = (part: string) =>
    part === ""
      ? []
      : part.split(":").flatMap((group) => {
          if (!group.includes(".")) return [Number.parseInt(group, 16)];
          const [a, b, c, d] = group.split(".").map(Number) as [number, number, number, number];
          return [a * 256 + b, c * 256 + d];
        });
  const [front, back] = [groups(head), groups(tail ?? "")];
  const all = [...front, ...new Array<number>(8 - front.length - back.length).fill(0), ...back];
  const bytes = Buffer.alloc(16);
  all.forEach((group, i) => {
    bytes.writeUInt16BE(group, 2 * i);
  });
  return bytes;
}

/** The canonical text of a number that `toNumber` gave. */
export function toText(number: bigint, family: Family): string {
  const hexText = number.toString(16).padStart(family === "ip" ? 8 : 32, "0");
  if (family === "ip")
    return hexText
      .match(/../g)!
      .map((byte) => Number.parseInt(byte, 16))
      .join(".");
  return parseAddress(hexText.match(/..../g)!.join(":"))!.text;
}

/** The same addresses, without networks that another of the list holds, in the order of their first address. */
export function withoutNested(prefixes: readonly Prefix[]): Prefix[] {
  const sorted = [...prefixes].sort((a, b) =>
    a.first < b.first ? -1 : a.first > b.first ? 1 : a.last > b.last ? -1 : 1,
  );
  const kept: Prefix[] = [];
  for (const prefix of sorted) {
    const before = kept.at(-1);
    if (!before || prefix.first > before.last) kept.push(prefix);
  }
  return kept;
}

/** Addresses that follow one another, `first` and `last` included. */
export type AddressRange = Pick<Prefix, "first" | "last">;

/** The same addresses in the fewest ranges, lowest first. */
export function mergedRanges(prefixes: readonly Prefix[]): AddressRange[] {
  const ranges: AddressRange[] = [];
  for (const { first, last } of withoutNested(prefixes)) {
    const before = ranges.at(-1);
    if (before && before.last + 1n === first) before.last = last;
    else ranges.push({ first, last });
  }
  return ranges;
}

/** Whether a network holds an address. @param address canonical, of the same family */
export function holds(prefix: Prefix, address: string): boolean {
  const number = toNumber(address);
  return prefix.first <= number && number <= prefix.last;
}
