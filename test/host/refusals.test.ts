import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { version } from "../../package.json";
import { compile } from "../../src/core";
import { toolText } from "../../src/host/tool";
import { anyCase, EVERYTHING } from "../spec/farms";
import { plainEnvironment } from "../support/lab/process";
import { PLANES, ruleSet } from "./fixtures";
import { applyArguments, Machine, OWNER } from "./support";

let machine: Machine;
beforeAll(async () => {
  machine = await Machine.start();
});
afterEach(async () => {
  await machine.tool(["retire", "--owner", OWNER]);
});
afterAll(() => machine.end());

async function expectUntouched(action: () => Promise<{ code: number }>, code: number): Promise<void> {
  const before = [await machine.rules(), await machine.stored("web")];
  expect(await action()).toMatchObject({ code });
  expect([await machine.rules(), await machine.stored("web")]).toEqual(before);
}

describe("a damaged rule set", () => {
  const good = ruleSet({ services: ["203.0.113.10 tcp 80", "203.0.113.10 tcp 443"], masquerade: true });

  test("cut anywhere changes nothing", async () => {
    await machine.apply("web", ruleSet());
    for (let tenth = 0; tenth < 10; tenth++) {
      const arrives = good.slice(0, Math.floor((good.length * tenth) / 10));
      await expectUntouched(() => machine.apply("web", good, { arrives }), 4);
    }
    const cut = await machine.apply("web", good, { arrives: good.slice(0, 100) });
    expect(cut.stderr).toBe(
      `netfilter-lb: the rule set of farm web arrived with 100 bytes instead of ${good.length}: ` +
        "was the connection cut? Run this again; if it stays so, a start-up file of the user's shell may read standard input\n",
    );
  });

  test("with one byte changed changes nothing", async () => {
    const arrives = good.replace("10.0.0.3", "10.0.0.9");
    const outcome = await machine.apply("web", good, { arrives });
    expect(outcome).toMatchObject({ code: 4, stdout: "" });
    expect(outcome.stderr).toContain("SHA-256");
  });

  test.each([
    ["another version", (set: string) => set.replace("rule set 1", "rule set 2")],
    ["another farm", (set: string) => set.replace("# farm web", "# farm db")],
    ["an unknown data plane", (set: string) => set.replace("nftables", "ipvs")],
    ["no service", (set: string) => set.replace(/# service.*\n/g, "")],
    [
      "a base chain",
      (set: string) => set.replace("\t\tmasquerade", "\t\ttype filter hook input priority 0;"),
    ],
    ["a way out of its table", (set: string) => set.replace("\t\tmasquerade", "\t\t} } flush ruleset")],
    ["a way out behind a comment", (set: string) => set.replace("\t\tmasquerade", '\t\t"#" } }')],
    ["a file to include", (set: string) => set.replace("\t\tmasquerade", '\t\tinclude "/etc/shadow"')],
    [
      "a way out in a string of two lines",
      (set: string) =>
        set.replace(
          "\t\tmasquerade",
          '\t\tlog prefix "a\n" ; } ; delete table inet theirs ; add chain ip netfilter_lb web.x { log prefix "b\n" ;',
        ),
    ],
    [
      "an element for a shared set",
      (set: string) => set.replace("\t\tmasquerade", "\t\tadd @guarded { ip saddr }"),
    ],
    ["another farm's chain", (set: string) => set.replace("\t\tmasquerade", "\t\tgoto db.1234abcd")],
    ["a name for an address", (set: string) => set.replaceAll("203.0.113.10", "cafe.de")],
    ["another form of an address", (set: string) => set.replaceAll("203.0.113.10", "203.0.113.010")],
    ["a NUL", (set: string) => set.replace("\t\tmasquerade", "\t\tmasquerade \0 } }")],
    ["a carriage return", (set: string) => set.replace("\t\tmasquerade", "\t\tmasquerade\r")],
    ["a shared chain's name", (set: string) => set.replace("short-name web", "short-name OUTPUT")],
    ["a foreign table", (set: string) => `${set}add table ip theirs\n`],
    [
      "an address in a map of the other family",
      (set: string) => set.replace("element ip netfilter_lb services", "element ip6 netfilter_lb services"),
    ],
    ["a service it does not name", (set: string) => set.replace(/tcp \. 443/g, "tcp . 22")],
    [
      "a service behind the backends, where nobody looks for it",
      (set: string) => set.replace(/^# service .*\n/m, "# backend 10.0.0.3 0x1 1/1\n$&"),
    ],
    ["a foreign chain", (set: string) => set.replace(/goto web\./, "goto translate # web.")],
    ["its end missing", (set: string) => set.slice(0, set.indexOf("}\nadd"))],
  ])("that holds %s is refused", async (_, change) => {
    const set = change(good);
    expect(set).not.toBe(good);
    const outcome = await machine.apply("web", set);
    expect(outcome).toMatchObject({ code: 4, stdout: "" });
    expect(outcome.stderr).toMatch(/^netfilter-lb: the rule set of farm web is damaged: .*\n$/);
    expect(await machine.tool(["list"])).toMatchObject({ stdout: "" });
  });

  test("that translates to an address of the other family is the rule set's fault, not the gateway's", async () => {
    const set = good.replace(/(0x[0-9a-f]+ : )10\.0\.0\.3/, "$12001:db8::3");
    expect(set).not.toBe(good);
    const outcome = await machine.apply("web", set);
    expect(outcome).toMatchObject({ code: 1, stdout: "" });
    expect(outcome.stderr).toContain("change what this names");
  });

  test.each([
    ["a foreign chain", (set: string) => set.replace("-A NFLB-INPUT", "-A INPUT")],
    ["rules of the other family", (set: string) => set.replace("# ip\n", "# ip6\n")],
    ["a foreign table", (set: string) => set.replace("*nat", "*security")],
    ["a service it does not name", (set: string) => set.replaceAll("--dport 80", "--dport 22")],
    ["another farm's chain", (set: string) => set.replaceAll("NFLB-web", "NFLB-db")],
    ["a deletion", (set: string) => set.replace("*nat\n", "*nat\n-F PREROUTING\n")],
    ["a negation", (set: string) => set.replace("-A NFLB-INPUT -d", "-A NFLB-INPUT ! -d")],
    [
      "a service in a comment",
      (set: string) =>
        set.replace(
          "-A NFLB-INPUT -d",
          '-A NFLB-INPUT -m comment --comment "x -d 203.0.113.10/32 -p tcp --dport 80 y" -j DROP\n-A NFLB-INPUT -d',
        ),
    ],
    ["a module of its own choice", (set: string) => set.replace("-m statistic", "-M /tmp/x -m statistic")],
    [
      "a foreign list",
      (set: string) => set.replace("-m statistic", "-m recent --name theirs --remove -m statistic"),
    ],
    ["a jump to a foreign chain", (set: string) => set.replace(/-g NFLB-web\.\S+/, "-j DOCKER")],
    ["a shared chain's name", (set: string) => set.replace("short-name web", "short-name INPUT")],
  ])("for iptables that holds %s is refused", async (_, change) => {
    expect(await machine.apply("web", change(ruleSet({ plane: "iptables nat" })))).toMatchObject({ code: 4 });
  });
});

describe("what remembers, counts, limits and logs", () => {
  async function expectRefused(good: string, [from, to]: readonly [string | RegExp, string]): Promise<void> {
    const set = good.replace(from, to);
    expect(set).not.toBe(good);
    const outcome = await machine.apply("web", set);
    expect(outcome).toMatchObject({ code: 4, stdout: "" });
    expect(outcome.stderr).toMatch(/^netfilter-lb: the rule set of farm web is damaged: .*\n$/);
    expect(await machine.tool(["list"])).toMatchObject({ stdout: "" });
  }

  test.each<[string, string | RegExp, string]>([
    ["a map of another farm", "\tmap web.", "\tmap db."],
    ["a set of the shared table", "\tset web.counters ", "\tset guarded "],
    ["a set that is called like a chain", "\tset web.counters ", "\tset web.farm "],
    [
      "more than one object in a line",
      "flags dynamic; counter; }",
      "flags dynamic; counter; }; set x { type mark; }",
    ],
    ["something before an object's braces", "\tset web.counters {", "\tset web.counters } ; flush ruleset {"],
    ["elements", "flags dynamic; counter; }", "flags dynamic; counter; elements = { 0x1 }; }"],
    [
      "an object of another type",
      "web.connections.9 { type ipv4_addr; size 1;",
      "web.connections.9 { type ifname; size 1;",
    ],
    ["an unknown helper", 'type "ftp"', 'type "mine"'],
    ["another name's helper", 'ct helper set "web.ftp.tcp"', 'ct helper set "db.ftp.tcp"'],
    ["a statement for a set of another farm", "update @web.counters", "update @db.counters"],
    ["a statement for a shared set", "update @web.counters", "update @guarded"],
    ["a statement for a set that it does not bring", "update @web.counters", "update @web.counters2"],
    [
      "a deletion from a shared map",
      /delete @web\.affinity\S+ \{ ip saddr : ct mark }/,
      "delete @services { ip daddr . tcp . 80 }",
    ],
    ["a look-up in a shared map", /map @web\.affinity\S+/, "map @services"],
    [
      "a statement behind a statement",
      "update @web.counters { ct mark }",
      "update @web.counters { ct mark } accept",
    ],
    ["a statement in braces", "\t\t\t0x3 : ", "\t\t\tupdate @web.counters { ct mark }\n\t\t\t0x3 : "],
    ["a statement one column to the left", "\t\tct helper set", "};ct helper set"],
    ["a longer log prefix", 'prefix "web:"', `prefix "${"w".repeat(29)}"`],
    ["a log prefix with a quote", 'prefix "web:"', 'prefix "web" ; flush ruleset ; log prefix ""'],
    ["a log prefix with a blank", 'prefix "web:"', 'prefix "web: "'],
    ["a rate that forgets with its chain", /update @web\.rate-all\S+ \{ .* (limit .*) }/, "$1"],
    ["a rate of another farm", "update @web.rate-all", "update @db.rate-all"],
    ["a rate by something else", "{ ip daddr & 0.0.0.0 limit", "{ ip daddr limit"],
    ["a log without a limit", /limit rate \S+ burst \d+ packets log/, "log"],
    ["a log to somewhere", "level info", "level info group 3"],
    ["a queue", "ct helper set", "queue to 3 ct helper set"],
    ["an accept", "ct helper set", "accept\n\t\tct helper set"],
    ["a wrong mask", "# on-removal cut", "# mark-mask all"],
    ["a wrong removal", "# on-removal cut", "# on-removal reboot"],
    ["a backend with a blank", "# backend 10.0.0.3 ", "# backend 10.0.0.3 10.0.0.4 "],
    ["a backend with a quote", "# backend 10.0.0.3 ", '# backend "10.0.0.3 '],
    ["a backend in another state", "# backend 10.0.0.3 0x3 1/2", "# backend 10.0.0.3 0x3 1/2 gone"],
    ["a header behind the body", "add element", "# backend 10.0.0.9 0x9 1/2\nadd element"],
  ])("nftables: %s is refused", async (_, from, to) => {
    await expectRefused(compile("web", EVERYTHING, { dataPlane: "nftables" }).ruleSet, [from, to]);
  });

  test.each<[string, string | RegExp, string]>([
    [
      "a set of another farm",
      /create NFLB-web\.allow .*\n/,
      "create NFLB-db.allow hash:net family inet maxelem 65536\n",
    ],
    ["a foreign set", /create NFLB-web\.allow .*\n/, "create blocked hash:net family inet maxelem 65536\n"],
    ["a set with a name too long", /create NFLB-web\.3 /, `create NFLB-web.${"3".repeat(23)} `],
    ["a set of another type", "NFLB-web.allow hash:net", "NFLB-web.allow hash:mac"],
    [
      "a set of the other family",
      "NFLB-web.allow hash:net family inet ",
      "NFLB-web.allow hash:net family inet6 ",
    ],
    ["a set twice", /(create NFLB-web\.3 .*\n)/, "$1$1"],
    ["a set with more options", "maxelem 65536\n", "maxelem 65536 comment\n"],
    ["an entry of a set of another farm", "add NFLB-web.allow", "add NFLB-db.allow"],
    ["an entry of a set that learns", "add NFLB-web.allow", "add NFLB-web.3"],
    ["an entry that is a name", "add NFLB-web.allow 192.0.2.0/24", "add NFLB-web.allow example.org"],
    ["an entry with options", "add NFLB-web.allow 192.0.2.0/24", "add NFLB-web.allow 192.0.2.0/24 nomatch"],
    ["another command of ipset", "create NFLB-web.allow", "destroy\ncreate NFLB-web.allow"],
    ["a look-up in a foreign set", "--match-set NFLB-web.allow src", "--match-set blocked src"],
    ["a look-up of something else", "--match-set NFLB-web.allow src", "--match-set NFLB-web.allow src,dst"],
    ["an entry for a foreign set", "--add-set NFLB-web.3 src", "--add-set blocked src"],
    ["an entry for a set of another farm", "--add-set NFLB-web.3 src", "--add-set NFLB-db.3 src"],
    ["an entry with a time-out of its own", "src --exist", "src --exist --timeout 0"],
    ["a deletion from a set", "--add-set NFLB-web.3", "--del-set NFLB-web.3"],
    ["a mark out of a set", "--add-set NFLB-web.3 src", "--map-set NFLB-web.3 src"],
    ["a table of another farm", /--hashlimit-name \S+/, "--hashlimit-name db.7.7"],
    ["a hashed table of another farm", /--hashlimit-name \S+/, "--hashlimit-name we--01234567"],
    ["a larger table", /--hashlimit-name/, "--hashlimit-htable-size 9999999 --hashlimit-name"],
    ["a longer log prefix", '--log-prefix "web:"', `--log-prefix ${"w".repeat(29)}`],
    ["a log prefix with a blank", '--log-prefix "web:"', '--log-prefix "web: "'],
    ["an open quote", '--log-prefix "web:"', '--log-prefix "web:'],
    ["a log with the user's id", "-j LOG ", "-j LOG --log-uid "],
    ["an unknown helper", "--helper ftp", "--helper mine"],
    ["an untracked connection", "--helper ftp", "--notrack"],
    ["a negated address", "-A NFLB-INPUT -d", "-A NFLB-INPUT ! -d"],
    ["a negated protocol", "-p tcp -m tcp ! --tcp-flags", "! -p tcp -m tcp ! --tcp-flags"],
    ["a foreign service in table raw", /(-A NFLB-PREROUTING .*) --dport 80 -j CT/, "$1 --dport 22 -j CT"],
    [
      "another answer",
      "-j LOG --log-prefix",
      "-j REJECT --reject-with icmp-admin-prohibited -j LOG --log-prefix",
    ],
    ["a rule outside a table", "*mangle\n", "-A NFLB-web -j RETURN\n*mangle\n"],
    ["a chain outside a table", "*mangle\n", ":NFLB-web - [0:0]\n*mangle\n"],
    ["a rule of a chain that its table does not have", "*mangle\n", "*mangle\n-A NFLB-web -j RETURN\n"],
    ["a table within a table", "*mangle\n", "*mangle\n*filter\n"],
    [
      "a set within a table",
      "*mangle\n",
      "*mangle\ncreate NFLB-web.deny hash:net family inet maxelem 65536\n",
    ],
    ["a table without its end", /COMMIT\n$/, ""],
    ["another target", "-j LOG", "-j NFQUEUE"],
    ["another match", "-m limit ", "-m string "],
  ])("iptables: %s is refused", async (_, from, to) => {
    await expectRefused(compile("web", EVERYTHING, { dataPlane: "iptables" }).ruleSet, [from, to]);
  });

  test("another name of a table is refused that is too long, its own is taken", async () => {
    const farm = {
      ...EVERYTHING,
      limits: { newConnectionsPerSecond: 123, perSource: { newConnectionsPerSecond: 7000 } },
    };
    const good = compile("web-of-many", farm, { dataPlane: "iptables" }).ruleSet;
    const table = /--hashlimit-mode srcip --hashlimit-name (we--[0-9a-f]{8}) /.exec(good)?.[1] ?? "none";
    const bad = good.replaceAll(table, "we--01234567");
    const outcome = await machine.apply("web-of-many", bad);
    expect(outcome).toMatchObject({ code: 4, stdout: "" });
    expect(outcome.stderr).toContain("we--01234567");
    expect(await machine.apply("web-of-many", good)).toMatchObject({ code: 0, stderr: "" });
  });
});

describe("every rule set that a compiler writes", () => {
  // The fence alone: applying some hundred farms takes minutes.
  test.each([
    [["dash"], "awk"],
    [["busybox", "ash"], "busybox awk"],
  ])("is taken, by %j and %s", async (shell, awk) => {
    const sets = fc.sample(anyCase, { numRuns: 60, seed: 1 }).map(({ name, spec, target }) => ({
      name,
      ruleSet: compile(name, spec, target).ruleSet,
    }));
    const functions = toolText().replace(/\nmain "\$@"\n$/, "\n");
    await machine.sh("cat >/run/functions", { input: functions });
    for (const { name, ruleSet } of sets) {
      const script = `. /run/functions; awk() { ${awk === "awk" ? "command awk" : awk} "$@"; }; TMP=/run; cat >/run/set; check_set /run/set ${name}`;
      const outcome = await machine.running.run([...shell, "-c", script], { input: ruleSet });
      expect(outcome, ruleSet).toEqual({ code: 0, stdout: "", stderr: "" });
    }
  });
});

describe("refused", () => {
  test.each([
    ["203.0.113.10 all -", "203.0.113.10 tcp 80"],
    ["203.0.113.10 tcp 80-90", "203.0.113.10 tcp 80"],
    ["203.0.113.10 tcp 0-65535", "203.0.113.10 tcp 443"],
  ])("%s where %s is taken, whoever has it", async (service, other) => {
    await machine.apply("web", ruleSet({ services: [other] }));
    for (const owner of [OWNER, "a/b/c"]) {
      const set = ruleSet({ name: "db", services: [service] });
      expect(await machine.apply("db", set, { owner })).toMatchObject({ code: 3 });
    }
    const inverse = ruleSet({ name: "db", services: ["203.0.113.10 udp 80", "203.0.113.11 tcp 80"] });
    expect(await machine.apply("db", inverse)).toMatchObject({ code: service.includes("all") ? 0 : 0 });
  });

  test("what would catch the caller's own SSH", async () => {
    const ssh = "192.0.2.9 51234 203.0.113.10 22";
    for (const service of ["203.0.113.10 tcp 22", "203.0.113.10 tcp 0-65535", "203.0.113.10 all -"]) {
      const outcome = await machine.apply("web", ruleSet({ services: [service] }), { ssh });
      expect(outcome).toMatchObject({ code: 3 });
      expect(outcome.stderr).toContain("SSH");
    }
    for (const service of ["203.0.113.10 udp 22", "203.0.113.10 tcp 80-90", "203.0.113.11 tcp 22"]) {
      expect(await machine.apply("web", ruleSet({ services: [service] }), { ssh })).toMatchObject({
        code: 0,
      });
    }
  });

  test("the same short name", async () => {
    await machine.apply("web", ruleSet());
    const twin = ruleSet({ name: "web2", services: ["203.0.113.11 tcp 80"] }).replaceAll("web2.", "web.");
    const set = twin.replace("# short-name web2", "# short-name web");
    const outcome = await machine.apply("web2", set);
    expect(outcome).toMatchObject({ code: 3 });
    expect(outcome.stderr).toContain("short name web");
  });

  test.each(PLANES)("%s: a farm that changes to another's short name", async (plane) => {
    await machine.apply("web", ruleSet({ plane }));
    const other = ruleSet({ plane, name: "db", services: ["203.0.113.11 tcp 80"] });
    await machine.apply("db", other, { owner: "a/b/c" });
    const renamed = ruleSet({ plane })
      .replaceAll("web.farm", "db.farm")
      .replaceAll("NFLB-web", "NFLB-db")
      .replace("short-name web", "short-name db");
    await expectUntouched(() => machine.apply("web", renamed), 3);
    await machine.tool(["retire", "--owner", "a/b/c"]);
  });

  test("an unknown version of the protocol", async () => {
    expect(await machine.tool(["prepare", "--owner", OWNER, "--version", "2"])).toMatchObject({ code: 6 });
    expect(await machine.sh("ls -d /etc/netfilter-lb 2>/dev/null || echo none")).toBe("none\n");
  });
});

describe("owners", () => {
  test("a renamed gateway takes over, and the old name's removal is left alone", async () => {
    await machine.apply("web", ruleSet());
    const renamed = "shop/prod/edge-2";
    expect(await machine.apply("web", ruleSet(), { owner: renamed })).toMatchObject({
      code: 0,
      stdout: "unchanged: farm web\n",
    });
    expect(await machine.tool(["list"])).toMatchObject({ stdout: `web ${renamed} nftables\n` });
    expect(await machine.remove("web", OWNER)).toMatchObject({
      code: 0,
      stdout: `left alone: farm web belongs to ${renamed}\n`,
    });
    expect(await machine.tool(["retire", "--owner", OWNER])).toMatchObject({ code: 0 });
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
    expect(await machine.remove("web", renamed)).toMatchObject({ code: 0, stdout: "removed: farm web\n" });
  });

  test("the last stack that leaves gives ip_forward back", async () => {
    const forwarding = () =>
      machine.sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding");
    await machine.sh("echo 0 >/proc/sys/net/ipv4/ip_forward");
    await machine.tool(["prepare", "--owner", OWNER]);
    await machine.tool(["prepare", "--owner", "other/prod/edge-1"]);
    await machine.tool(["prepare", "--owner", OWNER]);
    await machine.apply("web", ruleSet({ services: ["2001:db8::10 tcp 80"] }));
    expect(await forwarding()).toBe("1\n1\n");
    // Behind a lock, it is not the boot's sysctls that switch forwarding on.
    expect(await machine.sh("ls /etc/sysctl.d")).toBe("");
    await machine.tool(["retire", "--owner", OWNER]);
    expect(await forwarding()).toBe("1\n0\n");
    await machine.tool(["retire", "--owner", "other/prod/edge-1"]);
    expect(await forwarding()).toBe("0\n0\n");
    expect(
      await machine.sh(
        "find /etc/netfilter-lb /etc/sysctl.d /etc/systemd -type f -o -type l 2>/dev/null || :",
      ),
    ).toBe("");
  });

  test("retire --uninstall takes the tool too", async () => {
    await machine.tool(["prepare", "--owner", OWNER]);
    await machine.sh("touch /usr/local/sbin/netfilter-lb");
    await machine.tool(["retire", "--owner", OWNER, "--uninstall"]);
    expect(await machine.sh("ls /usr/local/sbin")).toBe("");
  });
});

describe("the command line", () => {
  test("takes its commands from nobody's PATH behind sudo", async () => {
    await machine.sh(
      "mkdir /etc/mine; printf '#!/bin/sh\\ntouch /etc/ran\\n' >/etc/mine/awk; chmod 755 /etc/mine/awk",
    );
    const PATH = `/etc/mine:${plainEnvironment.PATH}`;
    const list = () => machine.tool(["list"], { env: { ...plainEnvironment, PATH, SUDO_UID: "1000" } });
    expect(await list()).toMatchObject({ code: 0, stderr: "" });
    expect(await machine.sh("ls /etc/ran 2>/dev/null || echo none")).toBe("none\n");
  });

  test.each(["x", "-1", "08"])("refuses to wait %j seconds", async (seconds) => {
    const env = { ...plainEnvironment, NETFILTER_LB_LOCK_WAIT: seconds };
    const outcome = await machine.tool(["status"], { env });
    expect(outcome).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining(`"${seconds}"`) });
  });

  test.each([
    [[]],
    [["frobnicate"]],
    [["apply"]],
    [["apply", "web"]],
    [["remove", "web"]],
    [["remove", "web", "--owner"]],
    [["remove", "../../etc/passwd", "--owner", OWNER]],
    [["remove", "web\nx", "--owner", OWNER]],
    [["remove", "w".repeat(64), "--owner", OWNER]],
    [["remove", "web", "--owner", "a/b"]],
    [["remove", "web", "--owner", "a/b/c/d"]],
    [["remove", "web", "--owner", "a/b/$(id)"]],
    [["remove", "web", "--owner", "a/b/c\nd"]],
    [["remove", "wëb", "--owner", OWNER]],
    [["apply", "web", "--owner", OWNER, "--length", "x", "--sha256", "0".repeat(64)]],
    [["apply", "web", "--owner", OWNER, "--length", "1", "--sha256", "0".repeat(63)]],
    [[...applyArguments("web", ""), "--force"]],
  ])("refuses %j", async (args) => {
    const outcome = await machine.tool(args);
    expect(outcome).toMatchObject({ code: 2, stdout: "" });
    expect(outcome.stderr).not.toBe("");
  });

  test("helps", async () => {
    expect(await machine.tool(["help"])).toMatchObject({ code: 0, stderr: "" });
    expect(await machine.tool(["version"])).toMatchObject({
      code: 0,
      stdout: `netfilter-lb ${version} protocol 1\n`,
    });
  });
});
