import { Fraction, type Ratio } from "../plan/fraction";
import type { Plan, PlannedBackend, Pool } from "../plan/plan";
import { backendKey } from "../spec/check";
import { formatCount } from "../spec/count";
import type { FarmSpec } from "../spec/types";
import type { CapacityWarning } from "./warning";

/** How a hash follows one backend's weight. */
export interface ShareCapacity {
  backend: string;
  /** Weight over the weights of all that share the connections. */
  wanted: Ratio;
  /** Slots over all slots. */
  given: Ratio;
  slots: number;
}

/** A share that is off by more than this part of itself is told. */
const OFF = Fraction.of(1, 4);

/** Spreads of a backend's slots within which nearly all backends of all farms are. */
const SPREADS = 3;

const MAX_SLOTS = 65_536;
const SOURCE =
  "docs/decisions.md, weighted rendezvous: the slots of a share p of n are spread by √(n · p · (1 − p))";

export function sharesOf(plan: Plan): ShareCapacity[] {
  return plan.pools
    .filter(({ slots }) => slots !== undefined)
    .flatMap((pool) =>
      fitsOf(pool).map(
        ({ backend, wanted, given }): ShareCapacity => ({
          backend: backend.key,
          wanted: wanted.toRatio(),
          given: given.toRatio(),
          slots: backend.share,
        }),
      ),
    );
}

interface Fit {
  backend: PlannedBackend;
  wanted: Fraction;
  given: Fraction;
}

function fitsOf({ chosen, total }: Pool): Fit[] {
  const weights = chosen.reduce((sum, { weight }) => sum + weight, 0);
  return chosen.map((backend) => ({
    backend,
    wanted: Fraction.of(backend.weight, weights),
    given: Fraction.of(backend.share, total),
  }));
}

/** For each address family one of the backends without a slot, and one of the share that is off most. */
export function shareWarnings(plan: Plan, spec: FarmSpec): CapacityWarning[] {
  return plan.pools
    .filter(({ slots }) => slots !== undefined)
    .flatMap((pool) => {
      const fits = fitsOf(pool);
      const least = fits.reduce((a, b) => (b.wanted.isLessThan(a.wanted) ? b : a));
      const remedy = remedyFor(least.wanted, pool.total);
      return [...noSlot(fits, pool, spec, remedy), ...coarseShare(fits, pool, spec, remedy)];
    });
}

function noSlot(fits: readonly Fit[], { total }: Pool, spec: FarmSpec, remedy: string): CapacityWarning[] {
  const without = fits.filter(({ backend }) => backend.share === 0);
  const [first] = without;
  if (!first) return [];
  return [
    {
      code: "no-slot",
      of: "farm",
      path: ["backends", indexOf(first.backend, spec)],
      text:
        `${first.backend.key} is active and wants ${say(first.wanted)} of the new connections, but none of the ` +
        `${formatCount(total)} slots is its, so it gets none at all${more(without.length - 1, "has no slot either", "have no slot either")}; ${remedy}`,
      source: SOURCE,
    },
  ];
}

function coarseShare(
  fits: readonly Fit[],
  { total }: Pool,
  spec: FarmSpec,
  remedy: string,
): CapacityWarning[] {
  const off = fits.filter((fit) => fit.backend.share > 0 && OFF.isLessThan(offOf(fit)));
  if (off.length === 0) return [];
  const worst = off.reduce((most, fit) => (offOf(most).isLessThan(offOf(fit)) ? fit : most));
  return [
    {
      code: "coarse-share",
      of: "farm",
      path: ["backends", indexOf(worst.backend, spec)],
      text:
        `${worst.backend.key} wants ${say(worst.wanted)} of the new connections, and its ${formatCount(worst.backend.share)} of ` +
        `${formatCount(total)} slots give it ${say(worst.given)}${more(off.length - 1, "is off by over a quarter", "are off by over a quarter")}; ${remedy}`,
      source: SOURCE,
    },
  ];
}

/** How far the share is from what was wanted, as a part of that. */
function offOf({ wanted, given }: Fit): Fraction {
  const distance = given.isLessThan(wanted) ? wanted.minus(given) : given.minus(wanted);
  return distance.dividedBy(wanted);
}

/** With how many slots the smallest share is off by less than a quarter in nearly every farm. */
function remedyFor(share: Fraction, slots: number): string {
  const p = share.toNumber();
  const needed = (SPREADS ** 2 * (1 - p)) / (p * OFF.toNumber() ** 2);
  const enough = 2 ** Math.ceil(Math.log2(Math.max(needed, slots + 1)));
  if (enough <= MAX_SLOTS) return `take slots: ${enough}`;
  return `${slots < MAX_SLOTS ? `take slots: ${MAX_SLOTS}, ` : "take "}weights that differ less, fewer backends, or algorithm random`;
}

function more(count: number, one: string, many: string): string {
  return count === 0 ? "" : ` (${formatCount(count)} more ${count === 1 ? one : many})`;
}

function indexOf({ key }: PlannedBackend, { backends }: FarmSpec): number {
  return backends.findIndex((backend) => backendKey(backend) === key);
}

/** `12.5 %`, three significant digits. */
function say(share: Fraction): string {
  return `${Number((100 * share.toNumber()).toPrecision(3))} %`;
}
