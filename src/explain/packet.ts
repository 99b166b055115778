import type { PlannedBackend } from "../plan/plan";
import type { Family } from "../spec/address";

/** A packet as somebody may ask about it. */
export interface Packet {
  source: string;
  destination: string;
  /** `tcp`, `udp`, `sctp`, or any other in lower case, such as `icmp`. */
  protocol: string;
  /** Only `flowHash` looks at it. @default every possible one, with its part of the slots as its chance */
  sourcePort?: number;
  /** Needed with tcp, udp and sctp. */
  destinationPort?: number;
  /** Where it enters the gateway. Needed where the farm balances only what enters at one interface. */
  interface?: string;
  /** Whether the gateway itself sends it. @default "client" */
  from?: "client" | "gateway";
  /** What connection tracking says of it; `new` is a connection's first packet. @default "new" */
  state?: "new" | "established" | "invalid";
  /** The mark that its connection has. @default 0 */
  mark?: number;
  /** With tcp: whether it is a SYN, as a connection's first packet is. @default true for a new connection */
  syn?: boolean;
  /** With affinity: the backend that the gateway remembers for this client, `10.0.0.3:80`. @default none */
  affinity?: string;
  /** The farm's limits that are exhausted when it comes. @default none */
  over?: Limit[];
  /** The random draw, 0 to 1, with algorithm `random`. @default every possible one */
  draw?: number;
  /** How many connections came before it, with algorithm `roundRobin`. @default every possible number */
  turn?: number;
}

/** What may be exhausted: `limits.maxConnections`, a backend's, `limits.newConnectionsPerSecond`, `limits.perSource`. */
export type Limit = "connections" | "backendConnections" | "rate" | "sourceRate";

/** A packet that was checked, in the form in which tracers ask for it. */
export interface Arrival {
  family: Family;
  /** Canonical text. */
  source: string;
  destination: string;
  protocol: string;
  /** Undefined: not given, or a protocol without ports. */
  sourcePort: number | undefined;
  /** The destination port; undefined for a protocol without ports. */
  port: number | undefined;
  interface: string | undefined;
  from: "client" | "gateway";
  state: "new" | "established" | "invalid";
  mark: number;
  /** Whether a tcp packet opens a connection; false with other protocols. */
  syn: boolean;
  /** The backend that affinity remembers for its client. */
  remembered: Pick<PlannedBackend, "key" | "mark"> | undefined;
  /** The limits that are exhausted. */
  over: ReadonlySet<Limit>;
  /** Whether it stands for every client at once: lists of clients and pins pass it by, and a hash takes it to every slot. */
  anyClient: boolean;
}
