import * as pulumi from "@pulumi/pulumi";
import { type Algorithm, LoadBalancerFarm } from "pulumi-netfilter-lb";
import { gateway } from "../gateway";

/**
 * Four web servers behind what enters by eth0, as many guides have it: `pulumi config set algorithm roundRobin` for `nth`, `random`
 * for probabilities. Unlike the guides' four rules of probability .25, none of the connections is left without a server.
 */
const algorithm = new pulumi.Config().get<Algorithm>("algorithm") ?? "random";

const web = new LoadBalancerFarm("web", {
  gateways: [{ ...gateway("edge-1"), interface: "eth0" }],
  listeners: [{ address: "203.0.113.10", protocol: "tcp", port: 80 }],
  backends: [3, 4, 5, 6].map((host) => ({ address: `10.0.0.${host}`, port: 80 })),
  algorithm,
  sourceNat: "masquerade",
});

export const { shares } = web;
