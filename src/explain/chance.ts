import { Fraction } from "../plan/fraction";

/** A threshold as the kernel takes it: 31 random bits below it (net/netfilter/xt_statistic.c). */
export function kernelChance(threshold: number): Fraction {
  return Fraction.of(threshold, 2 ** 31);
}
