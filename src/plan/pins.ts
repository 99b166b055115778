import type { Family } from "../spec/address";
import { toText } from "../spec/prefix";
import type { PlannedPin } from "./plan";

/** Sources from `first` to `last` that find one backend. */
export interface PinnedRange<B> {
  first: string;
  last: string;
  backend: B;
}

/**
 * Pins that may lie inside one another, as ranges that do not overlap, in the order of their addresses.
 *
 * @param pins longest prefix first
 */
export function pinnedRanges<B>(
  pins: readonly (Pick<PlannedPin, "source"> & { backend: B })[],
  family: Family,
): PinnedRange<B>[] {
  const bounds = [...new Set(pins.flatMap(({ source }) => [source.first, source.last + 1n]))].sort((a, b) =>
    a < b ? -1 : 1,
  );
  const ranges: { first: bigint; last: bigint; backend: B }[] = [];
  for (const [i, first] of bounds.entries()) {
    const pin = pins.find(({ source }) => source.first <= first && first <= source.last);
    if (!pin) continue;
    const last = bounds[i + 1]! - 1n;
    const before = ranges.at(-1);
    if (before && before.backend === pin.backend && before.last + 1n === first) before.last = last;
    else ranges.push({ first, last, backend: pin.backend });
  }
  return ranges.map(({ first, last, backend }) => ({
    first: toText(first, family),
    last: toText(last, family),
    backend,
  }));
}
