/**
 * What a user may write, as plain data. `LoadBalancerFarmArgs` (in `farm/`) is the same with `pulumi.Input` leaves.
 */

/** How a new connection finds its backend. */
export const Algorithm = {
  /** Each new connection draws: a backend's chance is its share. */
  Random: "random",
  /** Backends take turns; one of weight 3 has three turns a round, spread over the round. */
  RoundRobin: "roundRobin",
} as const;
export type Algorithm = (typeof Algorithm)[keyof typeof Algorithm];

/** A listener's transport protocol; `all` is every protocol, ICMP echo included. */
export const Protocol = { Tcp: "tcp", Udp: "udp", Sctp: "sctp", All: "all" } as const;
export type Protocol = (typeof Protocol)[keyof typeof Protocol];

/** What carries the rules on a gateway. */
export const DataPlane = { Nftables: "nftables", Iptables: "iptables" } as const;
export type DataPlane = (typeof DataPlane)[keyof typeof DataPlane];

/** How an iptables gateway lays its rules out. */
export const Layout = {
  /** Everything in the nat table; above 8 backends a balanced tree of chains. */
  Nat: "nat",
  /** Zevenet's: marks in mangle, translation by mark in nat; a flat list at any size. */
  Zevenet: "zevenet",
} as const;
export type Layout = (typeof Layout)[keyof typeof Layout];

/** The source address that a backend sees; any IP address may stand here too. */
export const SourceNat = {
  /** The client's own; replies must route back through the gateway. */
  None: "none",
  /** The gateway's address on the interface that the packet leaves by. */
  Masquerade: "masquerade",
  /** The address that the client dialled. */
  Vip: "vip",
} as const;

/** Where clients dial. */
export interface ListenerSpec {
  /** The virtual IP, v4 or v6, without prefix or zone. */
  address: string;
  protocol: Protocol;
  /** One port, 1 to 65535. Neither `port` nor `ports`: every port. */
  port?: number;
  /** Ports and ranges, `"80,443,8000-8080"`. */
  ports?: string;
}

/** A machine that serves. */
export interface BackendSpec {
  /** Its address, v4 or v6, without prefix or zone. */
  address: string;
  /** @default the port that was dialled */
  port?: number;
  /** Its part of the traffic relative to the other backends, 1 to 65535. @default 1 */
  weight?: number;
  /** The connection mark that stands for it. @default computed from address and port */
  mark?: number;
}

/** A farm, without the gateways that carry it. */
export interface FarmSpec {
  listeners: ListenerSpec[];
  backends: BackendSpec[];
  /** @default "random" */
  algorithm?: Algorithm;
  /** `none`, `masquerade`, `vip` or an IP address. @default "none" */
  sourceNat?: string;
}

/** The properties of a gateway that its rules depend on. */
export interface TargetSpec {
  dataPlane: DataPlane;
  /** Only with iptables. @default "nat" */
  layout?: Layout;
  /** Balance only what enters here. @default any interface, and the gateway's own connections */
  interface?: string;
  /** The bits of a connection mark that farms may use; the others are kept. @default 0xffffffff */
  markMask?: number;
}
