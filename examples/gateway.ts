import * as pulumi from "@pulumi/pulumi";
import type { DataPlane, GatewayArgs, Layout } from "pulumi-netfilter-lb";

/**
 * A gateway as the stack's configuration describes it, so that every example runs on your machine:
 *
 *     pulumi config set edge-1:host 198.51.100.7
 *     pulumi config set edge-1:hostKey "$(ssh-keyscan -t ed25519 198.51.100.7 | cut -d' ' -f2-)"
 *     pulumi config set --secret edge-1:privateKey < ~/.ssh/id_ed25519
 *     pulumi config set edge-1:dataPlane iptables      # nftables if left out
 */
export function gateway(name: string): GatewayArgs {
  const config = new pulumi.Config(name);
  const layout = config.get<Layout>("layout");
  return {
    name,
    connection: {
      host: config.require("host"),
      port: config.getNumber("port") ?? 22,
      user: config.get("user") ?? "root",
      privateKey: config.requireSecret("privateKey"),
      hostKey: config.require("hostKey"),
    },
    dataPlane: config.get<DataPlane>("dataPlane") ?? "nftables",
    ...(layout && { layout }),
  };
}
