import type { Pool } from "../plan/plan";
import type { Protocol } from "../spec/types";
import type { PortProtocol } from "./ruleset";

/** The protocols of a pool's services that have ports, each once. */
export function protocolsOf({ services }: Pool): PortProtocol[] {
  return [...new Set(services.map(({ protocol }) => protocol))].filter((protocol) => protocol !== "all");
}

/** Whether packets of this protocol come to a pool. */
export function takes({ services }: Pool, protocol: PortProtocol): boolean {
  return services.some((service) => service.protocol === protocol || service.protocol === "all");
}

/** Whether some service of a pool takes every protocol, those without ports included. */
export function takesAll({ services }: Pool): boolean {
  return services.some(({ protocol }: { protocol: Protocol }) => protocol === "all");
}
