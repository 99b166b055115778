import type { Fraction } from "../plan/fraction";

/** Longest fraction that a reader takes in; of others the percentage stands alone. */
const READABLE = 100_000n;

/** `3/4 (75 %)`; `all`; `none`. */
export function sayShare(share: Fraction): string {
  if (share.isZero()) return "none";
  if (share.numerator === share.denominator) return "all";
  if (share.denominator > READABLE) return percent(share);
  return `${share.numerator}/${share.denominator} (${percent(share)})`;
}

/** `75 %`, `66.67 %`, `less than 0.01 %`: two decimals, of which closing zeros go. */
export function percent({ numerator, denominator }: Fraction): string {
  const hundredths = (numerator * 20_000n + denominator) / (2n * denominator);
  if (hundredths === 0n && numerator > 0n) return "less than 0.01 %";
  if (hundredths === 10_000n && numerator < denominator) return "more than 99.99 %";
  const decimals = String(hundredths % 100n)
    .padStart(2, "0")
    .replace(/0+$/, "");
  return `${hundredths / 100n}${decimals === "" ? "" : `.${decimals}`} %`;
}
