import { LINE_LENGTH } from "../plan/header";
import { SEED } from "../plan/slots";
import type { Family } from "../spec/address";
import { hex } from "../spec/check";
import { toText } from "../spec/prefix";
import { WHOLE } from "./choose";
import type { NftBackend, NftHash, NftSlotGroup, NftSlots } from "./ruleset";

export function renderHash(family: Family, { of, prefix, slots }: NftHash): string {
  return `jhash ${renderHashed(family, of, prefix)} mod ${slots} seed ${hex(SEED)}`;
}

function renderHashed(family: Family, of: NftHash["of"], prefix: number): string {
  const bits = WHOLE[family];
  switch (of) {
    case "source":
      return `${family} saddr${prefix === bits ? "" : ` & ${netmask(family, prefix)}`}`;
    case "flow":
      return `${family} saddr . ${family} daddr . meta l4proto . th sport . th dport`;
    case "addresses":
      return `${family} saddr . ${family} daddr . meta l4proto`;
    default:
      throw of satisfies never;
  }
}

/** `255.255.255.0` of IPv4 and 24. */
function netmask(family: Family, prefix: number): string {
  const bits = BigInt(WHOLE[family]);
  const host = (1n << (bits - BigInt(prefix))) - 1n;
  return toText((1n << bits) - 1n - host, family);
}

/** A line of the numbers that stand for one backend. */
export function renderSlots({ from, to, backend }: NftSlots, value: string): string {
  return `${from === to ? from : `${from}-${to}`} : ${value}, # ${backend.key} weight ${backend.weight}`;
}

/** All slots of a backend in lines of their own, under a comment. */
export function renderGroups(
  groups: readonly NftSlotGroup[],
  slots: number,
  sayMark: (backend: NftBackend) => string,
): string[] {
  return groups.flatMap(({ backend, runs }) => {
    const value = sayMark(backend);
    const own = runs.reduce((sum, { from, to }) => sum + to - from + 1, 0);
    const entries = runs.map(({ from, to }) => `${from === to ? from : `${from}-${to}`} : ${value},`);
    return [
      `# ${backend.key} weight ${backend.weight}, ${own} of ${slots} slots`,
      ...fill(entries, LINE_LENGTH - "\t\t\t".length),
    ];
  });
}

/** As few lines as entries fit into. */
function fill(entries: readonly string[], width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const entry of entries) {
    if (line !== "" && line.length + 1 + entry.length > width) {
      lines.push(line);
      line = entry;
    } else line = line === "" ? entry : `${line} ${entry}`;
  }
  return line === "" ? lines : [...lines, line];
}
