import type { Plan, Pool } from "../plan/plan";
import { lastMatchWins } from "../plan/probability";
import type { IptRule, IptTable } from "./ruleset";
import { dispatch, sourceTarget, translated } from "./service";
import { dnats } from "./translate";

/**
 * Layout `zevenet`: the rules of a Zevenet 5 farm, in its order. mangle marks a connection's first packet and keeps the
 * mark with the connection; nat turns the mark into an address.
 *
 * In mangle every rule of the list is asked and the last `MARK` wins, so the list runs from the last backend to the first and
 * carries w_k ÷ Σ_{j≤k} w_j: 1, 1/2, 1/3 … where the weights are equal. (Zevenet's own formula, cumulative weight ÷ total, is
 * uneven from three backends on.)
 */
export function zevenetTables(plan: Plan, pool: Pool): { mangle: IptTable; nat: IptTable } {
  const chain = plan.shortName;
  const marking = `${chain}.mark`;
  const mask = plan.markMask;
  const last = pool.backends.map((backend, index) => ({ backend, index })).reverse();
  const thresholds = lastMatchWins(last.map(({ backend }) => backend.share));
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
      ...last.map(
        ({ backend, index }, i): IptRule => ({
          chain: { own: marking },
          matches: [
            { kind: "statisticRandom", threshold: thresholds[i]! },
            { kind: "backendComment", farm: plan.name, index },
          ],
          target: { kind: "setMark", mark: backend.mark, mask },
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
