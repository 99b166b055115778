import { Fraction } from "../plan/fraction";

/**
 * Whoever decides where rules leave something to chance or to the count of connections. A tracer asks it, and
 * follows what it says; so one tracer serves for one draw, for one turn and for all ways at once.
 */
export interface Oracle {
  /** One of several, each with its chance; the chances add up to one. @returns its index */
  draw(chances: readonly Fraction[]): number;
  /**
   * One turn of a round of `every`.
   *
   * @param optionOf turn (0 to `every` − 1) to the index of what it leads to
   * @param chances what part of a round each index has
   */
  take(every: number, optionOf: (turn: number) => number, chances: readonly Fraction[]): number;
  /** Whether a rule that takes number `packet` of every `every` takes this one. Those that it leaves are counted anew. */
  split(every: number, packet: number): boolean;
}

/** The farm's algorithm asks for the other kind of number; `explain` refuses that before it asks. */
function wrongKind(): never {
  throw new Error("a draw was asked for a turn, or a turn for a draw");
}

/** A single draw of 0 to 1: the options lie side by side on that line, in the order of the rules. */
export function byDraw(draw: number): Oracle {
  let at = Fraction.ofNumber(draw);
  return {
    draw(chances) {
      const last = chances.reduce((latest, chance, i) => (chance.isZero() ? latest : i), 0);
      const index = chances.findIndex((chance, i) => {
        if (i === last || at.isLessThan(chance)) return true;
        at = at.minus(chance);
        return false;
      });
      at = at.dividedBy(chances[index]!);
      return index;
    },
    take: wrongKind,
    split: wrongKind,
  };
}

/** A connection before which as many others came as `turn` says, since the rules were applied. */
export function byTurn(turn: number): Oracle {
  let count = turn;
  return {
    draw: wrongKind,
    take: (every, optionOf) => optionOf(count % every),
    split(every, packet) {
      const takenBefore = Math.floor((count - packet - 1) / every) + 1;
      const taken = count % every === packet;
      count = taken ? takenBefore : count - takenBefore;
      return taken;
    },
  };
}

export interface Way<T> {
  value: T;
  chance: Fraction;
}

/**
 * Every way that a tracer can go, with its exact chance. The part of a round that a turn is, is its chance.
 *
 * @param walk goes one way and asks the oracle; it is called once a way
 */
export function everyWay<T>(walk: (oracle: Oracle) => T): Way<T>[] {
  const ways: Way<T>[] = [];
  let path: number[] = [];
  for (;;) {
    const asked: { index: number; chances: readonly Fraction[] }[] = [];
    let chance = Fraction.ONE;
    const draw = (chances: readonly Fraction[]): number => {
      const index = path[asked.length] ?? next(chances, -1)!;
      asked.push({ index, chances });
      chance = chance.times(chances[index]!);
      return index;
    };
    const value = walk({
      draw,
      take: (_every, _optionOf, chances) => draw(chances),
      split: (every) => draw([Fraction.of(1, every), Fraction.of(every - 1, every)]) === 0,
    });
    ways.push({ value, chance });

    // The last question that has another answer gets it; those before it get the same again.
    let last = asked.length - 1;
    while (last >= 0 && next(asked[last]!.chances, asked[last]!.index) === undefined) last--;
    if (last < 0) return ways;
    path = [
      ...asked.slice(0, last).map(({ index }) => index),
      next(asked[last]!.chances, asked[last]!.index)!,
    ];
  }
}

/** The next option that is possible at all. */
function next(chances: readonly Fraction[], after: number): number | undefined {
  for (let i = after + 1; i < chances.length; i++) if (!chances[i]!.isZero()) return i;
  return undefined;
}
