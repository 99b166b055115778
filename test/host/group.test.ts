import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FOREIGN, PLANES, type Plane, ruleSet } from "./fixtures";
import { Machine, OWNER } from "./support";

let machine: Machine;
afterEach(() => machine.end());

/** Farms of a group, each at a port of one address. */
function farmsOf(count: number, plane: Plane, backends?: readonly string[]): string[] {
  return Array.from({ length: count }, (_, k) =>
    ruleSet({
      name: `farm${String(k).padStart(3, "0")}`,
      plane,
      services: [`203.0.113.10 tcp ${1000 + k}`],
      ...(backends && { backends }),
    }),
  );
}

const names = async () =>
  (await machine.tool(["list"])).stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => line.split(/\s+/)[0]);

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

    const farms = farmsOf(20, plane);
    expect(await machine.applyGroup("edge", farms.join(""))).toEqual({
      code: 0,
      stdout: "applied: group edge, 20 of 20 farms\n",
      stderr: "",
    });
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0, stdout: "in step: all farms\n" });
    for (const [k, set] of farms.entries())
      expect(await machine.stored(`farm${String(k).padStart(3, "0")}`)).toBe(set);

    expect(await machine.applyGroup("edge", farms.join(""))).toEqual({
      code: 0,
      stdout: "unchanged: group edge\n",
      stderr: "",
    });

    const [first] = farmsOf(1, plane, ["10.0.0.3", "10.0.0.9"]);
    const changed = [first, ...farms.slice(1, 19)].join("");
    expect(await machine.applyGroup("edge", changed)).toEqual({
      code: 0,
      stdout: "applied: group edge, 1 of 19 farms, 1 removed\n",
      stderr: "",
    });
    expect(await machine.stored("farm000")).toBe(first);
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0, stdout: "in step: all farms\n" });
    expect(await names()).not.toContain("farm019");

    expect(await machine.removeGroup("edge")).toEqual({
      code: 0,
      stdout: "removed: group edge\n",
      stderr: "",
    });
    expect(await names()).toEqual(["alone"]);
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0, stdout: "in step: all farms\n" });
    expect(
      await machine.sh(
        "cd /etc/netfilter-lb && find . -name '*group*' -o -name next -o -path './sent/farm*'",
      ),
    ).toBe("");
    expect(await machine.tool(["retire", "--owner", OWNER])).toMatchObject({ code: 0 });
    expect(await machine.rules()).toBe(before);
  });
});
