/** Many farms that come, change and go with one call. */

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { sweep } from "../faults/fault";
import { FOREIGN, PLANES, type Plane, ruleSet } from "./fixtures";
import { applyArguments, Machine, OWNER, TOOL } from "./support";

let machine: Machine;
afterEach(() => machine.end());

const nameOf = (k: number) => `farm${String(k).padStart(3, "0")}`;

interface Some {
  readonly plane: Plane;
  readonly backends?: readonly string[];
}

/** Farm `k` of a group, at a port of its own. */
function setOf(k: number, { plane, backends }: Some): string {
  const services = [`203.0.113.10 tcp ${1000 + k}`];
  return ruleSet({ name: nameOf(k), plane, services, ...(backends && { backends }) });
}

const setsOf = (count: number, some: Some) => Array.from({ length: count }, (_, k) => setOf(k, some));
const OTHERS = ["10.0.0.8", "10.0.0.9"];

async function names(): Promise<string[]> {
  const { stdout } = await machine.tool(["list"]);
  return stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => line.split(/\s+/)[0]!);
}

/** The stored farms, each as it was sent, by name. */
async function stored(): Promise<Record<string, string>> {
  return Object.fromEntries(
    await Promise.all((await names()).map(async (name) => [name, await machine.stored(name)] as const)),
  );
}

const byName = (sets: readonly string[]) =>
  Object.fromEntries(sets.map((set) => [/^# farm (.*)$/m.exec(set)![1]!, set]));

async function expectInStep(): Promise<void> {
  expect(await machine.tool(["verify"])).toEqual({ code: 0, stdout: "in step: all farms\n", stderr: "" });
}

/** Nothing of a change is left behind that only its own run needs. */
async function expectTidy(): Promise<void> {
  const left =
    "find /etc/netfilter-lb -name '*group*' -o -name next -o -name '.*.new'; ls -d /run/netfilter-lb.[0-9]*";
  expect(await machine.sh(`${left} 2>/dev/null || :`)).toBe("");
}

const VARIANTS = [
  { shell: ["dash"], iptables: "nft" },
  { shell: ["busybox", "ash"], iptables: "legacy" },
] as const;

describe.each(VARIANTS)("with $shell and iptables-$iptables", (variant) => {
  beforeEach(async () => {
    machine = await Machine.start(variant);
  });

  test.each(PLANES)("%s: a group comes, changes and goes, and leaves others alone", async (plane) => {
    await machine.sh(FOREIGN);
    const before = await machine.rules();
    expect(await machine.tool(["prepare", "--owner", OWNER])).toMatchObject({ code: 0 });
    const alone = ruleSet({ name: "alone", plane, services: ["203.0.113.20 tcp 80"] });
    expect(await machine.apply("alone", alone)).toMatchObject({ code: 0 });

    const farms = setsOf(20, { plane });
    expect(await machine.applyGroup("edge", farms.join(""))).toEqual({
      code: 0,
      stdout: "applied: group edge, 20 of 20 farms\n",
      stderr: "",
    });
    await expectInStep();
    expect(await stored()).toEqual(byName([alone, ...farms]));
    expect(await machine.applyGroup("edge", farms.join(""))).toEqual({
      code: 0,
      stdout: "unchanged: group edge\n",
      stderr: "",
    });

    const inode = await machine.sh("stat -c '%n %i %y' /etc/netfilter-lb/farms/farm01*.rules");
    const changed = [setOf(0, { plane, backends: OTHERS }), ...farms.slice(1, 19)];
    expect(await machine.applyGroup("edge", changed.join(""))).toEqual({
      code: 0,
      stdout: "applied: group edge, 1 of 19 farms, 1 removed\n",
      stderr: "",
    });
    expect(await stored()).toEqual(byName([alone, ...changed]));
    await expectInStep();
    // Farms that stay as they are are not written, nor is a rule of theirs.
    const same = (await machine.sh("stat -c '%n %i %y' /etc/netfilter-lb/farms/farm01*.rules")).split("\n");
    expect(inode.split("\n")).toEqual(expect.arrayContaining(same));

    expect(await machine.removeGroup("edge")).toEqual({
      code: 0,
      stdout: "removed: group edge\n",
      stderr: "",
    });
    expect(await names()).toEqual(["alone"]);
    await expectInStep();
    await expectTidy();
    expect(await machine.sh("ls /etc/netfilter-lb/sent")).toBe("alone\n");
    expect(await machine.tool(["retire", "--owner", OWNER])).toMatchObject({ code: 0 });
    expect(await machine.rules()).toBe(before);
  });
});

describe.each(PLANES)("%s", (plane) => {
  beforeEach(async () => {
    machine = await Machine.start();
  });

  test("one farm that the kernel refuses keeps all of them as they were", async () => {
    const farms = setsOf(30, { plane });
    await machine.applyGroup("edge", farms.join(""));
    const rules = await machine.rules();
    const bad = ruleSet({
      name: nameOf(17),
      plane,
      services: ["203.0.113.10 tcp 1017"],
      extra: plane === "nftables" ? "dnat to 10.0.0.300" : "-j DNAT --to-destination 10.0.0.300",
    });
    const changed = setsOf(28, { plane, backends: OTHERS });
    changed[17] = bad;
    const outcome = await machine.applyGroup("edge", changed.join(""));
    expect(outcome).toMatchObject({ code: 1, stdout: "" });
    expect(outcome.stderr).toMatch(
      /^netfilter-lb: applying group edge failed, the last good set stays in force; .*10\.0\.0\.300/,
    );
    expect(await stored()).toEqual(byName(farms));
    expect(await machine.rules()).toBe(rules);
    await expectInStep();
    await expectTidy();
  });

  test("a run that is killed leaves all of the old or all of the new", async () => {
    const alone = ruleSet({ name: "alone", plane, services: ["203.0.113.10 tcp 1040"] });
    const old = setsOf(40, { plane });
    // One farm goes, half of them change, and one takes a service over.
    const fresh = old
      .slice(1)
      .map((set, k) => (k % 2 ? set : setOf(k + 1, { plane, backends: OTHERS })))
      .concat(setOf(40, { plane }));
    await machine.apply("alone", alone);
    await machine.applyGroup("edge", old.join(""));
    const began = performance.now();
    await machine.applyGroup("edge", fresh.join(""));
    const took = performance.now() - began;
    const [before, after] = [byName([alone, ...old]), byName(fresh)];
    expect(await stored()).toEqual(after);

    const seen = { old: 0, new: 0 };
    const rounds = sweep(12, 200);
    for (let round = 0; round < rounds; round++) {
      await machine.apply("alone", alone);
      await machine.applyGroup("edge", old.join(""));
      await machine.apply("alone", alone);
      expect(await stored()).toEqual(before);
      const at = Math.round((took * (round + Math.random())) / rounds);
      await machine.killed(
        applyArguments("edge", fresh.join(""), OWNER, "apply-group"),
        at,
        fresh.join(""),
        round % 2 === 1,
      );
      // Whoever comes next.
      const next = ruleSet({ name: "next", plane, services: ["203.0.113.30 tcp 80"] });
      expect(await machine.apply("next", next)).toMatchObject({ code: 0 });
      expect(await machine.remove("next")).toMatchObject({ code: 0 });
      const now = await stored();
      const which = JSON.stringify(now) === JSON.stringify(before) ? "old" : "new";
      expect(now).toEqual(which === "old" ? before : after);
      seen[which]++;
      await expectInStep();
      await expectTidy();
    }
    expect(seen.old).toBeGreaterThan(0);
  }, 240_000);

  test("a removal that is killed leaves all or none", async () => {
    const farms = setsOf(40, { plane });
    await machine.applyGroup("edge", farms.join(""));
    const began = performance.now();
    await machine.removeGroup("edge");
    const took = performance.now() - began;
    for (let round = 0; round < sweep(8, 100); round++) {
      await machine.applyGroup("edge", farms.join(""));
      await machine.killed(
        ["remove-group", "edge", "--owner", OWNER],
        Math.round(took * Math.random()),
        "",
        round % 2 === 1,
      );
      const next = ruleSet({ name: "next", plane, services: ["203.0.113.30 tcp 80"] });
      expect(await machine.apply("next", next)).toMatchObject({ code: 0 });
      expect(await machine.remove("next")).toMatchObject({ code: 0 });
      expect([0, 40]).toContain((await names()).length);
      await expectInStep();
      await expectTidy();
    }
  }, 240_000);

  test("services move within the group, and from a farm that stands alone", async () => {
    const alone = ruleSet({
      name: "alone",
      plane,
      services: ["203.0.113.10 tcp 1005", "203.0.113.20 tcp 80"],
    });
    await machine.apply("alone", alone);
    await machine.applyGroup("edge", setsOf(5, { plane }).join(""));
    const moved = setsOf(6, { plane });
    // farm001 and farm002 change places.
    moved[1] = ruleSet({ name: nameOf(1), plane, services: ["203.0.113.10 tcp 1002"] });
    moved[2] = ruleSet({ name: nameOf(2), plane, services: ["203.0.113.10 tcp 1001"] });
    expect(await machine.applyGroup("edge", moved.join(""))).toMatchObject({
      code: 0,
      stdout: "applied: group edge, 3 of 6 farms\n",
    });
    const { alone: rest, ...group } = await stored();
    expect(group).toEqual(byName(moved));
    expect(rest).toMatch(/^# service 203\.0\.113\.20 tcp 80$/m);
    expect(rest).not.toContain("1005");
    await expectInStep();
  });
});

test.each(PLANES)("%s: a gateway that boots has the group's farms from its files", async (plane) => {
  machine = await Machine.start();
  await machine.applyGroup("edge", setsOf(20, { plane }).join(""));
  await machine.reboot();
  expect(await machine.tool(["restore"])).toMatchObject({ code: 0, stdout: "restored: 20 farms\n" });
  await expectInStep();
});

test.each(PLANES)(
  "%s: a power cut in the middle leaves all of the old or all of the new",
  async (plane) => {
    machine = await Machine.start();
    const [old, fresh] = [setsOf(40, { plane }), setsOf(39, { plane, backends: OTHERS })];
    await machine.applyGroup("edge", old.join(""));
    const began = performance.now();
    await machine.applyGroup("edge", fresh.join(""));
    const took = performance.now() - began;
    for (let round = 0; round < sweep(6, 60); round++) {
      await machine.applyGroup("edge", old.join(""));
      const cut = machine.applyGroup("edge", fresh.join("")).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, took * (0.2 + Math.random())));
      await machine.reboot();
      await cut;
      const outcome = await machine.tool(["restore"]);
      expect(outcome).toMatchObject({ code: 0, stderr: "" });
      const now = await stored();
      expect(now).toEqual(byName(Object.keys(now).length === 40 ? old : fresh));
      await expectInStep();
      await expectTidy();
    }
  },
  240_000,
);

describe("whose a farm is", () => {
  beforeEach(async () => {
    machine = await Machine.start();
  });
  const plane = "nftables";
  const groupLine = () => machine.sh("grep -h '^# group' /etc/netfilter-lb/farms/web.rules || :");

  test("a farm that stood alone comes into a group, and what removes it alone leaves it", async () => {
    const web = ruleSet({ name: "web" });
    await machine.apply("web", web);
    const rules = await machine.rules();
    expect(await machine.applyGroup("edge", web)).toMatchObject({
      code: 0,
      stdout: "unchanged: group edge\n",
    });
    expect(await groupLine()).toBe("# group edge\n");
    expect(await machine.remove("web")).toMatchObject({
      code: 0,
      stdout: "left alone: farm web is in group edge\n",
    });
    expect(await machine.rules()).toBe(rules);
  });

  test("a farm of a group comes to stand alone, and the group leaves it", async () => {
    const [web, db] = [ruleSet({ name: "web" }), ruleSet({ name: "db", services: ["203.0.113.11 tcp 80"] })];
    await machine.applyGroup("edge", db + web);
    expect(await machine.apply("web", web)).toMatchObject({ code: 0, stdout: "unchanged: farm web\n" });
    expect(await groupLine()).toBe("");
    expect(await machine.applyGroup("edge", db)).toMatchObject({ stdout: "unchanged: group edge\n" });
    expect(await machine.removeGroup("edge")).toMatchObject({ code: 0 });
    expect(await names()).toEqual(["web"]);
    await expectInStep();
  });

  test("a group that is renamed keeps its farms", async () => {
    const sets = setsOf(5, { plane }).join("");
    await machine.applyGroup("edge", sets);
    const rules = await machine.rules();
    expect(await machine.applyGroup("front", sets)).toMatchObject({ stdout: "unchanged: group front\n" });
    expect(await machine.removeGroup("edge")).toMatchObject({
      stdout: "nothing to remove: group edge has no farm here\n",
    });
    expect(await machine.rules()).toBe(rules);
    expect(await names()).toHaveLength(5);
  });

  test("another stack's farms and services are refused, and nothing is changed", async () => {
    const theirs = ruleSet({ name: "theirs", services: ["203.0.113.10 tcp 80"] });
    await machine.apply("theirs", theirs, { owner: "else/prod/edge-1" });
    const rules = await machine.rules();
    const mine = ruleSet({ name: "mine", services: ["203.0.113.12 tcp 80"] });
    const refusals = [
      [
        ruleSet({ name: "theirs", services: ["203.0.113.13 tcp 80"] }),
        "farm theirs on this gateway belongs to else/prod/edge-1",
      ],
      [
        ruleSet({ name: "web", services: ["203.0.113.10 tcp 80"] }),
        "already claims the service 203.0.113.10 tcp 80",
      ],
      [
        ruleSet({ name: "web", services: ["203.0.113.10 tcp 70-90"] }),
        "which overlaps 203.0.113.10 tcp 70-90 of farm web",
      ],
      [
        ruleSet({ name: "web", services: ["203.0.113.10 all -"] }),
        "which overlaps 203.0.113.10 all - of farm web",
      ],
    ];
    for (const [set, words] of refusals) {
      const outcome = await machine.applyGroup("edge", mine + set);
      expect(outcome).toMatchObject({ code: 3, stdout: "" });
      expect(outcome.stderr).toContain(words);
    }
    expect(await machine.rules()).toBe(rules);
    expect(await names()).toEqual(["theirs"]);
  });

  test("hand-over gives a group's farms to another stack, whose group finds them unchanged", async () => {
    const sets = setsOf(5, { plane }).join("");
    await machine.applyGroup("edge", sets);
    const rules = await machine.rules();
    await machine.tool(["hand-over", "--owner", OWNER, "--to", "new/prod/edge-1"]);
    expect(await machine.applyGroup("edge", sets, { owner: "new/prod/edge-1" })).toMatchObject({
      stdout: "unchanged: group edge\n",
    });
    expect(await machine.removeGroup("edge")).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("nothing to remove"),
    });
    expect(await machine.rules()).toBe(rules);
  });
});

describe("what may come in", () => {
  beforeEach(async () => {
    machine = await Machine.start();
  });
  const web = ruleSet({ name: "web" });

  test.each([
    [
      "two farms that claim one service",
      web + ruleSet({ name: "db" }),
      3,
      "of the same group: change the address or the port",
    ],
    [
      "two farms of which one claims a range",
      web + ruleSet({ name: "db", services: ["203.0.113.10 tcp 70-90"] }),
      3,
      "which overlaps 203.0.113.10 tcp 70-90 of farm db of the same group",
    ],
    [
      "one short name twice",
      web +
        ruleSet({ name: "db", services: ["203.0.113.11 tcp 80"] }).replaceAll(/\bdb\b/g, (word, at, all) =>
          all.slice(at - 7, at) === "# farm " ? word : "web",
        ),
      3,
      "farm web has the same short name web as farm db of the same group",
    ],
    [
      "two data planes",
      web + ruleSet({ name: "db", plane: "iptables nat", services: ["203.0.113.11 tcp 80"] }),
      3,
      "the farms of a group have one data plane",
    ],
    ["a farm twice", web + web, 4, "begins farm web once more"],
    [
      "a set that is damaged",
      web + ruleSet({ name: "db", services: ["203.0.113.11 tcp 80"] }).replace("random mod", "flush mod"),
      4,
      "the rule set of farm db is damaged: line 8 may not stand in a farm chain: flush",
    ],
    [
      "a set that ends early",
      `${web}# netfilter-lb rule set 1\n# farm db\n`,
      4,
      "the rule set of farm db is damaged: it ends too early, at line 2",
    ],
    ["a name that is a path", web.replace("# farm web", "# farm ../web"), 4, "line 2 names no farm"],
    ["text before the first set", `\n${web}`, 4, "line 1 is of no farm"],
    ["a head alone", `${web}# netfilter-lb rule set 1\n`, 4, "it ends too early"],
    [
      "a service behind the backends",
      web.replace(/^# service .*\n/m, "$&# backend 10.0.0.3 0x1 1/1\n# service 198.51.100.7 tcp 22\n"),
      4,
      "the rule set of farm web is damaged: line 7 claims a service behind the others",
    ],
    ["odd bytes", web.replace("web", "w\u00e9b"), 4, "it holds bytes other than printable ASCII"],
  ])("%s is refused", async (_, sets, code, words) => {
    const outcome = await machine.applyGroup("edge", sets);
    expect(outcome).toMatchObject({ code, stdout: "" });
    expect(outcome.stderr).toContain(words);
    expect(await machine.rules()).not.toContain("netfilter_lb");
    await expectTidy();
  });

  test("a farm that would catch the caller's SSH connection is refused", async () => {
    const ssh = ruleSet({ name: "ssh", services: ["198.51.100.7 tcp 20-30"] });
    const outcome = await machine.applyGroup("edge", web + ssh, { ssh: "192.0.2.1 50000 198.51.100.7 22" });
    expect(outcome).toMatchObject({ code: 3, stdout: "" });
    expect(outcome.stderr).toContain("farm ssh would catch this very SSH connection");
    expect(await names()).toEqual([]);
  });

  test("a set that a hand edited on the gateway gives way, and so does a rule in the kernel", async () => {
    const sets = setsOf(5, { plane: "nftables" });
    await machine.applyGroup("edge", sets.join(""));
    await machine.sh(
      "sed -i 's/10\\.0\\.0\\.4/10.0.0.66/' /etc/netfilter-lb/farms/farm002.rules && nft flush chain ip netfilter_lb guard",
    );
    await machine.tool(["restore"]);
    expect(await machine.rules()).toContain("10.0.0.66");
    expect(await machine.applyGroup("edge", sets.join(""))).toMatchObject({
      code: 0,
      stdout: "applied: group edge, as it was stored\n",
    });
    expect(await stored()).toEqual(byName(sets));
    await expectInStep();
  });

  test("a farm on trial is left until that is over", async () => {
    await machine.apply("web", web);
    await machine.apply("web", ruleSet({ name: "web", backends: OTHERS }), { confirm: 60 });
    const outcome = await machine.applyGroup("edge", web);
    expect(outcome).toMatchObject({ code: 3, stdout: "" });
    expect(outcome.stderr).toContain("farm web is on trial, and group edge changes it");
  });

  test("a disk without room changes nothing", async () => {
    const sets = setsOf(30, { plane: "nftables" });
    await machine.applyGroup("edge", sets.join(""));
    const rules = await machine.rules();
    await machine.sh(
      "cp -a /etc/netfilter-lb /tmp/state && mount -t tmpfs -o size=2m,mode=700 none /etc/netfilter-lb && cp -a /tmp/state/. /etc/netfilter-lb/",
    );
    await machine.sh("dd if=/dev/zero of=/etc/netfilter-lb/full bs=4k count=1000 2>/dev/null || :");
    const changed = setsOf(30, { plane: "nftables", backends: OTHERS }).join("");
    expect(await machine.applyGroup("edge", changed)).toMatchObject({ code: 1, stdout: "" });
    expect(await machine.rules()).toBe(rules);
    await machine.sh("rm /etc/netfilter-lb/full");
    expect(await stored()).toEqual(byName(sets));
    expect(await machine.removeGroup("edge")).toMatchObject({ code: 0 });
  });
});

describe("two runs of one stack at a time", () => {
  const [web, db] = [ruleSet({ name: "web" }), ruleSet({ name: "db", services: ["203.0.113.11 tcp 80"] })];
  const later = ruleSet({ name: "web", backends: OTHERS });

  /** A call that has begun, and waits for the rest of what it is sent until `meanwhile` has ended. A second lies between their beginnings. */
  async function slowly(sets: string, meanwhile: () => Promise<unknown>) {
    const feed = "head -c 100 /run/sent; until [ -e /run/go ]; do sleep 0.05; done; tail -c +101 /run/sent";
    await machine.sh("cat >/run/sent", { input: sets });
    const slow = machine.running.run([
      ...["sh", "-c", `{ ${feed}; } | dash "$0" "$@"`, TOOL],
      ...applyArguments("edge", sets, OWNER, "apply-group"),
    ]);
    await machine.sh("until ls /run/netfilter-lb.*/set >/dev/null 2>&1; do sleep 0.05; done; sleep 1.1");
    await meanwhile();
    await machine.sh(": >/run/go");
    return await slow;
  }

  beforeEach(async () => {
    machine = await Machine.start();
    await machine.tool(["prepare", "--owner", OWNER]);
    await machine.applyGroup("edge", db + web);
  });

  test("the one that began first does not undo what came in later", async () => {
    const outcome = await slowly(db + web.replaceAll("10.0.0.3", "10.0.0.7"), () =>
      machine.applyGroup("edge", db + later),
    );
    expect(outcome).toMatchObject({ code: 3, stdout: "" });
    expect(outcome.stderr).toMatch(
      /another run of shop\/prod\/edge-1 changed farm web .*, so group edge is not applied; run this again/,
    );
    expect(await machine.stored("web")).toBe(later);
    await expectInStep();
  });

  test("it has nothing against one that brought the same", async () => {
    expect(await slowly(db + later, () => machine.applyGroup("edge", db + later))).toMatchObject({
      code: 0,
      stderr: "",
    });
  });

  test("it brings nothing back to a gateway that its stack has left", async () => {
    const outcome = await slowly(db + later, () => machine.tool(["retire", "--owner", OWNER]));
    expect(outcome).toMatchObject({ code: 3, stdout: "" });
    expect(outcome.stderr).toContain(
      "so group edge is not applied; run pulumi up again if it shall be there",
    );
    expect(await machine.rules()).not.toMatch(/netfilter_lb/);
  });
});
