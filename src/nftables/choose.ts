import { FULL_MASK } from "../plan/mark";
import { pinnedRanges } from "../plan/pins";
import type { Plan, PlannedBackend, PlannedHash, Pool } from "../plan/plan";
import { turns } from "../plan/turns";
import { takes, takesAll } from "./protocols";
import type { NftHash, NftRule, NftSlotGroup, NftSlots } from "./ruleset";

/** The rules that set the mark of one of the chosen backends; where there is none, those that say so. */
export function chooseMark(plan: Plan, pool: Pool): NftRule[] {
  const [only, ...others] = pool.chosen;
  if (!only) return refuse(plan, pool);
  if (others.length === 0) return [{ kind: "setMark", mark: only.mark, mask: FULL_MASK }];
  if (!plan.hash) return [{ kind: "chooseMark", ...numbers(plan, pool) }];
  const { hash, groups } = slotsOf(plan.hash, pool);
  if (hash.prefix === WHOLE[pool.family]) return [{ kind: "hashMark", hash, groups }];
  return [
    { kind: "hashSlot", hash },
    { kind: "markOfSlot", slots: hash.slots, groups },
  ];
}

/** The same with a chain for each backend, `prefix.MARK`. */
export function chooseChain(plan: Plan, pool: Pool, prefix: string): NftRule[] {
  const [only, ...others] = pool.chosen;
  if (!only) return refuse(plan, pool);
  if (others.length === 0) return [{ kind: "goto", chain: backendChain(prefix, only.mark) }];
  if (!plan.hash) return [{ kind: "chooseChain", ...numbers(plan, pool), prefix }];
  return [{ kind: "hashChain", ...slotsOf(plan.hash, pool), prefix }];
}

/** A pinned source's backend. @param prefix of the backends' chains where each has one */
export function pin({ pins, family }: Pool, prefix?: string): NftRule[] {
  if (pins.length === 0) return [];
  const ranges = pinnedRanges(pins, family);
  return [prefix === undefined ? { kind: "pin", pins: ranges } : { kind: "pinChain", pins: ranges, prefix }];
}

export function backendChain(prefix: string, mark: number): string {
  return `${prefix}.${mark.toString(16)}`;
}

/** How many bits an address has. */
export const WHOLE = { ip: 32, ip6: 128 } as const;

/** Numbers below the total of the shares: runs of them for a draw, turns for a counter. */
function numbers(
  { algorithm }: Plan,
  { chosen, total }: Pool,
): { generator: "random" | "inc"; modulus: number; slots: NftSlots[] } {
  if (algorithm === "roundRobin") {
    const slots = turns(chosen.map(({ share }) => share)).map((index, turn) => ({
      from: turn,
      to: turn,
      backend: chosen[index]!,
    }));
    return { generator: "inc", modulus: total, slots };
  }
  let next = 0;
  const slots = chosen.map((backend) => {
    const from = next;
    next += backend.share;
    return { from, to: next - 1, backend };
  });
  return { generator: "random", modulus: total, slots };
}

function slotsOf(hash: PlannedHash, pool: Pool): { hash: NftHash; groups: NftSlotGroup[] } {
  const of = hash.of === "source" ? "source" : takesAll(pool) ? "addresses" : "flow";
  const groups = new Map<PlannedBackend, NftSlotGroup>(
    pool.chosen.map((backend) => [backend, { backend, runs: [] }]),
  );
  for (const [slot, index] of pool.slots!.entries()) {
    const { runs } = groups.get(pool.chosen[index]!)!;
    const before = runs.at(-1);
    if (before?.to === slot - 1) before.to = slot;
    else runs.push({ from: slot, to: slot });
  }
  return {
    hash: { of, prefix: of === "source" ? hash.prefix[pool.family] : WHOLE[pool.family], slots: hash.slots },
    groups: [...groups.values()].filter(({ runs }) => runs.length > 0),
  };
}

function refuse({ whenEmpty }: Plan, pool: Pool): NftRule[] {
  switch (whenEmpty) {
    case "drop":
      return [{ kind: "drop" }];
    case "reject":
      return [
        ...(takes(pool, "tcp") ? [{ kind: "rejectTcp" } as const] : []),
        ...(pool.services.some(({ protocol }) => protocol !== "tcp") ? [{ kind: "reject" } as const] : []),
      ];
    default:
      throw whenEmpty satisfies never;
  }
}
