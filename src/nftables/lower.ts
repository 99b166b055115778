import { FULL_MASK } from "../plan/mark";
import type { Plan, Pool } from "../plan/plan";
import type { Service } from "../spec/service";
import { admit } from "./admission";
import { backendChain, chooseChain, chooseMark, pin } from "./choose";
import { lowerObjects, namesOf } from "./objects";
import type { NftChain, NftElement, NftKey, NftRule, NftRuleSet } from "./ruleset";
import { deliver, deliverTo, lowerSource } from "./translate";

/**
 * Plan to nftables rules.
 *
 * A service's first packet finds its farm's chain by one look-up, however many farms there are; there one look-up
 * chooses (a number to a mark) and one translates (a mark to an address), however many backends there are.
 *
 * The chains are named `web.farm`; where they are applied, a hash of their content stands for `farm` (docs/rule-set.md).
 */
export function lower(plan: Plan): NftRuleSet {
  const chain = `${plan.shortName}.farm`;
  return {
    objects: plan.pools.flatMap((pool) => lowerObjects(plan, pool)),
    chains: plan.pools.flatMap((pool) => lowerPool(plan, pool, chain)),
    elements: plan.pools.flatMap((pool) => {
      const source = lowerSource(plan, pool) !== undefined;
      return pool.services.flatMap((service) =>
        elementsOf(service, { chain, interface: plan.interface, source }),
      );
    }),
  };
}

function lowerPool(plan: Plan, pool: Pool, name: string): NftChain[] {
  const source = lowerSource(plan, pool);
  const chains: Omit<NftChain, "family">[] = [
    ...(plan.markMask === FULL_MASK ? chooseByMap(plan, pool, name) : chooseByChain(plan, pool, name)),
    ...(source ? [{ name: `${name}.source`, rules: [source] }] : []),
  ];
  return chains.map((chain) => ({ family: pool.family, ...chain }));
}

/** All rules in one chain; but where pins or affinity know a backend already, they go to the second half of it at once. */
function chooseByMap(plan: Plan, pool: Pool, name: string): Omit<NftChain, "family">[] {
  const chosen = `${name}.chosen`;
  const known = [...pinned(pool, chosen), ...remembered(plan, pool, chosen)];
  const before = [...admit(plan, pool), ...known, ...chooseMark(plan, pool)];
  if (known.length === 0)
    return [{ name, rules: pool.chosen.length === 0 ? before : [...before, ...deliver(plan, pool)] }];
  return [
    { name, rules: pool.chosen.length === 0 ? before : [...before, { kind: "goto", chain: chosen }] },
    { name: chosen, rules: deliver(plan, pool) },
  ];
}

function pinned(pool: Pool, chain: string): NftRule[] {
  const to = new Set(pool.pins.map(({ backend }) => backend));
  const backends = pool.backends.filter((backend) => to.has(backend));
  return backends.length === 0 ? [] : [...pin(pool), { kind: "keep", backends, chain }];
}

/** An entry that leads to a backend which is standby or down counts for nothing, and makes room for the one to come. */
function remembered(plan: Plan, { remembered: backends, chosen }: Pool, chain: string): NftRule[] {
  const { affinity } = plan;
  if (!affinity || backends.length === 0) return [];
  const { by, maxEntries } = affinity;
  const map = namesOf(plan).affinity(by, maxEntries);
  return [
    { kind: "recall", by, map },
    { kind: "keep", backends, chain },
    ...(chosen.length === 0 ? [] : [{ kind: "forget", by, map } as const]),
  ];
}

/**
 * A mark that shares its 32 bits with other software: nft 1.0.6 cannot OR a mapped value into `ct mark`, so every choice
 * leads to a chain for each backend, which ORs a constant.
 */
function chooseByChain(plan: Plan, pool: Pool, name: string): Omit<NftChain, "family">[] {
  const admission = admit(plan, pool);
  const [only, ...others] = pool.reachable;
  if (only?.role === "active" && others.length === 0 && pool.pins.length === 0)
    return [{ name, rules: [...admission, ...deliverTo(plan, pool, only)] }];
  return [
    { name, rules: [...admission, ...pin(pool, name), ...chooseChain(plan, pool, name)] },
    ...pool.reachable.map((backend) => ({
      name: backendChain(name, backend.mark),
      rules: deliverTo(plan, pool, backend),
    })),
  ];
}

/** What leads to a farm's chains. */
interface Entrance {
  chain: string;
  interface: string | undefined;
  /** Whether there is a chain for source addresses. */
  source: boolean;
}

/** A service's elements in the shared table. */
export function elementsOf(service: Service, { chain, interface: enters, source }: Entrance): NftElement[] {
  const { family } = service;
  const key = keyOf(service);
  return [
    { family, role: "guard", key, interface: enters, chain: undefined },
    { family, role: "service", key, interface: enters, chain },
    // The original destination tells a farm's connection wherever it came in.
    ...(source
      ? [{ family, role: "source", key, interface: undefined, chain: `${chain}.source` } as const]
      : []),
  ];
}

function keyOf({ address, protocol, ports }: Service): NftKey {
  if (protocol === "all") return { kind: "address", address };
  if (ports.from === ports.to) return { kind: "port", address, protocol, port: ports.from };
  return { kind: "range", address, protocol, from: ports.from, to: ports.to };
}
