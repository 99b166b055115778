import { expect, it } from "vitest";
import { ALL_BUT_ZEVENET, eachPlane, type Plane } from "./plane";

/**
 * Lines in the kernel's log, by the rule that writes them: a kernel does not log for another network than the machine's
 * own unless net.netfilter.nf_log_all_netns says so, which is the machine's to say.
 */

eachPlane({ planes: ALL_BUT_ZEVENET, backends: 2, serve: { tcp: [80], udp: [53] } }, (plane) => {
  it("one for each new connection, with the prefix, up to a burst, and then the rate", async () => {
    const prefix = `lb-${plane.label}=`;
    await plane.apply({ log: { prefix, perSecond: 1, burst: 5 } });
    const lines = await logged(plane, prefix);
    const held = await plane.hold();
    for (let n = 0; n < 10; n++) await held.ask();
    expect(await lines.count()).toBe(1);

    const began = performance.now();
    const { lost } = await plane.connect({ count: 60 });
    // Nobody waits for the log.
    expect(lost).toBe(0);
    const count = await lines.count();
    const seconds = Math.floor((performance.now() - began) / 1000);
    expect(count).toBeGreaterThanOrEqual(5);
    expect(count).toBeLessThanOrEqual(6 + seconds);

    await new Promise((resolve) => setTimeout(resolve, 2200));
    expect((await plane.connect({ count: 20, protocol: "udp" })).lost).toBe(0);
    expect(await lines.count()).toBeGreaterThanOrEqual(count + 2);
    await lines.end();
  });

  it("is called after the farm where it has no prefix of its own, and only for whom limits and lists admit", async () => {
    const [client, denied] = plane.clients(2);
    await plane.apply({ log: {}, deny: [denied!] });
    const lines = await logged(plane, "web:");
    await plane.connect({ from: denied!, count: 3, timeout: 200 });
    expect(await lines.count()).toBe(0);
    await plane.connect({ from: client!, count: 3 });
    expect(await lines.count()).toBe(3);
    await lines.end();
  });
});

/** How many packets the rule has taken that logs with this prefix. */
function logged(plane: Plane, prefix: string) {
  return plane.target.dataPlane === "nftables" ? traced(plane, prefix) : counted(plane, prefix);
}

async function counted({ gateway, label }: Plane, prefix: string) {
  const save = label === "iptables-legacy" ? "iptables-legacy-save" : "iptables-nft-save";
  return {
    count: async () => {
      const rules = (await gateway.sh(`${save} -c -t nat`)).split("\n");
      const rule = rules.find(
        (line) => line.includes("-j LOG") && line.replaceAll('"', "").includes(` ${prefix} `),
      );
      return Number(/^\[(\d+):/.exec(rule!)![1]);
    },
    end: async () => {},
  };
}

/** Rules of nftables have no counters of their own, but the kernel tells of each rule that took a packet. */
async function traced({ gateway }: Plane, prefix: string) {
  await gateway.sh("nft -f -", {
    input:
      "table inet tracer {\n chain each {\n type filter hook prerouting priority -350\n meta nftrace set 1\n }\n}\n",
  });
  await gateway.sh("nft monitor trace >/run/trace 2>&1 & echo $! >/run/tracer");
  await new Promise((resolve) => setTimeout(resolve, 300));
  return {
    count: async () => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      const lines = (await gateway.sh("cat /run/trace")).split("\n");
      return lines.filter((line) => line.includes(`log prefix "${prefix}"`)).length;
    },
    end: async () => {
      await gateway.sh("kill $(cat /run/tracer); nft delete table inet tracer");
    },
  };
}
