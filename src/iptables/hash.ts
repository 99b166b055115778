import type { Plan, Pool } from "../plan/plan";
import { SEED } from "../plan/slots";
import type { Choice, LeafOf } from "./choice";
import type { IptRule, PacketHash } from "./ruleset";

/**
 * The choice by a hash: the packet's mark becomes its slot, and a tree of chains finds the slot's backend by four bits of
 * the mark after the other. A chain bears the digits that lead to it: `web.h1f` has the slots 0x1f0 to 0x1ff.
 *
 * @param pool with slots
 */
export function hashed(plan: Plan, pool: Pool, root: string, leaf: LeafOf): Choice {
  const slots = pool.slots!;
  const chooses = { chain: { own: root }, matches: [] };
  const only = sameBackend(slots, 0, slots.length);
  if (only !== undefined)
    return {
      chains: [root],
      rules: [{ ...chooses, target: { kind: "goto", to: leaf(pool.chosen[only]!) } }],
    };

  let size = BRANCHES;
  while (size < slots.length) size *= BRANCHES;
  const mask = size - 1;
  const choice = branch(0, size);
  return {
    chains: choice.chains,
    rules: [{ ...chooses, target: { kind: "hashMark", ...packetHash(plan, pool) } }, ...choice.rules],
  };

  /** The chain of the slots from `first` on, and those below it. @param size a power of `BRANCHES` */
  function branch(first: number, size: number): Choice {
    const chain = size > mask ? root : `${root}.h${digits(first, size)}`;
    const below: Choice[] = [];
    const parts = blocks(first, size, size / BRANCHES);
    // What none of the others took is the last one's, whatever the mark: no connection may fall out of the tree.
    const last = parts.at(-1)!.backend;
    while (last !== undefined && parts.at(-2)?.backend === last) parts.splice(-2, 1);
    const rules = parts.map(({ at, size: part, backend }, i): IptRule => {
      if (backend === undefined) below.push(branch(at, part));
      return {
        chain: { own: chain },
        matches: i === parts.length - 1 ? [] : [{ kind: "mark", mark: at, mask: mask & ~(part - 1) }],
        target: {
          kind: "goto",
          to: backend === undefined ? `${root}.h${digits(at, part)}` : leaf(pool.chosen[backend]!),
        },
      };
    });
    return {
      chains: [chain, ...below.flatMap(({ chains }) => chains)],
      rules: [...rules, ...below.flatMap((one) => one.rules)],
    };
  }

  /**
   * The slots from `first` on, in the largest blocks that lead to one backend; none is smaller than `least`, and one of that size that
   * leads to several has no backend.
   */
  function blocks(
    first: number,
    size: number,
    least: number,
  ): { at: number; size: number; backend: number | undefined }[] {
    if (first >= slots.length) return [];
    const backend = sameBackend(slots, first, first + size);
    if (backend !== undefined || size === least) return [{ at: first, size, backend }];
    return [...blocks(first, size / 2, least), ...blocks(first + size / 2, size / 2, least)];
  }

  /** The hex digits of a place in the tree: what slots of that block have in common. */
  function digits(at: number, part: number): string {
    const all = Math.log2(mask + 1) / BITS;
    return at
      .toString(16)
      .padStart(all, "0")
      .slice(0, all - Math.log2(part) / BITS);
  }
}

/** One hex digit of the mark, so that names and masks are read at a glance. */
const BITS = 4;
const BRANCHES = 2 ** BITS;

/** The backend that all slots of a range have; undefined where they differ. Slots behind the last are anybody's. */
function sameBackend(slots: readonly number[], from: number, to: number): number | undefined {
  for (let slot = from + 1; slot < Math.min(to, slots.length); slot++)
    if (slots[slot] !== slots[from]) return undefined;
  return slots[from];
}

/**
 * What HMARK is to hash. The protocol, which it would only put into the lowest bits of the hash, would change no slot: that is
 * made of the highest (net/netfilter/xt_HMARK.c, `hmark_hash`).
 */
function packetHash({ hash }: Plan, { family, services, slots }: Pool): PacketHash {
  const { of, prefix } = hash!;
  const flow = of === "flow";
  return {
    source: prefix[family],
    destination: flow ? prefix[family] : 0,
    ports: flow && services.every(({ protocol }) => protocol !== "all"),
    seed: SEED,
    modulus: slots!.length,
  };
}
