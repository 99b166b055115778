/** An exact fraction, so that no rounding of the test's own hides one of the product's. */
export class Rational {
  static readonly ZERO = Rational.of(0);
  static readonly ONE = Rational.of(1);

  private constructor(
    readonly numerator: bigint,
    readonly denominator: bigint,
  ) {}

  static of(numerator: number | bigint, denominator: number | bigint = 1): Rational {
    return new Rational(BigInt(numerator), BigInt(denominator));
  }

  /** Of a decimal as it is written: `0.33333333349`. */
  static parse(text: string): Rational {
    const [whole, fraction = ""] = text.split(".");
    return Rational.of(BigInt(`${whole}${fraction}`), 10n ** BigInt(fraction.length));
  }

  plus(other: Rational): Rational {
    const [a, b] = [this.denominator, other.denominator];
    const common = a % b === 0n ? a : b % a === 0n ? b : a * b;
    return new Rational(this.numerator * (common / a) + other.numerator * (common / b), common);
  }

  minus(other: Rational): Rational {
    return this.plus(new Rational(-other.numerator, other.denominator));
  }

  times(other: Rational): Rational {
    return new Rational(this.numerator * other.numerator, this.denominator * other.denominator);
  }

  isZero(): boolean {
    return this.numerator === 0n;
  }

  /** The nearest whole number; a half goes up, as in C's lround. */
  round(): bigint {
    return (2n * this.numerator + this.denominator) / (2n * this.denominator);
  }

  /** How far apart two are, as a number: small differences keep all their digits. */
  distance(other: Rational): number {
    const { numerator, denominator } = this.minus(other);
    const shift = BigInt(2 ** 60);
    const scaled = (numerator * shift * shift) / denominator;
    return Math.abs(Number(scaled)) / 2 ** 120;
  }

  /** In lowest terms. */
  toString(): string {
    const divisor = gcd(this.numerator, this.denominator);
    return `${this.numerator / divisor}/${this.denominator / divisor}`;
  }
}

function gcd(a: bigint, b: bigint): bigint {
  return b === 0n ? a : gcd(b, a % b);
}
