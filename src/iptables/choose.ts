import type { Plan, PlannedBackend, Pool } from "../plan/plan";
import { firstMatchWins, threshold } from "../plan/probability";
import { turns } from "../plan/turns";
import type { Choice, LeafOf } from "./choice";
import { hashed } from "./hash";
import type { IptMatch, IptRule } from "./ruleset";

/** @param pool with a backend at least that is chosen */
export function choose(plan: Plan, pool: Pool, root: string, leaf: LeafOf): Choice {
  switch (plan.algorithm) {
    case "random":
      return draw(pool.chosen, leaf, tree(root));
    case "roundRobin":
      return takeTurns(
        turns(pool.chosen.map(({ share }) => share)).map((index) => pool.chosen[index]!),
        leaf,
        tree(root),
      );
    case "sourceHash":
    case "flowHash":
      return hashed(plan, pool, root, leaf);
    default:
      throw plan.algorithm satisfies never;
  }
}

/** Longest list that is walked rather than halved: a jump costs as much as a few rules. */
const FLAT = 8;

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
function draw(backends: readonly PlannedBackend[], leaf: LeafOf, node: Node): Choice {
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
function takeTurns(round: readonly PlannedBackend[], leaf: LeafOf, node: Node): Choice {
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
