import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Drift } from "../../src/index";
import type { Engine } from "../support/engine/engine";
import type { PulumiStack } from "../support/engine/stack";
import type { Gateway, Lab } from "../support/lab";
import {
  counts,
  EVEN,
  edge,
  everything,
  type FarmData,
  farm,
  leftovers,
  rewrite,
  stackOf,
  useScene,
  VIP,
} from "./support";

/** A preview and an `up` learn of what somebody changed on a gateway, where the farm asks for it. */

let lab: Lab;
let engine: Engine;
let one: Gateway;
let two: Gateway;

useScene({ gateways: [{ name: "edge-1", systemd: true }, "edge-2"], serve: { tcp: [80, 81] } }, (scene) => {
  ({ lab, engine } = scene);
  [one, two] = [lab.gateway("edge-1"), lab.gateway("edge-2")];
});

interface Run {
  /** The resources that would change, by name. */
  changes: Record<string, string>;
  warnings: string[];
  notes: string[];
}

/** A preview, in which no gateway is changed; each is dialled once at most. */
async function preview(stack: PulumiStack): Promise<Run> {
  const before = [await everything(one), await everything(two)];
  const dials = [one.sshConnections, two.sshConnections];
  const { steps, diagnostics = [] } = await stack.previewJson();
  expect([await everything(one), await everything(two)]).toEqual(before);
  expect(one.sshConnections - dials[0]!).toBeLessThanOrEqual(1);
  expect(two.sshConnections - dials[1]!).toBeLessThanOrEqual(1);
  const said = (severity: string) =>
    diagnostics.filter((entry) => entry.severity === severity).map(({ message }) => message);
  const changed = steps.filter(({ op }) => op !== "same");
  return {
    changes: Object.fromEntries(changed.map(({ urn, op }) => [urn.split("::").at(-1)!, op])),
    warnings: said("warning"),
    notes: said("info"),
  };
}

const QUIET: Run = { changes: {}, warnings: [], notes: [] };

/** The gateway's own word that all is as it should be. */
const inStep = async (gateway: Gateway) =>
  expect(await gateway.sh("netfilter-lb verify")).toBe("in step: all farms\n");

type Plane = "nftables" | "iptables";

/** Two farms on these gateways. */
function farmsOf(
  dataPlane: Plane,
  drift: Drift | undefined,
  more: Partial<FarmData> = {},
  gateways = [one],
): FarmData[] {
  const at = gateways.map((gateway) => edge(gateway, { dataPlane }));
  const option = drift && { drift };
  return [
    farm("web", at, { ...option, ...more }),
    farm("db", at, { ...option, listeners: [{ address: VIP, protocol: "tcp", port: 81 }] }),
  ];
}

/** Somebody puts a rule into a farm's first chain, by hand. */
function edit(gateway: Gateway, name: string, dataPlane: Plane = "nftables"): Promise<string> {
  return gateway.sh(
    dataPlane === "nftables"
      ? `chain=$(nft list table ip netfilter_lb | sed -n 's/^.chain \\(${name}\\.[0-9a-f]*\\) {/\\1/p')
         nft insert rule ip netfilter_lb $chain ip saddr 192.0.2.66 drop`
      : `iptables -t nat -I NFLB-${name} -s 192.0.2.66 -j RETURN`,
  );
}

/** Drift as it is shown, repaired, and gone. */
async function expectRepair(stack: PulumiStack, changes: Record<string, string>): Promise<Run> {
  const seen = await preview(stack);
  expect(seen.changes).toEqual(changes);
  await stack.up();
  await inStep(one);
  expect(await preview(stack)).toEqual(QUIET);
  return seen;
}

it("is repaired with iptables too", async () => {
  const farms = farmsOf("iptables", "repair");
  const stack = await stackOf(engine, farms, [one], { stack: "iptables" });
  await stack.up();
  expect(await preview(stack)).toEqual(QUIET);
  await edit(one, "web", "iptables");
  await expectRepair(stack, { "web-edge-1": "update" });
  await one.sh("iptables -t nat -F");
  await expectRepair(stack, { "web-edge-1": "update", "db-edge-1": "update" });
  expect((await stack.up()).output).toMatch(/Resources:\s+\d+ unchanged/);
  await stack.destroy();
  expect(await leftovers(one)).toBe("");
});

it("is repaired where changes are confirmed: the set that comes in again is confirmed again", async () => {
  const farms = (weight: number) => [
    farm("web", [edge(one)], {
      drift: "repair",
      confirm: { withinSeconds: 600 },
      backends: [{ address: "192.0.2.1", weight }, { address: "192.0.2.2" }],
    }),
  ];
  const changes = { "web-edge-1": "update", "web-edge-1-confirm": "update" };
  const stack = await stackOf(engine, farms(1), [one], { stack: "confirmed" });
  await stack.up();
  expect(await preview(stack)).toEqual(QUIET);
  await edit(one, "web");
  await expectRepair(stack, changes);
  const old = await one.sh("cat /etc/netfilter-lb/farms/web.rules");
  await rewrite(stack, farms(4));
  await stack.up();
  await one.write("/etc/netfilter-lb/farms/web.rules", old, "600");
  await one.sh("netfilter-lb restore");
  await expectRepair(stack, changes);
  expect(await one.sh("ls /etc/netfilter-lb/trials")).toBe("");
  await stack.destroy();
  expect(await leftovers(one)).toBe("");
});

describe("nftables", () => {
  const farms = (drift: Drift | undefined, more?: Partial<FarmData>, gateways?: Gateway[]) =>
    farmsOf("nftables", drift, more, gateways);

  let stack: PulumiStack;
  beforeAll(async () => {
    stack = await stackOf(engine, farms(undefined), [one, two], { stack: "nftables" });
    await stack.up();
  });

  it("is not seen by who does not ask", async () => {
    await edit(one, "web");
    const dials = one.sshConnections;
    expect(await preview(stack)).toEqual(QUIET);
    await stack.up();
    expect(one.sshConnections).toBe(dials);
    await one.sh("netfilter-lb restore");
  });

  describe("report", () => {
    beforeAll(async () => {
      await rewrite(stack, farms("report"));
      expect(await preview(stack)).toEqual(QUIET);
      await stack.up();
    });

    it("warns, in words and of the farm, and changes nothing", async () => {
      await edit(one, "web");
      await one.sh("echo 0 >/proc/sys/net/ipv4/ip_forward");
      const { changes, warnings } = await preview(stack);
      expect(changes).toEqual({});
      expect(warnings).toHaveLength(2);
      expect(warnings.join("\n")).toMatch(
        /farm web on gateway edge-1 has drifted .*\n {2}extra: ip .*192\.0\.2\.66/,
      );
      expect(warnings.join("\n")).toMatch(
        /gateway edge-1 \(127\.0\.0\.1 port \d+\) is not as it was left:\n {2}missing: sysctl net\.ipv4\.ip_forward 1\n {2}extra: sysctl net\.ipv4\.ip_forward 0/,
      );
      const { output } = await stack.up();
      expect(output).toContain("farm web on gateway edge-1 has drifted");
      expect(output).toMatch(/Resources:\s+\d+ unchanged/);
      expect((await one.try("netfilter-lb verify")).code).toBe(7);
      await one.sh("netfilter-lb restore");
      await inStep(one);
    });

    it("does not warn of the change that is about to be made", async () => {
      await rewrite(stack, farms("report", { backends: [{ address: "192.0.2.1" }] }));
      const { changes, warnings, notes } = await preview(stack);
      expect(changes).toMatchObject({ "web-edge-1": "update" });
      expect(warnings).toEqual([]);
      expect(notes.join()).toContain("gateway edge-1 holds another set of farm web (sha256 ");
      await rewrite(stack, farms("report"));
    });
  });

  describe("repair", () => {
    beforeAll(async () => {
      await rewrite(stack, farms("repair"));
      expect(await preview(stack)).toEqual(QUIET);
      await stack.up();
    });
    beforeEach(async () => {
      expect(await preview(stack)).toEqual(QUIET);
    });

    it("updates the farm that was edited, and no other", async () => {
      await edit(one, "web");
      const { warnings } = await expectRepair(stack, { "web-edge-1": "update" });
      expect(warnings).toHaveLength(1);
      expect(warnings[0]).toContain("farm web on gateway edge-1 has drifted (pulumi up repairs it):");
      expect(await counts(lab, 10)).toEqual(EVEN);
      expect((await stack.up()).output).toMatch(/Resources:\s+\d+ unchanged/);
      // And once more: the mark of the last repair is in the state by now.
      await edit(one, "web");
      await expectRepair(stack, { "web-edge-1": "update" });
    });

    it("brings back what was flushed, forwarding and the boot unit included", async () => {
      await one.sh(
        "nft flush ruleset; echo 0 >/proc/sys/net/ipv4/ip_forward; rm -rf /etc/systemd/system/netfilter-lb.service",
      );
      await expectRepair(stack, { "web-edge-1": "update", "db-edge-1": "update" });
      expect(await counts(lab, 10)).toEqual(EVEN);
    });

    it("brings back a stored set that was edited", async () => {
      await one.sh(
        "sed -i 's/192\\.0\\.2\\.2/192.0.2.1/' /etc/netfilter-lb/farms/db.rules; netfilter-lb restore",
      );
      const { warnings } = await expectRepair(stack, { "db-edge-1": "update" });
      expect(warnings[0]).toMatch(/\n {2}extra: stored line \d+ .*192\.0\.2\.1/);
    });

    it("brings back a farm that somebody took away", async () => {
      await one.sh(`netfilter-lb remove web --owner program/nftables/edge-1`);
      const { notes } = await expectRepair(stack, { "web-edge-1": "update" });
      expect(notes.join()).toContain("gateway edge-1 does not hold farm web");
    });

    it("brings the set in again where the gateway went back to an older one", async () => {
      const old = await one.sh("cat /etc/netfilter-lb/farms/web.rules");
      for (const weight of [4, 9]) {
        await rewrite(
          stack,
          farms("repair", { backends: [{ address: "192.0.2.1", weight }, { address: "192.0.2.2" }] }),
        );
        await stack.up();
        await one.write("/etc/netfilter-lb/farms/web.rules", old, "600");
        await one.sh("netfilter-lb restore");
        await expectRepair(stack, { "web-edge-1": "update" });
      }
      expect(await counts(lab, 10)).toEqual({ "192.0.2.1": 9, "192.0.2.2": 1 });
      await rewrite(stack, farms("repair"));
      await stack.up();
    });

    it("warns of a gateway that does not answer, and changes nothing there", async () => {
      await one.ssh.stop();
      try {
        const { changes, warnings } = await preview(stack);
        expect(changes).toEqual({});
        expect(warnings).toEqual([
          expect.stringMatching(
            /gateway edge-1 \(127\.0\.0\.1 port \d+\) cannot be asked, so nothing is known of drift there: .*ECONNREFUSED/,
          ),
        ]);
        expect((await stack.up()).output).toMatch(/Resources:\s+\d+ unchanged/);
      } finally {
        await one.ssh.start();
      }
    });

    it("warns of a gateway with another host key", async () => {
      const elsewhere = two.connection.hostKey;
      await rewrite(
        stack,
        farms("repair").map((data) => ({
          ...data,
          gateways: [edge(one, {}, { ...one.connection, hostKey: elsewhere })],
        })),
      );
      const { warnings } = await preview(stack);
      expect(warnings).toEqual([expect.stringContaining("its host key is not the one that is given")]);
      await rewrite(stack, farms("repair"));
    });

    it("warns of a gateway whose answer is none", async () => {
      await one.sh("mv /usr/local/sbin/netfilter-lb /usr/local/sbin/kept");
      for (const [script, warning] of [
        ["echo in step: all farms", "cannot say what differs in a form that this package reads"],
        ["echo '{\"farms\": 3}'", "cannot say what differs in a form that this package reads"],
        ["echo the lock is held >&2; exit 5", "netfilter-lb verify failed (exit code 5)"],
      ] as const) {
        await one.write("/usr/local/sbin/netfilter-lb", `#!/bin/sh\n${script}\n`, "755");
        expect((await preview(stack)).warnings).toEqual([expect.stringContaining(warning)]);
      }
      await one.sh("mv /usr/local/sbin/kept /usr/local/sbin/netfilter-lb");
    });

    it("keeps keys out of the state and of what is printed", async () => {
      await edit(one, "web");
      const { output } = await stack.up();
      const state = JSON.stringify(await stack.exportState());
      const key = one.connection.privateKey.split("\n")[1]!;
      for (const text of [output, state]) expect(text).not.toContain(key);
      await inStep(one);
    });
  });

  it("asks each of several gateways once", async () => {
    await rewrite(stack, farms("repair", {}, [one, two]));
    await stack.up();
    expect(await preview(stack)).toEqual(QUIET);
    await edit(two, "web");
    const dials = [one.sshConnections, two.sshConnections];
    expect((await preview(stack)).changes).toEqual({ "web-edge-2": "update" });
    expect([one.sshConnections, two.sshConnections]).toEqual(dials.map((count) => count + 1));
    await stack.up();
    expect(await preview(stack)).toEqual(QUIET);
  });

  it("goes back to not asking", async () => {
    await rewrite(stack, farms(undefined));
    await stack.up();
    const dials = one.sshConnections;
    expect(await preview(stack)).toEqual(QUIET);
    expect(one.sshConnections).toBe(dials);
    await stack.destroy();
    expect(await leftovers(one)).toBe("");
    expect(await leftovers(two)).toBe("");
  });
});
