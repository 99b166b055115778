import type { Plan, PlannedBackend, Pool } from "../plan/plan";
import { firstMatchWins, threshold } from "../plan/probability";
import { turns } from "../plan/turns";
import type { IptMatch, IptRule, IptTable } from "./ruleset";
import { dispatch, sourceTarget, translated } from "./service";
import { dnats } from "./translate";

/**
 * Layout `nat`: choice and translation both in the nat table, which the kernel asks once a connection.
 *
 * The farm's chain hands a connection to the leaf of one backend, which sets the connmark and translates. Up to
 * `FLAT` candidates are a list of which the first match wins; more are halved, in a tree of chains, so that
 * a connection meets a number of rules that grows with the logarithm of theirs.
 */
export function natTable(plan: Plan, pool: Pool): IptTable {
  const root = plan.shortName;
  const leaf = (backend: PlannedBackend) => `${root}.${backend.mark.toString(16)}`;
  const choice = chooser(plan, pool, root, leaf);
  const leaves = pool.backends.map((backend) => ({
    name: leaf(backend),
    rules: [
      {
        chain: { own: leaf(backend) },
        matches: [],
        target: { kind: "setConnmark", mark: backend.mark, mask: plan.markMask },
      },
      ...dnats(pool, backend, []).map((rule) => ({ chain: { own: leaf(backend) }, ...rule })),
    ] satisfies IptRule[],
  }));
  return {
    name: "nat",
    chains: [...choice.chains, ...leaves.map(({ name }) => name)],
    rules: [
      ...dispatch(plan, pool.services, root),
      ...choice.rules,
      ...leaves.flatMap(({ rules }) => rules),
      ...pool.services.flatMap((service): IptRule[] => {
        const target = sourceTarget(plan, service);
        return target ? [{ chain: "POSTROUTING", matches: translated(service), target }] : [];
      }),
    ],
  };
}

/** Longest list that is walked rather than halved: a jump costs as much as a few rules. */
const FLAT = 8;

interface Choice {
  chains: string[];
  rules: IptRule[];
}

function chooser(plan: Plan, pool: Pool, root: string, leaf: (backend: PlannedBackend) => string): Choice {
  switch (plan.algorithm) {
    case "random":
      return draw(pool.backends, leaf, tree(root));
    case "roundRobin":
      return takeTurns(
        turns(pool.backends.map(({ share }) => share)).map((index) => pool.backends[index]!),
        leaf,
        tree(root),
      );
    default:
      throw plan.algorithm satisfies never;
  }
}

/** A place in a tree of chains, numbered as in a heap: the children of 3 are 6 and 7. So a name says where it stands. */
interface Node {
  chain: string;
  left: () => Node;
  right: () => Node;
}

function tree(root: string, place = 1): Node {
  return {
    chain: place === 1 ? root : `${root}.t${place}`,
    left: () => tree(root, 2 * place),
    right: () => tree(root, 2 * place + 1),
  };
}

/** A random choice by weight: 1/n, 1/(n−1) … 1 where the weights are equal. */
function draw(
  backends: readonly PlannedBackend[],
  leaf: (backend: PlannedBackend) => string,
  node: Node,
): Choice {
  const chain = { own: node.chain };
  if (backends.length <= FLAT) {
    const thresholds = firstMatchWins(backends.map(({ share }) => share));
    return {
      chains: [node.chain],
      rules: backends.map((backend, i) => ({
        chain,
        matches: i === backends.length - 1 ? [] : [{ kind: "statisticRandom", threshold: thresholds[i]! }],
        target: { kind: "goto", to: leaf(backend) },
      })),
    };
  }
  const half = Math.ceil(backends.length / 2);
  const [first, second] = [backends.slice(0, half), backends.slice(half)];
  const sum = (part: readonly PlannedBackend[]) => part.reduce((total, { share }) => total + share, 0);
  return join(
    node,
    [{ kind: "statisticRandom", threshold: threshold(sum(first), sum(backends)) }],
    draw(first, leaf, node.left()),
    draw(second, leaf, node.right()),
  );
}

/**
 * Exact turns: the first of every n connections to the first backend, of the others the first of every n−1 to the next …
 * An even round of more than `FLAT` turns is dealt in two, alternately; of an odd one the first turn is taken out before.
 */
function takeTurns(
  round: readonly PlannedBackend[],
  leaf: (backend: PlannedBackend) => string,
  node: Node,
): Choice {
  const chain = { own: node.chain };
  const turn = (every: number, backend: PlannedBackend): IptRule => ({
    chain,
    matches: every === 1 ? [] : [{ kind: "statisticNth", every, packet: 0 }],
    target: { kind: "goto", to: leaf(backend) },
  });
  if (round.length <= FLAT)
    return { chains: [node.chain], rules: round.map((backend, i) => turn(round.length - i, backend)) };

  const odd = round.length % 2;
  const rest = round.slice(odd);
  const dealt = join(
    node,
    [{ kind: "statisticNth", every: 2, packet: 0 }],
    takeTurns(
      rest.filter((_, i) => i % 2 === 0),
      leaf,
      node.left(),
    ),
    takeTurns(
      rest.filter((_, i) => i % 2 === 1),
      leaf,
      node.right(),
    ),
  );
  return odd ? { ...dealt, rules: [turn(round.length, round[0]!), ...dealt.rules] } : dealt;
}

/** A node that goes to its left child where `matches` does, else to its right one. */
function join(node: Node, matches: IptMatch[], left: Choice, right: Choice): Choice {
  const chain = { own: node.chain };
  return {
    chains: [node.chain, ...left.chains, ...right.chains],
    rules: [
      { chain, matches, target: { kind: "goto", to: node.left().chain } },
      { chain, matches: [], target: { kind: "goto", to: node.right().chain } },
      ...left.rules,
      ...right.rules,
    ],
  };
}
