import * as pulumi from "@pulumi/pulumi";
import { type Algorithm, LoadBalancerFarm } from "pulumi-netfilter-lb";
import { gateway } from "../gateway";

/** Two servers that take turns, or are drawn, for what enters by eth1; replies route back through the gateway. */
const algorithm = new pulumi.Config().get<Algorithm>("algorithm") ?? "roundRobin";

const pair = new LoadBalancerFarm("pair", {
  gateways: [{ ...gateway("edge-1"), interface: "eth1" }],
  listeners: [{ address: "203.0.113.20", protocol: "tcp", port: 80 }],
  backends: [{ address: "192.168.2.2" }, { address: "192.168.2.3" }],
  algorithm,
});

export const { shares } = pair;
