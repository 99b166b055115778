import { FULL_MASK } from "../plan/mark";
import type { Plan, PlannedBackend, Pool } from "../plan/plan";
import { turns } from "../plan/turns";
import type { Service } from "../spec/service";
import type { NftChain, NftElement, NftKey, NftRule, NftRuleSet, NftSlots, PortProtocol } from "./ruleset";

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
    chains: plan.pools.flatMap((pool) => lowerPool(plan, pool, chain)),
    elements: plan.pools.flatMap((pool) =>
      pool.services.flatMap((service) => lowerService(plan, service, chain)),
    ),
  };
}

function lowerPool(plan: Plan, pool: Pool, name: string): NftChain[] {
  const { family } = pool;
  const source = lowerSource(plan);
  return [
    ...(plan.markMask === FULL_MASK ? chooseByMap(plan, pool, name) : chooseByChain(plan, pool, name)),
    ...(source ? [{ family, name: `${name}.source`, rules: [source] }] : []),
  ];
}

function chooseByMap(plan: Plan, pool: Pool, name: string): NftChain[] {
  const [only, ...others] = pool.backends;
  const choose: NftRule =
    others.length === 0
      ? { kind: "setMark", mark: only!.mark, mask: FULL_MASK }
      : { kind: "chooseMark", ...choice(plan, pool) };
  return [{ family: pool.family, name, rules: [choose, ...translate(pool)] }];
}

/**
 * A mark that shares its 32 bits with other software: nft 1.0.6 cannot OR a mapped value into `ct mark`, so the map
 * leads to a chain for each backend, which ORs a constant.
 */
function chooseByChain(plan: Plan, pool: Pool, name: string): NftChain[] {
  const { family } = pool;
  return [
    { family, name, rules: [{ kind: "chooseChain", ...choice(plan, pool), prefix: name }] },
    ...pool.backends.map(
      (backend): NftChain => ({
        family,
        name: backendChain(name, backend.mark),
        rules: [
          { kind: "setMark", mark: backend.mark, mask: plan.markMask },
          {
            kind: "translate",
            protocols: backend.port === undefined ? [] : protocolsOf(pool),
            target: backend,
          },
        ],
      }),
    ),
  ];
}

export function backendChain(prefix: string, mark: number): string {
  return `${prefix}.${mark.toString(16)}`;
}

/** Numbers below the total of the shares: runs of them for a draw, turns for a counter. */
function choice(plan: Plan, pool: Pool): { generator: "random" | "inc"; modulus: number; slots: NftSlots[] } {
  switch (plan.algorithm) {
    case "random": {
      let next = 0;
      const slots = pool.backends.map((backend) => {
        const from = next;
        next += backend.share;
        return { from, to: next - 1, backend };
      });
      return { generator: "random", modulus: pool.total, slots };
    }
    case "roundRobin": {
      const slots = turns(pool.backends.map(({ share }) => share)).map((index, turn) => ({
        from: turn,
        to: turn,
        backend: pool.backends[index]!,
      }));
      return { generator: "inc", modulus: pool.total, slots };
    }
    default:
      throw plan.algorithm satisfies never;
  }
}

/** A map with ports, then one without for the backends that keep the dialled port. */
function translate(pool: Pool): NftRule[] {
  const groups: { targets: PlannedBackend[]; protocols: PortProtocol[] }[] = [
    { targets: pool.backends.filter(({ port }) => port !== undefined), protocols: protocolsOf(pool) },
    { targets: pool.backends.filter(({ port }) => port === undefined), protocols: [] },
  ];
  return groups.flatMap(({ targets, protocols }): NftRule[] => {
    if (targets.length === 0) return [];
    if (pool.backends.length === 1) return [{ kind: "translate", protocols, target: targets[0]! }];
    return [{ kind: "translateByMark", protocols, targets }];
  });
}

function protocolsOf(pool: Pool): PortProtocol[] {
  return [...new Set(pool.services.map(({ protocol }) => protocol))].filter((protocol) => protocol !== "all");
}

function lowerSource(plan: Plan): NftRule | undefined {
  const { sourceNat } = plan;
  switch (sourceNat.kind) {
    case "none":
      return undefined;
    case "masquerade":
      return { kind: "masquerade" };
    case "vip":
      return { kind: "sourceVip" };
    case "address":
      return { kind: "sourceAddress", address: sourceNat.to.text };
    default:
      throw sourceNat satisfies never;
  }
}

function lowerService(plan: Plan, service: Service, chain: string): NftElement[] {
  const { family } = service;
  const key = keyOf(service);
  const elements: NftElement[] = [
    { family, role: "guard", key, interface: plan.interface, chain: undefined },
    { family, role: "service", key, interface: plan.interface, chain },
  ];
  // The original destination tells a farm's connection wherever it came in.
  if (plan.sourceNat.kind !== "none")
    elements.push({ family, role: "source", key, interface: undefined, chain: `${chain}.source` });
  return elements;
}

function keyOf({ address, protocol, ports }: Service): NftKey {
  if (protocol === "all") return { kind: "address", address };
  if (ports.from === ports.to) return { kind: "port", address, protocol, port: ports.from };
  return { kind: "range", address, protocol, from: ports.from, to: ports.to };
}
