/** Two runs of one stack at a time: the one that began first and comes last knows nothing of the other. */

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Outcome } from "../support/lab/process";
import { ruleSet } from "./fixtures";
import { applyArguments, Machine, OWNER, TOOL } from "./support";

const [old, mine, theirs] = ["10.0.0.3", "10.0.0.4", "10.0.0.5"].map((backend) =>
  ruleSet({ backends: [backend] }),
) as [string, string, string];

let machine: Machine;
beforeEach(async () => {
  machine = await Machine.start();
  await machine.tool(["prepare", "--owner", OWNER]);
  await machine.apply("web", old);
});
afterEach(() => machine.end());

/** A run that has begun, and waits for the rest of what it is sent until `meanwhile` has ended. A second lies between their beginnings. */
async function slowly(set: string, meanwhile: () => Promise<unknown>): Promise<Outcome> {
  const feed = "head -c 100 /run/sent; until [ -e /run/go ]; do sleep 0.05; done; tail -c +101 /run/sent";
  await machine.sh("cat >/run/sent", { input: set });
  const slow = machine.running.run([
    ...["sh", "-c", `{ ${feed}; } | ${machine.shell.join(" ")} "$0" "$@"`, TOOL],
    ...applyArguments("web", set),
  ]);
  await machine.sh("until ls /run/netfilter-lb.*/set >/dev/null 2>&1; do sleep 0.05; done; sleep 1.1");
  await meanwhile();
  await machine.sh(": >/run/go");
  return await slow;
}

describe("an apply", () => {
  test("does not undo one that began later", async () => {
    const outcome = await slowly(mine, () => machine.apply("web", theirs));
    expect(outcome).toMatchObject({ code: 3, stdout: "" });
    expect(outcome.stderr).toMatch(
      /^netfilter-lb: another run of shop\/prod\/edge-1 changed farm web \(sha256 [0-9a-f]{64}, begun at \S+Z\) while this one \(begun at \S+Z\) waited, so farm web is not applied; run this again if yours shall count\n$/,
    );
    expect(await machine.stored("web")).toBe(theirs);
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0 });
    expect(await machine.apply("web", mine)).toMatchObject({ code: 0, stdout: "applied: farm web\n" });
  });

  test("has nothing against one that brought the same", async () => {
    const outcome = await slowly(mine, () => machine.apply("web", mine));
    expect(outcome).toEqual({ code: 0, stdout: "unchanged: farm web\n", stderr: "" });
  });

  test("comes in where one was taken away, and where a farm of the stack took its service over", async () => {
    expect(await slowly(mine, () => machine.remove("web"))).toMatchObject({ code: 0, stderr: "" });
    await machine.sh("rm /run/go");
    const db = ruleSet({ name: "db" });
    expect(await slowly(theirs, () => machine.apply("db", db))).toMatchObject({ code: 0, stderr: "" });
    expect(await machine.stored("web")).toBe(theirs);
  });

  test("brings nothing back to a gateway that its stack has left", async () => {
    const outcome = await slowly(mine, () => machine.tool(["retire", "--owner", OWNER]));
    expect(outcome).toMatchObject({ code: 3, stdout: "" });
    expect(outcome.stderr).toBe(
      "netfilter-lb: shop/prod/edge-1 was retired from this gateway while this run waited, so farm web is not applied; run pulumi up again " +
        "if it shall be there\n",
    );
    expect(await machine.rules()).not.toMatch(/netfilter_lb/);
    expect(await machine.sh("find /etc /run -name '*netfilter-lb*' ! -path /run/netfilter-lb.lock")).toBe("");
  });

  test.each([
    ["a farm", () => machine.apply("web", mine), "applied: farm web"],
    ["a group", () => machine.applyGroup("all", mine), "applied: group all, 1 of 1 farms"],
  ])("of %s that began later takes its turn, and tells", async (_, apply, applied) => {
    await machine.apply("web", theirs);
    // As if the other one had come while this one waited for the lock.
    await machine.sh(
      "sed '/^# sha256/s/ [0-9a-f]*$/ '$(printf %064d 0)/ /etc/netfilter-lb/farms/web.rules >/run/other",
    );
    const { code, stdout, stderr } = await whileLocked(
      apply,
      "cp /run/other /etc/netfilter-lb/farms/web.rules",
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const [note, ...said] = stdout.trim().split("\n");
    expect(note).toMatch(/^note: another run of shop\/prod\/edge-1 changed farm web .* waited$/);
    expect(said).toEqual([applied]);
    expect(await machine.stored("web")).toBe(mine);
  });
});

test("a removal leaves what came later", async () => {
  await machine.sh(
    "sed -e '/^# sha256/s/ [0-9a-f]*$/ '$(printf %064d 0)/ -e 's/^# applied .*/# applied 2999-01-01T00:00:00Z/' /etc/netfilter-lb/farms/web.rules >/run/other",
  );
  const outcome = await whileLocked(
    () => machine.remove("web"),
    "cp /run/other /etc/netfilter-lb/farms/web.rules",
  );
  expect(outcome).toMatchObject({ code: 3, stdout: "" });
  expect(outcome.stderr).toContain("so farm web stays; run this again if yours shall count");
  expect(await machine.stored("web")).toBe(old);
  expect(await machine.remove("web")).toMatchObject({ code: 0, stdout: "removed: farm web\n" });
});

/** What another holder of the lock does once a run waits for it. */
async function whileLocked(run: () => Promise<Outcome>, others: string): Promise<Outcome> {
  const held = machine.sh(
    `exec 9>>/run/netfilter-lb.lock; flock 9; : >/run/held
     until [ -e /run/go ]; do sleep 0.05; done; ${others}`,
  );
  await machine.sh("until [ -e /run/held ]; do sleep 0.05; done");
  const waiting = run();
  await machine.sh("until grep -aqs '^sleep.0[.]1' /proc/[0-9]*/cmdline; do sleep 0.05; done; : >/run/go");
  await held;
  return await waiting;
}
