import type { Plan } from "../plan/plan";
import { formatCount } from "../spec/count";
import type { CapacitySpec, Protocol } from "../spec/types";
import { LINGERING_SECONDS, SHORT_UDP } from "./facts";

/** A connection's mean life where the user does not say it, in seconds. */
export const CONNECTION_SECONDS = 10;

/** What a gateway is asked to carry of a farm. */
export interface Load {
  /** Undefined: not known. */
  newPerSecond: number | undefined;
  /** Mean life of a connection, from its first packet to its last. */
  seconds: number;
}

export function loadOf({ newConnectionsPerSecond, connectionSeconds }: CapacitySpec): Load {
  return { newPerSecond: newConnectionsPerSecond, seconds: connectionSeconds ?? CONNECTION_SECONDS };
}

/** How long connection tracking has an entry for a connection: its life, and what its protocol waits for behind that. */
export function entrySeconds({ seconds }: Load, protocol: Protocol): number {
  const short = protocol === "udp" && seconds < SHORT_UDP.below;
  return seconds + (short ? SHORT_UDP.lingering : LINGERING_SECONDS[protocol]);
}

/** The longest of all protocols that the farm's services speak. */
export function longestEntrySeconds(load: Load, { pools }: Plan): number {
  return Math.max(
    ...pools.flatMap(({ services }) => services.map(({ protocol }) => entrySeconds(load, protocol))),
  );
}

/** How many there are at a time where so many begin a second and stay so long (Little's law), rounded up. */
export function atATime(perSecond: number, seconds: number): number {
  return Math.ceil(perSecond * seconds);
}

/** `1,500 new connections a second of 10 s`. */
export function sayLoad(newPerSecond: number, { seconds }: Load): string {
  return `${formatCount(newPerSecond)} new connections a second of ${seconds} s`;
}
