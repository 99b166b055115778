import { SpecError } from "../spec/problem";
import type { Change, Comparison, Difference, ServiceMoves } from "./comparison";
import { movedBetween } from "./moved";
import { type ReadBackend, type ReadFarm, readRuleSet } from "./read";
import { compareServices, sayService } from "./services";
import { percent } from "./share";
import { say } from "./words";

/**
 * What changes for traffic where one rule set takes the place of another, found out from their texts alone.
 *
 * @param before the rule set that a gateway has; undefined: the farm is new there
 * @param after the one that it gets; undefined: the farm leaves
 * @param moves services that this farm takes over from others, or leaves to them; it only adds to the words
 * @throws SpecError where a text is not a rule set of this package, or the two are of two farms
 */
export function compare(
  before: string | undefined,
  after: string | undefined,
  moves: ServiceMoves = {},
): Comparison {
  const difference = { ...differ(before, after), moves: { to: {}, from: {}, ...moves } };
  const { before: old, after: now, services, backends, moved } = difference;
  const change = kindOf(before, after, difference);
  const both = <T>(get: (farm: ReadFarm) => T | undefined): Change<T> => ({
    before: old && get(old),
    after: now && get(now),
  });
  return {
    farm: (now ?? old)!.name,
    change,
    dataPlane: both(({ dataPlane }) => dataPlane),
    algorithm: both(({ algorithm }) => algorithm),
    sourceNat: both(({ sourceNat }) => sourceNat),
    interface: both((farm) => farm.interface),
    services: { ...services, kept: services.kept.map(sayService) },
    backends: backends.map(({ key, before: was, after: is }) => ({
      backend: key,
      before: was && { share: was.share.toRatio(), mark: was.mark },
      after: is && { share: is.share.toRatio(), mark: is.mark },
    })),
    moved: moved.map((one) => ({ ...one, fraction: one.fraction.toRatio(), percent: percent(one.fraction) })),
    words: say(change, difference),
  };
}

function differ(beforeText: string | undefined, afterText: string | undefined): Omit<Difference, "moves"> {
  const [before, after] = [beforeText, afterText].map((text) =>
    text === undefined ? undefined : readRuleSet(text),
  );
  if (!before && !after)
    throw new SpecError("rule sets", [
      { path: [], text: "there is none; give the one before, the one after, or both" },
    ]);
  if (before && after && before.name !== after.name)
    throw new SpecError("rule sets", [
      { path: [], text: `are of two farms, ${before.name} and ${after.name}; compare each with its own` },
    ]);
  const services = compareServices(before?.services ?? [], after?.services ?? []);
  return {
    before,
    after,
    services,
    backends: pair(before?.backends ?? [], after?.backends ?? []),
    moved: before && after && meet(before, after) ? movedBetween(before, after, services.kept) : [],
  };
}

/** Whether a connection can be balanced by both. */
function meet(before: ReadFarm, after: ReadFarm): boolean {
  return (
    before.interface === undefined || after.interface === undefined || before.interface === after.interface
  );
}

function pair(before: readonly ReadBackend[], after: readonly ReadBackend[]): Difference["backends"] {
  const old = new Map(before.map((backend) => [backend.key, backend]));
  const now = new Map(after.map((backend) => [backend.key, backend]));
  return [...new Map([...old, ...now]).values()]
    .sort(byPlace)
    .map(({ key }) => ({ key, before: old.get(key), after: now.get(key) }));
}

/** An order of its own, since each data plane has its backends in another. */
function byPlace(a: ReadBackend, b: ReadBackend): number {
  const [left, right] = [a, b].map(
    ({ family, key }) => `${family} ${key.replace(/\d+/g, (n) => n.padStart(5, "0"))}`,
  );
  return left! < right! ? -1 : left! > right! ? 1 : 0;
}

function kindOf(
  beforeText: string | undefined,
  afterText: string | undefined,
  { before, after, services, backends }: Omit<Difference, "moves">,
): Comparison["change"] {
  if (!before) return "created";
  if (!after) return "removed";
  if (beforeText === afterText) return "none";
  const same =
    before.dataPlane === after.dataPlane &&
    before.algorithm === after.algorithm &&
    before.sourceNat === after.sourceNat &&
    before.interface === after.interface &&
    services.added.length + services.removed.length === 0 &&
    backends.every(
      ({ before: was, after: is }) => was && is && was.mark === is.mark && was.share.equals(is.share),
    );
  return same ? "rules" : "traffic";
}
