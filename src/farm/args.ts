import type * as pulumi from "@pulumi/pulumi";
import type { Algorithm, DataPlane, Layout, Protocol } from "../spec/types";

/** Who installs the tool on a gateway. */
export const Tool = {
  /** The farm does, and upgrades it: the user must be root, or may run anything by sudo. */
  Managed: "managed",
  /** The machine's owner does: the user then needs one line in sudoers, for this one command. */
  Preinstalled: "preinstalled",
} as const;
export type Tool = (typeof Tool)[keyof typeof Tool];

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
  /** The bits of a connection mark that farms may use; the others are kept. @default 0xffffffff */
  markMask?: pulumi.Input<number>;
  /**
   * The machine is lost for good: set this, run `pulumi up`, then take the gateway out of the program. Nothing dials it any more.
   * @default false
   */
  gone?: boolean;
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
}

export interface LoadBalancerFarmArgs {
  /** The machines that carry the rules; every one of them balances by itself. */
  gateways: GatewayArgs[];
  listeners: ListenerArgs[];
  backends: BackendArgs[];
  /** @default "random" */
  algorithm?: pulumi.Input<Algorithm>;
  /** The source address that a backend sees: `none` (the client's own), `masquerade`, `vip`, or an IP address. @default "none" */
  sourceNat?: pulumi.Input<string>;
}
