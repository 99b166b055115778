import * as pulumi from "@pulumi/pulumi";
import { LoadBalancerFarm } from "pulumi-netfilter-lb";
import { gateway } from "../gateway";

const config = new pulumi.Config();

const web = new LoadBalancerFarm("web", {
  gateways: [gateway("edge-1")],
  listeners: [{ address: "203.0.113.10", protocol: "tcp", ports: "80,443" }],
  backends: [{ address: "10.0.0.3", weight: config.getNumber("weight") ?? 3 }, { address: "10.0.0.4" }],
  algorithm: "random",
  sourceNat: "masquerade",
});

/** What each backend gets: `{ "10.0.0.3": 0.75, "10.0.0.4": 0.25 }`. */
export const shares = web.shares;
