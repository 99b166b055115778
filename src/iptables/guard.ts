import type { Plan, Pool } from "../plan/plan";
import type { Service } from "../spec/service";
import { REJECT_MARK } from "./admission";
import type { IptMatch, IptRule, IptTable, SharedChain } from "./ruleset";
import { dialled, translated } from "./service";

/** What becomes of packets of a service that were not translated, and of those that were. */

/** Whether new connections of the pool get an answer that refuses them: none of its backends is active. */
export function isRefused({ whenEmpty }: Plan, { chosen }: Pool): boolean {
  return chosen.length === 0 && whenEmpty === "reject";
}

/**
 * What is still addressed to a service after nat had it was not translated, and must reach neither the gateway nor the uplink.
 * These stand in mangle, because DROP is refused in nat. What filter shall answer goes by.
 */
export function guards(plan: Plan, pool: Pool): IptRule[] {
  const but: IptMatch[] = isRefused(plan, pool) ? [UNANSWERED] : [];
  return pool.services.flatMap((service) =>
    (["INPUT", "FORWARD"] as const).map((chain) => drop(chain, [...dialled(plan, service, chain), ...but])),
  );
}

/** The same for connections of the gateway itself: filter's OUTPUT is the first chain behind nat's. */
function outputGuards(plan: Plan, { services }: Pool): IptRule[] {
  if (plan.interface !== undefined) return [];
  return services.map((service) => drop("OUTPUT", dialled(plan, service, "OUTPUT")));
}

/** What lets a farm's connections through, refuses them with an answer, and guards those of the gateway itself. */
export function filterTable(plan: Plan, pool: Pool): IptTable {
  const passing = accepts(plan, pool.services);
  if (!isRefused(plan, pool))
    return { name: "filter", chains: [], rules: [...passing, ...outputGuards(plan, pool)] };
  const chain = plan.shortName;
  const places: SharedChain[] = [
    "INPUT",
    "FORWARD",
    ...(plan.interface === undefined ? ["OUTPUT" as const] : []),
  ];
  return {
    name: "filter",
    chains: [chain],
    rules: [
      ...passing,
      ...pool.services.flatMap((service) =>
        places.map(
          (place): IptRule => ({
            chain: place,
            matches: dialled(plan, service, place),
            target: { kind: "goto", to: chain },
          }),
        ),
      ),
      { chain: { own: chain }, matches: [UNANSWERED], target: { kind: "drop" } },
      ...answers(pool).map((rule) => ({ chain: { own: chain }, ...rule })),
    ],
  };
}

/** A packet that did not pass all that the farm checks, or was not asked for it: of a connection that nat never saw. */
const UNANSWERED: IptMatch = { kind: "otherMark", mark: REJECT_MARK };

function answers({ family, services }: Pool): Omit<IptRule, "chain">[] {
  const unreachable = family === "ip" ? "icmp-port-unreachable" : "icmp6-port-unreachable";
  const protocols = services.map(({ protocol }) => protocol);
  const tcp = protocols.some((protocol) => protocol === "tcp" || protocol === "all");
  const others = protocols.some((protocol) => protocol !== "tcp");
  return [
    ...(tcp
      ? [
          {
            matches: [{ kind: "protocol", protocol: "tcp", ports: undefined } as const],
            target: { kind: "reject", with: "tcp-reset" } as const,
          },
        ]
      : []),
    ...(others ? [{ matches: [], target: { kind: "reject", with: unreachable } as const }] : []),
  ];
}

function drop(chain: SharedChain, matches: IptMatch[]): IptRule {
  return { chain, matches, target: { kind: "drop" } };
}

/**
 * A gateway whose FORWARD policy is DROP still serves: what was translated for a service passes, both ways, and the
 * data connections that its helper expects, whoever opens them.
 */
function accepts({ helper }: Plan, services: readonly Service[]): IptRule[] {
  const accept = (matches: IptMatch[]): IptRule => ({
    chain: "FORWARD",
    matches,
    target: { kind: "accept" },
  });
  return services.flatMap((service) => [
    accept(translated(service)),
    ...(helper === undefined
      ? []
      : (["original", "reply"] as const).map((by) => accept([{ kind: "expected", by, service }]))),
  ]);
}
