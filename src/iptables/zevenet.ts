import type { Plan, Pool } from "../plan/plan";
import { lastMatchWins } from "../plan/probability";
import { turns } from "../plan/turns";
import type { IptMatch, IptRule, IptTable } from "./ruleset";
import { dispatch, sourceTarget, translated } from "./service";
import { dnats } from "./translate";

/**
 * Layout `zevenet`: the rules of a Zevenet 5 farm, in its order. mangle marks a connection's first packet and keeps the
 * mark with the connection; nat turns the mark into an address.
 */
export function zevenetTables(plan: Plan, pool: Pool): { mangle: IptTable; nat: IptTable } {
  const chain = plan.shortName;
  const marking = `${chain}.mark`;
  const mask = plan.markMask;
  const sources = lowerSources(plan, pool);

  const mangle: IptTable = {
    name: "mangle",
    chains: [chain, marking],
    rules: [
      ...dispatch(plan, pool.services, chain),
      { chain: { own: chain }, matches: [], target: { kind: "restoreMark", mask } },
      // A one-way UDP flow stays NEW: only the mark tells that it was chosen for.
      {
        chain: { own: chain },
        matches: [{ kind: "stateNew" }, { kind: "mark", mark: 0, mask }],
        target: { kind: "goto", to: marking },
      },
      ...candidates(plan, pool).map(
        ({ index, matches }): IptRule => ({
          chain: { own: marking },
          matches: [...matches, { kind: "backendComment", farm: plan.name, index }],
          target: { kind: "setMark", mark: pool.backends[index]!.mark, mask },
        }),
      ),
      { chain: { own: marking }, matches: [{ kind: "stateNew" }], target: { kind: "saveMark", mask } },
    ],
  };

  const nat: IptTable = {
    name: "nat",
    chains: [chain, ...sources.chains],
    rules: [
      ...dispatch(plan, pool.services, chain),
      ...pool.backends.flatMap((backend) =>
        dnats(pool, backend, [{ kind: "mark", mark: backend.mark, mask }]).map((rule) => ({
          chain: { own: chain },
          ...rule,
        })),
      ),
      ...sources.rules,
    ],
  };
  return { mangle, nat };
}

/**
 * The list of mangle, where every rule is asked and the last `MARK` wins.
 *
 * A random choice runs from the last backend to the first and carries w_k ÷ Σ_{j≤k} w_j: 1, 1/2, 1/3 … where the weights are
 * equal. (Zevenet's own formula, cumulative weight ÷ total, is uneven from three backends on.) Turns have a rule
 * each: because every rule counts every connection, `every n packet k` is exact here, as it is not in a list that ends at a match.
 * Two processors may pass each other in the list, and then one connection meets two turns and the other none:
 * so the first turn takes whatever comes, and the others take from it.
 */
function candidates(plan: Plan, pool: Pool): { index: number; matches: IptMatch[] }[] {
  const shares = pool.backends.map(({ share }) => share);
  switch (plan.algorithm) {
    case "random": {
      const reversed = shares.map((share, index) => ({ share, index })).reverse();
      const thresholds = lastMatchWins(reversed.map(({ share }) => share));
      return reversed.map(({ index }, i) => ({
        index,
        matches: [{ kind: "statisticRandom", threshold: thresholds[i]! }],
      }));
    }
    case "roundRobin":
      return turns(shares).map((index, packet) => ({
        index,
        matches: packet === 0 ? [] : [{ kind: "statisticNth", every: pool.total, packet }],
      }));
    default:
      throw plan.algorithm satisfies never;
  }
}

/** SNAT by mark: a chain for each address that backends shall see, with a rule for each backend. */
function lowerSources(plan: Plan, pool: Pool): { chains: string[]; rules: IptRule[] } {
  const chains = new Map<string, string>();
  const own: IptRule[] = [];
  const jumps = pool.services.flatMap((service): IptRule[] => {
    const target = sourceTarget(plan, service);
    if (!target) return [];
    const seen = target.kind === "snat" ? target.address : target.kind;
    let chain = chains.get(seen);
    if (chain === undefined) {
      chain = `${plan.shortName}.src${chains.size === 0 ? "" : chains.size + 1}`;
      chains.set(seen, chain);
      for (const { mark } of pool.backends)
        own.push({ chain: { own: chain }, matches: [{ kind: "mark", mark, mask: plan.markMask }], target });
    }
    return [{ chain: "POSTROUTING", matches: translated(service), target: { kind: "goto", to: chain } }];
  });
  return { chains: [...chains.values()], rules: [...own, ...jumps] };
}
