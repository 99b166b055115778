import { isIPv6 } from "node:net";

/** Addresses and networks for the tracers, which share no line with the product. */

/** An address's bytes in network order. */
export function bytesOf(address: string): Buffer {
  if (!isIPv6(address)) return Buffer.from(address.split(".").map(Number));
  const [head = "", tail] = address.split("::");
  const groups = (text: string) =>
    text === "" ? [] : text.split(":").map((group) => group.padStart(4, "0"));
  const [front, back] = [groups(head), groups(tail ?? "")];
  const gap = new Array<string>(8 - front.length - back.length).fill("0000");
  return Buffer.from([...front, ...gap, ...back].join(""), "hex");
}

export function numberOf(address: string): bigint {
  return BigInt(`0x${bytesOf(address).toString("hex")}`);
}

/** First and last address of `10.0.0.0/8`, `10.0.0.1` or `10.0.0.1-10.0.0.9`. */
export function rangeOf(text: string): [first: bigint, last: bigint] {
  const [from, to] = text.split("-");
  if (to !== undefined) return [numberOf(from!), numberOf(to)];
  const [address, length] = text.split("/");
  const first = numberOf(address!);
  const bits = address!.includes(":") ? 128 : 32;
  const size = 1n << BigInt(bits - Number(length ?? bits));
  if (first % size !== 0n) throw new Error(`${text} has bits behind its length`);
  return [first, first + size - 1n];
}

export function isWithin(address: string, network: string): boolean {
  if (address.includes(":") !== network.includes(":"))
    throw new Error(`${address} is asked for in ${network}`);
  const [first, last] = rangeOf(network);
  const number = numberOf(address);
  return first <= number && number <= last;
}
