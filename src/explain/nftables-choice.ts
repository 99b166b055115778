import type { NftRule, NftSlotGroup, NftSlots } from "../nftables/ruleset";
import { Fraction } from "../plan/fraction";
import { hex } from "../spec/check";
import { memo } from "./memo";
import type { Oracle } from "./oracle";

type Numbered = Extract<NftRule, { generator: string }>;

/** The mark that a rule chooses, and why. */
export interface Choice {
  mark: number;
  why: string;
}

/** By a number that is drawn or counted. */
export function byNumber(rule: Numbered, oracle: Oracle): Choice {
  const { modulus, slots, generator } = rule;
  const chances = chancesOf(rule);
  const optionOf = (turn: number) => slots.findIndex(({ from, to }) => from <= turn && turn <= to);
  const index = generator === "random" ? oracle.draw(chances) : oracle.take(modulus, optionOf, chances);
  const { from, to, backend } = slots[index]!;
  const numbers = from === to ? String(from) : `${from} to ${to}`;
  const chosen = `${generator === "random" ? "drew" : "counted"} ${numbers} below ${modulus}`;
  return { mark: backend.mark, why: `${chosen}: ${say(backend)}` };
}

/**
 * By a hash.
 *
 * @param slot undefined where it is not known: then every backend, with the part of the slots that it has
 */
export function byHash(groups: NftSlotGroup[], slot: number | undefined, oracle: Oracle): Choice {
  const { backends, parts, own } = tableOf(groups);
  if (slot !== undefined) {
    const backend = backends[slot]!;
    return { mark: backend.mark, why: `slot ${slot}: ${say(backend)}` };
  }
  const index = oracle.draw(parts);
  const { backend } = groups[index]!;
  return {
    mark: backend.mark,
    why: `one of ${own[index]} slots of ${backends.length}: ${say(backend)}`,
  };
}

function say({ key, mark }: NftSlots["backend"]): string {
  return `${key}, mark ${hex(mark)}`;
}

const chancesOf = memo(({ modulus, slots }: Numbered) =>
  slots.map(({ from, to }) => Fraction.of(to - from + 1, modulus)),
);

/** Each slot's backend, and of each group the number of its slots and their part of all. */
const tableOf = memo((groups: NftSlotGroup[]) => {
  const backends: NftSlotGroup["backend"][] = [];
  const own = groups.map(({ backend, runs }) => {
    let count = 0;
    for (const { from, to } of runs) {
      backends.length = Math.max(backends.length, to + 1);
      backends.fill(backend, from, to + 1);
      count += to - from + 1;
    }
    return count;
  });
  return { backends, own, parts: own.map((count) => Fraction.of(count, backends.length)) };
});
