import type { Plan, Pool } from "../plan/plan";
import type { Service } from "../spec/service";
import type { IptMatch, IptRule, IptTarget } from "./ruleset";
import { translated } from "./service";
import { matchedNetwork } from "./sets";

/** What changes the source address that backends see. */
export function sources(plan: Plan, pool: Pool): IptRule[] {
  return pool.services.flatMap((service) => {
    const target = sourceTarget(plan, service);
    if (!target) return [];
    return sourceMatches(plan, pool).map((matches) => ({
      chain: "POSTROUTING" as const,
      matches: [...matches, ...translated(service)],
      target,
    }));
  });
}

/** Whose address is changed, a rule for each: everybody's, or with `auto` that of clients that would reach a backend past the gateway. */
function sourceMatches({ sourceNat }: Plan, { localNetworks, family }: Pool): IptMatch[][] {
  if (sourceNat.kind !== "auto") return [[]];
  return localNetworks.map((text) => {
    const network = matchedNetwork(text, family);
    return network === undefined ? [] : [{ kind: "source", network }];
  });
}

/** The address that a service's backends shall see; undefined: the client's own. */
export function sourceTarget(plan: Plan, service: Service): IptTarget | undefined {
  const { sourceNat } = plan;
  switch (sourceNat.kind) {
    case "none":
      return undefined;
    case "masquerade":
    case "auto":
      return { kind: "masquerade" };
    case "vip":
      return { kind: "snat", address: service.address };
    case "address":
      return { kind: "snat", address: sourceNat.to.text };
    default:
      throw sourceNat satisfies never;
  }
}
