/**
 * Rounds: within one, each contender is measured once, the baseline too, so that a ratio never compares two different
 * moments of the machine. The order turns from round to round, so that no place in it is anybody's.
 */

import type { Figure } from "./result";

export interface Sample {
  readonly value: number;
  /** The same by the clock, where `value` is CPU time. */
  readonly clock?: number;
}

export interface Contender extends Pick<Figure, "subject" | "role" | "part" | "at" | "target"> {
  /** The contender that its ratios are to, of the same rounds. */
  readonly against?: Contender;
  sample(round: number): Promise<Sample>;
}

export interface RoundsOptions {
  readonly rounds: number;
  say(text: string): void;
}

export async function inRounds(
  contenders: readonly Contender[],
  { rounds, say }: RoundsOptions,
): Promise<Figure[]> {
  const samples = new Map<Contender, Sample[]>(contenders.map((each) => [each, []]));
  for (let round = 0; round < rounds; round++) {
    const turn = (round * 3) % contenders.length;
    for (const contender of [...contenders.slice(turn), ...contenders.slice(0, turn)]) {
      say(`round ${round + 1} of ${rounds}: ${contender.subject}, ${contender.at}`);
      samples.get(contender)!.push(await contender.sample(round));
    }
  }
  return contenders.map((contender) => {
    const { subject, role, part, at, target, against } = contender;
    const own = samples.get(contender)!;
    const base = against && samples.get(against);
    const clocks = own.flatMap(({ clock }) => clock ?? []);
    return {
      subject,
      role,
      ...(part !== undefined && { part }),
      at,
      values: own.map(({ value }) => rounded(value)),
      ...(clocks.length > 0 && { clocks: clocks.map(rounded) }),
      ...(base && { ratios: own.map(({ value }, k) => rounded(value / base[k]!.value)) }),
      ...(target && { target }),
    };
  });
}

/** Five digits are more than any of it is good for, and keep the files readable. */
function rounded(value: number): number {
  return Number(value.toPrecision(5));
}
