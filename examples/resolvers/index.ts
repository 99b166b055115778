import { LoadBalancerFarm } from "pulumi-netfilter-lb";
import { gateway } from "../gateway";

/**
 * Resolvers behind two gateways that share nothing and yet agree: a hash of the client's /24 chooses, so that its caches
 * stay warm whichever gateway a query comes by. A resolver that comes or goes moves only its own clients.
 */
const dns = new LoadBalancerFarm("dns", {
  gateways: [gateway("edge-1"), gateway("edge-2")],
  listeners: ["udp", "tcp"].map((protocol) => ({
    address: "203.0.113.53",
    protocol: protocol as "udp" | "tcp",
    port: 53,
  })),
  backends: [{ address: "10.0.0.3", weight: 2 }, { address: "10.0.0.4" }, { address: "10.0.0.5" }],
  algorithm: "sourceHash",
  prefixLength: 24,
  slots: 256,
  // A resolver that anybody may use is an amplifier.
  allow: ["198.51.100.0/24", "192.0.2.0/24", "10.0.0.0/8"],
  limits: { perSource: { newConnectionsPerSecond: 500, burst: 1000 } },
  sourceNat: "masquerade",
});

export const { shares } = dns;
