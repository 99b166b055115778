import { WHOLE } from "../nftables/choose";
import type { NftHash, NftSlotGroup, NftSlots } from "../nftables/ruleset";
import type { Family } from "../spec/address";
import { toNumber } from "../spec/prefix";
import type { Lines } from "./text";

/** `0xa9a5126d`, or `goto web.farm.a9`: a backend's mark, behind the prefix of its chain's name where it has one. */
export function parseValue(text: string): { mark: number; prefix: string } | undefined {
  const found = /^(?:(0x[0-9a-f]+)|goto (\S+)\.([0-9a-f]+))$/.exec(text);
  if (!found) return undefined;
  const [, mark, prefix = "", suffix] = found;
  return { mark: mark === undefined ? Number.parseInt(suffix!, 16) : Number(mark), prefix };
}

/** The slots of a number that is drawn or counted: every number below the modulus must have one. */
export function parseSlots(lines: Lines, modulus: number): { slots: NftSlots[]; prefix: string } {
  let next = 0;
  let prefix = "";
  const slots: NftSlots[] = [];
  while (!lines.take(/^\t\t\}$/)) {
    const entry = /^\t\t\t(\d+)(?:-(\d+))? : ([^,]+), # (\S+) weight (\d+)$/.exec(lines.peek() ?? "");
    const value = entry && parseValue(entry[3]!);
    if (!entry || !value || Number(entry[1]) !== next) lines.fail();
    lines.need(/./);
    const [, from, to = from, , key, weight] = entry;
    prefix = value.prefix;
    slots.push({
      from: Number(from),
      to: Number(to),
      backend: { key: key!, mark: value.mark, weight: Number(weight) },
    });
    next = Number(to) + 1;
  }
  if (next !== modulus) lines.fail();
  return { slots, prefix };
}

/** `jhash ip saddr & 255.255.255.0 mod 4096 seed 0x6e666c62`; undefined where `text` hashes something else. */
export function parseHash(text: string, family: Family): NftHash | undefined {
  const [, hashed, slots] = /^jhash (.+) mod (\d+) seed 0x[0-9a-f]+$/.exec(text) ?? [];
  if (hashed === undefined) return undefined;
  const [, mask] = hashed.split(" & ");
  const of = !hashed.includes(" . ") ? "source" : hashed.endsWith("dport") ? "flow" : "addresses";
  return { of, prefix: mask === undefined ? WHOLE[family] : bitsOf(mask), slots: Number(slots) };
}

function bitsOf(mask: string): number {
  return toNumber(mask).toString(2).replace(/0/g, "").length;
}

/**
 * The slots of a hash, by backend. Each slot must have one backend.
 *
 * @param slots how many there are; left out: as many as the comments say
 */
export function parseGroups(
  lines: Lines,
  slots?: number,
): { groups: NftSlotGroup[]; slots: number; prefix: string } {
  const groups: NftSlotGroup[] = [];
  const seen = new Set<number>();
  let count = slots;
  let prefix = "";
  while (!lines.take(/^\t\t\}$/)) {
    const [, key, weight, of] = lines.need(/^\t\t\t# (\S+) weight (\d+), \d+ of (\d+) slots$/);
    count ??= Number(of);
    const runs: NftSlotGroup["runs"] = [];
    let mark: number | undefined;
    for (let line = lines.take(ENTRIES); line; line = lines.take(ENTRIES)) {
      for (const [, from, to = from, text] of line[0]!.matchAll(/(\d+)(?:-(\d+))? : ([^,]+),/g)) {
        const value = parseValue(text!) ?? lines.fail();
        if (mark !== undefined && mark !== value.mark) lines.fail();
        ({ mark, prefix } = value);
        runs.push({ from: Number(from), to: Number(to) });
        for (let slot = Number(from); slot <= Number(to); slot++) {
          if (seen.has(slot) || slot >= count) lines.fail();
          seen.add(slot);
        }
      }
    }
    if (mark === undefined) lines.fail();
    groups.push({ backend: { key: key!, mark, weight: Number(weight) }, runs });
  }
  if (count === undefined || seen.size !== count) lines.fail();
  return { groups, slots: count, prefix };
}

const ENTRIES = /^\t\t\t\d+[^#]*,$/;
