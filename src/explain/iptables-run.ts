import type { IptMatch, IptRule } from "../iptables/ruleset";
import { Fraction } from "../plan/fraction";
import type { Oracle } from "./oracle";

/**
 * A list of rules that set the packet's mark one over the other, as in layout `zevenet`: all are asked, the last that
 * matches wins. It is taken as one choice, because 1,000 draws one by one have 2^1000 ways.
 */
export interface Run {
  length: number;
  /** @returns which rule of the run wins; undefined: none */
  choose(oracle: Oracle, chanceOf: (threshold: number) => Fraction): number | undefined;
}

const runs = new WeakMap<IptRule, Run>();

/** The run that starts at `rules[start]`; undefined where none does. */
export function findRun(rules: readonly IptRule[], start: number): Run | undefined {
  const first = rules[start]!;
  if (!isMarking(first)) return undefined;
  const known = runs.get(first);
  if (known) return known;
  let end = start + 1;
  while (end < rules.length && isMarking(rules[end]!)) end++;
  const run = runOf(rules.slice(start, end).map(statisticOf));
  runs.set(first, run);
  return run;
}

type Statistic = Extract<IptMatch, { kind: "statisticRandom" | "statisticNth" }> | undefined;

function isMarking({ target, matches }: IptRule): boolean {
  return target.kind === "setMark" && matches.some(({ kind }) => kind === "backendComment");
}

function statisticOf({ matches }: IptRule): Statistic {
  return matches.find((match) => match.kind === "statisticRandom" || match.kind === "statisticNth");
}

function runOf(statistics: readonly Statistic[]): Run {
  const { length } = statistics;
  const turned = statistics.find((statistic) => statistic?.kind === "statisticNth");
  if (turned?.kind === "statisticNth")
    return { length, choose: (oracle) => takeTurn(oracle, turned.every, statistics) };
  let cached: { by: (threshold: number) => Fraction; chances: Fraction[] } | undefined;
  return {
    length,
    choose(oracle, chanceOf) {
      if (cached?.by !== chanceOf) cached = { by: chanceOf, chances: lastWins(statistics, chanceOf) };
      // A single backend is neither drawn nor counted for.
      const certain = cached.chances.findIndex((chance) => chance.equals(Fraction.ONE));
      const index = certain === -1 ? oracle.draw(cached.chances) : certain;
      return index === length ? undefined : index;
    },
  };
}

/** The chance of each to be the last that matches, and behind them that of none: from the last to the first, what those behind leave. */
function lastWins(statistics: readonly Statistic[], chanceOf: (threshold: number) => Fraction): Fraction[] {
  let left = Fraction.ONE;
  const chances = [...statistics].reverse().map((statistic) => {
    const chance = statistic?.kind === "statisticRandom" ? chanceOf(statistic.threshold) : Fraction.ONE;
    const wins = left.times(chance);
    left = left.minus(wins);
    return wins;
  });
  return [...chances.reverse(), left];
}

/** Every rule counts every packet, so a turn's number is the same for all of them. */
function takeTurn(oracle: Oracle, every: number, statistics: readonly Statistic[]): number {
  const indexOf = new Map(
    statistics.flatMap((statistic, i) =>
      statistic?.kind === "statisticNth" ? [[statistic.packet, i] as const] : [],
    ),
  );
  const rest = statistics.indexOf(undefined);
  const taken = indexOf.size;
  const chances = statistics.map((statistic) => Fraction.of(statistic ? 1 : every - taken, every));
  return oracle.take(every, (turn) => indexOf.get(turn) ?? rest, chances);
}
