import { createHash } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { PLANES, type Plane, ruleSet } from "./fixtures";
import { applyArguments, Machine, OWNER } from "./support";

/** `apply --confirm`, `confirm`, and the way back. */

let machine: Machine;
afterEach(() => machine.end());

const SERVICES = ["203.0.113.10 tcp 80", "2001:db8::10 tcp 80"];
const old = (plane: Plane) => ruleSet({ plane, services: SERVICES, masquerade: true });
const fresh = (plane: Plane, name = "web") =>
  ruleSet({ name, plane, services: SERVICES, backends: ["10.0.0.4", "10.0.0.5", "10.0.0.6"] });

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const FROM = "198.51.100.2 50000 198.51.100.1 22";
const LATER = "198.51.100.2 50001 198.51.100.1 22";

const confirm = (set: string, { ssh = LATER, farm = "web", owner = OWNER } = {}) =>
  machine.tool(["confirm", farm, "--owner", owner, "--sha256", sha256(set), "--ssh", ssh, "--within", "60"]);
const onTrial = (farm: string, set: string) => machine.apply(farm, set, { confirm: 60, ssh: FROM });
const expire = () => machine.tool(["expire"]);
const trials = () => machine.sh("ls -A /etc/netfilter-lb/trials 2>/dev/null || :");
const files = () => machine.sh("cat /etc/netfilter-lb/farms/*.rules 2>/dev/null || :");

/** A machine whose clock of seconds since the boot stands still until a test moves it, and with nobody who watches. */
async function startWithClock(shell: readonly string[] = ["dash"]): Promise<void> {
  machine = await Machine.start({ shell });
  await machine.sh(`
    echo 1000.25 4000.00 >/run/uptime; mount --bind /run/uptime /proc/uptime
    cp /proc/sys/kernel/random/boot_id /run/boot; mount --bind /run/boot /proc/sys/kernel/random/boot_id
    printf '#!/bin/sh\\ncase "$*" in *" watch "*) ;; *) exec /usr/bin/setsid "$@" ;; esac\\n' >/usr/local/bin/setsid
    chmod 755 /usr/local/bin/setsid
    nft add table inet foreign; nft add chain inet foreign here; iptables -A INPUT -s 192.0.2.77 -j ACCEPT`);
}

const clock = (seconds: number) => machine.sh(`echo ${seconds}.99 9000.00 >/run/uptime`);
const reboot = () =>
  machine.sh(`nft flush ruleset; iptables -A INPUT -s 192.0.2.77 -j ACCEPT
    nft add table inet foreign; nft add chain inet foreign here
    echo 5.00 9.00 >/run/uptime; echo another-boot >/run/boot`);

describe.each(PLANES)("%s", (plane) => {
  test("a set that nobody confirms goes back when its time is over, and not before", async () => {
    await startWithClock();
    await machine.apply("web", old(plane));
    const [rules, stored] = [await machine.rules(), await files()];
    expect(await onTrial("web", fresh(plane))).toMatchObject({ code: 0, stdout: "applied: farm web\n" });
    expect(await machine.stored("web")).toBe(fresh(plane));
    await clock(1059);
    expect(await expire()).toMatchObject({ code: 0, stderr: "" });
    expect(await machine.stored("web")).toBe(fresh(plane));
    expect(await machine.tool(["verify"])).toMatchObject({
      code: 0,
      stdout:
        "farm web is on trial: in 1 s the gateway goes back to the set before, unless it is confirmed\nin step: all farms\n",
    });
    await clock(1060);
    expect(await expire()).toMatchObject({
      code: 0,
      stderr:
        "netfilter-lb: farm web was not confirmed within 60 s: the gateway went back to the set before\n",
    });
    expect(sorted(await machine.rules())).toBe(sorted(rules));
    expect(await files()).toBe(stored);
    expect((await machine.tool(["verify"])).stdout).toMatch(
      /^a set of farm web was not confirmed within 60 s: the gateway went back at \S+Z\nin step: all farms\n$/,
    );
    expect(await trials()).toBe("web.returned\n");
  });

  test("a farm that was not there before goes", async () => {
    await startWithClock();
    const rules = await machine.rules();
    await onTrial("web", fresh(plane));
    await clock(1060);
    await expire();
    // iptables keeps the empty tables that it was asked for.
    const bare = (text: string) => text.split("\n").filter((line) => !/^[*:]|^COMMIT|^$/.test(line));
    const left = (await machine.rules()).replace(
      /table ip6? (raw|mangle|nat|filter) \{\n(\tchain.*\{\n.*\n\t\}\n+)*\}\n/g,
      "",
    );
    expect(bare(left)).toEqual(expect.arrayContaining(bare(rules).filter((line) => line.startsWith("-A"))));
    expect(left).not.toMatch(/netfilter_lb|NFLB/);
    expect(await files()).toBe("");
  });

  test("what is confirmed stays", async () => {
    await startWithClock();
    await machine.apply("web", old(plane));
    await onTrial("web", fresh(plane));
    expect(await confirm(fresh(plane))).toMatchObject({ code: 0, stdout: "confirmed: farm web\n" });
    expect(await trials()).toBe("");
    const rules = await machine.rules();
    await clock(9999);
    expect(await expire()).toMatchObject({ code: 0, stderr: "" });
    expect(sorted(await machine.rules())).toBe(sorted(rules));
    expect(await confirm(fresh(plane))).toMatchObject({
      code: 0,
      stdout: "confirmed already: farm web is on no trial\n",
    });
  });

  test("services that came from another farm go back to it", async () => {
    await startWithClock();
    const shop = ruleSet({ name: "shop", plane, services: [...SERVICES, "203.0.113.10 tcp 443"] });
    await machine.apply("shop", shop);
    const [rules, stored] = [await machine.rules(), await files()];
    expect(await onTrial("web", fresh(plane))).toMatchObject({ code: 0, stderr: "" });
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
    await clock(1060);
    await expire();
    expect(sorted(await machine.rules())).toBe(sorted(rules));
    expect(await files()).toBe(stored);
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
  });

  test("after a boot an unconfirmed set is never in force", async () => {
    await startWithClock();
    await machine.apply("web", old(plane));
    await machine.tool(["restore"]);
    const [rules, stored] = [await machine.rules(), await files()];
    await onTrial("web", fresh(plane));
    await reboot();
    const { code, stderr } = await machine.tool(["restore"]);
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr:
        "netfilter-lb: farm web was not confirmed within 60 s: the gateway went back to the set before\n",
    });
    expect(await files()).toBe(stored);
    expect(sorted(await machine.rules())).toBe(sorted(rules));
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
  });

  test("killed at any moment: the old set or the new, whole, and the next run agrees with the disk", async () => {
    await startWithClock();
    const sets = { old: old(plane), new: fresh(plane) };
    await machine.apply("web", sets.old);
    const began = performance.now();
    await onTrial("web", sets.new);
    const whole = performance.now() - began;
    await machine.apply("web", sets.old);
    const random = generator(7);
    const seen = { old: 0, new: 0, back: 0 };
    const rounds = 10;
    for (let round = 0; round < rounds; round++) {
      // Apply, confirm and the return, each killed somewhere: the apply early first, late in the end.
      await clock(1000);
      await machine.killed(
        [...applyArguments("web", sets.new), "--confirm", "60"],
        ((round + random()) / rounds) * whole * 1.5,
        sets.new,
      );
      await agrees();
      const applied = (await machine.stored("web")) === sets.new;
      seen[applied ? "new" : "old"]++;
      const confirmation = ["confirm", "web", "--owner", OWNER, "--sha256", sha256(sets.new)];
      if (round % 3 === 1) await machine.killed(confirmation, (random() * whole) / 2);
      await clock(1060);
      await machine.killed(["expire"], random() * whole * 1.3);
      await agrees();
      if (applied && (await machine.stored("web")) === sets.old) seen.back++;
      expect(await machine.apply("web", sets.old)).toMatchObject({ code: 0 });
      expect(await trials()).toBe("");
    }
    for (const times of Object.values(seen)) expect(times).toBeGreaterThan(0);

    async function agrees(): Promise<void> {
      expect(await expire()).toMatchObject({ code: 0 });
      expect([sets.old, sets.new]).toContain(await machine.stored("web"));
      expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
      expect(await machine.sh("ls -A /etc/netfilter-lb/farms")).toBe("web.rules\n");
    }
  });
});

/** Chains and tables change their order when they come again; `verify` looks at that of the rules. */
const sorted = (text: string) => text.split("\n").sort().join("\n");

/** Numbers between 0 and 1, the same in every run. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
}

describe("who goes back", () => {
  test.each([[["dash"]], [["busybox", "ash"]]])(
    "%s: the watcher that apply leaves behind, by itself",
    async (shell) => {
      machine = await Machine.start({ shell });
      await machine.sh(
        `printf '#!/bin/sh\\necho "$@" >>/run/syslog\\n' >/usr/local/bin/logger; chmod 755 /usr/local/bin/logger`,
      );
      await machine.apply("web", old("nftables"));
      const rules = await machine.rules();
      await machine.apply("web", fresh("nftables"), { confirm: 2 });
      await expect.poll(trials, { timeout: 30_000 }).toBe("web.returned\n");
      await expect
        .poll(() => machine.sh("cat /run/syslog 2>/dev/null || :"))
        .toBe(
          "-t netfilter-lb -p daemon.warning -- farm web was not confirmed within 2 s: the gateway went back to the set before\n",
        );
      expect(sorted(await machine.rules())).toBe(sorted(rules));
      await expect.poll(watchers, { timeout: 30_000 }).toBe("");
    },
  );

  test("the watcher ends when the set is confirmed", async () => {
    machine = await Machine.start();
    await machine.apply("web", fresh("nftables"), { confirm: 600 });
    expect(await watchers()).toMatch(/^\d+\n$/);
    await confirm(fresh("nftables"));
    await expect.poll(watchers, { timeout: 30_000 }).toBe("");
  });

  test("where the watcher was killed, the next command", async () => {
    await startWithClock();
    await machine.apply("web", old("nftables"));
    await onTrial("web", fresh("nftables"));
    await clock(1060);
    expect(await machine.tool(["status"])).toMatchObject({
      stdout: expect.stringContaining(
        "farm web was not confirmed within 60 s: netfilter-lb expire brings the set before back\n",
      ),
    });
    const other = ruleSet({ name: "other", services: ["203.0.113.12 tcp 80"] });
    expect(await machine.apply("other", other)).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("farm web was not confirmed"),
    });
    expect(await machine.stored("web")).toBe(old("nftables"));
  });

  test("where a session ends with all its processes, systemd's timer", async () => {
    await startWithClock();
    await machine.sh(`mkdir -p /run/systemd/system
      printf '#!/bin/sh\\necho "$@" >>/run/systemd/asked\\n' >/usr/local/bin/systemd-run
      cp /usr/local/bin/systemd-run /usr/local/bin/systemctl; chmod 755 /usr/local/bin/system*`);
    await onTrial("web", fresh("nftables"));
    await confirm(fresh("nftables"));
    const timer =
      "--quiet --collect --unit=netfilter-lb-trial-web --on-active=60 --timer-property=AccuracySec=1s " +
      "/usr/local/sbin/netfilter-lb expire";
    const stop = "stop netfilter-lb-trial-web.timer";
    expect(await machine.sh("cat /run/systemd/asked")).toBe(
      `${[stop, timer, stop, timer, stop].join("\n")}\n`,
    );
  });
});

/** Processes that watch. */
const watchers = () =>
  machine.sh(
    `for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null | grep -q ' watch web $' && echo "\${p#/proc/}"; done; :`,
  );

test("a clock that jumps, either way, neither ends a trial nor lengthens it", async () => {
  await startWithClock();
  await machine.apply("web", old("nftables"));
  for (const year of ["1999", "2099"]) {
    await machine.sh(`cat >/usr/local/bin/date <<'EOF'
#!/bin/sh
case $* in *%s*) exec /bin/date -u -d ${year}-01-01 +%s ;; esac
echo ${year}-01-01T00:00:00Z
EOF
    chmod 755 /usr/local/bin/date`);
    await clock(1000);
    await onTrial("web", fresh("nftables"));
    await machine.sh(`sed -i 's/${year}/${year === "1999" ? "2099" : "1999"}/' /usr/local/bin/date`);
    await clock(1059);
    await expire();
    expect(await machine.stored("web")).toBe(fresh("nftables"));
    await clock(1060);
    await expire();
    expect(await machine.stored("web")).toBe(old("nftables"));
  }
});

describe("a confirmation", () => {
  beforeEach(() => startWithClock());

  test("over the connection that the set came by is refused", async () => {
    await onTrial("web", fresh("nftables"));
    expect(await confirm(fresh("nftables"), { ssh: FROM })).toMatchObject({
      code: 3,
      stderr:
        "netfilter-lb: the set of farm web came over this very SSH connection: open a new one and confirm it there\n",
    });
    expect(await trials()).toBe("web.trial\n");
  });

  test("of another set, or by another stack, is refused, and the trial goes on", async () => {
    await onTrial("web", fresh("nftables"));
    const { code, stderr } = await confirm(old("nftables"));
    expect(code).toBe(3);
    expect(stderr).toContain(
      `the set of farm web with the SHA-256 ${sha256(old("nftables"))} is not here to be confirmed: ` +
        `the gateway holds ${sha256(fresh("nftables"))}, so somebody changed it since; look at netfilter-lb status, ` +
        "and bring yours in with pulumi up --replace URN of the Command web-edge-1",
    );
    expect(await confirm(fresh("nftables"), { owner: "shop/dev/edge-1" })).toMatchObject({ code: 3 });
    expect(await confirm(fresh("nftables"), { farm: "db" })).toMatchObject({ code: 3 });
    expect(await trials()).toBe("web.trial\n");
  });

  test.each(PLANES)(
    "%s: of a set that went back is told so; asked again, brings it in on trial",
    async (plane) => {
      await machine.apply("web", old(plane));
      await onTrial("web", fresh(plane));
      const rules = await machine.rules();
      await clock(1060);
      // It waited for a connection all along, and is the first to come after the end.
      const late = await confirm(fresh(plane));
      expect(late.code).toBe(8);
      expect(late.stderr).toMatch(
        /the new set of farm web was not confirmed within 60 s, so at \S+Z this gateway went back to the set before\. If the new set shuts SSH out, change the farm; if the connection failed for another reason, run pulumi up again/,
      );
      expect(await machine.stored("web")).toBe(old(plane));
      expect(await confirm(fresh(plane))).toMatchObject({
        code: 8,
        stdout: "applied: farm web\n",
        stderr:
          "netfilter-lb: the set of farm web that was not confirmed before is in force again, on trial for 60 s: " +
          "run pulumi up once more within that time to confirm it, else this gateway goes back to the set before\n",
      });
      expect(sorted(await machine.rules())).toBe(sorted(rules));
      expect(await machine.stored("web")).toBe(fresh(plane));
      expect(await confirm(fresh(plane), { ssh: FROM })).toMatchObject({
        code: 0,
        stdout: "confirmed: farm web\n",
      });
      expect(await trials()).toBe("");
    },
  );
});

describe("during a trial", () => {
  beforeEach(() => startWithClock());
  const other = ruleSet({ services: SERVICES, backends: ["10.0.0.9"] });

  test("another set on trial goes back to where the first began", async () => {
    await machine.apply("web", old("nftables"));
    const rules = await machine.rules();
    await onTrial("web", fresh("nftables"));
    await clock(1050);
    await onTrial("web", other);
    await clock(1060);
    await expire();
    expect(await machine.stored("web")).toBe(other);
    await clock(1110);
    await expire();
    expect(sorted(await machine.rules())).toBe(sorted(rules));
  });

  test("a second one that fails leaves the first on trial; a first one that fails leaves none", async () => {
    await machine.apply("web", old("nftables"));
    const bad = ruleSet({ services: SERVICES, extra: "dnat to 10.0.0.300" });
    expect(await onTrial("web", bad)).toMatchObject({ code: 1 });
    expect(await trials()).toBe("");
    await onTrial("web", fresh("nftables"));
    expect(await onTrial("web", bad)).toMatchObject({ code: 1 });
    expect(await machine.stored("web")).toBe(fresh("nftables"));
    await clock(1060);
    await expire();
    expect(await machine.stored("web")).toBe(old("nftables"));
  });

  test("a set without a trial ends it, the very same one too", async () => {
    await machine.apply("web", old("nftables"));
    for (const set of [other, fresh("nftables")]) {
      await onTrial("web", ruleSet({ services: SERVICES, backends: ["10.0.0.8"] }));
      await onTrial("web", fresh("nftables"));
      expect(await trials()).toBe("web.trial\n");
      expect(await machine.apply("web", set)).toMatchObject({ code: 0 });
      expect(await trials()).toBe("");
      await clock(1060);
      await expire();
      expect(await machine.stored("web")).toBe(set);
    }
  });

  test("the same set again begins its time anew", async () => {
    await machine.apply("web", old("nftables"));
    await onTrial("web", fresh("nftables"));
    await clock(1050);
    expect(await onTrial("web", fresh("nftables"))).toMatchObject({ stdout: "unchanged: farm web\n" });
    await clock(1109);
    await expire();
    expect(await machine.stored("web")).toBe(fresh("nftables"));
    await clock(1110);
    await expire();
    expect(await machine.stored("web")).toBe(old("nftables"));
  });

  test("a set that is in force already is on none", async () => {
    await machine.apply("web", old("nftables"));
    expect(await onTrial("web", old("nftables"))).toMatchObject({ stdout: "unchanged: farm web\n" });
    await machine.sh("nft flush ruleset");
    expect(await onTrial("web", old("nftables"))).toMatchObject({ stdout: "applied: farm web\n" });
    expect(await trials()).toBe("");
  });

  test("a farm that is removed, or whose stack leaves, comes not back", async () => {
    const shop = ruleSet({ name: "shop", services: SERVICES });
    await machine.apply("shop", shop);
    await onTrial("web", fresh("nftables"));
    // The farm that lost all it had is removed, too.
    expect(await machine.remove("shop")).toMatchObject({ code: 0 });
    await clock(1060);
    await expire();
    expect(await files()).toBe("");
    await machine.apply("web", old("nftables"));
    await onTrial("web", fresh("nftables"));
    await machine.remove("web");
    expect(await trials()).toBe("");
    await machine.tool(["prepare", "--owner", OWNER]);
    await onTrial("web", fresh("nftables"));
    await machine.tool(["retire", "--owner", OWNER]);
    await clock(9999);
    expect(await expire()).toMatchObject({ code: 0, stdout: "no farm is on trial\n" });
    expect(await machine.rules()).not.toContain("netfilter_lb");
  });

  test("a farm on trial gives its services to nobody", async () => {
    await onTrial("web", fresh("nftables"));
    expect(await machine.apply("shop", fresh("nftables", "shop"))).toMatchObject({
      code: 3,
      stderr:
        "netfilter-lb: farm web, whose services farm shop takes over, is on trial: run this again when that is over\n",
    });
  });

  test("a service that another farm claimed meanwhile stays with that one", async () => {
    const both = ruleSet({ services: ["203.0.113.10 tcp 80", "203.0.113.10 tcp 443"] });
    const shop = ruleSet({ name: "shop", services: ["203.0.113.10 tcp 443"], backends: ["10.0.0.7"] });
    await machine.apply("web", both);
    await onTrial("web", ruleSet({ services: ["203.0.113.10 tcp 80"] }));
    await machine.apply("shop", shop);
    await clock(1060);
    await expire();
    expect(await machine.stored("shop")).toBe(shop);
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
    expect(await machine.sh("grep -h '^# service' /etc/netfilter-lb/farms/*")).toBe(
      "# service 203.0.113.10 tcp 443\n# service 203.0.113.10 tcp 80\n",
    );
  });

  test.each([
    [["web", "shop"], "web"],
    [["web", "shop"], "shop"],
    [["shop", "web"], "web"],
    [["shop", "web"], "shop"],
  ])(
    "%j, which a service moves between: it is back where it was when %s goes back first",
    async (order, first) => {
      const both = ruleSet({ services: ["203.0.113.10 tcp 80", "203.0.113.10 tcp 443"] });
      const one = ruleSet({ services: ["203.0.113.10 tcp 80"] });
      const shop = ruleSet({ name: "shop", services: ["203.0.113.10 tcp 443"], backends: ["10.0.0.7"] });
      await machine.apply("web", both);
      const [rules, stored] = [await machine.rules(), await files()];
      for (const farm of order)
        expect(await onTrial(farm, farm === "web" ? one : shop)).toMatchObject({ code: 0, stderr: "" });
      await machine.sh(`sed -i 's/^# until .*/# until 1/' /etc/netfilter-lb/trials/${first}.trial`);
      await expire();
      expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
      await clock(1060);
      await expire();
      expect(await files()).toBe(stored);
      expect(sorted(await machine.rules())).toBe(sorted(rules));
    },
  );

  test("status says so, in words and in JSON", async () => {
    await onTrial("web", fresh("nftables"));
    await clock(1018);
    const line =
      "farm web is on trial: in 42 s the gateway goes back to the set before, unless it is confirmed";
    expect((await machine.tool(["status"])).stdout).toContain(`\n${line}\n`);
    expect(JSON.parse((await machine.tool(["status", "--json"])).stdout)).toMatchObject({
      farms: [{ name: "web", trial: { secondsLeft: 42 } }],
      warnings: [line],
    });
    await confirm(fresh("nftables"));
    expect(JSON.parse((await machine.tool(["status", "--json"])).stdout)).toMatchObject({
      farms: [{ name: "web", trial: null }],
      warnings: [],
    });
  });
});

test("a boot with a read-only /etc restores what is stored, and says what it could not undo", async () => {
  await startWithClock();
  await machine.apply("web", old("nftables"));
  await onTrial("web", fresh("nftables"));
  // What an apply that was killed leaves.
  await machine.sh("cp /etc/netfilter-lb/trials/web.trial /etc/netfilter-lb/trials/db.trial");
  await reboot();
  await machine.sh("mount --bind /etc /etc && mount -o remount,ro,bind /etc");
  const { code, stdout, stderr } = await machine.tool(["restore"]);
  await machine.sh("umount /etc");
  expect({ code, stdout }).toEqual({ code: 0, stdout: "restored: 1 farms\n" });
  expect(stderr).toContain("cannot remove /etc/netfilter-lb/trials/db.trial: is /etc writable?");
  expect(stderr).toContain("ATTENTION: farm web was not confirmed within 60 s, and its set stays");
  await machine.tool(["restore"]);
  expect(await machine.stored("web")).toBe(old("nftables"));
  expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
  expect(await trials()).toBe("web.returned\n");
});

test("where systemd cannot be reached, the watcher is enough", async () => {
  machine = await Machine.start({ systemd: true });
  await machine.sh("rm -f /usr/local/bin/systemctl");
  expect(await machine.apply("web", old("nftables"), { confirm: 2 })).toMatchObject({ code: 0, stderr: "" });
  await expect.poll(trials, { timeout: 30_000 }).toBe("web.returned\n");
});

test("a return that fails is loud, leaves the set whole, and is tried again", async () => {
  await startWithClock();
  await machine.apply("web", old("nftables"));
  const rules = await machine.rules();
  await onTrial("web", fresh("nftables"));
  await machine.sh(`cat >/usr/local/sbin/nft <<'EOF'
#!/bin/sh
case "$*" in *-f*) grep -q '10\\.0\\.0\\.3' "$2" && { echo "Error: no luck today" >&2; exit 1; } ;; esac
exec /usr/sbin/nft "$@"
EOF
    chmod 755 /usr/local/sbin/nft
    printf '#!/bin/sh\\necho "$@" >>/run/syslog\\n' >/usr/local/bin/logger; chmod 755 /usr/local/bin/logger`);
  await clock(1060);
  const attention =
    "ATTENTION: farm web was not confirmed within 60 s, and its set stays, because going back failed (netfilter-lb: the " +
    "return of farm web failed, the last good set stays in force; the kernel said: Error: no luck today; change what this " +
    "names and run this again); mend the cause and run: netfilter-lb expire\n";
  expect(await expire()).toMatchObject({ code: 1, stderr: `netfilter-lb: ${attention}` });
  expect(await machine.sh("cat /run/syslog")).toBe(`-t netfilter-lb -p daemon.warning -- ${attention}`);
  expect(await machine.stored("web")).toBe(fresh("nftables"));
  await machine.sh("rm /usr/local/sbin/nft");
  expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
  await expire();
  expect(sorted(await machine.rules())).toBe(sorted(rules));
});

test("a return that cannot be stored leaves kernel and disk at one, and is tried again", async () => {
  await startWithClock();
  const shop = ruleSet({ name: "shop", services: [...SERVICES, "203.0.113.10 tcp 443"] });
  await machine.apply("shop", shop);
  const [rules, stored] = [await machine.rules(), await files()];
  await onTrial("web", fresh("nftables"));
  await clock(1060);
  // The file of the farm that lost its services can be written, and the farm's own not be removed.
  await machine.sh(`cat >/usr/local/bin/rm <<'EOF'
#!/bin/sh
case "$*" in *farms/web.rules) exit 1 ;; esac
exec /bin/rm "$@"
EOF
    chmod 755 /usr/local/bin/rm`);
  const { code, stderr } = await expire();
  expect(code).toBe(1);
  expect(stderr).toContain("ATTENTION: farm web was not confirmed within 60 s, and its set stays");
  expect(await machine.stored("web")).toBe(fresh("nftables"));
  await machine.sh("/bin/rm /usr/local/bin/rm");
  expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
  await expire();
  expect(sorted(await machine.rules())).toBe(sorted(rules));
  expect(await files()).toBe(stored);
});

test.each([
  [["apply", "web", "--confirm", "0"], 'a set is on trial for 1 to 9999 seconds, not "0"'],
  [["apply", "web", "--confirm", "soon"], 'a set is on trial for 1 to 9999 seconds, not "soon"'],
  [["apply", "web", "--confirm", ""], "--confirm wants a number of seconds"],
  [["confirm", "web", "--owner", OWNER], "--sha256 wants 64 hex digits"],
])("%j is refused", async (words, message) => {
  machine = await Machine.start();
  expect(await machine.tool(words)).toMatchObject({ code: 2, stderr: `netfilter-lb: ${message}\n` });
});
