import type { Plan } from "../plan/plan";
import { formatService, type Service, servicesOverlap } from "../spec/service";
import { runError } from "./error";

/** A farm on one gateway, as the other farms there have to know it. */
interface Claim {
  farm: string;
  plan: Plan;
  /** The group that it came in; undefined: it stands alone. */
  group: string | undefined;
}

interface Claimed {
  service: Service;
  claim: Claim;
}

/** What the farms of one gateway claim. Each new one is compared with what is at its own addresses, and not with every other farm. */
export class Claims {
  private readonly farms = new Map<string, Claim>();
  private readonly shortNames = new Map<string, Claim>();
  /** Services of a single port, by `formatService`. */
  private readonly narrow = new Map<string, Claim>();
  /** Address to its services: those of a single port, and the others. */
  private readonly places = new Map<string, { narrow: Set<Claimed>; wide: Set<Claimed> }>();
  /** Address of a backend to the farms that send there. */
  private readonly senders = new Map<string, Set<Claim>>();

  constructor(private readonly gateway: string) {}

  /**
   * @param group that the farm comes in; undefined: it stands alone
   * @throws RunError that names both farms, where their chains would have one name, where they claim the same packet, or where one
   * sends to what the other claims: a packet is translated once
   */
  claim(farm: string, plan: Plan, group?: string): void {
    const known = this.farms.get(farm);
    if (known && known.group !== group)
      throw runError(
        `farm ${farm} comes to gateway ${this.gateway} twice, ${placeOf(known.group)} and ${placeOf(group)}; keep one of the two`,
      );
    // A program may compile a farm again; its own earlier claim then goes.
    if (known) this.forget(known);
    const claim = { farm, plan, group };
    this.checkShortName(claim);
    this.checkOverlaps(claim);
    this.checkChains(claim);
    this.remember(claim);
  }

  private checkShortName({ farm, plan }: Claim): void {
    const other = this.shortNames.get(plan.shortName);
    // A short name ends in 32 bits of a hash.
    if (other)
      throw runError(
        `farm ${farm} and farm ${other.farm} have the same short name ${plan.shortName} on gateway ${this.gateway}, by chance; ` +
          "rename one of them",
      );
  }

  private checkOverlaps({ farm, plan }: Claim): void {
    for (const service of servicesIn(plan)) {
      const other = this.meeting(service);
      if (!other) continue;
      const [mine, theirs] = [formatService(service), formatService(other.service)];
      throw runError(
        `farm ${farm} and farm ${other.claim.farm} both claim ${mine} on gateway ${this.gateway}` +
          `${theirs === mine ? "" : ` (${theirs})`}; give one of them another address or port`,
      );
    }
  }

  private checkChains(claim: Claim): void {
    for (const address of addressesOf(claim.plan))
      for (const sent of this.places.has(address) ? destinationsOf(claim.plan, address) : []) {
        const other = this.meeting(sent);
        if (other) throw this.chained(claim, other.claim, other.service);
      }
    for (const service of servicesIn(claim.plan))
      for (const sender of this.senders.get(service.address) ?? [])
        if (destinationsOf(sender.plan, service.address).some((sent) => servicesOverlap(sent, service)))
          throw this.chained(sender, claim, service);
  }

  private chained(from: Claim, to: Claim, service: Service): Error {
    return runError(
      `farm ${from.farm} sends to ${formatService(service)}, which farm ${to.farm} claims on the same gateway ${this.gateway}; ` +
        `a packet is translated once, so give farm ${from.farm} the backends themselves`,
    );
  }

  /** A service that meets this one. */
  private meeting(service: Service): Claimed | undefined {
    const same = this.narrow.get(formatService(service));
    if (same) return { service, claim: same };
    const place = this.places.get(service.address);
    if (!place) return undefined;
    for (const claimed of place.wide) if (servicesOverlap(claimed.service, service)) return claimed;
    if (isNarrow(service)) return undefined;
    for (const claimed of place.narrow) if (servicesOverlap(claimed.service, service)) return claimed;
    return undefined;
  }

  private remember(claim: Claim): void {
    this.farms.set(claim.farm, claim);
    this.shortNames.set(claim.plan.shortName, claim);
    for (const service of servicesIn(claim.plan)) {
      const place = this.places.get(service.address) ?? { narrow: new Set(), wide: new Set() };
      this.places.set(service.address, place);
      place[isNarrow(service) ? "narrow" : "wide"].add({ service, claim });
      if (isNarrow(service)) this.narrow.set(formatService(service), claim);
    }
    for (const address of addressesOf(claim.plan))
      this.senders.set(address, (this.senders.get(address) ?? new Set()).add(claim));
  }

  private forget(claim: Claim): void {
    this.farms.delete(claim.farm);
    this.shortNames.delete(claim.plan.shortName);
    for (const service of servicesIn(claim.plan)) {
      if (isNarrow(service)) this.narrow.delete(formatService(service));
      for (const list of Object.values(this.places.get(service.address) ?? {}))
        for (const claimed of list) if (claimed.claim === claim) list.delete(claimed);
    }
    for (const address of addressesOf(claim.plan)) this.senders.get(address)?.delete(claim);
  }
}

function placeOf(group: string | undefined): string {
  return group === undefined ? "alone" : `in group ${group}`;
}

function isNarrow({ protocol, ports }: Service): boolean {
  return protocol !== "all" && ports.from === ports.to;
}

function servicesIn({ pools }: Plan): Service[] {
  return pools.flatMap(({ services }) => services);
}

/** Where a farm's backends are. */
function addressesOf({ pools }: Plan): Set<string> {
  return new Set(pools.flatMap(({ backends }) => backends.map(({ address }) => address)));
}

/** What a farm's packets for the backends at an address are addressed to, once they are translated. */
function destinationsOf({ pools }: Plan, at: string): Service[] {
  return pools.flatMap((pool) =>
    pool.backends
      .filter(({ address }) => address === at)
      .flatMap(({ address, port }) =>
        pool.services.map((service) => ({
          ...service,
          address,
          ports: port === undefined ? service.ports : { from: port, to: port },
        })),
      ),
  );
}
