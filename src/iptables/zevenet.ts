import type { Plan, PlannedBackend, Pool } from "../plan/plan";
import { lastMatchWins } from "../plan/probability";
import { turns } from "../plan/turns";
import { checksSyn, NOT_SYN, REJECTED } from "./admission";
import { isRefused } from "./guard";
import type { IptMatch, IptRule, IptTable } from "./ruleset";
import { dispatch, translated } from "./service";
import { sources, sourceTarget } from "./source";
import { dnats } from "./translate";

/**
 * Layout `zevenet`: the rules of a Zevenet 5 farm, in its order. mangle marks a connection's first packet and keeps the
 * mark with the connection; nat turns the mark into an address.
 */
export function zevenetTables(plan: Plan, pool: Pool): { mangle: IptTable; nat: IptTable } {
  const chain = plan.shortName;
  const marking = `${chain}.mark`;
  const mask = plan.markMask;
  const own = { chain: { own: chain } };
  const first = { chain: { own: marking } };
  const isEmpty = pool.chosen.length === 0;
  const numbers = new Map(pool.backends.map((backend, index) => [backend, index]));
  const mangle: IptTable = {
    name: "mangle",
    chains: [chain, marking],
    rules: [
      ...dispatch(plan, pool.services, chain),
      { ...own, matches: [], target: { kind: "restoreMark", mask } },
      // A one-way UDP flow stays NEW: only the mark tells that it was chosen for.
      {
        ...own,
        matches: [{ kind: "stateNew" }, { kind: "mark", mark: 0, mask }],
        target: { kind: "goto", to: marking },
      },
      ...(checksSyn(plan, pool) ? [{ ...first, matches: NOT_SYN, target: { kind: "drop" } as const }] : []),
      ...(isRefused(plan, pool) ? [{ ...first, matches: [], target: REJECTED }] : []),
      ...(isEmpty
        ? []
        : [
            ...candidates(plan, pool).map(
              ({ backend, matches }): IptRule => ({
                ...first,
                matches: [
                  ...matches,
                  { kind: "backendComment", farm: plan.name, index: numbers.get(backend)! },
                ],
                target: { kind: "setMark", mark: backend.mark, mask },
              }),
            ),
            {
              ...first,
              matches: [{ kind: "stateNew" } as const],
              target: { kind: "saveMark", mask } as const,
            },
          ]),
    ],
  };
  if (isEmpty) return { mangle, nat: { name: "nat", chains: [], rules: [] } };

  const sources = lowerSources(plan, pool);
  const nat: IptTable = {
    name: "nat",
    chains: [chain, ...sources.chains],
    rules: [
      ...dispatch(plan, pool.services, chain),
      ...pool.chosen.flatMap((backend) =>
        dnats(pool, backend, [{ kind: "mark", mark: backend.mark, mask }]).map((rule) => ({
          ...own,
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
function candidates(plan: Plan, { chosen, total }: Pool): { backend: PlannedBackend; matches: IptMatch[] }[] {
  switch (plan.algorithm) {
    case "random": {
      const reversed = [...chosen].reverse();
      const thresholds = lastMatchWins(reversed.map(({ share }) => share));
      return reversed.map((backend, i) => ({
        backend,
        matches: [{ kind: "statisticRandom", threshold: thresholds[i]! }],
      }));
    }
    case "roundRobin":
      return turns(chosen.map(({ share }) => share)).map((index, packet) => ({
        backend: chosen[index]!,
        matches: packet === 0 ? [] : [{ kind: "statisticNth", every: total, packet }],
      }));
    case "sourceHash":
    case "flowHash":
      throw new Error(`layout zevenet has no ${plan.algorithm}`);
    default:
      throw plan.algorithm satisfies never;
  }
}

/**
 * SNAT by mark: a chain for each address that backends shall see, with a rule for each backend. With `auto` no mark is asked, since
 * the way to such a chain and a client's network do not fit into one line.
 */
function lowerSources(plan: Plan, pool: Pool): { chains: string[]; rules: IptRule[] } {
  if (plan.sourceNat.kind === "auto") return { chains: [], rules: sources(plan, pool) };
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
      for (const { mark } of pool.chosen)
        own.push({ chain: { own: chain }, matches: [{ kind: "mark", mark, mask: plan.markMask }], target });
    }
    const to = chain;
    return [{ chain: "POSTROUTING", matches: translated(service), target: { kind: "goto", to } }];
  });
  return { chains: [...chains.values()], rules: [...own, ...jumps] };
}
