import type { NftRule, NftSlotGroup, NftSlots } from "../nftables/ruleset";
import { Fraction } from "../plan/fraction";
import { hex } from "../spec/check";
import { memo } from "./memo";
import { slotOf } from "./nftables-hash";
import type { Oracle } from "./oracle";
import type { Arrival } from "./packet";

type Numbered = Extract<NftRule, { generator: string }>;
type Hashed = Extract<NftRule, { kind: "hashMark" | "hashChain" }>;
type Slotted = Extract<NftRule, { groups: NftSlotGroup[] }>;

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

/** By a hash of the packet; where the packet lacks what is hashed, every backend with the part of the slots that it has. */
export function byHash(rule: Hashed, packet: Arrival, oracle: Oracle): Choice {
  const slot = slotOf(rule.hash, packet);
  if (slot !== undefined) return bySlot(rule, slot)!;
  const { backend } = rule.groups[oracle.draw(partsOf(rule))]!;
  const own = `${ownSlots(rule.groups).get(backend.mark)} of ${rule.hash.slots} slots`;
  return { mark: backend.mark, why: `hashed to one of ${own}: ${say(backend)}` };
}

/** @returns undefined where no backend has the slot */
export function bySlot(rule: Slotted, slot: number): Choice | undefined {
  const backend = backendsOf(rule).get(slot);
  return backend && { mark: backend.mark, why: `slot ${slot}: ${say(backend)}` };
}

function say({ key, mark }: NftSlots["backend"]): string {
  return `${key}, mark ${hex(mark)}`;
}

const chancesOf = memo(({ modulus, slots }: Numbered) =>
  slots.map(({ from, to }) => Fraction.of(to - from + 1, modulus)),
);

const ownSlots = memo(
  (groups: NftSlotGroup[]) =>
    new Map(
      groups.map(({ backend, runs }) => [
        backend.mark,
        runs.reduce((sum, { from, to }) => sum + to - from + 1, 0),
      ]),
    ),
);

const partsOf = memo(({ groups, hash }: Hashed) =>
  [...ownSlots(groups).values()].map((own) => Fraction.of(own, hash.slots)),
);

const backendsOf = memo(({ groups }: Slotted) => {
  const backends = new Map<number, NftSlots["backend"]>();
  for (const { backend, runs } of groups)
    for (const { from, to } of runs) for (let slot = from; slot <= to; slot++) backends.set(slot, backend);
  return backends;
});
