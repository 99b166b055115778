import type { Fraction, Ratio } from "../plan/fraction";
import { SpecError } from "../spec/problem";
import { forgottenBetween } from "./affinity";
import type { Change, Comparison, ServiceMoves } from "./comparison";
import type { Difference } from "./difference";
import { movedBetween } from "./moved";
import { comparePins } from "./pins";
import { type ReadBackend, type ReadFarm, readRuleSet } from "./read";
import { compareServices, type ServiceChange, sayService } from "./services";
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
  if (before === undefined && after === undefined)
    throw new SpecError("rule sets", [
      { path: [], text: "there is none; give the one before, the one after, or both" },
    ]);
  const [old, now] = [before, after].map((text) => (text === undefined ? undefined : readRuleSet(text)));
  if (old && now && old.name !== now.name)
    throw new SpecError("rule sets", [
      { path: [], text: `are of two farms, ${old.name} and ${now.name}; compare each with its own` },
    ]);
  return compareFarms(old, now, before === after, moves);
}

/** @param same whether they are of the same text */
export function compareFarms(
  before: ReadFarm | undefined,
  after: ReadFarm | undefined,
  same: boolean,
  moves: ServiceMoves,
): Comparison {
  const difference = { ...differ(before, after), moves: { to: {}, from: {}, ...moves } };
  const { services, backends, moved, forgotten, pins } = difference;
  const change = !before ? "created" : !after ? "removed" : same ? "none" : kindOf(before, after, services);
  const both = <T>(get: (farm: ReadFarm) => T | undefined): Change<T> => ({
    before: before && get(before),
    after: after && get(after),
  });
  return {
    farm: (after ?? before)!.name,
    change,
    dataPlane: both(({ dataPlane }) => dataPlane),
    algorithm: both(({ algorithm }) => algorithm),
    sourceNat: both(({ sourceNat }) => sourceNat),
    interface: both((farm) => farm.interface),
    onRemoval: both(({ onRemoval }) => onRemoval),
    services: { ...services, kept: services.kept.map(sayService) },
    backends: backends.map(({ key, before: was, after: is }) => ({
      backend: key,
      before: was && { share: was.share.toRatio(), mark: was.mark, role: was.role },
      after: is && { share: is.share.toRatio(), mark: is.mark, role: is.role },
    })),
    moved: moved.map(withRatio),
    forgotten: forgotten.map(withRatio),
    pins,
    allow: both(({ allow }) => allow),
    deny: both(({ deny }) => deny),
    words: say(change, difference),
  };
}

function withRatio<T extends { fraction: Fraction }>(
  one: T,
): Omit<T, "fraction"> & { fraction: Ratio; percent: string } {
  return { ...one, fraction: one.fraction.toRatio(), percent: percent(one.fraction) };
}

function differ(before: ReadFarm | undefined, after: ReadFarm | undefined): Omit<Difference, "moves"> {
  const services = compareServices(before?.services ?? [], after?.services ?? []);
  const kept = before && after && meet(before, after) ? services.kept : [];
  return {
    before,
    after,
    services,
    backends: pair(before?.backends ?? [], after?.backends ?? []),
    moved: before && after ? movedBetween(before, after, kept) : [],
    forgotten: before && after ? forgottenBetween(before, after) : [],
    pins: comparePins(before?.pins ?? [], after?.pins ?? []),
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

/** Whether a change of the text changes what the rules do. */
function kindOf(before: ReadFarm, after: ReadFarm, services: ServiceChange): "traffic" | "rules" {
  const meaning = ({ name: _, services: __, backends, ...farm }: ReadFarm) =>
    JSON.stringify([
      farm,
      [...backends]
        .sort(byPlace)
        .map(({ share, ...backend }) => [Object.entries(backend).sort(), share.toRatio()]),
    ]);
  const same = services.added.length + services.removed.length === 0 && meaning(before) === meaning(after);
  return same ? "rules" : "traffic";
}
