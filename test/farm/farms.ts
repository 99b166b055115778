import { type GatewayArgs, LoadBalancerFarm, type LoadBalancerFarmArgs } from "../../src";

export const HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBxY3";

export const EDGE: GatewayArgs = {
  name: "edge-1",
  connection: { host: "198.51.100.7", hostKey: HOST_KEY },
  dataPlane: "nftables",
};

/** A small farm with these arguments in place of its own. */
export function farm(name: string, fields: Partial<LoadBalancerFarmArgs> = {}): LoadBalancerFarm {
  return new LoadBalancerFarm(name, {
    gateways: [EDGE],
    listeners: [{ address: "203.0.113.10", protocol: "tcp", port: 80 }],
    backends: [{ address: "10.0.0.3" }, { address: "10.0.0.4" }],
    ...fields,
  });
}
