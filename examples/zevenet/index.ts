import * as pulumi from "@pulumi/pulumi";
import { LoadBalancerFarm, SourceNat } from "pulumi-netfilter-lb";
import { gateway } from "../gateway";

/**
 * A Zevenet farm with the marks that Zevenet gave it. On an iptables gateway with `layout: zevenet` the rules are Zevenet's too.
 * `pulumi config set mode nat` is its NAT mode: backends see the virtual IP. Without it (DNAT mode) they see the client.
 */
const mode = new pulumi.Config().get("mode") ?? "dnat";

const app = new LoadBalancerFarm("app", {
  gateways: [gateway("edge-1")],
  listeners: [{ address: "192.168.101.250", protocol: "tcp", port: 443 }],
  backends: [
    { address: "192.168.1.10", port: 443, mark: 0x20c },
    { address: "192.168.1.11", port: 443, mark: 0x20d },
  ],
  sourceNat: mode === "nat" ? SourceNat.Vip : SourceNat.None,
});

export const { marks, probabilities } = app;
