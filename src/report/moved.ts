import { Fraction } from "../plan/fraction";
import type { Family } from "../spec/address";
import type { Service } from "../spec/service";
import type { MovedPart } from "./comparison";
import type { ReadBackend, ReadFarm } from "./read";
import { sayService } from "./services";

/** The part of what is new at some services that goes elsewhere. */
export type Moved = Omit<MovedPart, "fraction" | "percent"> & { fraction: Fraction };

/**
 * For each service that both have, and for which both have an active backend: how much of what is new goes to another backend than
 * before. Services for which it is the same stand together.
 */
export function movedBetween(before: ReadFarm, after: ReadFarm, kept: readonly Service[]): Moved[] {
  const groups: Moved[] = [];
  for (const service of kept) {
    if (!isLive(before, service.family) || !isLive(after, service.family)) continue;
    const part = movedAt(service, before, after);
    const group = groups.find(
      (one) => one.of === part.of && one.anew === part.anew && one.fraction.equals(part.fraction),
    );
    if (group) group.services.push(sayService(service));
    else groups.push({ services: [sayService(service)], ...part });
  }
  return groups;
}

/** Whether new connections of a family find a backend. */
export function isLive({ empty }: ReadFarm, family: Family): boolean {
  return empty[family] === undefined;
}

function movedAt(service: Service, before: ReadFarm, after: ReadFarm): Omit<Moved, "services"> {
  const hash = after.hash[service.family] ?? before.hash[service.family];
  if (!hash) return { of: "connections", fraction: lostBetween(before, after, service), anew: false };
  const of = hash.of === "source" ? "clients" : "flows";
  const [old, now] = [slotsOf(before, service), slotsOf(after, service)];
  if (!old || !now || !isSameHash(before, after, service.family))
    return { of, fraction: Fraction.ONE, anew: true };
  const count = Math.max(old.length, now.length);
  let moved = 0;
  for (let slot = 0; slot < count; slot++) if (old[slot % old.length] !== now[slot % now.length]) moved++;
  return { of, fraction: Fraction.of(moved, count), anew: false };
}

/** What all places lose together, which is half the sum of all differences: the least part of independent draws that must move. */
function lostBetween(before: ReadFarm, after: ReadFarm, service: Service): Fraction {
  const [old, now] = [sharesOf(before, service), sharesOf(after, service)];
  return [...old].reduce((sum, [place, share]) => {
    const left = now.get(place) ?? Fraction.ZERO;
    return left.isLessThan(share) ? sum.plus(share.minus(left)) : sum;
  }, Fraction.ZERO);
}

function sharesOf(farm: ReadFarm, service: Service): Map<string, Fraction> {
  const places = new Map<string, Fraction>();
  for (const backend of farm.backends.filter(({ family }) => family === service.family)) {
    const place = placeOf(backend, service);
    places.set(place, (places.get(place) ?? Fraction.ZERO).plus(backend.share));
  }
  return places;
}

/** Where each slot leads; all the same where there is one backend alone, which needs no hash. Undefined where backends are drawn. */
function slotsOf(farm: ReadFarm, service: Service): string[] | undefined {
  const backends = farm.backends.filter(({ family }) => family === service.family);
  const hash = farm.hash[service.family];
  if (hash) {
    const places = new Map(backends.map((backend) => [backend.key, placeOf(backend, service)]));
    return hash.slots.map((key) => places.get(key)!);
  }
  const [only, ...others] = backends.filter(({ share }) => !share.isZero());
  return only && others.length === 0 ? [placeOf(only, service)] : undefined;
}

/** Whether one client or flow has the same slot in both. One backend alone goes with every hash. */
function isSameHash(before: ReadFarm, after: ReadFarm, family: Family): boolean {
  const [old, now] = [before.hash[family], after.hash[family]];
  if (!old || !now) return true;
  return (
    old.of === now.of &&
    old.slots.length === now.slots.length &&
    kernelHash(before) === kernelHash(after) &&
    (old.of === "source" ? old.prefix === now.prefix : hasPorts(before, family) === hasPorts(after, family))
  );
}

/** nftables' jhash and iptables' HMARK put one address in different slots. */
function kernelHash({ dataPlane }: ReadFarm): string {
  return dataPlane.split(" ")[0]!;
}

/** Whether ports count in the hash of a flow: they do not where a service takes every protocol. */
function hasPorts({ services }: ReadFarm, family: Family): boolean {
  return !services.some((service) => service.family === family && service.protocol === "all");
}

/** A backend that keeps the dialled port is the same place as one that names it. */
function placeOf({ address, port }: ReadBackend, { ports, protocol }: Service): string {
  const dialled = protocol !== "all" && ports.from === ports.to ? ports.from : undefined;
  return `${address} ${port ?? dialled ?? "as dialled"}`;
}
