import * as pulumi from "@pulumi/pulumi";
import { type BackendState, LoadBalancerFarm } from "pulumi-netfilter-lb";
import { gateway } from "../gateway";

/**
 * A shop whose machines are taken out of service one by one, and a page that says sorry where none is left:
 *
 *     pulumi config set 10.0.0.3 drain     # no new customers; those whom it knows stay
 *     pulumi up
 *     pulumi config set 10.0.0.3 down      # out at once; its customers find another
 *     pulumi up
 *     pulumi config rm 10.0.0.3            # back
 */
const config = new pulumi.Config();
const machine = (address: string) => ({
  address,
  state: config.get<BackendState>(address) ?? "active",
  maxConnections: 10_000,
});

const shop = new LoadBalancerFarm("shop", {
  gateways: [gateway("edge-1")],
  listeners: [{ address: "203.0.113.40", protocol: "tcp", port: 80 }],
  backends: [
    machine("10.0.0.3"),
    machine("10.0.0.4"),
    machine("10.0.0.5"),
    { address: "10.0.0.6", priority: 10 }, // sorry
  ],
  affinity: { by: "sourceIp", timeoutSeconds: 1800 },
  onRemoval: "cut",
  sourceNat: "auto",
});

export const { shares } = shop;
