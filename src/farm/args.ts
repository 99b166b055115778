import type * as pulumi from "@pulumi/pulumi";
import type {
  AffinityKey,
  Algorithm,
  BackendState,
  DataPlane,
  Helper,
  Layout,
  OnRemoval,
  Protocol,
  WhenEmpty,
} from "../spec/types";

/** Who installs the tool on a gateway. */
export const Tool = {
  /** The farm does, and upgrades it: the user must be root, or may run anything by sudo. */
  Managed: "managed",
  /** The machine's owner does: the user then needs one line in sudoers, for this one command. */
  Preinstalled: "preinstalled",
} as const;
export type Tool = (typeof Tool)[keyof typeof Tool];

/** What a preview and an `up` do about a gateway that is not as they left it. */
export const Drift = {
  /** They do not look: an unchanged farm makes no connection. */
  Ignore: "ignore",
  /** They warn, with what differs. */
  Report: "report",
  /** They warn; the preview shows an update of the farm, and `up` applies its set again. */
  Repair: "repair",
} as const;
export type Drift = (typeof Drift)[keyof typeof Drift];

/** How a gateway is reached: the fields of `@pulumi/command`'s `remote.ConnectionArgs`. */
export interface ConnectionArgs {
  /** Address or name that SSH dials. */
  host: pulumi.Input<string>;
  /** @default 22 */
  port?: pulumi.Input<number>;
  /** @default "root" */
  user?: pulumi.Input<string>;
  /** Keep it secret: `config.requireSecret`. */
  password?: pulumi.Input<string>;
  /** Text of the key, not a path. Keep it secret: `config.requireSecret`. */
  privateKey?: pulumi.Input<string>;
  /** Keep it secret: `config.requireSecret`. */
  privateKeyPassword?: pulumi.Input<string>;
  /** @default the environment's `SSH_AUTH_SOCK` */
  agentSocketPath?: pulumi.Input<string>;
  /** Attempts to connect before an error; -1 for no limit. @default 10 */
  dialErrorLimit?: pulumi.Input<number>;
  /** Seconds that one attempt may take; 0 for no limit. @default 15 */
  perDialTimeout?: pulumi.Input<number>;
  /** The gateway's public host key, ed25519 or ecdsa: `ssh-ed25519 AAAA…`. Needed unless `insecureIgnoreHostKey` is set. */
  hostKey?: pulumi.Input<string>;
  /** Go without a check of whom is talked to. @default false */
  insecureIgnoreHostKey?: boolean;
}

/** A Linux machine that carries the farm's rules. */
export interface GatewayArgs {
  /** The machine's identity: a new machine means a new name. @default the connection's host */
  name?: string;
  connection: ConnectionArgs;
  dataPlane: DataPlane;
  /** How an iptables gateway lays its rules out. @default "nat" */
  layout?: Layout;
  /** Balance only what enters here. @default any interface, and the gateway's own connections */
  interface?: pulumi.Input<string>;
  /** Run the tool by `sudo -n`. @default false */
  sudo?: boolean;
  /** @default "managed" */
  tool?: Tool;
  /**
   * Forward only connections that farms (or other DNAT rules of the machine) translate, and drop everything else that would be forwarded, INVALID
   * packets and the backends' own connections through this gateway included.
   * @default true for each address family that this machine did not forward before its first farm, false where it did
   */
  lockForward?: pulumi.Input<boolean>;
  /** The bits of a connection mark that farms may use; the others are kept. @default 0xffffffff */
  markMask?: pulumi.Input<number>;
  /**
   * Look every so many seconds, 2 to 3600, whether another program flushed the farms' rules (a firewall manager that reloads, say),
   * and bring them back. @default nobody looks
   */
  repairEverySeconds?: pulumi.Input<number>;
  /**
   * The machine is lost for good: set this, run `pulumi up`, then take the gateway out of the program. Nothing dials it any more.
   * @default false
   */
  gone?: boolean;
  /** What warnings in the preview are made of; no rule depends on it. */
  capacity?: CapacityArgs;
}

/** What is known of a machine, and of the load that this farm brings to it. Nothing of it is read from the gateway. */
export interface CapacityArgs {
  /** Its `net.netfilter.nf_conntrack_max`. @default what the kernel takes by itself: 262,144 with more than 4 GiB of memory */
  conntrackMax?: number;
  /** Its memory, in bytes. @default more than 4 GiB, and no warning about memory */
  memoryBytes?: number;
  /** New connections that the farm gets there, a second. @default not known, and no warning about load */
  newConnectionsPerSecond?: number;
  /** Their mean life, from the first packet to the last, in seconds. @default 10 */
  connectionSeconds?: number;
}

/** Where clients dial. */
export interface ListenerArgs {
  /** The virtual IP, v4 or v6, without prefix or zone. */
  address: pulumi.Input<string>;
  protocol: pulumi.Input<Protocol>;
  /** One port, 1 to 65535. Neither `port` nor `ports`: every port. */
  port?: pulumi.Input<number>;
  /** Ports and ranges, `"80,443,8000-8080"`. */
  ports?: pulumi.Input<string>;
}

/** A machine that serves. */
export interface BackendArgs {
  /** Its address, v4 or v6, without prefix or zone. */
  address: pulumi.Input<string>;
  /** @default the port that was dialled */
  port?: pulumi.Input<number>;
  /** Its part of the traffic relative to the other backends, 1 to 65535. @default 1 */
  weight?: pulumi.Input<number>;
  /** The connection mark that stands for it. @default computed from address and port */
  mark?: pulumi.Input<number>;
  /** What becomes of its connections. @default "active" */
  state?: pulumi.Input<BackendState>;
  /** The tier with the lowest number that has enough active members carries all new connections; 0 to 65535. @default 0 */
  priority?: pulumi.Input<number>;
  /** Connections that it takes at a time on a gateway; a further one that is given to it is dropped. @default no limit */
  maxConnections?: pulumi.Input<number>;
}

/** Connections of one client find the backend of its first one. */
export interface AffinityArgs {
  by: pulumi.Input<AffinityKey>;
  /** How long after a client's last new connection, 1 to 2,147,483 seconds. */
  timeoutSeconds: pulumi.Input<number>;
  /** Clients that a gateway remembers for each address family; further ones are spread without affinity. 1 to 16,777,216. @default 65536 */
  maxEntries?: pulumi.Input<number>;
}

/** A client network that always finds one backend, unless that is down. Where pins overlap, the longest prefix counts. */
export interface PinArgs {
  /** `198.51.100.0/24`, or one address. */
  source: pulumi.Input<string>;
  /** Its address, with the port where it has one of its own: `10.0.0.3`, `10.0.0.3:80`, `[2001:db8::3]:80`. */
  backend: pulumi.Input<string>;
}

/** New connections a second that each client address may open. */
export interface SourceLimitArgs {
  /** 1 to 10,000. */
  newConnectionsPerSecond: pulumi.Input<number>;
  /** How many at once before the rate counts, 1 to 10,000. @default the rate */
  burst?: pulumi.Input<number>;
}

/** On each gateway and for each address family; what is beyond a limit is dropped. */
export interface LimitsArgs {
  /** Connections at a time, 1 to 16,777,216. */
  maxConnections?: pulumi.Input<number>;
  /** 1 to 10,000. */
  newConnectionsPerSecond?: pulumi.Input<number>;
  /** How many at once before the rate counts, 1 to 10,000. @default the rate */
  burst?: pulumi.Input<number>;
  perSource?: SourceLimitArgs;
}

/** A line in the kernel's log for new connections. */
export interface LogArgs {
  /** How each line begins: 1 to 28 letters, digits, and `_ . : = -`. @default the farm's short name and a colon */
  prefix?: pulumi.Input<string>;
  /** Lines a second, at most; 1 to 10,000. @default 10 */
  perSecond?: pulumi.Input<number>;
  /** How many at once before the rate counts, 1 to 10,000. @default 5 */
  burst?: pulumi.Input<number>;
}

/** A change is on trial: a gateway that nobody reaches by a new SSH connection goes back to the rules before. */
export interface ConfirmArgs {
  /** 5 to 3600; 0: a change counts at once. */
  withinSeconds: pulumi.Input<number>;
}

/** What a farm does, wherever it does it. */
export interface FarmArgs {
  listeners: ListenerArgs[];
  backends: BackendArgs[];
  /** @default "random" */
  algorithm?: pulumi.Input<Algorithm>;
  /** The source address that a backend sees: `none` (the client's own), `masquerade`, `vip`, `auto`, or an IP address. @default "none" */
  sourceNat?: pulumi.Input<string>;
  /** With `sourceNat: auto`: client networks that reach a backend past the gateway. @default the /24 (IPv4) or /64 (IPv6) of each backend */
  localNetworks?: pulumi.Input<pulumi.Input<string>[]>;
  /** With `sourceHash`: the part of an IPv4 address that counts, 1 to 32, so that a /24 sticks together. @default 32 */
  prefixLength?: pulumi.Input<number>;
  /** With `sourceHash`: the part of an IPv6 address that counts, 1 to 128. @default 128 */
  prefixLength6?: pulumi.Input<number>;
  /** With a hash: how many slots the backends share, 16 to 65536; more follow the weights more closely. @default 4096 */
  slots?: pulumi.Input<number>;
  affinity?: AffinityArgs;
  pins?: PinArgs[];
  /** Active members that a tier needs to carry the connections. Where no tier has so many, the first with any carries them. @default 1 */
  minActive?: pulumi.Input<number>;
  /** What a new connection gets where no backend is active. @default "reject" */
  whenEmpty?: pulumi.Input<WhenEmpty>;
  /** What becomes of the established connections of a backend that is removed or down. @default "keep" */
  onRemoval?: pulumi.Input<OnRemoval>;
  limits?: LimitsArgs;
  /** Only these clients are served: networks or addresses, up to 65,536. @default everybody */
  allow?: pulumi.Input<pulumi.Input<string>[]>;
  /** These clients are not served; it goes before `allow`. @default nobody */
  deny?: pulumi.Input<pulumi.Input<string>[]>;
  /** Balance a TCP connection that was already under way when the gateway first sees it. @default false: such packets are dropped */
  looseTcp?: pulumi.Input<boolean>;
  /** Bind the kernel's helper of this protocol to the farm's connections. */
  helper?: pulumi.Input<Helper>;
  log?: LogArgs;
}

export interface LoadBalancerFarmArgs extends FarmArgs {
  /** The machines that carry the rules; every one of them balances by itself. */
  gateways: GatewayArgs[];
  /**
   * New rules must be confirmed over a new SSH connection, which the same `pulumi up` does; else the gateway goes back by itself.
   * @default 60 seconds on a gateway whose `connection.host` is the address of a listener, else none
   */
  confirm?: ConfirmArgs;
  /**
   * What to do about a gateway that is not as it was left: rules or a stored set edited by hand, forwarding switched off, a set that
   * was not confirmed. `report` and `repair` ask each gateway in every preview and `up`, and need the package `ssh2`. @default "ignore"
   */
  drift?: Drift;
}

export interface LoadBalancerFarmsArgs {
  /** The machines that carry the farms; every one of them carries all of them. */
  gateways: GatewayArgs[];
  /** Name to farm. A name that changes is another farm, which takes the services over. */
  farms: Record<string, FarmArgs>;
  /**
   * A group is never on trial. So a farm with a listener at the address of a gateway's `connection.host`, whose changes are confirmed where
   * it stands alone, is refused here, unless `{ withinSeconds: 0 }` lets them count at once.
   */
  confirm?: ConfirmArgs;
}
