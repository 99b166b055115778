/** Shared chains of iptables with many lines: trees that grow and shrink with the farms, and are told from what others did to them. */

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FOREIGN, type Plane, ruleSet } from "./fixtures";
import { Machine, OWNER } from "./support";

let machine: Machine;
afterEach(() => machine.end());

const nameOf = (k: number) => `farm${String(k).padStart(3, "0")}`;

/** Services at addresses and at ports, single ones and ranges, in both families. */
function servicesOf(k: number): string[] {
  const four = k % 2 === 0 ? `203.0.113.${k} tcp 80` : `203.0.113.200 tcp ${1000 + k}`;
  return [
    four,
    ...(k % 5 === 0 ? [`203.0.113.201 udp ${100 * k + 1}-${100 * k + 50}`, `2001:db8::${k + 1} tcp 80`] : []),
  ];
}

const setOf = (k: number, plane: Plane, backends = ["10.0.0.3", "10.0.0.4"]) =>
  ruleSet({ name: nameOf(k), plane, backends, services: servicesOf(k), masquerade: k % 3 === 0 });
const setsOf = (count: number, plane: Plane) =>
  Array.from({ length: count }, (_, k) => setOf(k, plane)).join("");

const IN_STEP = { code: 0, stdout: "in step: all farms\n", stderr: "" };
const saved = () => machine.sh("iptables-save; ip6tables-save");
const trees = (rules: string) => new Set(rules.match(/^:NFLB-[A-Z]+\.\d+/gm)).size;
/** The rules of others are what they were, and the tool's own are in step. */
async function expectInStep(): Promise<void> {
  expect(await machine.tool(["verify"])).toEqual(IN_STEP);
}

describe.each([
  ["nft", "iptables nat"],
  ["legacy", "iptables nat"],
  ["nft", "iptables zevenet"],
] as const)("iptables-%s, %s", (iptables, plane) => {
  beforeEach(async () => {
    machine = await Machine.start({ iptables, shell: iptables === "nft" ? ["dash"] : ["busybox", "ash"] });
    await machine.sh(FOREIGN);
    await machine.tool(["prepare", "--owner", OWNER]);
  });

  test("a tree grows, changes, shrinks and goes", async () => {
    const foreign = await saved();
    expect(await machine.applyGroup("all", setsOf(4, plane))).toMatchObject({ code: 0, stderr: "" });
    expect(trees(await saved())).toBe(0);
    await expectInStep();

    expect(await machine.applyGroup("all", setsOf(40, plane))).toMatchObject({ code: 0, stderr: "" });
    const grown = trees(await saved());
    expect(grown).toBeGreaterThan(20);
    await expectInStep();

    // One farm more by itself, an edit, the same again, one less.
    expect(await machine.apply(nameOf(40), setOf(40, plane))).toMatchObject({ code: 0, stderr: "" });
    await expectInStep();
    const edited = setOf(40, plane, ["10.0.0.8", "10.0.0.9"]);
    expect(await machine.apply(nameOf(40), edited)).toMatchObject({ code: 0, stderr: "" });
    await expectInStep();
    const before = await saved();
    expect(await machine.apply(nameOf(40), edited)).toMatchObject({
      stdout: `unchanged: farm ${nameOf(40)}\n`,
    });
    expect(await machine.tool(["verify", nameOf(40)])).toMatchObject({ code: 0 });
    expect((await saved()).replace(/\[[\d:]*\]/g, "")).toContain(":NFLB-PREROUTING.1 ");
    expect(trees(await saved())).toBe(trees(before));
    expect(await machine.remove(nameOf(40))).toMatchObject({ code: 0, stderr: "" });
    await expectInStep();
    expect(trees(await saved())).toBe(grown);

    expect(await machine.applyGroup("all", setsOf(12, plane))).toMatchObject({ code: 0, stderr: "" });
    expect(trees(await saved())).toBeLessThan(grown);
    await expectInStep();
    expect(await machine.applyGroup("all", setsOf(3, plane))).toMatchObject({ code: 0, stderr: "" });
    expect(trees(await saved())).toBe(0);
    await expectInStep();

    await machine.applyGroup("all", setsOf(40, plane));
    expect(await machine.removeGroup("all")).toMatchObject({ code: 0, stderr: "" });
    const plain = (rules: string) => rules.split("\n").filter((line) => !/^[#:]/.test(line));
    expect(plain(await saved())).toEqual(plain(foreign));
    expect(await saved()).not.toContain("NFLB");
  });

  test("what a hand did to a tree is told and mended, and survives no change", async () => {
    await machine.applyGroup("all", setsOf(40, plane));
    const good = trees(await saved());
    for (const [command, finding] of [
      ["iptables -t nat -D NFLB-PREROUTING 1", /^- base ip nat NFLB-PREROUTING -A NFLB-PREROUTING /m],
      ["iptables -t nat -F NFLB-PREROUTING.2", /^- farm\d+ ip nat NFLB-PREROUTING\.2 /m],
      ["iptables -t nat -I NFLB-PREROUTING.1 -j ACCEPT", /^\+ base ip nat NFLB-PREROUTING\.1 /m],
      ["iptables -t nat -N NFLB-PREROUTING.999", /^\+ base ip nat NFLB-PREROUTING\.999 /m],
    ] as const) {
      await machine.sh(command);
      const { code, stdout } = await machine.tool(["verify"]);
      expect({ command, code }).toEqual({ command, code: 7 });
      expect(stdout).toMatch(finding);
      expect(await machine.tool(["restore"])).toMatchObject({ code: 0 });
      await expectInStep();
      expect(trees(await saved())).toBe(good);
    }
    // A chain that is missing is no reason for a change to fail.
    await machine.sh(
      "iptables -t nat -F NFLB-PREROUTING && iptables -t nat -F NFLB-PREROUTING.1 && iptables -t nat -X NFLB-PREROUTING.1 || :",
    );
    expect(await machine.applyGroup("all", setsOf(12, plane))).toMatchObject({ code: 0, stderr: "" });
    await expectInStep();
  });

  test("a flush is repaired", async () => {
    await machine.applyGroup("all", setsOf(40, plane));
    expect(await machine.tool(["repair"])).toMatchObject({ code: 0, stdout: "" });
    await machine.sh("iptables -t nat -F");
    expect((await machine.tool(["repair"])).stdout).toMatch(/^repaired 40 farms: missing was ip nat /);
    await expectInStep();
  });

  test("services move between farms of a stack", async () => {
    await machine.applyGroup("all", setsOf(30, plane));
    const taken = ruleSet({ name: "taker", plane, services: [...servicesOf(2), ...servicesOf(7)] });
    expect(await machine.apply("taker", taken)).toMatchObject({ code: 0, stderr: "" });
    await expectInStep();
  });
});

test("with forwarding locked there is no way round the lock", async () => {
  machine = await Machine.start();
  await machine.tool(["prepare", "--owner", OWNER, "--plane", "iptables"]);
  await machine.applyGroup("all", setsOf(40, "iptables nat"));
  const gate = await machine.sh("iptables -t mangle -S NFLB-FORWARD");
  expect(gate.trim().split("\n").at(-1)).toBe("-A NFLB-FORWARD -j DROP");
  expect(gate).not.toContain(" -g ");
  expect(await saved()).toContain("-g NFLB-PREROUTING.1");
  await expectInStep();
});

test("on an nftables gateway whose FORWARD drops the accepts are a tree, which goes with the need of it", async () => {
  machine = await Machine.start();
  await machine.sh("sysctl -qw net.ipv4.ip_forward=1; iptables -P FORWARD DROP");
  await machine.tool(["prepare", "--owner", OWNER]);
  await machine.applyGroup("all", setsOf(40, "nftables"));
  expect(trees(await saved())).toBeGreaterThan(5);
  await expectInStep();
  await machine.sh("iptables -P FORWARD ACCEPT");
  await machine.applyGroup("all", setsOf(41, "nftables"));
  expect(await saved()).not.toContain("NFLB");
  await expectInStep();
  await machine.sh("iptables -P FORWARD DROP");
  await machine.applyGroup("all", setsOf(40, "nftables"));
  await machine.applyGroup("all", setsOf(12, "nftables"));
  await expectInStep();
});
