import * as pulumi from "@pulumi/pulumi";
import { type FarmArgs, LoadBalancerFarms } from "pulumi-netfilter-lb";
import { gateway } from "../gateway";

/** A farm for each of many tenants, all on one gateway: each has a port of its own on a shared address, and two machines. */
const tenants = new pulumi.Config().getNumber("tenants") ?? 200;

const farms: Record<string, FarmArgs> = {};
for (let tenant = 1; tenant <= tenants; tenant++)
  farms[`tenant-${tenant}`] = {
    listeners: [{ address: "203.0.113.40", protocol: "tcp", port: 8000 + tenant }],
    backends: [
      { address: `10.0.1.${tenant}`, port: 80 },
      { address: `10.0.2.${tenant}`, port: 80 },
    ],
    sourceNat: "masquerade",
  };

export const shares = new LoadBalancerFarms("tenants", { gateways: [gateway("edge-1")], farms }).shares;
