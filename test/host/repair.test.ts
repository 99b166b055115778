import { afterEach, describe, expect, test } from "vitest";
import { type Plane, ruleSet } from "./fixtures";
import { Machine, OWNER } from "./support";

/** After a foreign flush everything is back, by what a timer calls. */

let machine: Machine;
afterEach(() => machine.end());

const SERVICES = ["203.0.113.10 tcp 80", "203.0.113.10 udp 5000-5010", "2001:db8::10 tcp 80"];
const UNITS = "/etc/systemd/system";

/** A prepared machine with two farms, whose log is a file. */
async function start(plane: Plane, iptables: "nft" | "legacy" = "nft"): Promise<void> {
  machine = await Machine.start({ iptables });
  await machine.sh(
    "printf '#!/bin/sh\\necho \"$*\" >>/run/log\\n' >/usr/local/bin/logger; chmod 755 /usr/local/bin/logger; : >/run/log",
  );
  await machine.tool(["prepare", "--owner", OWNER]);
  await machine.apply("web", ruleSet({ plane, services: SERVICES, masquerade: true }));
  await machine.apply("db", ruleSet({ plane, name: "db", services: ["203.0.113.12 tcp 5432"] }));
}

const log = () => machine.sh("cat /run/log");
const sorted = async () => (await machine.rules()).split("\n").sort();

/** Nothing is missing and nothing is done. */
async function expectQuiet(): Promise<void> {
  await machine.sh(": >/run/log");
  expect(await machine.tool(["repair"])).toEqual({ code: 0, stdout: "", stderr: "" });
  expect(await log()).toBe("");
}

const NAT_FLUSH = "iptables -t nat -F; ip6tables -t nat -F";
const FLUSH = "for t in raw mangle nat filter; do iptables -t $t -F; ip6tables -t $t -F; done";
const RESTORE = `for t in mangle nat filter; do printf '*%s\\nCOMMIT\\n' $t; done | tee /run/empty | iptables-restore; ip6tables-restore </run/empty`;

/** What other programs and hands do to rules that are not theirs. */
const FLUSHES: [what: string, command: string, plane: Plane, iptables: "nft" | "legacy"][] = [
  ["nft flush ruleset", "nft flush ruleset", "nftables", "nft"],
  ["nft flush ruleset ip", "nft flush ruleset ip", "nftables", "nft"],
  ["nft flush ruleset", "nft flush ruleset", "iptables nat", "nft"],
  ["nft flush ruleset", "nft flush ruleset", "iptables zevenet", "nft"],
  ...(["nft", "legacy"] as const).flatMap((variant) =>
    (["iptables nat", "iptables zevenet"] as const).flatMap((plane): typeof FLUSHES => [
      ["iptables -F in each table", FLUSH, plane, variant],
      ["only nat flushed", NAT_FLUSH, plane, variant],
      ["nat flushed and emptied of chains", `${NAT_FLUSH}; iptables -t nat -X`, plane, variant],
      ["another rule set restored over it", RESTORE, plane, variant],
    ]),
  ),
];

describe("repair", () => {
  test.each(FLUSHES)("%s", async (_, flush, plane, iptables) => {
    await start(plane, iptables);
    const good = await sorted();
    await expectQuiet();
    await machine.sh(flush);
    expect(await sorted()).not.toEqual(good);
    const repaired = await machine.tool(["repair"]);
    expect(repaired).toMatchObject({ code: 0, stderr: "" });
    expect(repaired.stdout).toMatch(/^repaired 2 farms: missing was ip \S+ /);
    expect(await log()).toBe(`-t netfilter-lb -p daemon.warning -- ${repaired.stdout}`);
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
    // Elsewhere the empty chains of the hooks stay as the flush left them.
    if (plane === "nftables") expect(await sorted()).toEqual(good);
    await expectQuiet();
  });

  test("rules of others that came meanwhile stay", async () => {
    await start("iptables nat");
    await machine.sh(
      `${FLUSH}; iptables -t nat -A PREROUTING -s 192.0.2.9 -j ACCEPT; iptables -A FORWARD -s 192.0.2.9 -j DROP`,
    );
    await machine.tool(["repair"]);
    expect(await machine.sh("iptables-save")).toMatch(/-A PREROUTING -s 192\.0\.2\.9\/32 -j ACCEPT/);
    expect(await machine.sh("iptables -S FORWARD")).toMatch(/-s 192\.0\.2\.9\/32 -j DROP/);
  });

  test("a FORWARD that begins to drop is opened for farms of nftables", async () => {
    await start("nftables");
    await machine.sh("iptables -P FORWARD DROP");
    expect(await machine.tool(["repair"])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("ip filter FORWARD -j NFLB-FORWARD"),
    });
    expect(await machine.sh("iptables -S NFLB-FORWARD")).toContain(
      "--ctorigdst 203.0.113.12 --ctorigdstport 5432 -j ACCEPT",
    );
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
    await expectQuiet();
  });

  test("forwarding that was switched off", async () => {
    await start("nftables");
    await machine.sh("echo 0 >/proc/sys/net/ipv4/ip_forward");
    expect(await machine.tool(["repair"])).toMatchObject({
      code: 0,
      stdout: "repaired 2 farms: missing was net.ipv4.ip_forward = 1\n",
    });
    expect(await machine.sh("cat /proc/sys/net/ipv4/ip_forward")).toBe("1\n");
    await expectQuiet();
  });

  test("waits for nobody: whoever holds the lock is at work on these rules", async () => {
    await start("nftables");
    await machine.sh("nft flush ruleset");
    const holder = machine.sh(
      "flock /run/netfilter-lb.lock sh -c 'touch /run/held; until [ -e /run/done ]; do sleep 0.05; done'",
    );
    await machine.sh("until [ -e /run/held ]; do sleep 0.05; done");
    expect(await machine.tool(["repair"])).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(await machine.sh("nft list tables")).toBe("");
    await machine.sh("touch /run/done");
    await holder;
    expect(await machine.tool(["repair"])).toMatchObject({
      stdout: expect.stringContaining("repaired 2 farms"),
    });
  });

  test.each(["nftables", "iptables nat"] as const)(
    "%s: called all the while, it takes nothing from applies",
    async (plane) => {
      await start(plane);
      const loop = machine.sh(
        `until [ -e /run/done ]; do ${machine.shell.join(" ")} /usr/local/lib/netfilter-lb repair; done`,
      );
      for (let round = 0; round < 12; round++) {
        const set = ruleSet({ plane, services: SERVICES, masquerade: round % 2 === 1 });
        expect(await machine.apply("web", set)).toMatchObject({
          code: 0,
          stdout: "applied: farm web\n",
          stderr: "",
        });
      }
      await machine.sh("touch /run/done");
      await loop;
      expect(await log()).toBe("");
      expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
    },
  );

  test("on a machine without farms does nothing", async () => {
    machine = await Machine.start();
    expect(await machine.tool(["repair"])).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(await machine.sh("ls -A /run/netfilter-lb.lock /etc/netfilter-lb 2>/dev/null || :")).toBe("");
  });
});

describe("the timer", () => {
  const prepare = (...args: string[]) => machine.tool(["prepare", "--owner", OWNER, ...args]);
  const units = () => machine.sh(`cd ${UNITS}; ls *.wants/* netfilter-lb* 2>/dev/null || :`);
  const timer = () => machine.sh(`cat ${UNITS}/netfilter-lb-repair.timer`);
  const BOOT = "multi-user.target.wants/netfilter-lb.service\nnetfilter-lb.service\n";

  test("comes with the option, changes with it, and goes with it", async () => {
    machine = await Machine.start({ systemd: true });
    await prepare();
    expect(await units()).toBe(BOOT);
    expect(await prepare("--repair-every", "5")).toEqual({
      code: 0,
      stdout: `prepared for ${OWNER}\n`,
      stderr: "",
    });
    expect((await units()).split("\n")).toEqual(
      expect.arrayContaining([
        "netfilter-lb-repair.service",
        "netfilter-lb-repair.timer",
        "timers.target.wants/netfilter-lb-repair.timer",
      ]),
    );
    expect(await timer()).toMatch(/^OnUnitInactiveSec=5\nAccuracySec=1s$/m);
    expect(await machine.sh(`cat ${UNITS}/netfilter-lb-repair.service`)).toMatch(
      /^ExecStart=\/usr\/local\/sbin\/netfilter-lb repair$/m,
    );
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
    await machine.sh("cat /run/systemd/started/netfilter-lb-repair.timer");
    await prepare("--repair-every", "60");
    expect(await timer()).toContain("OnUnitInactiveSec=60\n");
    await prepare();
    expect(await units()).toBe(BOOT);
  });

  test("runs as often as the most impatient stack asks for, and goes with the last", async () => {
    machine = await Machine.start({ systemd: true });
    await machine.tool(["prepare", "--owner", "shop/test/edge-1", "--repair-every", "30"]);
    await prepare("--repair-every", "10");
    expect(await timer()).toContain("OnUnitInactiveSec=10\n");
    await machine.tool(["retire", "--owner", OWNER]);
    expect(await timer()).toContain("OnUnitInactiveSec=30\n");
    await machine.tool(["retire", "--owner", "shop/test/edge-1"]);
    expect(await units()).toBe("");
  });

  test("is missed by verify, and put back by an apply that mends", async () => {
    machine = await Machine.start({ systemd: true });
    await prepare("--repair-every", "10");
    await machine.apply("web", ruleSet());
    await machine.sh(`rm ${UNITS}/netfilter-lb-repair.timer ${UNITS}/timers.target.wants/*`);
    const { stdout } = await machine.tool(["verify"]);
    expect(stdout).toContain(`- base unit ${UNITS}/netfilter-lb-repair.timer the unit\n`);
    expect(await machine.apply("web", ruleSet(), { repair: "1" })).toMatchObject({ code: 0 });
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
  });

  test("holds nothing that systemd does not know", async () => {
    machine = await Machine.start({ systemd: true });
    await prepare("--repair-every", "10");
    await machine.sh(
      "printf '#!/bin/sh\\n' >/usr/local/sbin/netfilter-lb; chmod 755 /usr/local/sbin/netfilter-lb",
    );
    const known =
      /^(\[(Unit|Service|Timer|Install)\]|(Description|Documentation|After|ConditionPathIsDirectory|Type|ExecStart|StandardOutput|LogLevelMax|OnActiveSec|OnUnitInactiveSec|AccuracySec|WantedBy)=.+|)$/;
    for (const name of ["service", "timer"])
      for (const line of (await machine.sh(`cat ${UNITS}/netfilter-lb-repair.${name}`)).split("\n"))
        expect(line).toMatch(known);
  });

  test("where systemd does not run, prepare says what to call, and that does it", async () => {
    await start("iptables nat");
    const { stdout } = await prepare("--repair-every", "2");
    const call = /have "(.*)" called every 2 s/.exec(stdout)?.[1];
    expect(call).toBe("/usr/local/sbin/netfilter-lb repair");
    await machine.sh(
      "cp /usr/local/lib/netfilter-lb /usr/local/sbin/netfilter-lb; chmod 755 /usr/local/sbin/netfilter-lb",
    );
    const loop = machine.sh(`until [ -e /run/done ]; do ${call}; sleep 0.2; done`);
    const rules = () => machine.sh("iptables -t nat -S | sort");
    const good = await rules();
    let flushes = 0;
    for (const flush of ["iptables -t nat -F", "nft flush ruleset", FLUSH]) {
      await machine.sh(flush);
      await expect.poll(rules, { timeout: 20_000 }).toBe(good);
      // The log has a line when all of it is done.
      await expect
        .poll(async () => (await log()).match(/\n/g)?.length ?? 0, { timeout: 20_000 })
        .toBe(++flushes);
    }
    await machine.sh("touch /run/done");
    await loop;
    expect((await log()).trim().split("\n")).toHaveLength(3);
  });

  test.each(["1", "3601", "x", "-5", "00002"])("refuses %s seconds", async (seconds) => {
    machine = await Machine.start({ systemd: true });
    const { code, stderr } = await prepare("--repair-every", seconds);
    expect(code).toBe(2);
    expect(stderr).toContain(`--repair-every wants 2 to 3600 seconds, not "${seconds}"`);
    expect(await units()).toBe("");
  });
});
