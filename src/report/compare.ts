import type { Ratio } from "../plan/fraction";
import { SpecError } from "../spec/problem";
import { type Moved, movedBetween } from "./moved";
import { type ReadBackend, type ReadFarm, readRuleSet } from "./read";
import { compareServices, type ServiceChange, sayService } from "./services";
import { percent } from "./share";
import { say } from "./words";

/** What a change of a farm's rules on a gateway does to traffic. */
export interface Comparison {
  farm: string;
  /** `rules`: other rules that mean the same, such as backends in another order. */
  change: "created" | "removed" | "traffic" | "rules" | "none";
  /** `nftables`, `iptables nat`, `iptables zevenet`. */
  dataPlane: Change<string>;
  /** Undefined for a single backend, which needs no choice. */
  algorithm: Change<string>;
  /** `none`, `masquerade`, `vip` or an address. */
  sourceNat: Change<string>;
  /** The one interface that is balanced; undefined: any. */
  interface: Change<string>;
  services: { added: string[]; removed: string[]; kept: string[] };
  /** By address family and address. */
  backends: BackendChange[];
  /** The part of new connections to kept services that goes elsewhere; services of one part stand together. */
  moved: { services: string[]; fraction: Ratio; percent: string }[];
  /** The whole in plain sentences, the most important first. The same change gives the same words. */
  words: string[];
}

export interface Change<T> {
  before: T | undefined;
  after: T | undefined;
}

export interface BackendChange extends Change<{ share: Ratio; mark: number }> {
  /** `10.0.0.3`, or `10.0.0.3:80` where it has a port. */
  backend: string;
}

/**
 * What other farms of the gateway do in the same change: a service that one loses and another gets is never without rules.
 * Service (as `services` has it) to the other farm.
 */
export interface ServiceMoves {
  to?: Record<string, string>;
  from?: Record<string, string>;
}

/** The same with exact numbers in it, for words. */
export interface Difference {
  before: ReadFarm | undefined;
  after: ReadFarm | undefined;
  services: ServiceChange;
  backends: (Change<ReadBackend> & { key: string })[];
  moved: Moved[];
  moves: Required<ServiceMoves>;
}

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
