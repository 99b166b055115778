import { Fraction } from "../plan/fraction";

const SCALE = 2n ** 31n;

/**
 * Largest denominator that a threshold tells for sure: two fractions with denominators up to √2³¹ are more than a step of 2^-31
 * apart, so at most one of them rounds to the threshold.
 */
const SURE = 46_340n;

/**
 * The chance that a threshold (lround(p·2³¹)) was made from: the simplest fraction that rounds to it. Shares that are
 * read back are then those that were asked for, and a farm that moves to another data plane keeps them.
 *
 * @returns undefined where no fraction is simple enough to be sure
 */
export function askedFor(threshold: number): Fraction | undefined {
  const double = 2n * BigInt(threshold);
  const [above, below] = simplest(double - 1n, double + 1n, 2n * SCALE);
  return below > SURE ? undefined : Fraction.of(above, below);
}

/** The fraction with the smallest denominator in [low, high] / scale: walks down the Stern–Brocot tree by continued fractions. */
function simplest(low: bigint, high: bigint, scale: bigint): [bigint, bigint] {
  return between(low < 0n ? 0n : low, scale, high, scale);
}

function between(a: bigint, b: bigint, c: bigint, d: bigint): [bigint, bigint] {
  const whole = a / b;
  if (whole * b === a) return [whole, 1n];
  if ((whole + 1n) * d <= c) return [whole + 1n, 1n];
  const [above, below] = between(d, c - whole * d, b, a - whole * b);
  return [whole * above + below, above];
}
