import type { FarmSpec, TargetSpec } from "../../src/core";
import { Fraction } from "../../src/plan/fraction";
import { pinnedRanges } from "../../src/plan/pins";
import { makePlan } from "../../src/plan/plan";
import type { Farm } from "../../src/report/comparison";

/** What a reader should find in the rule set of a farm: worked out from its plan, and not from its text. */
export function planned(name: string, spec: FarmSpec, target: TargetSpec): Farm {
  const plan = makePlan(name, spec, target);
  const { pools } = plan;
  const nat = plan.sourceNat;
  const [single] = pools.every(({ chosen }) => chosen.length < 2) ? [true] : [false];
  return {
    name,
    dataPlane: target.dataPlane === "nftables" ? "nftables" : `iptables ${target.layout ?? "nat"}`,
    services: pools.flatMap(({ services }) => services),
    algorithm: single ? undefined : plan.algorithm,
    sourceNat: nat.kind === "address" ? nat.to.text : nat.kind,
    interface: target.interface,
    backends: pools.flatMap(({ family, total, backends }) =>
      backends.flatMap(({ key, address, port, mark, share, role, maxConnections }) =>
        role === "down"
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
                maxConnections,
              },
            ],
      ),
    ),
    hash: Object.fromEntries(
      pools.flatMap(({ family, slots, chosen }) =>
        plan.hash && slots && chosen.length > 1
          ? [
              [
                family,
                {
                  of: plan.hash.of,
                  prefix: plan.hash.prefix[family],
                  slots: slots.map((i) => chosen[i]!.key),
                },
              ],
            ]
          : [],
      ),
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
