import type { FarmSpec, TargetSpec } from "../../src/core";
import { Fraction } from "../../src/plan/fraction";
import { pinnedRanges } from "../../src/plan/pins";
import { makePlan, type Pool } from "../../src/plan/plan";
import type { ReadFarm } from "../../src/report/read";

/** What a reader should find in the rule set of a farm: worked out from its plan, and not from its text. */
export function planned(name: string, spec: FarmSpec, target: TargetSpec): ReadFarm {
  const plan = makePlan(name, spec, target);
  const { pools } = plan;
  const nat = plan.sourceNat;
  // One backend alone needs no choice; Zevenet's rules make one all the same.
  const choice = (pool: Pool) => pool.backends.filter(({ share }) => share > 0).length > 1;
  const always =
    target.layout === "zevenet" && plan.algorithm === "random" && pools.some(({ total }) => total > 0);
  return {
    name,
    dataPlane: target.dataPlane === "nftables" ? "nftables" : `iptables ${target.layout ?? "nat"}`,
    services: pools.flatMap(({ services }) => services),
    algorithm: always || pools.some(choice) ? plan.algorithm : undefined,
    sourceNat: nat.kind === "address" ? nat.to.text : nat.kind,
    interface: target.interface,
    backends: pools.flatMap(({ family, total, backends, reachable }) =>
      backends.flatMap((backend) => {
        const { key, address, port, mark, share, role } = backend;
        return role === "down"
          ? []
          : [
              {
                family,
                key,
                address,
                port,
                mark,
                share: total ? Fraction.of(share, total) : Fraction.ZERO,
                role,
                maxConnections: reachable.includes(backend) ? backend.maxConnections : undefined,
              },
            ];
      }),
    ),
    hash: Object.fromEntries(
      pools.flatMap((pool) => {
        const { family, slots, chosen } = pool;
        if (!plan.hash || !slots || !choice(pool)) return [];
        const { of, prefix } = plan.hash;
        return [[family, { of, prefix: prefix[family], slots: slots.map((i) => chosen[i]!.key) }]];
      }),
    ),
    affinity: plan.affinity,
    pins: pools.flatMap(({ family, pins }) =>
      pinnedRanges(pins, family).map(({ first, last, backend }) => ({
        family,
        first,
        last,
        backend: backend.key,
      })),
    ),
    allow: spec.allow && pools.flatMap(({ allow }) => allow ?? []),
    deny: pools.flatMap(({ deny }) => deny),
    limits: plan.limits,
    empty: Object.fromEntries(
      pools.flatMap(({ family, chosen }) => (chosen.length === 0 ? [[family, plan.whenEmpty]] : [])),
    ),
    onRemoval: plan.onRemoval,
    looseTcp: pools.some(({ services }) =>
      services.some(({ protocol }) => protocol === "tcp" || protocol === "all"),
    )
      ? plan.looseTcp
      : undefined,
    helper: plan.helper,
    log: plan.log,
    localNetworks: pools.flatMap(({ localNetworks }) => localNetworks),
  };
}
