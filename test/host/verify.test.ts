import { afterEach, describe, expect, test } from "vitest";
import { chainOf, PLANES, type Plane, ruleSet } from "./fixtures";
import { Machine, OWNER } from "./support";

/** What verify calls drift, and what it does not. */

let machine: Machine;
afterEach(() => machine.end());

interface Finding {
  /** null: it is of all farms (shared), or of none. */
  farm: string | null;
  shared: boolean;
  what: "missing" | "extra";
  object: string;
  text: string;
}

interface Report {
  protocol: number;
  version: string;
  state: string;
  reason: string | null;
  farms: { name: string; owner: string; sha256: string; repair: string | null; state: string }[];
  findings: Finding[];
  notes: string[];
}

async function report(code: number, ...args: string[]): Promise<Report> {
  const outcome = await machine.tool(["verify", "--json", ...args]);
  expect(outcome).toMatchObject({ code });
  return JSON.parse(outcome.stdout);
}

const inStep = async () => expect((await report(0)).findings).toEqual([]);

/** A machine that a stack has set up, with a farm. */
async function start(plane: Plane = "nftables", systemd = true): Promise<string> {
  machine = await Machine.start({ systemd });
  expect(await machine.tool(["prepare", "--owner", OWNER])).toMatchObject({ code: 0 });
  const set = ruleSet({ plane });
  expect(await machine.apply("web", set)).toMatchObject({ code: 0 });
  return set;
}

test("in step, it names the farms and their stamps", async () => {
  const set = await start();
  const { farms, ...rest } = await report(0);
  expect(rest).toEqual({
    protocol: 1,
    version: expect.stringMatching(/^\d+\.\d+\.\d+/),
    state: "in step",
    reason: null,
    findings: [],
    notes: [],
  });
  expect(farms).toMatchObject([{ name: "web", owner: OWNER, repair: null, state: "in step" }]);
  expect(chainOf(set)).toBe(`web.${farms[0]!.sha256.slice(0, 8)}`);
});

test("of no farm at all there is nothing to say", async () => {
  machine = await Machine.start();
  expect(await report(0)).toMatchObject({ state: "in step", farms: [], findings: [] });
});

describe("no drift", () => {
  test.each(PLANES)("%s: counters, and rules of others", async (plane) => {
    await start(plane);
    await machine.sh(`
      ip addr add 203.0.113.10/32 dev lo
      (echo x | timeout 1 nc -w 1 203.0.113.10 80 || :) >/dev/null 2>&1
      nft add table inet theirs
      nft 'add chain inet theirs in { type filter hook input priority 0; }'
      nft add rule inet theirs in tcp dport 22 counter accept
      iptables -t nat -A PREROUTING -d 198.51.100.1 -j DNAT --to-destination 10.9.9.9
      iptables -A INPUT -s 192.0.2.1 -j DROP
      ip6tables -N THEIRS`);
    await inStep();
  });

  test("the order in which elements came", async () => {
    machine = await Machine.start();
    const services = ["203.0.113.9 tcp 80", "203.0.113.10 tcp 8000-8010", "203.0.113.11 tcp 8000-8010"];
    await machine.apply("web", ruleSet({ services }));
    const listed = await machine.sh("nft list map ip netfilter_lb ranges");
    const elements = [...listed.matchAll(/203[^,}]*goto web\.[0-9a-f]{8}/g)].map(([text]) => text.trim());
    expect(elements).toHaveLength(2);
    for (const element of elements)
      await machine.sh(`nft delete element ip netfilter_lb ranges '{ ${element.replace(/ : .*/, "")} }'`);
    for (const element of elements.reverse())
      await machine.sh(`nft add element ip netfilter_lb ranges '{ ${element} }'`);
    await inStep();
  });
});

describe("drift", () => {
  test.each(PLANES)("%s: a rule that was edited by hand, of the farm that it is of", async (plane) => {
    const set = await start(plane);
    await machine.apply("db", ruleSet({ name: "db", plane, services: ["203.0.113.11 tcp 80"] }));
    await machine.sh(
      plane === "nftables"
        ? `nft insert rule ip netfilter_lb ${chainOf(set)} ip saddr 192.0.2.66 drop`
        : "iptables -t nat -I NFLB-web -s 192.0.2.66 -j ACCEPT",
    );
    const { findings, farms, state } = await report(7);
    expect(state).toBe("drift");
    expect(findings).toEqual([
      {
        farm: "web",
        shared: false,
        what: "extra",
        object: expect.stringMatching(/^ip (chain web\.|nat NFLB-web)/),
        text: expect.stringContaining("192.0.2.66"),
      },
    ]);
    expect(farms.map(({ name, state }) => [name, state])).toEqual([
      ["db", "in step"],
      ["web", "drift"],
    ]);
    // The farm beside it is asked for alone.
    expect(await report(0, "db")).toMatchObject({ state: "in step", findings: [] });
  });

  test.each(PLANES)("%s: a rule in a shared chain, which concerns all farms", async (plane) => {
    await start(plane);
    await machine.sh(
      plane === "nftables"
        ? "nft insert rule ip netfilter_lb translate ip saddr 192.0.2.67 accept"
        : "iptables -t mangle -I NFLB-INPUT -s 192.0.2.67 -j ACCEPT",
    );
    const { findings, farms } = await report(7);
    expect(findings).toMatchObject([{ farm: null, shared: true, what: "extra" }]);
    expect(farms).toMatchObject([{ state: "drift" }]);
    expect(await machine.apply("web", ruleSet({ plane }))).toMatchObject({ stdout: "applied: farm web\n" });
    await inStep();
  });

  test("a stored set that was edited by hand: which line, and what stood there", async () => {
    const set = await start();
    const lines = set.split("\n");
    const at = lines.findIndex((line) => line.includes(" : 10.0.0.4,"));
    await machine.sh("sed -i -e 's/ : 10\\.0\\.0\\.4,/ : 10.0.0.66,/' /etc/netfilter-lb/farms/web.rules");
    const file = (await machine.sh("cat /etc/netfilter-lb/farms/web.rules")).split("\n");
    const line = file.findIndex((text) => text.includes("10.0.0.66")) + 1;
    const { findings } = await report(7);
    const stored = findings.filter(({ object }) => object.startsWith("stored"));
    expect(stored).toEqual([
      {
        farm: "web",
        shared: false,
        what: "missing",
        object: `stored line ${line}`,
        text: lines[at]!.replaceAll("\t", " "),
      },
      {
        farm: "web",
        shared: false,
        what: "extra",
        object: `stored line ${line}`,
        text: lines[at]!.replace("10.0.0.4", "10.0.0.66").replaceAll("\t", " "),
      },
    ]);
    // Also where the kernel has it by now, and from then on until the set is applied again.
    expect(await machine.tool(["restore"])).toMatchObject({ code: 0 });
    expect((await report(7)).findings).toEqual(stored);
    expect(await machine.tool(["verify"])).toMatchObject({
      stdout: expect.stringContaining(`- web stored line ${line} `),
      stderr: expect.stringContaining("a stored set is not what was applied: apply it again"),
    });
    expect(await machine.apply("web", set)).toMatchObject({ stdout: "applied: farm web\n" });
    await inStep();
  });

  test("a stored file that lost its hash, was swapped or is gone", async () => {
    const set = await start();
    const web = "/etc/netfilter-lb/farms/web.rules";
    await machine.sh(`cp ${web} /etc/before
      sed -i 's/^# sha256 .*/# sha256 ${"0".repeat(64)}/' ${web}`);
    expect((await report(7)).findings).toEqual([
      {
        farm: "web",
        shared: false,
        what: "missing",
        object: `stored ${web}`,
        text: `the set that was applied (sha256 ${"0".repeat(64)})`,
      },
    ]);
    await machine.sh(`cp /etc/before ${web}`);
    await machine.apply("web", ruleSet({ masquerade: true }));
    await machine.apply("web", set);
    await machine.sh(`rm ${web}`);
    expect((await report(7, "web")).findings).toContainEqual({
      farm: "web",
      shared: false,
      what: "missing",
      object: `stored ${web}`,
      text: "the file",
    });
    await machine.apply("web", set);
    await inStep();
  });

  test("a stamp of a stack that is not set up here", async () => {
    await start();
    await machine.sh("sed -i 's|^# owner .*|# owner shop/other/edge-1|' /etc/netfilter-lb/farms/web.rules");
    expect((await report(7)).findings).toEqual([
      {
        farm: "web",
        shared: false,
        what: "extra",
        object: "stamp",
        text: "# owner shop/other/edge-1, which is not set up here",
      },
    ]);
  });

  test("forwarding that somebody switched off, now or for the next boot", async () => {
    const set = await start();
    // Behind a lock the boot's own sysctls have no part in it.
    await machine.tool(["prepare", "--owner", OWNER, "--lock-forward", "off"]);
    await machine.sh("echo 0 >/proc/sys/net/ipv4/ip_forward; rm /etc/sysctl.d/90-netfilter-lb.conf");
    const { findings, farms } = await report(7);
    expect(findings).toEqual([
      { farm: null, shared: true, what: "missing", object: "sysctl net.ipv4.ip_forward", text: "1" },
      { farm: null, shared: true, what: "extra", object: "sysctl net.ipv4.ip_forward", text: "0" },
      {
        farm: null,
        shared: true,
        what: "missing",
        object: "/etc/sysctl.d/90-netfilter-lb.conf",
        text: "net.ipv4.ip_forward = 1",
      },
    ]);
    expect(farms).toMatchObject([{ state: "drift" }]);
    // An apply that is to mend the gateway does so, and leaves its mark.
    expect(await machine.apply("web", set, { repair: "beef" })).toMatchObject({ code: 0, stderr: "" });
    expect(await report(0)).toMatchObject({ farms: [{ repair: "beef" }] });
  });

  test("the boot unit that is gone, edited, or that nothing starts", async () => {
    await start();
    const unit = "/etc/systemd/system/netfilter-lb.service";
    const link = "/etc/systemd/system/multi-user.target.wants/netfilter-lb.service";
    await machine.sh(`rm ${link}; sed -i 's/^Before=.*/Before=shutdown.target/' ${unit}`);
    expect((await report(7)).findings).toEqual([
      {
        farm: null,
        shared: true,
        what: "missing",
        object: `unit ${unit}`,
        text: "Before=network-pre.target shutdown.target",
      },
      { farm: null, shared: true, what: "extra", object: `unit ${unit}`, text: "Before=shutdown.target" },
      { farm: null, shared: true, what: "missing", object: `unit ${link}`, text: "the link that starts it" },
    ]);
    await machine.sh(`rm ${unit}`);
    expect((await report(7)).findings).toMatchObject([
      { text: "the unit" },
      { text: "the link that starts it" },
    ]);
    await machine.tool(["prepare", "--owner", OWNER]);
    await inStep();
  });
});

test("what cannot be told is not called in step", async () => {
  machine = await Machine.start();
  await machine.apply("web", ruleSet());
  await machine.sh(
    "mkdir /etc/bin && printf '#!/bin/sh\\nexit 1\\n' >/usr/local/bin/unshare && chmod 755 /usr/local/bin/unshare",
  );
  expect(await report(6)).toMatchObject({
    state: "unknown",
    reason: expect.stringContaining("cannot load the stored sets"),
    farms: [{ name: "web", state: "unknown" }],
  });
});

describe("versions", () => {
  const newer =
    "sed -i 's/^# netfilter-lb rule set 1$/# netfilter-lb rule set 2/' /etc/netfilter-lb/farms/db.rules";

  test("a set that a newer tool stored is left alone, in words", async () => {
    await start();
    await machine.apply("db", ruleSet({ name: "db", services: ["203.0.113.11 tcp 80"] }));
    await machine.sh(newer);
    const before = await machine.rules();
    const refused = {
      stdout: "",
      stderr: expect.stringContaining("farm db was stored by a newer netfilter-lb (netfilter-lb rule set 2)"),
    };
    for (const args of [
      ["restore"],
      ["verify"],
      ["prepare", "--owner", OWNER],
      ["retire", "--owner", OWNER],
      ["remove", "db", "--owner", OWNER],
    ])
      expect(await machine.tool(args), args.join(" ")).toMatchObject({ code: 6, ...refused });
    const db = ruleSet({ name: "db", services: ["203.0.113.11 tcp 81"] });
    expect(await machine.apply("db", db)).toMatchObject({ code: 3, ...refused });
    expect(await machine.rules()).toBe(before);
  });

  test("an older package does not take the place of a newer tool", async () => {
    machine = await Machine.start();
    const installed = (version: string) =>
      machine.sh(
        `printf '#!/bin/sh\\necho "${version}"\\n' >/usr/local/sbin/netfilter-lb; chmod 755 /usr/local/sbin/netfilter-lb`,
      );
    for (const older of ["netfilter-lb protocol 1", "netfilter-lb 0.0.9 protocol 1", "garbage", ""]) {
      await installed(older);
      expect(await machine.tool(["replaces"])).toMatchObject({ code: 0, stderr: "" });
    }
    for (const newer of ["netfilter-lb 99.0.0 protocol 1", "netfilter-lb 0.100.0-rc.1 protocol 2"]) {
      await installed(newer);
      const { code, stderr } = await machine.tool(["replaces"]);
      expect(code).toBe(6);
      expect(stderr).toContain(
        `${newer.split(" ")[1]} is installed on this gateway, and this program brings`,
      );
      expect(stderr).toContain(
        "to go back on purpose, remove /usr/local/sbin/netfilter-lb on the gateway first",
      );
    }
  });
});

test("farms are handed over to another stack, as they are", async () => {
  const set = await start();
  const rules = await machine.rules();
  const to = "shop/next/edge-1";
  expect(await machine.tool(["hand-over", "--owner", OWNER, "--to", to])).toMatchObject({
    code: 0,
    stdout: `handed over: 1 farms, from ${OWNER} to ${to}\n`,
  });
  expect(await machine.apply("web", set, { owner: to })).toMatchObject({ stdout: "unchanged: farm web\n" });
  expect(await machine.remove("web")).toMatchObject({ stdout: `left alone: farm web belongs to ${to}\n` });
  expect(await machine.tool(["retire", "--owner", OWNER])).toMatchObject({
    stdout: `retired: ${OWNER}; others still use this gateway\n`,
  });
  expect(await machine.rules()).toBe(rules);
  await inStep();
  expect(await machine.tool(["retire", "--owner", to])).toMatchObject({ code: 0 });
  expect(await machine.sh("ls -d /etc/netfilter-lb 2>/dev/null || echo gone")).toBe("gone\n");
});
