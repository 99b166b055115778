/**
 * A round of weighted round robin: each index as often as its weight says, spread over the round.
 *
 * Smooth weighted round robin as nginx has it: every turn each credit grows by its weight, the highest takes the turn and
 * pays the sum of the weights (the first of equals wins). Any window as long as a round holds each index exactly as
 * often as its weight.
 *
 * @param weights positive integers without a common divisor
 * @returns indices into `weights`, as many as the weights add up to
 */
export function turns(weights: readonly number[]): number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (weights.every((weight) => weight === 1)) return weights.map((_, index) => index);
  const credit = weights.map(() => 0);
  return Array.from({ length: total }, () => {
    let best = 0;
    for (let i = 0; i < weights.length; i++) {
      credit[i]! += weights[i]!;
      if (credit[i]! > credit[best]!) best = i;
    }
    credit[best]! -= total;
    return best;
  });
}
