import type { Plan, Pool } from "../plan/plan";
import { formatCount } from "../spec/count";
import type { Protocol } from "../spec/types";
import { PORT_ATTEMPTS, SOURCE_PORTS } from "./facts";
import { atATime, entrySeconds, type Load, sayLoad } from "./load";
import type { CapacityWarning } from "./warning";

/**
 * Connections that one backend can have from a gateway that puts its own address in the place of the client's: each needs a
 * source port of its own towards one address, port and protocol (RFC 6056 calls it the five-tuple).
 */
export interface SourcePortCapacity {
  /** The backend, `10.0.0.3` or `10.0.0.3:80`. */
  backend: string;
  protocol: Protocol;
  /** The addresses that take turns as its source: one, or with `vip` every virtual IP of the protocol. */
  sourceAddresses: number;
  /** At a time, for each port of the backend that is dialled; those behind their end, which connection tracking still has, count. */
  connections: number;
  /** New ones a second that take all ports, at the given or default life of a connection. */
  newConnectionsPerSecond: number;
  /** At a time, if all of the farm's load were of this protocol and went to one port; undefined where no load is given. */
  expected: number | undefined;
}

/** From this part on, the kernel's tries begin to miss the free ports: 0.98^240 is 1 in 128, 0.99^240 1 in 11. */
const FULL = 0.9;

export function sourcePortsOf(plan: Plan, load: Load): SourcePortCapacity[] {
  const { kind } = plan.sourceNat;
  if (kind === "none") return [];
  return plan.pools.flatMap((pool) =>
    protocolsOf(pool).flatMap((protocol) => {
      const sources = kind === "vip" ? virtualAddresses(pool, protocol) : 1;
      const seconds = entrySeconds(load, protocol);
      return pool.chosen.map(({ key, share }): SourcePortCapacity => {
        const connections = SOURCE_PORTS * sources;
        return {
          backend: key,
          protocol,
          sourceAddresses: sources,
          connections,
          newConnectionsPerSecond: Math.floor(connections / seconds),
          expected:
            load.newPerSecond === undefined
              ? undefined
              : atATime((load.newPerSecond * share) / pool.total, seconds),
        };
      });
    }),
  );
}

function protocolsOf({ services }: Pool): Protocol[] {
  return [...new Set(services.map(({ protocol }) => protocol))];
}

function virtualAddresses({ services }: Pool, protocol: Protocol): number {
  return new Set(services.filter((service) => service.protocol === protocol).map(({ address }) => address))
    .size;
}

/** One for the fullest backend: the others are in the same case, or will be. */
export function sourcePortWarnings(
  capacities: readonly SourcePortCapacity[],
  { sourceNat }: Plan,
  load: Load,
): CapacityWarning[] {
  const fill = ({ expected = 0, connections }: SourcePortCapacity) => expected / connections;
  const full = capacities.filter((one) => fill(one) > FULL).sort((a, b) => fill(b) - fill(a));
  const [worst] = full;
  if (!worst) return [];
  const others = full.length - 1;
  return [
    {
      code: "source-ports",
      of: "farm",
      path: ["sourceNat"],
      text:
        `${sourceNat.kind === "address" ? sourceNat.to.text : sourceNat.kind} leaves ` +
        `${formatCount(worst.connections)} source ports towards each port of a backend, and of ` +
        `${sayLoad(load.newPerSecond!, load)} backend ${worst.backend} has ${formatCount(worst.expected!)} at a time over ` +
        `${worst.protocol} (those behind their end included)${others === 0 ? "" : `, and ${others} more ${others === 1 ? "has" : "have"} too many`}: ` +
        `the kernel tries ${PORT_ATTEMPTS} ports and then drops the connection; take sourceNat none and route the backends' ` +
        "replies through the gateway, or take more backends or more gateways",
      source: "net/netfilter/nf_nat_core.c (nf_nat_l4proto_unique_tuple); RFC 6056, section 2",
    },
  ];
}
