import { Fraction } from "../plan/fraction";
import type { Service } from "../spec/service";
import type { ReadBackend, ReadFarm } from "./read";
import { sayService } from "./services";

/** The part of a service's new connections that goes elsewhere. */
export interface Moved {
  services: string[];
  fraction: Fraction;
}

/**
 * For each service that both have: how much of the new connections another backend gets than before, at the least. It is what all
 * backends lose together (half the sum of all differences). Services for which it is the same stand together.
 */
export function movedBetween(before: ReadFarm, after: ReadFarm, kept: readonly Service[]): Moved[] {
  const groups: Moved[] = [];
  for (const service of kept) {
    const [old, now] = [placesOf(before, service), placesOf(after, service)];
    const fraction = [...old].reduce((sum, [place, share]) => {
      const left = now.get(place) ?? Fraction.ZERO;
      return left.isLessThan(share) ? sum.plus(share.minus(left)) : sum;
    }, Fraction.ZERO);
    const group = groups.find((one) => one.fraction.equals(fraction));
    if (group) group.services.push(sayService(service));
    else groups.push({ services: [sayService(service)], fraction });
  }
  return groups;
}

/** Where connections to a service go: a backend that keeps the dialled port is the same place as one that names it. */
function placesOf({ backends }: ReadFarm, { family, ports, protocol }: Service): Map<string, Fraction> {
  const dialled = protocol !== "all" && ports.from === ports.to ? ports.from : undefined;
  const places = new Map<string, Fraction>();
  for (const { address, port, share } of backends.filter((one) => one.family === family)) {
    const place = placeOf({ address, port: port ?? dialled });
    places.set(place, (places.get(place) ?? Fraction.ZERO).plus(share));
  }
  return places;
}

function placeOf({ address, port }: Pick<ReadBackend, "address" | "port">): string {
  return `${address} ${port ?? "as dialled"}`;
}
