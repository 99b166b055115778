import { createHash } from "node:crypto";

/** Every bit of a connection mark. */
export const FULL_MASK = 0xffffffff;

/**
 * A mark for each backend, inside `mask`, no two alike.
 *
 * A mark depends on the backend's key alone: the first 32 bits of the key's SHA-256, laid into the mask's bits. Where
 * two keys clash, the one that sorts first keeps its mark and the other takes the next free one; so the order of
 * the list changes no mark, and a backend that comes or goes changes another's only in a clash. Marks that the user gave
 * are never handed out.
 *
 * @param backends keys, no two alike, with the mark that the user gave
 */
export function assignMarks(
  backends: readonly { key: string; mark?: number | undefined }[],
  mask: number,
): Map<string, number> {
  const marks = new Map<string, number>();
  const taken = new Set<number>([0]);
  for (const { key, mark } of backends) {
    if (mark === undefined) continue;
    marks.set(key, mark);
    taken.add(mark);
  }
  const computed = backends.filter(({ mark }) => mark === undefined).map(({ key }) => key);
  for (const key of computed.sort()) {
    let bits = createHash("sha256").update(key).digest().readUInt32BE(0);
    while (taken.has(deposit(bits, mask))) bits = (bits + 1) >>> 0;
    marks.set(key, deposit(bits, mask));
    taken.add(deposit(bits, mask));
  }
  return marks;
}

/** The low bits of `bits`, laid into the places that `mask` has (the processor's PDEP). */
function deposit(bits: number, mask: number): number {
  if (mask === FULL_MASK) return bits;
  let result = 0;
  let rest = mask;
  for (let from = bits; rest !== 0; from >>>= 1) {
    const place = rest & -rest;
    if (from & 1) result |= place;
    rest &= rest - 1;
  }
  return result >>> 0;
}
