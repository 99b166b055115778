import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { foreignOf } from "../faults/bare-gateway";
import { fault } from "../faults/fault";
import { FOREIGN, PLANES, type Plane, ruleSet } from "./fixtures";
import { Machine, OWNER } from "./support";

const FLUSH =
  "for t in mangle nat filter; do iptables -t $t -F; iptables -t $t -X; ip6tables -t $t -F; ip6tables -t $t -X; done";

const SERVICES = [
  "203.0.113.10 tcp 80",
  "203.0.113.10 tcp 8000-8080",
  "203.0.113.10 udp 0-65535",
  "203.0.113.11 all -",
  "2001:db8::10 udp 53",
];

let machine: Machine;
afterEach(() => machine.end());

const VARIANTS = [
  { shell: ["dash"], iptables: "nft" },
  { shell: ["busybox", "ash"], iptables: "nft" },
  { shell: ["dash"], iptables: "legacy" },
] as const;

describe.each(VARIANTS)("with $shell and iptables-$iptables", (variant) => {
  beforeEach(async () => {
    machine = await Machine.start(variant);
  });

  for (const plane of PLANES)
    fault(31, `${plane}, ${variant.shell.join(" ")}, iptables-${variant.iptables}`, () =>
      comesAndGoes(plane),
    );

  async function comesAndGoes(plane: Plane) {
    await machine.sh(FOREIGN);
    const before = await machine.rules();
    expect(await machine.tool(["prepare", "--owner", OWNER, "--version", "1"])).toMatchObject({ code: 0 });

    const first = ruleSet({ plane, services: SERVICES, masquerade: true });
    expect(await machine.apply("web", first)).toEqual({ code: 0, stdout: "applied: farm web\n", stderr: "" });
    expect(await machine.stored("web")).toBe(first);
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0, stdout: "in step: all farms\n" });

    const files = await machine.sh("stat -c '%n %i %y' /etc/netfilter-lb /etc/netfilter-lb/*/*");
    expect(await machine.apply("web", first)).toEqual({
      code: 0,
      stdout: "unchanged: farm web\n",
      stderr: "",
    });
    expect(await machine.sh("stat -c '%n %i %y' /etc/netfilter-lb /etc/netfilter-lb/*/*")).toBe(files);

    const second = ruleSet({ plane, services: [...SERVICES.slice(0, 1), "203.0.113.10 tcp 8000-8090"] });
    expect(await machine.apply("web", second)).toEqual({
      code: 0,
      stdout: "applied: farm web\n",
      stderr: "",
    });
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });

    const other = ruleSet({ plane, name: "an-other-long-name", services: ["203.0.113.12 sctp 5"] });
    expect(await machine.apply("an-other-long-name", other)).toMatchObject({ code: 0, stderr: "" });
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
    const neighbour = await neighbourOf();
    const removed = await machine.remove("web");
    expect(removed).toEqual({ code: 0, stdout: "removed: farm web\n", stderr: "" });
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
    expect(await neighbourOf()).toBe(neighbour);
    expect(foreignOf(await machine.rules())).toBe(foreignOf(before));
    expect(await machine.remove("web")).toMatchObject({ code: 0, stderr: "" });

    const retired = await machine.tool(["retire", "--owner", OWNER]);
    expect(retired).toMatchObject({ code: 0, stderr: "" });
    expect(await machine.rules()).toBe(before);
    expect(await machine.sh("ls -A /etc/sysctl.d; ls -d /etc/netfilter-lb 2>/dev/null || echo gone")).toBe(
      "gone\n",
    );
    return {
      done: "a farm came, changed, and was removed, beside another farm and beside rules of nft, iptables and ip6tables in every table",
      held:
        `${before.split("\n").length} lines of the listings of nft, iptables-save and ip6tables-save are byte for byte the same in the ` +
        "end; the other farm's rules and file did not change",
      saw: removed.stdout.trim(),
    };
  }

  /** The file of the farm that stays, its chains, and what leads to them. */
  async function neighbourOf(): Promise<string> {
    const rules = await machine.rules();
    const own = rules.match(
      /chain \S*an--\S+ \{[\s\S]*?\n\t\}|[^\n,{]*203\.0\.113\.12[^\n,}]*|.*NFLB-an--.*/g,
    );
    expect(own?.length).toBeGreaterThanOrEqual(3);
    return [await machine.stored("an-other-long-name"), ...own!.map((text) => text.trim())].join("\n");
  }

  test.each(PLANES)("%s: what was flushed comes back", async (plane) => {
    const set = ruleSet({ plane, services: SERVICES, masquerade: true });
    await machine.apply("web", set);
    await machine.apply("db", ruleSet({ plane, name: "db", services: ["203.0.113.12 tcp 5432"] }));
    const good = await machine.rules();
    await machine.sh("nft flush ruleset");
    if (plane !== "nftables" && variant.iptables === "legacy") await machine.sh(FLUSH);
    expect(await machine.tool(["verify"])).toMatchObject({ code: 7 });
    expect(await machine.tool(["restore"])).toMatchObject({
      code: 0,
      stderr: "",
      stdout: "restored: 2 farms\n",
    });
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
    if (plane === "nftables") expect(sorted(await machine.rules())).toEqual(sorted(good));
  });
});

const sorted = (text: string) => text.split("\n").sort();

describe("a farm that moves", () => {
  beforeEach(async () => {
    machine = await Machine.start();
  });

  test.each(PLANES)("%s: under another name it takes its services along", async (plane) => {
    const services = ["203.0.113.10 tcp 80", "203.0.113.10 tcp 443"];
    await machine.apply("old", ruleSet({ plane, name: "old", services, masquerade: true }));
    const set = ruleSet({ plane, name: "new", services });
    expect(await machine.apply("new", set)).toMatchObject({ code: 0, stderr: "" });
    expect(await machine.tool(["list"])).toMatchObject({ stdout: `new ${OWNER} ${plane}\n` });
    expect(await machine.remove("old")).toMatchObject({ code: 0, stderr: "" });
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
    expect(await machine.rules()).not.toMatch(/\b(NFLB-)?old\b/);
  });

  test.each(PLANES)("%s: one service of two moves, the other stays", async (plane) => {
    const [http, https] = ["203.0.113.10 tcp 80", "203.0.113.10 tcp 443"];
    await machine.apply("old", ruleSet({ plane, name: "old", services: [http, https], masquerade: true }));
    const set = ruleSet({ plane, name: "new", services: [https] });
    expect(await machine.apply("new", set)).toMatchObject({ code: 0, stderr: "" });
    expect(await machine.stored("old")).toContain(`# service ${http}`);
    expect(await machine.stored("old")).not.toMatch(/443/);
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
    expect(await machine.remove("new")).toMatchObject({ code: 0 });
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
    expect(await machine.rules()).toMatch(/\bold\b/);
  });

  test.each(PLANES)("%s: killed before the loser was stored, the newer keeps the service", async (plane) => {
    const services = ["203.0.113.10 tcp 80", "203.0.113.10 tcp 443"];
    await machine.apply("old", ruleSet({ plane, name: "old", services }));
    await machine.sh("cp /etc/netfilter-lb/farms/old.rules /etc/before");
    await machine.apply("new", ruleSet({ plane, name: "new", services: services.slice(1) }));
    const good = sorted(await machine.rules());
    await machine.sh("cd /etc/netfilter-lb/farms; mv /etc/before old.rules; cp new.rules new.pending");
    expect(await machine.tool(["restore"])).toMatchObject({ code: 0, stderr: "" });
    expect(sorted(await machine.rules())).toEqual(good);
    expect(await machine.stored("old")).not.toContain("443");
    expect(await machine.sh("ls -A /etc/netfilter-lb/farms")).toBe("new.rules\nold.rules\n");
  });

  fault(21, "eight farms at once", async () => {
    const numbers = [...Array(8).keys()];
    const outcomes = await Promise.all(
      numbers.map((n) => {
        const plane = PLANES[n % PLANES.length]!;
        return machine.apply(
          `farm${n}`,
          ruleSet({ plane, name: `farm${n}`, services: [`203.0.113.${n} tcp 80`] }),
        );
      }),
    );
    for (const outcome of outcomes) expect(outcome).toMatchObject({ code: 0, stderr: "" });
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
    expect((await machine.tool(["list"])).stdout.split("\n")).toHaveLength(numbers.length + 1);
    const rules = await machine.rules();
    for (const n of numbers) expect(rules).toMatch(new RegExp(`\\b(NFLB-)?farm${n}\\b`));
    return {
      done: `${numbers.length} farms, of all data planes and layouts, applied to a new gateway at the same moment`,
      held: `${numbers.length} of ${numbers.length} are in force and stored`,
      saw: outcomes.map(({ stdout }) => stdout.trim()).join("; "),
    };
  });
});
