import { createHash } from "node:crypto";

/**
 * Gives each slot of a hash to a backend, by weighted rendezvous: every backend scores every slot by itself, and the
 * highest score has the slot. So a slot moves only to a backend that comes, away from one that leaves, or between
 * backends whose weights change, never between two that stay as they are; and two gateways agree without a word.
 *
 * A backend of share p has p of the slots on average, with the spread of so many independent draws:
 * √(slots · p · (1 − p)). (Maglev's table is more even, but moves slots between backends that stay.)
 *
 * Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998; the weights as in Schindelhauer and
 * Schomaker, "Weighted distributed hash tables", 2005.
 *
 * @param backends keys, no two alike, with whole weights above 0
 * @param slots how many there are
 * @returns each slot's index into `backends`
 */
export function assignSlots(backends: readonly { key: string; weight: number }[], slots: number): number[] {
  // Two words, because one of 32 bits is alike in one of a few thousand farms of 1,000 backends, and such twins share nothing.
  const digests = backends.map(({ key }) => createHash("sha256").update(key).digest());
  const high = Int32Array.from(digests, (digest) => digest.readInt32BE(0));
  const low = Int32Array.from(digests, (digest) => digest.readInt32BE(4));
  const alike = backends.every(({ weight }) => weight === backends[0]!.weight);
  return Array.from({ length: slots }, (_, slot) => {
    const salt = mix(slot + SEED);
    let best = 0;
    let highest = -1;
    for (let i = 0; i < backends.length; i++) {
      const draw = mix(mix(high[i]! ^ salt) ^ low[i]!) + 0.5;
      // −ln of a uniform draw, over the weight, is smallest with a chance in proportion to the weight.
      const score = alike ? draw : backends[i]!.weight / -Math.log(draw / 2 ** 32);
      if (score < highest || (score === highest && backends[i]!.key > backends[best]!.key)) continue;
      best = i;
      highest = score;
    }
    return best;
  });
}

/**
 * What hashes begin with: this one, and the kernel's, which would draw one by itself. Any number will do, as long as it never
 * changes: another one moves every client.
 */
export const SEED = 0x6e666c62;

/** The finalizer of MurmurHash3: every bit of the input changes half of the output's. @returns 0 to 2^32 − 1 */
function mix(value: number): number {
  let bits = value | 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
