/**
 * Bob Jenkins' hash of 1997 ("lookup3") as the kernel has it, `jhash()` of include/linux/jhash.h, on a little-endian machine.
 *
 * @param seed 0 to 2^32 − 1
 * @returns 0 to 2^32 − 1
 */
export function jhash(key: Uint8Array, seed: number): number {
  // JHASH_INITVAL
  const start = (0xdeadbeef + key.length + seed) | 0;
  let [a, b, c] = [start, start, start];
  const padded = Buffer.alloc(Math.ceil(key.length / BLOCK) * BLOCK);
  padded.set(key);
  for (let at = 0; at < padded.length; at += BLOCK) {
    a = (a + padded.readInt32LE(at)) | 0;
    b = (b + padded.readInt32LE(at + 4)) | 0;
    c = (c + padded.readInt32LE(at + 8)) | 0;
    if (at + BLOCK < padded.length) [a, b, c] = mixed(a, b, c);
    else c = finished(a, b, c);
  }
  return c >>> 0;
}

/** Three words of 32 bits. */
const BLOCK = 12;

/** `__jhash_mix` */
function mixed(a: number, b: number, c: number): [number, number, number] {
  for (const [first, second, third] of ROTATIONS) {
    a = (a - c) ^ rotated(c, first);
    c = (c + b) | 0;
    b = (b - a) ^ rotated(a, second);
    a = (a + c) | 0;
    c = (c - b) ^ rotated(b, third);
    b = (b + a) | 0;
  }
  return [a, b, c];
}

const ROTATIONS = [
  [4, 6, 8],
  [16, 19, 4],
] as const;

/** `__jhash_final` @returns its `c` */
function finished(a: number, b: number, c: number): number {
  c = (c ^ b) - rotated(b, 14);
  a = (a ^ c) - rotated(c, 11);
  b = (b ^ a) - rotated(a, 25);
  c = (c ^ b) - rotated(b, 16);
  a = (a ^ c) - rotated(c, 4);
  b = (b ^ a) - rotated(a, 14);
  return (c ^ b) - rotated(b, 24);
}

/** `rol32` */
function rotated(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
