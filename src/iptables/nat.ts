import { FULL_MASK } from "../plan/mark";
import type { Plan, PlannedBackend, Pool } from "../plan/plan";
import { admission, REJECTED } from "./admission";
import type { Choice, LeafOf } from "./choice";
import { choose } from "./choose";
import { isRefused } from "./guard";
import type { IptRule, IptTable } from "./ruleset";
import { dispatch } from "./service";
import { clientsOf, matchedNetwork, SET_KEY } from "./sets";
import { sources } from "./source";
import { dnats } from "./translate";

/**
 * Layout `nat`: choice and translation both in the nat table, which the kernel asks once a connection.
 *
 * The farm's chain hands a connection that it admits to the leaf of one backend, which sets the connmark and translates. Up to
 * eight candidates are a list of which the first match wins; more are halved, in a tree of chains, so that
 * a connection meets a number of rules that grows with the logarithm of theirs.
 */
export function natTable(plan: Plan, pool: Pool): IptTable {
  const root = plan.shortName;
  const leaf: LeafOf = ({ mark }) => `${root}.${mark.toString(16)}`;
  const choice = chooseOrEnd(plan, pool, root, leaf);
  const isHash = choice.rules.some(({ target }) => target.kind === "hashMark");
  return {
    name: "nat",
    chains: [...choice.chains, ...pool.reachable.map(leaf)],
    rules: [
      ...dispatch(plan, pool.services, root),
      ...admission(plan, pool),
      ...shortcuts(plan, pool, leaf),
      ...choice.rules,
      ...pool.reachable.flatMap((backend) => leafRules(plan, pool, backend, leaf(backend), isHash)),
      ...sources(plan, pool),
    ],
  };
}

/** Connections for which no backend is chosen: those of pinned clients, and of clients that a backend has seen before. */
function shortcuts(plan: Plan, pool: Pool, leaf: LeafOf): IptRule[] {
  const { affinity } = plan;
  const own = { chain: { own: plan.shortName } };
  const to = (backend: PlannedBackend) => ({ kind: "goto", to: leaf(backend) }) as const;
  return [
    ...pool.pins.map(({ source, backend }): IptRule => {
      const network = matchedNetwork(source.text, pool.family);
      return {
        ...own,
        matches: network === undefined ? [] : [{ kind: "source", network }],
        target: to(backend),
      };
    }),
    ...(affinity
      ? pool.remembered.map((backend): IptRule => {
          const set = clientsOf(plan, backend, affinity.by);
          return {
            ...own,
            matches: [{ kind: "inSet", set, key: SET_KEY[affinity.by] }],
            target: to(backend),
          };
        })
      : []),
  ];
}

/** Where no backend is active, what comes to the end of the chain has no translation: the guards drop it, or filter answers. */
function chooseOrEnd(plan: Plan, pool: Pool, root: string, leaf: LeafOf): Choice {
  if (pool.chosen.length > 0) return choose(plan, pool, root, leaf);
  return {
    chains: [root],
    rules: isRefused(plan, pool) ? [{ chain: { own: root }, matches: [], target: REJECTED }] : [],
  };
}

/** What a connection meets that was given to a backend. @param isHash whether its packet's mark is a slot */
function leafRules(
  plan: Plan,
  pool: Pool,
  backend: PlannedBackend,
  leaf: string,
  isHash: boolean,
): IptRule[] {
  const { affinity, markMask } = plan;
  const { maxConnections: limit, mark } = backend;
  const rules: Omit<IptRule, "chain">[] = [
    ...(limit === undefined
      ? []
      : [{ matches: [{ kind: "connectionsAbove", limit } as const], target: { kind: "return" } as const }]),
    ...(affinity && pool.remembered.includes(backend)
      ? [
          {
            matches: [],
            target: {
              kind: "addToSet",
              set: clientsOf(plan, backend, affinity.by),
              key: SET_KEY[affinity.by],
            } as const,
          },
        ]
      : []),
    // Routing may go by the packet's mark, and must not see a slot.
    ...(isHash ? [{ matches: [], target: { kind: "setMark", mark: 0, mask: FULL_MASK } as const }] : []),
    { matches: [], target: { kind: "setConnmark", mark, mask: markMask } },
    ...dnats(pool, backend, []),
  ];
  return rules.map((rule) => ({ chain: { own: leaf }, ...rule }));
}
