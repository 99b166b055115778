import type { PacketHash } from "../iptables/ruleset";
import { toBytes } from "../spec/prefix";
import { jhash } from "./jhash";
import type { Arrival } from "./packet";

/**
 * The number that HMARK gives a packet: `hmark_hash` of net/netfilter/xt_HMARK.c. Undefined where the packet lacks what is hashed.
 *
 * Addresses, and ports, are ordered by size, so that both directions of a flow have one hash.
 */
export function hmark({ source, destination, ports, seed, modulus }: PacketHash, packet: Arrival) {
  const { sourcePort, port } = packet;
  if (packet.anyClient || (ports && (sourcePort === undefined || port === undefined))) return undefined;
  const addresses = ordered(folded(packet.source, source), folded(packet.destination, destination));
  const [low, high] = ports ? ordered(sourcePort!, port!) : [0, 0];
  const key = Buffer.alloc(12);
  [...addresses, high * 2 ** 16 + low].forEach((word, i) => {
    key.writeUInt32LE(word, 4 * i);
  });
  // `reciprocal_scale` of include/linux/kernel.h
  return Math.floor((jhash(key, seed) * modulus) / 2 ** 32);
}

/** An address's first `bits` as one word: of IPv6, the exclusive or of its four (`hmark_addr6_mask`). */
function folded(address: string, bits: number): number {
  const bytes = toBytes(address);
  let word = 0;
  for (let at = 0; at < bytes.length; at += 4) {
    const kept = Math.min(Math.max(bits - 8 * at, 0), 32);
    const mask = kept === 0 ? 0 : -1 << (32 - kept);
    word ^= bytes.readInt32BE(at) & mask;
  }
  return word >>> 0;
}

function ordered(a: number, b: number): [number, number] {
  return a < b ? [a, b] : [b, a];
}
