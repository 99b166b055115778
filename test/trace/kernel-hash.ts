/**
 * How the kernel places a flow, as plain functions: an oracle that shares no line with the product. (Bob Jenkins' lookup3 in
 * the kernel's include/linux/jhash.h, as a little-endian machine has it; net/netfilter/nft_hash.c; net/netfilter/xt_HMARK.c.)
 */

const INITIAL = 0xdeadbeef; // JHASH_INITVAL

function rotated(value: number, by: number): number {
  return (value << by) | (value >>> (32 - by));
}

/** `__jhash_final`. @returns 0 to 2^32 − 1 */
function final(a: number, b: number, c: number): number {
  c = (c ^ b) - rotated(b, 14);
  a = (a ^ c) - rotated(c, 11);
  b = (b ^ a) - rotated(a, 25);
  c = (c ^ b) - rotated(b, 16);
  a = (a ^ c) - rotated(c, 4);
  b = (b ^ a) - rotated(a, 14);
  c = (c ^ b) - rotated(b, 24);
  return c >>> 0;
}

/** `jhash`. @returns 0 to 2^32 − 1 */
export function jhash(key: Buffer, seed: number): number {
  let [a, b, c] = new Array<number>(3).fill((INITIAL + key.length + seed) | 0) as [number, number, number];
  let rest = key;
  for (; rest.length > 12; rest = rest.subarray(12)) {
    a = (a + rest.readInt32LE(0)) | 0;
    b = (b + rest.readInt32LE(4)) | 0;
    c = (c + rest.readInt32LE(8)) | 0;
    a = (a - c) ^ rotated(c, 4);
    c = (c + b) | 0;
    b = (b - a) ^ rotated(a, 6);
    a = (a + c) | 0;
    c = (c - b) ^ rotated(b, 8);
    b = (b + a) | 0;
    a = (a - c) ^ rotated(c, 16);
    c = (c + b) | 0;
    b = (b - a) ^ rotated(a, 19);
    a = (a + c) | 0;
    c = (c - b) ^ rotated(b, 4);
    b = (b + a) | 0;
  }
  if (rest.length === 0) return c >>> 0;
  const last = Buffer.alloc(12);
  rest.copy(last);
  return final((a + last.readInt32LE(0)) | 0, (b + last.readInt32LE(4)) | 0, (c + last.readInt32LE(8)) | 0);
}

/** `reciprocal_scale`: a hash as one of `modulus` slots. */
function scaled(hash: number, modulus: number): number {
  return Number((BigInt(hash) * BigInt(modulus)) >> 32n);
}

/**
 * nft `jhash A . B mod N seed S`.
 *
 * @param parts each in network order; in a concatenation each is filled up to a register's four bytes
 */
export function nftSlot(parts: readonly Buffer[], modulus: number, seed: number): number {
  const filled = parts.map((part) => Buffer.concat([part, Buffer.alloc((4 - (part.length % 4)) % 4)]));
  return scaled(jhash(parts.length === 1 ? parts[0]! : Buffer.concat(filled), seed), modulus);
}

/** What HMARK hashes; 0 for what it leaves out. */
export interface HmarkTuple {
  /** In host order; of IPv6 the four words of an address, each masked, XORed to one. */
  source: number;
  destination: number;
  sourcePort: number;
  destinationPort: number;
  /** The protocol's number. */
  protocol: number;
}

/** iptables `-j HMARK --hmark-mod N --hmark-rnd SEED`, before the offset: the addresses are sorted, and the ports are, too. */
export function hmarkSlot(tuple: HmarkTuple, modulus: number, seed: number): number {
  const addresses = [tuple.source, tuple.destination].sort((a, b) => a - b) as [number, number];
  const ports = [tuple.sourcePort, tuple.destinationPort].sort((a, b) => a - b) as [number, number];
  const start = INITIAL + 12 + seed; // jhash_3words
  const word = ((ports[1] << 16) | ports[0]) + start;
  const hash = final((addresses[0] + start) | 0, (addresses[1] + start) | 0, word | 0) ^ tuple.protocol;
  return scaled(hash >>> 0, modulus);
}
