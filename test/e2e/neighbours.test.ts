import { beforeAll, describe, expect, it } from "vitest";
import { fault } from "../faults/fault";
import type { Engine } from "../support/engine/engine";
import type { PulumiStack } from "../support/engine/stack";
import type { Gateway, Lab } from "../support/lab";
import { counts, edge, type FarmData, farm, leftovers, rewrite, stackOf, useScene, VIP } from "./support";

/** What is on a gateway beside the farms: other rules, other sysctls, other stacks. */

const SYSCTL = "/etc/sysctl.d/90-netfilter-lb.conf";

const FOREIGN = `
nft 'table inet shop {
  set office { type ipv4_addr; flags interval; elements = { 198.51.100.0/26 }; }
  chain input { type filter hook input priority 0; policy accept; ip saddr @office tcp dport 22 counter accept; }
  chain nat { type nat hook prerouting priority -100; policy accept; ip daddr 203.0.113.99 tcp dport 99 dnat ip to 192.0.2.2:80; }
}'
iptables -t nat -N SHOP
iptables -t nat -A SHOP -j RETURN
iptables -t nat -A PREROUTING -d 203.0.113.98 -p tcp --dport 98 -j DNAT --to-destination 192.0.2.1:80
iptables -t nat -A PREROUTING -j SHOP
iptables -t nat -A POSTROUTING -s 192.0.2.0/24 -d 198.51.100.9 -j MASQUERADE
iptables -t mangle -A PREROUTING -p tcp --dport 98 -m comment --comment 'shop floor' -j MARK --set-mark 0x7
iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
iptables -t filter -N SHOP-DROP
iptables -t filter -A SHOP-DROP -j DROP
iptables -t filter -A FORWARD -s 192.0.2.190 -j SHOP-DROP
iptables -t filter -A INPUT -s 192.0.2.191 -j DROP
ip6tables -t filter -A FORWARD -s 2001:db8:b::190 -j DROP
echo 2 >/proc/sys/net/ipv4/conf/all/rp_filter; echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
mkdir -p /etc/sysctl.d; echo 'net.ipv4.conf.all.rp_filter = 0' >/etc/sysctl.d/50-shop.conf
`;

let lab: Lab;
let engine: Engine;

useScene({ gateways: ["edge-1", { name: "legacy", iptables: "legacy" }] }, async (scene) => {
  ({ lab, engine } = scene);
  await Promise.all(["edge-1", "legacy"].map((name) => lab.gateway(name).sh(FOREIGN)));
});

/** Every rule that is not of this package, in its order, and the files beside ours. */
async function foreign(gateway: Gateway): Promise<string> {
  return await gateway.sh(`
    nft -s list table inet shop
    for command in iptables ip6tables; do
      for table in raw mangle nat filter; do echo "== $command $table"; $command -t $table -S | grep -v NFLB-; done
    done
    sha256sum /etc/sysctl.d/50-shop.conf; cat /proc/sys/net/ipv4/conf/all/rp_filter`);
}

async function forwarding(gateway: Gateway): Promise<string> {
  return (await gateway.sh("cat /proc/sys/net/ipv4/ip_forward")).trim();
}

describe.each([
  { dataPlane: "nftables", name: "edge-1" },
  { dataPlane: "iptables", name: "edge-1" },
  { dataPlane: "iptables", name: "legacy" },
] as const)("$dataPlane on $name", ({ dataPlane, name }) => {
  let stack: PulumiStack;
  let gateway: Gateway;
  let from: string;
  let before: string;
  const farms = (weight: number): FarmData[] => {
    const gateways = [edge(gateway, { dataPlane })];
    const backends = [{ address: "192.0.2.1", weight }, { address: "192.0.2.2" }];
    return [
      farm("web", gateways, { backends }),
      farm("shop", gateways, { listeners: [{ address: "203.0.113.11", protocol: "tcp", port: 80 }] }),
    ];
  };

  beforeAll(async () => {
    gateway = lab.gateway(name);
    from = lab.clientAddress(name);
    before = await foreign(gateway);
    stack = await stackOf(engine, farms(1), [gateway]);
  });

  fault(
    31,
    `pulumi, ${dataPlane} on ${name}`,
    async () => {
      await stack.up();
      expect(await foreign(gateway)).toBe(before);
      expect(await forwarding(gateway)).toBe("1");
      expect((await lab.client.connect({ to: "203.0.113.99", port: 99, from })).lost).toBe(0);
      expect(await counts(lab, 10, { from })).toEqual({ "192.0.2.1": 5, "192.0.2.2": 5 });

      await rewrite(stack, farms(4));
      await stack.up();
      expect(await foreign(gateway)).toBe(before);
      expect(await counts(lab, 10, { from })).toEqual({ "192.0.2.1": 8, "192.0.2.2": 2 });

      const { stdout } = await stack.destroy();
      expect(await foreign(gateway)).toBe(before);
      expect(await leftovers(gateway)).toBe("");
      expect(await forwarding(gateway)).toBe("0");
      expect(await lab.client.connect({ to: VIP, port: 80, from, timeout: 300 })).toMatchObject({
        lost: 1,
      });
      return {
        done: "pulumi up of two farms beside a shop's own rules, sysctls and files, a change, pulumi destroy",
        held: `${before.split("\n").length} lines of the others' rules and files are byte for byte the same after each; nothing of the farms was left`,
        saw:
          stdout
            .split("\n")
            .find((line) => / deleted /.test(line))
            ?.trim() ?? "",
      };
    },
    240_000,
  );

  // What follows is the tool's own, whichever iptables there is.
  if (name === "legacy") return;

  it("forwards from the first farm to the last, of whatever stack", async () => {
    const other = await stackOf(
      engine,
      [
        farm("mail", [edge(gateway, { dataPlane })], {
          listeners: [{ address: "203.0.113.12", protocol: "tcp", port: 80 }],
        }),
      ],
      [gateway],
      { stack: "other" },
    );
    await rewrite(stack, farms(1));
    await stack.up();
    await other.up();
    // Behind its lock, forwarding is switched on by us alone.
    expect(await gateway.sh(`cat ${SYSCTL} 2>/dev/null || :`)).toBe("");
    expect((await gateway.sh("netfilter-lb list")).trim().split("\n").sort()).toEqual([
      `mail program/other/edge-1 ${dataPlane}${dataPlane === "iptables" ? " nat" : ""}`,
      `shop program/test/edge-1 ${dataPlane}${dataPlane === "iptables" ? " nat" : ""}`,
      `web program/test/edge-1 ${dataPlane}${dataPlane === "iptables" ? " nat" : ""}`,
    ]);

    // One of two farms of a stack leaves, then the stack, then the other stack.
    await rewrite(stack, [farms(1)[0]!]);
    await stack.up();
    expect(await forwarding(gateway)).toBe("1");
    expect(await counts(lab, 2, { from })).toEqual({ "192.0.2.1": 1, "192.0.2.2": 1 });
    await stack.destroy();
    expect(await forwarding(gateway)).toBe("1");
    expect(await counts(lab, 2, { to: "203.0.113.12", from })).toEqual({ "192.0.2.1": 1, "192.0.2.2": 1 });
    await other.destroy();
    expect(await forwarding(gateway)).toBe("0");
    expect(await leftovers(gateway)).toBe("");
    expect(await foreign(gateway)).toBe(before);
  });

  it("leaves forwarding on where it was on", async () => {
    await gateway.sh("echo 1 >/proc/sys/net/ipv4/ip_forward");
    try {
      await rewrite(stack, [farms(1)[0]!]);
      await stack.up();
      // And the boot, too: this machine was a router.
      expect(await gateway.sh(`cat ${SYSCTL}`)).toContain("net.ipv4.ip_forward = 1");
      await stack.destroy();
      expect(await forwarding(gateway)).toBe("1");
      expect(await leftovers(gateway)).toBe("");
    } finally {
      await gateway.sh("echo 0 >/proc/sys/net/ipv4/ip_forward");
    }
  });
});
