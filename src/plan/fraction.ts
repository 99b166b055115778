/** An exact fraction as plain data, in lowest terms; whole numbers of any size, as decimal text. */
export interface Ratio {
  numerator: string;
  denominator: string;
}

/** An exact fraction, always in lowest terms, with a positive denominator. */
export class Fraction {
  static readonly ZERO = new Fraction(0n, 1n);
  static readonly ONE = new Fraction(1n, 1n);

  private constructor(
    readonly numerator: bigint,
    readonly denominator: bigint,
  ) {}

  static of(numerator: number | bigint, denominator: number | bigint = 1): Fraction {
    const [above, below] = [BigInt(numerator), BigInt(denominator)];
    const divisor = commonDivisor(above < 0n ? -above : above, below);
    return new Fraction(above / divisor, below / divisor);
  }

  /** The very value of a number: a double is a whole number over a power of two. @param value finite, 0 to 1 */
  static ofNumber(value: number): Fraction {
    let [numerator, denominator] = [value, 1n];
    while (!Number.isInteger(numerator)) {
      numerator *= 2;
      denominator *= 2n;
    }
    return Fraction.of(numerator, denominator);
  }

  plus(other: Fraction): Fraction {
    return this.added(other.numerator, other.denominator);
  }

  minus(other: Fraction): Fraction {
    return this.added(-other.numerator, other.denominator);
  }

  times(other: Fraction): Fraction {
    return Fraction.of(this.numerator * other.numerator, this.denominator * other.denominator);
  }

  /** @param other not zero */
  dividedBy(other: Fraction): Fraction {
    return Fraction.of(this.numerator * other.denominator, this.denominator * other.numerator);
  }

  isZero(): boolean {
    return this.numerator === 0n;
  }

  isLessThan(other: Fraction): boolean {
    return this.numerator * other.denominator < other.numerator * this.denominator;
  }

  equals(other: Fraction): boolean {
    return this.numerator === other.numerator && this.denominator === other.denominator;
  }

  toNumber(): number {
    return Number(this.numerator) / Number(this.denominator);
  }

  toRatio(): Ratio {
    return { numerator: String(this.numerator), denominator: String(this.denominator) };
  }

  private added(numerator: bigint, denominator: bigint): Fraction {
    if (denominator === this.denominator) return Fraction.of(this.numerator + numerator, denominator);
    return Fraction.of(
      this.numerator * denominator + numerator * this.denominator,
      this.denominator * denominator,
    );
  }
}

function commonDivisor(a: bigint, b: bigint): bigint {
  // The kernel's chances have a power of two below the line, often of thousands of bits: there it is one step.
  if ((b & (b - 1n)) === 0n) {
    const low = a & -a;
    return a === 0n || low > b ? b : low;
  }
  while (a !== 0n) [a, b] = [b % a, a];
  return b;
}
