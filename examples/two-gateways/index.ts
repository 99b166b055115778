import * as command from "@pulumi/command";
import { LoadBalancerFarm } from "pulumi-netfilter-lb";
import { gateway } from "../gateway";

/**
 * Several farms over two gateways. Both gateways carry every farm and balance by themselves, so that either may fail.
 * The address of one backend comes from another resource, as that of a machine made by the same program would.
 */
const gateways = [gateway("edge-1"), gateway("edge-2")];

const machine = new command.local.Command("machine", { create: "echo 10.0.0.5", logging: "none" });
const address = machine.stdout.apply((line) => line.trim());

const services = [
  { name: "web", ports: "80,443", protocol: "tcp" },
  { name: "dns", ports: "53", protocol: "udp" },
  { name: "media", ports: "8000-8080", protocol: "tcp" },
] as const;

export const shares = services.map(
  ({ name, ports, protocol }) =>
    new LoadBalancerFarm(name, {
      gateways,
      listeners: [{ address: "203.0.113.30", protocol, ports }],
      backends: [{ address: "10.0.0.3", weight: 2 }, { address: "10.0.0.4", weight: 2 }, { address }],
      algorithm: "roundRobin",
      sourceNat: "masquerade",
    }).shares,
);
