/**
 * Probabilities as the kernel's `statistic` match has them.
 *
 * It draws 31 bits and compares: `(get_random_u32() & 0x7fffffff) < threshold` (net/netfilter/xt_statistic.c), where
 * iptables wrote `lround(0x80000000 * p)` (extensions/libxt_statistic.c). So a probability is a threshold of 0 to 2^31.
 */

const SCALE = 2 ** 31;

/** The threshold that the kernel keeps for numerator ÷ denominator: lround(p·2³¹). */
export function threshold(numerator: number, denominator: number): number {
  return Math.round((numerator / denominator) * SCALE);
}

/** A threshold as `iptables-save` prints it: `0.33333333349`. Reading that text gives the same threshold again. */
export function formatThreshold(value: number): string {
  return (value / SCALE).toFixed(11);
}

/** A threshold as a number of 0 to 1. */
export function probabilityOf(value: number): number {
  return value / SCALE;
}

/**
 * Thresholds of a list in which the first rule that matches wins: w_k ÷ Σ_{j≥k} w_j, so 1/n, 1/(n−1) … 1 where the
 * weights are equal.
 */
export function firstMatchWins(weights: readonly number[]): number[] {
  let remaining = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => {
    const value = threshold(weight, remaining);
    remaining -= weight;
    return value;
  });
}

/**
 * Thresholds of a list in which every rule is asked and the last that matches wins, as with `-j MARK`: w_k ÷ Σ_{j≤k} w_j,
 * so 1, 1/2, 1/3 … where the weights are equal.
 */
export function lastMatchWins(weights: readonly number[]): number[] {
  let seen = 0;
  return weights.map((weight) => {
    seen += weight;
    return threshold(weight, seen);
  });
}
