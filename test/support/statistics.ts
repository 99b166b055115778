/** Whether counted connections agree with what was promised. Synchronous, plain data. */

/**
 * Pearson's chi-square goodness-of-fit test.
 *
 * @param observed - How many connections each backend got; at least five expected in each, for the test to hold.
 * @param shares - The exact share of each, in the same order; they need not add up to 1.
 * @returns the p value: how likely counts at least this uneven are when the shares are true. A test that must not fail
 *   by chance compares it with something small, such as 1e-6.
 * @throws where the lists differ in length, or a backend of share 0 got a connection.
 */
export function chiSquareTest(observed: readonly number[], shares: readonly number[]): number {
  if (observed.length !== shares.length) throw new Error("as many counts as shares are needed");
  const total = sum(observed);
  const whole = sum(shares);
  const impossible = shares.findIndex((share, k) => share === 0 && (observed[k] ?? 0) > 0);
  if (impossible >= 0) throw new Error(`number ${impossible} has share 0 and was counted`);

  const possible = shares.flatMap((share, k) => (share > 0 ? [[share, observed[k] ?? 0] as const] : []));
  const statistic = sum(
    possible.map(([share, count]) => {
      const expected = (total * share) / whole;
      return (count - expected) ** 2 / expected;
    }),
  );
  return chiSquareTail(statistic, possible.length - 1);
}

/**
 * The chance that a chi-square variable of `degrees` degrees of freedom is at least `statistic`.
 *
 * The regularised upper incomplete gamma function Q(degrees/2, statistic/2), by its series below the mean and its
 * continued fraction above (Numerical Recipes, 3rd edition, section 6.2).
 */
export function chiSquareTail(statistic: number, degrees: number): number {
  if (statistic <= 0 || degrees === 0) return 1;
  const a = degrees / 2;
  const x = statistic / 2;
  const front = Math.exp(a * Math.log(x) - x - logGamma(a));
  return x < a + 1 ? 1 - front * lowerSeries(a, x) : front * upperFraction(a, x);
}

/** Σ x^n ÷ (a (a+1) … (a+n)). */
function lowerSeries(a: number, x: number): number {
  let term = 1 / a;
  let total = term;
  for (let n = 1; term > total * Number.EPSILON; n++) {
    term *= x / (a + n);
    total += term;
  }
  return total;
}

/** 1 ÷ (x+1−a − 1(1−a) ÷ (x+3−a − …)), by Lentz's method. */
function upperFraction(a: number, x: number): number {
  let b = x + 1 - a;
  let c = Number.POSITIVE_INFINITY;
  let d = 1 / b;
  let value = d;
  for (let n = 1; n < 10_000; n++) {
    const numerator = -n * (n - a);
    b += 2;
    d = 1 / (numerator * d + b);
    c = b + numerator / c;
    value *= d * c;
    if (Math.abs(d * c - 1) < Number.EPSILON) break;
  }
  return value;
}

/** ln Γ of a multiple of one half, which degrees ÷ 2 always is: Γ(x) = (x−1) Γ(x−1), Γ(1/2) = √π, Γ(1) = 1. */
function logGamma(half: number): number {
  let result = Number.isInteger(half) ? 0 : Math.log(Math.PI) / 2;
  for (let x = half - 1; x > 0; x--) result += Math.log(x);
  return result;
}

/**
 * Whether a round robin is fair in every window: of any `weights` total in a row, each backend has exactly its weight.
 *
 * @param order - The backend of each connection, in order.
 * @param weights - Backend → weight, as whole numbers in lowest terms.
 * @returns the place (from 0) where the first unfair window begins; `undefined` where every window is fair.
 * @throws where `order` is shorter than one window, which would prove nothing.
 */
export function firstUnfairWindow(
  order: readonly string[],
  weights: Readonly<Record<string, number>>,
): number | undefined {
  const length = sum(Object.values(weights));
  if (order.length < length)
    throw new Error(`${order.length} connections are less than a window of ${length}`);
  for (let start = 0; start + length <= order.length; start++) {
    const counts = countEach(order.slice(start, start + length));
    if (Object.entries(weights).some(([backend, weight]) => (counts[backend] ?? 0) !== weight)) return start;
  }
  return undefined;
}

/** How often each value occurs. */
export function countEach(values: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
