import { afterEach, describe, expect, test } from "vitest";
import { PLANES, ruleSet } from "./fixtures";
import { Machine, OWNER } from "./support";

let machine: Machine;
afterEach(() => machine.end());

describe("drift", () => {
  test.each(PLANES)("%s: a hand-edited rule is found and repaired", async (plane) => {
    machine = await Machine.start();
    const set = ruleSet({ plane });
    await machine.apply("web", set);
    const good = await machine.rules();
    if (plane === "nftables") {
      const chain = /web\.[0-9a-f]{8}/.exec(await machine.sh("nft list table ip netfilter_lb"))?.[0];
      await machine.sh(`nft insert rule ip netfilter_lb ${chain} ip saddr 192.0.2.66 drop`);
      await machine.sh("nft insert rule ip netfilter_lb translate ip saddr 192.0.2.67 accept");
    } else {
      await machine.sh("iptables -t nat -I NFLB-web -s 192.0.2.66 -j ACCEPT");
      await machine.sh("iptables -t mangle -I NFLB-INPUT -s 192.0.2.67 -j ACCEPT");
    }
    const found = await machine.tool(["verify", "web"]);
    expect(found.code).toBe(7);
    expect(found.stdout).toMatch(/^\+ web .*192\.0\.2\.66/m);
    const all = await machine.tool(["verify"]);
    expect(all.stdout).toMatch(/^\+ .*192\.0\.2\.67/m);
    expect(await machine.tool(["status"])).toMatchObject({ stdout: expect.stringMatching(/web .*drift/) });

    expect(await machine.apply("web", set)).toMatchObject({ code: 0, stdout: "applied: farm web\n" });
    expect(await machine.rules()).toBe(good);
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
    const status = JSON.parse((await machine.tool(["status", "--json"])).stdout);
    expect(status).toMatchObject({
      protocol: 1,
      farms: [
        { name: "web", owner: OWNER, dataPlane: plane, state: "live", services: ["203.0.113.10 tcp 80"] },
      ],
      warnings: [],
    });
  });

  test("a removed element and a removed jump are named", async () => {
    machine = await Machine.start();
    await machine.apply("web", ruleSet());
    await machine.apply(
      "db",
      ruleSet({ name: "db", plane: "iptables nat", services: ["203.0.113.11 tcp 80"] }),
    );
    await machine.sh("nft delete element ip netfilter_lb services '{ 203.0.113.10 . tcp . 80 }'");
    await machine.sh("iptables -t nat -D PREROUTING -j NFLB-PREROUTING");
    const { stdout } = await machine.tool(["verify"]);
    expect(stdout).toMatch(/^- web ip element services add element/m);
    expect(stdout).toMatch(/^- base ip nat PREROUTING -A PREROUTING -j NFLB-PREROUTING/m);
    expect(await machine.tool(["restore"])).toMatchObject({ code: 0 });
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
  });
});

describe("a stored file that was edited by hand", () => {
  test.each(PLANES)("%s: gives way to the set that is applied again", async (plane) => {
    machine = await Machine.start();
    const set = ruleSet({ plane });
    await machine.apply("web", set);
    const good = await machine.rules();
    await machine.sh("sed -i 's/10\\.0\\.0\\.4/10.0.0.66/' /etc/netfilter-lb/farms/web.rules");
    await machine.tool(["restore"]);
    expect(await machine.rules()).not.toBe(good);
    expect(await machine.apply("web", set)).toMatchObject({ code: 0, stdout: "applied: farm web\n" });
    expect(await machine.rules()).toBe(good);
    expect(await machine.stored("web")).toBe(set);
  });
});

describe("a gateway that lacks something", () => {
  test("room for a stack's name", async () => {
    machine = await Machine.start();
    await machine.apply("web", ruleSet());
    await machine.sh("mount -t tmpfs -o size=4k small /etc/netfilter-lb/stacks");
    await machine.sh("dd if=/dev/zero of=/etc/netfilter-lb/stacks/x bs=4k count=1 2>/dev/null");
    expect(await machine.tool(["prepare", "--owner", OWNER])).toMatchObject({ code: 1 });
  });

  test("room in /run: it never says that a kernel is in step which is not", async () => {
    machine = await Machine.start();
    const backends = [...Array(250).keys()].map((n) => `10.0.1.${n + 1}`);
    await machine.apply("web", ruleSet({ backends }));
    await machine.sh("nft flush chain ip netfilter_lb translate");
    for (let kilobytes = 8; kilobytes <= 120; kilobytes += 8) {
      await machine.sh(`mount -t tmpfs -o size=${kilobytes}k,mode=755 none /run`);
      const outcome = await machine.tool(["verify"]);
      expect([1, 6, 7]).toContain(outcome.code);
      if (outcome.code !== 7) expect(outcome).toMatchObject({ stdout: "" });
      await machine.sh("umount /run");
    }
    expect(await machine.tool(["verify"])).toMatchObject({ code: 7 });
  });

  test.each(PLANES)("%s: room in /run: a farm is removed whole or stays", async (plane) => {
    machine = await Machine.start();
    const services = [...Array(200).keys()].map((n) => `203.0.113.${n} tcp 80`);
    await machine.apply("web", ruleSet({ plane, services }));
    const good = await machine.rules();
    let code = 1;
    for (let kilobytes = 4; code !== 0 && kilobytes <= 1024; kilobytes *= 2) {
      await machine.sh(`mount -t tmpfs -o size=${kilobytes}k,mode=755 none /run`);
      code = (await machine.remove("web")).code;
      await machine.sh("umount /run");
      if (code !== 0) expect(await machine.rules()).toBe(good);
    }
    expect(code).toBe(0);
    expect(await machine.rules()).not.toContain("203.0.113");
  });

  test.each([
    ["nft", "nftables", "nftables"],
    ["iptables-restore", "iptables nat", "iptables"],
    ["flock", "nftables", "util-linux"],
  ] as const)("%s: it says which package brings it", async (command, plane, packageName) => {
    machine = await Machine.start({ hide: [command] });
    const outcome = await machine.apply("web", ruleSet({ plane }));
    expect(outcome).toMatchObject({ code: 6, stdout: "" });
    expect(outcome.stderr).toBe(
      `netfilter-lb: ${command} is not installed here: install the package ${packageName} and run this again\n`,
    );
  });

  test("unshare: apply works, verify says what it lacks", async () => {
    machine = await Machine.start({ hide: ["conntrack", "iptables", "iptables-save"] });
    await machine.sh("mount --bind /dev/null $(command -v unshare)");
    expect(await machine.apply("web", ruleSet())).toMatchObject({ code: 0, stderr: "" });
    expect(await machine.apply("web", ruleSet())).toMatchObject({ code: 0, stderr: "" });
    expect(await machine.tool(["verify"])).toMatchObject({ code: 6 });
    expect(await machine.tool(["restore"])).toMatchObject({ code: 0, stderr: "" });
    expect(await machine.tool(["status"])).toMatchObject({ stdout: expect.stringMatching(/unknown/) });
  });

  test("a lock that is held", async () => {
    machine = await Machine.start();
    await machine.tool(["prepare", "--owner", OWNER]);
    await machine.sh(
      "(flock 9; echo 'apply db, pid 7, owner a/b/c, since noon' >&9; sleep 20) 9>/run/netfilter-lb.lock >/dev/null 2>&1 &",
    );
    await machine.sh("sleep 0.3");
    const outcome = await machine.apply("web", ruleSet(), { env: { NETFILTER_LB_LOCK_WAIT: "1" } });
    expect(outcome).toMatchObject({ code: 5, stdout: "" });
    expect(outcome.stderr).toMatch(/waited 1 s for the lock .*apply db, pid 7, owner a\/b\/c, since noon/);
  });
});

describe("going back after a kill", () => {
  test("in a take-over does not undo what the next apply stores", async () => {
    machine = await Machine.start();
    const [http, https, other] = ["203.0.113.10 tcp 80", "203.0.113.10 tcp 443", "203.0.113.12 tcp 80"];
    await machine.apply("web", ruleSet({ services: [http, https] }));
    await machine.sh("cp /etc/netfilter-lb/farms/web.rules /etc/before");
    await machine.apply("db", ruleSet({ name: "db", services: [https] }));
    await machine.apply("shop", ruleSet({ name: "shop", services: [other] }));
    await machine.sh("cd /etc/netfilter-lb/farms; mv /etc/before web.rules; cp db.rules db.pending");
    // Puts back what was stored, web without 443, and then has web take a service over.
    const set = ruleSet({ services: [http, other] });
    expect(await machine.apply("web", set)).toEqual({ code: 0, stdout: "applied: farm web\n", stderr: "" });
    expect(await machine.stored("web")).toBe(set);
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
  });

  test("needs the stored farms whole: where they cannot be read, none of them goes", async () => {
    machine = await Machine.start();
    await machine.apply("web", ruleSet());
    await machine.apply("db", ruleSet({ name: "db", services: ["203.0.113.11 tcp 80"] }));
    const good = await machine.rules();
    await machine.apply("shop", ruleSet({ name: "shop", services: ["203.0.113.12 tcp 80"] }));
    // An awk that dies in the middle, as for want of memory, wherever it reads all farms.
    await machine.sh(`cat >/usr/local/bin/awk <<'EOF'
#!/bin/sh
for last; do :; done
case $* in */farms/*.rules*/farms/*.rules) head -n 30 "$last"; exit 137 ;; esac
exec /usr/bin/awk "$@"
EOF
      chmod 755 /usr/local/bin/awk`);
    expect(await machine.remove("shop")).toMatchObject({ code: 0 });
    expect(await machine.rules()).toBe(good);
    await machine.sh("touch /etc/netfilter-lb/farms/x.pending");
    expect(await machine.tool(["restore"])).toMatchObject({ code: 1, stdout: "" });
    expect(await machine.rules()).toBe(good);
    expect(await machine.tool(["verify"])).toMatchObject({ code: 1, stdout: "" });
    await machine.sh("rm /usr/local/bin/awk");
    expect(await machine.tool(["restore"])).toMatchObject({ code: 0, stderr: "" });
    expect(await machine.rules()).toBe(good);
  });
});

test("a machine that starts without IPv6 gets its farms all the same, and says what is missing", async () => {
  machine = await Machine.start();
  await machine.apply("web", ruleSet({ services: ["203.0.113.10 tcp 80", "2001:db8::10 tcp 80"] }));
  // Tables are listed in the order in which they were made.
  await machine.sh("nft flush ruleset");
  await machine.tool(["restore"]);
  const good = await machine.rules();
  await machine.sh("nft flush ruleset; mount -t tmpfs none /proc/sys/net/ipv6");
  const outcome = await machine.tool(["restore"]);
  expect(outcome).toMatchObject({ code: 6, stdout: "" });
  expect(outcome.stderr).toContain("no net.ipv6.conf.all.forwarding");
  expect(await machine.rules()).toBe(good);
});

test.each(["guarded0", "ranges"])("an interface may be called %s", async (name) => {
  machine = await Machine.start();
  const set = (backends: string[]) =>
    ruleSet({ backends })
      .replace(/ (services|guarded) \{/g, " interface_$1 {")
      .replaceAll("{ 203.", `{ "${name}" . 203.`);
  for (const backends of [["10.0.0.3"], ["10.0.0.4"]]) {
    expect(await machine.apply("web", set(backends))).toMatchObject({ code: 0, stderr: "" });
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
  }
  expect(await machine.remove("web")).toMatchObject({ code: 0, stderr: "" });
});

describe("FORWARD that drops", () => {
  test("on an nftables gateway gets an accept a service, and loses it with the farm", async () => {
    machine = await Machine.start();
    await machine.sh("iptables -P FORWARD DROP; iptables -A FORWARD -s 192.0.2.1 -j ACCEPT");
    const before = await machine.rules();
    await machine.tool(["prepare", "--owner", OWNER]);
    const services = ["203.0.113.10 tcp 80", "203.0.113.11 all -", "203.0.113.10 udp 5-9"];
    expect(await machine.apply("web", ruleSet({ services }))).toMatchObject({ code: 0, stderr: "" });
    expect((await machine.sh("iptables -S FORWARD; iptables -S NFLB-FORWARD")).split("\n")).toEqual([
      "-P FORWARD DROP",
      "-A FORWARD -j NFLB-FORWARD",
      "-A FORWARD -s 192.0.2.1/32 -j ACCEPT",
      "-N NFLB-FORWARD",
      "-A NFLB-FORWARD -p tcp -m conntrack --ctstate DNAT --ctorigdst 203.0.113.10 --ctorigdstport 80 -j ACCEPT",
      "-A NFLB-FORWARD -m conntrack --ctstate DNAT --ctorigdst 203.0.113.11 -j ACCEPT",
      "-A NFLB-FORWARD -p udp -m conntrack --ctstate DNAT --ctorigdst 203.0.113.10 --ctorigdstport 5:9 -j ACCEPT",
      "",
    ]);
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
    await machine.sh("iptables -F NFLB-FORWARD");
    expect(await machine.tool(["verify"])).toMatchObject({ code: 7 });
    expect(await machine.tool(["restore"])).toMatchObject({ code: 0 });
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
    await machine.tool(["retire", "--owner", OWNER]);
    expect(await machine.rules()).toBe(before);
  });

  test("in a chain that we cannot open is named", async () => {
    machine = await Machine.start();
    await machine.sh(
      "nft 'add table inet theirs' && nft 'add chain inet theirs through { type filter hook forward priority 0; policy drop; }'",
    );
    const { stdout } = await machine.apply("web", ruleSet());
    expect(stdout).toContain("the chain inet theirs through drops forwarded packets by policy");
    expect((await machine.tool(["status"])).stdout).toContain("inet theirs through");
  });
});

test("flows that began before the farm are forgotten, others are not", async () => {
  machine = await Machine.start();
  const flow = (destination: string, port: number, extra = "") =>
    machine.sh(
      `conntrack -I -p udp -s 192.0.2.1 -d ${destination} --sport 1000 --dport ${port} -t 60 ${extra} 2>/dev/null`,
    );
  await flow("203.0.113.10", 53);
  await flow("203.0.113.10", 8005);
  await flow("203.0.113.10", 54);
  await flow("203.0.113.99", 53);
  await machine.apply("web", ruleSet({ services: ["203.0.113.10 udp 53", "203.0.113.10 udp 8000-8010"] }));
  const left = await machine.sh("conntrack -L 2>/dev/null | grep -o 'dst=203[^ ]* sport=1000 dport=[0-9]*'");
  expect(left.trim().split("\n").sort()).toEqual([
    "dst=203.0.113.10 sport=1000 dport=54",
    "dst=203.0.113.99 sport=1000 dport=53",
  ]);
});

test("the boot unit is enabled, and a machine without systemd is told what to do", async () => {
  machine = await Machine.start({ systemd: true });
  const prepared = await machine.tool(["prepare", "--owner", OWNER]);
  expect(prepared).toMatchObject({ code: 0, stderr: "", stdout: `prepared for ${OWNER}\n` });
  expect(
    await machine.sh("readlink -f /etc/systemd/system/multi-user.target.wants/netfilter-lb.service"),
  ).toBe("/etc/systemd/system/netfilter-lb.service\n");
  expect(await machine.sh("cat /etc/systemd/system/netfilter-lb.service")).toContain(
    "ExecStart=/usr/local/sbin/netfilter-lb restore\n",
  );
  await machine.sh("rm -rf /run/systemd");
  expect((await machine.tool(["prepare", "--owner", OWNER])).stdout).toMatch(/systemd does not run here/);
});
