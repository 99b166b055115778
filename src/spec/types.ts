/**
 * What a user may write, as plain data. `LoadBalancerFarmArgs` (in `farm/`) is the same with `pulumi.Input` leaves.
 */

/** How a new connection finds its backend. */
export const Algorithm = {
  /** Each new connection draws: a backend's chance is its share. */
  Random: "random",
  /** Backends take turns; one of weight 3 has three turns a round, spread over the round. */
  RoundRobin: "roundRobin",
  /** A client address always finds the same backend, on every gateway that has this farm. */
  SourceHash: "sourceHash",
  /** The same for a flow: addresses, ports and protocol together. */
  FlowHash: "flowHash",
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
  /** Masquerade for clients that reach the backends past the gateway (`localNetworks`); the client's own for the rest. */
  Auto: "auto",
} as const;

/** What becomes of a backend's connections. */
export const BackendState = {
  Active: "active",
  /** No new clients; established connections and affinity go on. */
  Drain: "drain",
  /** Out at once, as if it were removed; it keeps its mark. */
  Down: "down",
} as const;
export type BackendState = (typeof BackendState)[keyof typeof BackendState];

/** What a new connection gets where no backend is live. */
export const WhenEmpty = {
  /** A TCP reset, or ICMP port unreachable. */
  Reject: "reject",
  /** No answer. */
  Drop: "drop",
} as const;
export type WhenEmpty = (typeof WhenEmpty)[keyof typeof WhenEmpty];

/** What becomes of the established connections of a backend that is removed or down. */
export const OnRemoval = {
  /** They go on. (UDP flows move to another backend all the same: one that never falls silent would not.) */
  Keep: "keep",
  /** They are forgotten at once, and their packets are dropped. */
  Cut: "cut",
} as const;
export type OnRemoval = (typeof OnRemoval)[keyof typeof OnRemoval];

/** What makes connections of one client stick together. */
export const AffinityKey = {
  /** The client's address. */
  SourceIp: "sourceIp",
  /** The client's address and port. */
  SourceIpPort: "sourceIpPort",
  /** The address that was dialled. */
  DestinationIp: "destinationIp",
} as const;
export type AffinityKey = (typeof AffinityKey)[keyof typeof AffinityKey];

/** A protocol whose further connections the kernel finds by reading along. */
export const Helper = {
  Amanda: "amanda",
  Ftp: "ftp",
  H323: "h323",
  Irc: "irc",
  NetbiosNs: "netbios-ns",
  Pptp: "pptp",
  Sane: "sane",
  Sip: "sip",
  Snmp: "snmp",
  Tftp: "tftp",
} as const;
export type Helper = (typeof Helper)[keyof typeof Helper];

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
  /** @default "active" */
  state?: BackendState;
  /** The tier with the lowest number that has enough active members carries all new connections; 0 to 65535. @default 0 */
  priority?: number;
  /** Connections that it takes at a time on a gateway; a further one that is given to it is dropped. @default no limit */
  maxConnections?: number;
}

/** Connections of one client find the backend of its first one. */
export interface AffinitySpec {
  by: AffinityKey;
  /** How long after a client's last new connection, 1 to 2,147,483 seconds. */
  timeoutSeconds: number;
  /** Clients that a gateway remembers for each address family; further ones are spread without affinity. 1 to 16,777,216. @default 65536 */
  maxEntries?: number;
}

/** A client network that always finds one backend, unless that is down. Where pins overlap, the longest prefix counts. */
export interface PinSpec {
  /** `198.51.100.0/24`, or one address. */
  source: string;
  /** Its address, with the port where it has one of its own: `10.0.0.3`, `10.0.0.3:80`, `[2001:db8::3]:80`. */
  backend: string;
}

/** New connections a second that each client address may open. */
export interface SourceLimitSpec {
  /** 1 to 10,000. */
  newConnectionsPerSecond: number;
  /** How many at once before the rate counts, 1 to 10,000. @default the rate */
  burst?: number;
}

/** On each gateway and for each address family; what is beyond a limit is dropped. */
export interface LimitsSpec {
  /** Connections at a time, 1 to 16,777,216. */
  maxConnections?: number;
  /** 1 to 10,000. */
  newConnectionsPerSecond?: number;
  /** How many at once before the rate counts, 1 to 10,000. @default the rate */
  burst?: number;
  perSource?: SourceLimitSpec;
}

/** A line in the kernel's log for new connections. */
export interface LogSpec {
  /** How each line begins: 1 to 28 letters, digits, and `_ . : = -`. @default the farm's short name and a colon */
  prefix?: string;
  /** Lines a second, at most; 1 to 10,000. @default 10 */
  perSecond?: number;
  /** How many at once before the rate counts, 1 to 10,000. @default 5 */
  burst?: number;
}

/** A farm, without the gateways that carry it. */
export interface FarmSpec {
  listeners: ListenerSpec[];
  backends: BackendSpec[];
  /** @default "random" */
  algorithm?: Algorithm;
  /** `none`, `masquerade`, `vip`, `auto` or an IP address. @default "none" */
  sourceNat?: string;
  /** With `sourceNat: auto`: client networks that reach a backend past the gateway. @default the /24 (IPv4) or /64 (IPv6) of each backend */
  localNetworks?: string[];
  /** With `sourceHash`: the part of an IPv4 address that counts, 1 to 32, so that a /24 sticks together. @default 32 */
  prefixLength?: number;
  /** With `sourceHash`: the part of an IPv6 address that counts, 1 to 128. @default 128 */
  prefixLength6?: number;
  /** With a hash: how many slots the backends share, 16 to 65536; more follow the weights more closely. @default 4096 */
  slots?: number;
  affinity?: AffinitySpec;
  pins?: PinSpec[];
  /** Active members that a tier needs to carry the connections. Where no tier has so many, the first with any carries them. @default 1 */
  minActive?: number;
  /** What a new connection gets where no backend is active. @default "reject" */
  whenEmpty?: WhenEmpty;
  /** What becomes of the established connections of a backend that is removed or down. @default "keep" */
  onRemoval?: OnRemoval;
  limits?: LimitsSpec;
  /** Only these clients are served. @default everybody */
  allow?: string[];
  /** These clients are not served; it goes before `allow`. @default nobody */
  deny?: string[];
  /** Balance a TCP connection that was already under way when the gateway first sees it. @default false: such packets are dropped */
  looseTcp?: boolean;
  /** Bind the kernel's helper of this protocol to the farm's connections. */
  helper?: Helper;
  log?: LogSpec;
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

/** What is known of a machine and of the load that one farm brings to it: for what `capacity` works out, never for rules. */
export interface CapacitySpec {
  /** Its `net.netfilter.nf_conntrack_max`. @default what the kernel takes by itself: 262,144 with more than 4 GiB of memory */
  conntrackMax?: number;
  /** Its memory. @default more than 4 GiB, and no warning about memory */
  memoryBytes?: number;
  /** New connections that the farm gets there, a second. @default not known, and no warning about load */
  newConnectionsPerSecond?: number;
  /** Their mean life, from the first packet to the last, in seconds. @default 10 */
  connectionSeconds?: number;
}

/** A gateway as far as its capacity is concerned. */
export interface CapacityGatewaySpec extends TargetSpec {
  capacity?: CapacitySpec;
}
