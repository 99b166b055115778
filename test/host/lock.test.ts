/** The lock on what a gateway forwards: when it is in force, what holds it, and what becomes of it. */

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { sweep } from "../faults/fault";
import { PLANES, ruleSet } from "./fixtures";
import { Machine, type MachineOptions, OWNER } from "./support";

const OTHER = "mail/prod/edge-1";
const V6 = ["203.0.113.10 tcp 80", "2001:db8::10 tcp 80"];

const HOLDERS = ["nftables", "iptables"] as const;
type Holder = (typeof HOLDERS)[number];

let machine: Machine;
const start = async (options: MachineOptions = {}) => {
  machine = await Machine.start(options);
};
afterEach(() => machine.end());

const prepare = (holder?: Holder, more: readonly string[] = [], owner = OWNER) =>
  machine.tool(["prepare", "--owner", owner, ...(holder ? ["--plane", holder] : []), ...more]);

/** Who holds the lock of each family, asked of the kernel; a lock that is not whole is none. */
async function lockedBy(): Promise<Record<"ip" | "ip6", Holder[]>> {
  const one = async (family: "ip" | "ip6") => {
    const command = family === "ip" ? "iptables" : "ip6tables";
    const chain = await machine.sh(`nft list chain ${family} netfilter_lb forward 2>/dev/null || :`);
    const rules = await machine.sh(`${command} -t mangle -S 2>/dev/null | grep FORWARD || :`);
    const lines = rules.split("\n").filter((line) => line.startsWith("-A"));
    const inside = lines.filter((line) => line.startsWith("-A NFLB-FORWARD "));
    const locks =
      lines[0] === "-A FORWARD -j NFLB-FORWARD" &&
      inside[0] === "-A NFLB-FORWARD -m conntrack --ctstate DNAT -j RETURN" &&
      inside.at(-1) === "-A NFLB-FORWARD -j DROP";
    return [
      ...(/hook forward [\s\S]*ct status dnat accept\s[\s\S]*\tdrop\n/.test(chain)
        ? (["nftables"] as const)
        : []),
      ...(locks ? (["iptables"] as const) : []),
    ];
  };
  return { ip: await one("ip"), ip6: await one("ip6") };
}

async function forwarding(): Promise<string> {
  return (await machine.sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"))
    .trim()
    .replace("\n", " ");
}

const drifts = async () => (await machine.tool(["verify"])).code;

describe.each([
  ["nftables", "nft", ["dash"]],
  ["nftables", "nft", ["busybox", "ash"]],
  ["iptables", "nft", ["dash"]],
  ["iptables", "legacy", ["dash"]],
] as const)("%s, with iptables-%s, under %s", (holder, iptables, shell) => {
  beforeEach(() => start({ iptables, shell }));
  const plane = holder === "nftables" ? "nftables" : "iptables nat";

  test("from prepare on, before any farm, until the last stack leaves", async () => {
    expect(await prepare(holder)).toEqual({
      code: 0,
      stdout: expect.stringContaining("prepared for"),
      stderr: "",
    });
    expect(await lockedBy()).toEqual({ ip: [holder], ip6: [] });
    expect(await forwarding()).toBe("1 0");
    // The boot's own sysctls do not switch on what only our lock makes safe.
    expect(await machine.sh("ls /etc/sysctl.d")).toBe("");
    expect(await drifts()).toBe(0);

    const locked = await machine.rules();
    expect(await prepare(holder)).toMatchObject({ code: 0 });
    expect(await machine.rules()).toBe(locked);

    await machine.apply("web", ruleSet({ plane, services: V6 }));
    expect(await lockedBy()).toEqual({ ip: [holder], ip6: [holder] });
    expect(await forwarding()).toBe("1 1");
    expect(await drifts()).toBe(0);

    // IPv6 is forwarded for as long as somebody listens there.
    await machine.apply("web", ruleSet({ plane }));
    expect(await forwarding()).toBe("1 0");
    expect(await lockedBy()).toEqual({ ip: [holder], ip6: [] });
    expect(await drifts()).toBe(0);
    await machine.apply("web", ruleSet({ plane, services: V6 }));
    expect(await forwarding()).toBe("1 1");
    await machine.remove("web");
    expect(await forwarding()).toBe("1 0");
    expect(await lockedBy()).toEqual({ ip: [holder], ip6: [] });
    expect(await drifts()).toBe(0);

    await machine.tool(["retire", "--owner", OWNER]);
    expect(await forwarding()).toBe("0 0");
    expect(await machine.rules()).not.toMatch(/netfilter_lb|NFLB-/);
    expect(await machine.sh("ls -A /etc/sysctl.d; ls -d /etc/netfilter-lb 2>/dev/null || :")).toBe("");
  });

  test("what is gone, was edited or is extra is drift of the base, and restore mends it", async () => {
    await prepare(holder);
    await machine.apply("web", ruleSet({ plane }));
    // A chain that comes back is listed last.
    const rules = async () => (await machine.rules()).split("\n").sort();
    const good = await rules();
    const harms =
      holder === "nftables"
        ? [
            "nft flush chain ip netfilter_lb forward",
            "nft delete chain ip netfilter_lb forward",
            "nft insert rule ip netfilter_lb forward ip saddr 192.0.2.66 accept",
            "nft delete table ip netfilter_lb",
          ]
        : [
            "iptables -t mangle -D NFLB-FORWARD -j DROP",
            "iptables -t mangle -I NFLB-FORWARD -s 192.0.2.66 -j ACCEPT",
            "iptables -t mangle -D FORWARD -j NFLB-FORWARD",
            "iptables -t mangle -F; iptables -t mangle -X",
          ];
    for (const harm of harms) {
      await machine.sh(harm);
      const found = await machine.tool(["verify"]);
      expect(found, harm).toMatchObject({ code: 7 });
      expect(found.stdout, harm).toMatch(/^[-+] base /m);
      expect(await machine.tool(["restore"]), harm).toMatchObject({ code: 0, stderr: "" });
      expect(await rules(), harm).toEqual(good);
    }
  });

  test("a farm that comes, changes, moves to the other data plane and leaves never lifts it", async () => {
    await prepare(holder);
    for (const set of [
      ruleSet({ plane }),
      ruleSet({ plane, backends: ["10.0.0.9"] }),
      ...PLANES.map((other) => ruleSet({ plane: other, masquerade: true })),
    ]) {
      expect(await machine.apply("web", set)).toMatchObject({ code: 0, stderr: "" });
      expect(await lockedBy()).toEqual({ ip: [holder], ip6: [] });
      expect(await drifts()).toBe(0);
    }
    await machine.remove("web");
    expect(await lockedBy()).toEqual({ ip: [holder], ip6: [] });
  });

  test("after a boot it is there before anything is forwarded, or nothing is", async () => {
    await prepare(holder);
    await machine.apply("web", ruleSet({ plane, services: V6 }));
    await machine.sh(`nft flush ruleset
      for c in iptables ip6tables; do for t in raw mangle nat filter; do $c -t $t -F; $c -t $t -X; done; done 2>/dev/null
      echo 0 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv6/conf/all/forwarding`);
    // A kernel that refuses the lock.
    const command = holder === "nftables" ? "nft" : "iptables-restore";
    await machine.sh(`cp -P $(command -v ${command}) /usr/local/sbin/real 2>/dev/null
      printf '#!/bin/sh\\ncase "$*" in *list*) exit 0 ;; esac\\nexit 1\\n' >/usr/local/bin/broken; chmod 755 /usr/local/bin/broken
      mount --bind /usr/local/bin/broken $(readlink -f $(command -v ${command}))`);
    expect((await machine.tool(["restore"])).code).not.toBe(0);
    expect(await forwarding()).toBe("0 0");
    await machine.sh(`umount $(readlink -f $(command -v ${command}))`);
    expect(await machine.tool(["restore"])).toMatchObject({ code: 0, stderr: "" });
    expect(await lockedBy()).toEqual({ ip: [holder], ip6: [holder] });
    expect(await forwarding()).toBe("1 1");
    expect(await drifts()).toBe(0);
  });
});

describe("whether there is one", () => {
  beforeEach(() => start());

  test.each([
    ["forwarding was on", "echo 1 >/proc/sys/net/ipv4/ip_forward"],
    ["the policy of FORWARD is DROP", "iptables -P FORWARD DROP"],
    [
      "another chain drops what is forwarded by policy",
      "nft 'add table inet fw; add chain inet fw through { type filter hook forward priority 0; policy drop; }'",
    ],
  ])("not where %s", async (_, before) => {
    await machine.sh(before);
    const rules = await machine.rules();
    expect(await prepare("nftables")).toMatchObject({ code: 0 });
    expect(await lockedBy()).toEqual({ ip: [], ip6: [] });
    expect(await machine.rules()).toBe(rules);
    expect(await machine.sh("grep -v '^#' /etc/sysctl.d/90-netfilter-lb.conf")).toBe(
      "net.ipv4.ip_forward = 1\n",
    );
    // What was so before our first stack still is when a second one comes.
    await prepare("nftables", [], OTHER);
    expect(await lockedBy()).toEqual({ ip: [], ip6: [] });
    // Each family for itself.
    await machine.apply("web", ruleSet({ services: V6 }));
    expect(await lockedBy()).toMatchObject({ ip: [] });
    expect((await lockedBy()).ip6).toEqual(before.includes("inet") ? [] : ["nftables"]);
  });

  test("it is asked for where it would not be, and given up where it would", async () => {
    await machine.sh("echo 1 >/proc/sys/net/ipv4/ip_forward");
    for (const [wish, expected] of [
      ["on", ["nftables"]],
      ["off", []],
      ["on", ["nftables"]],
    ] as const) {
      expect(await prepare("nftables", ["--lock-forward", wish])).toMatchObject({ code: 0, stderr: "" });
      expect((await lockedBy()).ip).toEqual(expected);
      expect(await drifts()).toBe(0);
    }
    // Nobody asks any more: as it was found.
    await prepare("nftables");
    expect((await lockedBy()).ip).toEqual([]);
    await prepare("nftables", ["--lock-forward", "on"]);
    await machine.tool(["retire", "--owner", OWNER]);
    expect(await lockedBy()).toEqual({ ip: [], ip6: [] });
    expect(await forwarding()).toBe("1 0");
  });

  test("two stacks that ask for the opposite: the second is refused, by name of the first", async () => {
    await prepare("nftables", ["--lock-forward", "off"]);
    expect((await lockedBy()).ip).toEqual([]);
    expect(await prepare("nftables", ["--lock-forward", "on"], OTHER)).toEqual({
      code: 3,
      stdout: "",
      stderr: `netfilter-lb: ${OTHER} asks for --lock-forward on and ${OWNER} for off: a gateway has one answer\n`,
    });
    expect((await lockedBy()).ip).toEqual([]);
    expect(await prepare("nftables", [], OTHER)).toMatchObject({ code: 0 });
    expect((await lockedBy()).ip).toEqual([]);
    // The stack that asked leaves, and its wish with it.
    await machine.tool(["retire", "--owner", OWNER]);
    expect((await lockedBy()).ip).toEqual(["nftables"]);
    expect(await forwarding()).toBe("1 0");
  });

  test.each([
    ["--plane", "ipvs"],
    ["--lock-forward", "maybe"],
  ])("%s %s is refused", async (option, value) => {
    expect(await machine.tool(["prepare", "--owner", OWNER, option, value])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(`not "${value}"`),
    });
  });
});

test("where the lock cannot be set, forwarding stays off and prepare says why", async () => {
  await start({ hide: ["nft"] });
  expect(await prepare("nftables")).toMatchObject({
    code: 6,
    stderr: "netfilter-lb: nft is not installed here: install the package nftables and run this again\n",
  });
  expect(await forwarding()).toBe("0 0");
  expect(await prepare("iptables")).toMatchObject({ code: 0, stderr: "" });
  expect(await forwarding()).toBe("1 0");
});

describe.each([
  ["nftables", "iptables"],
  ["iptables", "nftables"],
] as const)("a gateway that moves from %s to %s", (from, to) => {
  beforeEach(() => start());

  test("is locked all the while", async () => {
    await prepare(from);
    // Each change of the kernel is followed by a look whether a lock stands.
    await machine.sh(`cat >/usr/local/bin/look <<'LOOK'
/usr/sbin/nft list chain ip netfilter_lb forward 2>/dev/null | grep -q "^\t*drop$" && exit
/usr/sbin/iptables -t mangle -S FORWARD 2>/dev/null | grep -q NFLB-FORWARD &&
  /usr/sbin/iptables -t mangle -S NFLB-FORWARD 2>/dev/null | grep -qx -e '-A NFLB-FORWARD -j DROP' && exit
echo open >>/run/seen
LOOK
      for c in nft iptables-restore; do
        printf '#!/bin/sh\\n/usr/sbin/%s "$@"; code=$?\\necho %s >>/run/ran\\nsh /usr/local/bin/look\\nexit $code\\n' $c $c >/usr/local/bin/$c
        chmod 755 /usr/local/bin/$c
      done`);
    expect(await prepare(to)).toMatchObject({ code: 0, stderr: "" });
    expect(await machine.sh("sort -u /run/ran; cat /run/seen 2>/dev/null || :")).toBe(
      "iptables-restore\nnft\n",
    );
    await machine.sh("rm /usr/local/bin/nft /usr/local/bin/iptables-restore");
    expect((await lockedBy()).ip).toEqual([to]);
    expect(await drifts()).toBe(0);
  });
});

describe("killed", () => {
  beforeEach(() => start());

  test("at any of its steps, prepare never leaves a gateway that forwards without its lock; the next one converges", async () => {
    // Each program that the tool starts is a step at which it may be killed: the n-th one kills it.
    await machine.sh(`mkdir /usr/local/kill
      for c in awk sed mv rm cat nft iptables-restore cmp sort; do
        real=$(command -v $c)
        printf '#!/bin/sh\\nn=$(/usr/bin/cat /run/steps 2>/dev/null || echo 0); n=$((n + 1)); echo $n >/run/steps\\n[ "$n" != "$KILL_AT" ] || kill -9 $(/usr/bin/cat /run/victim)\\nexec %s "$@"\\n' $real >/usr/local/kill/$c
        chmod 755 /usr/local/kill/$c
      done`);
    const run = (at: number, holder: Holder) =>
      machine.sh(
        `rm -f /run/steps; PATH=/usr/local/kill:$PATH KILL_AT=${at} sh -c 'echo $$ >/run/victim
          exec dash /usr/local/lib/netfilter-lb prepare --owner ${OWNER} --plane ${holder}' >/run/said 2>&1; cat /run/steps`,
      );
    for (const [first, holder] of [
      [undefined, "nftables"],
      [undefined, "iptables"],
      ["nftables", "iptables"],
    ] as const) {
      const begin = async () => {
        await machine.tool(["retire", "--owner", OWNER]);
        if (first) await prepare(first);
      };
      await begin();
      const steps = Number(await run(0, holder));
      expect(steps).toBeGreaterThan(20);
      expect((await lockedBy()).ip).toEqual([holder]);
      for (let at = 1; at <= steps; at += Math.ceil(steps / sweep(8, steps))) {
        await begin();
        await run(at, holder);
        const label = `${first ?? "nothing"} to ${holder}, step ${at} of ${steps}`;
        if ((await forwarding()).startsWith("1")) expect((await lockedBy()).ip, label).not.toEqual([]);
        expect(await prepare(holder), label).toMatchObject({ code: 0, stderr: "" });
        expect((await lockedBy()).ip, label).toEqual([holder]);
      }
      expect(await drifts()).toBe(0);
      expect(await machine.sh("ls -A /etc/netfilter-lb/farms")).toBe("");
    }
  }, 600_000);
});
