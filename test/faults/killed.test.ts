/** An apply that ends in the middle: the tool is killed, or the machine goes down. */

import { afterEach, expect } from "vitest";
import { randomNumbers } from "../traffic/random-farm";
import { BareGateway, VARIANTS, type Which } from "./bare-gateway";
import { fault, sweep } from "./fault";

const SEED = Number(process.env.SEED ?? 1);

let gateway: BareGateway;
afterEach(() => gateway.end());

const other = (which: Which): Which => (which === "old" ? "new" : "old");

for (const variant of VARIANTS) {
  fault(1, variant.label, async () => {
    gateway = await BareGateway.start(variant);
    const random = randomNumbers(SEED);
    const rounds = sweep(12, 125);
    const seen = { old: 0, new: 0, both: 0 };
    let from: Which = "old";
    for (let round = 0; round < rounds; round++) {
      const to = other(from);
      // Its children end with it, or finish what they are at.
      const group = round % 2 === 0;
      await gateway.machine.killedApply("web", gateway.sets[to], random() * 1.2 * gateway.usual, group);
      const kernel = await gateway.kernel();
      await gateway.disk();
      seen[kernel === to ? "new" : kernel === from ? "old" : "both"]++;
      const next: Which = round % 4 < 2 ? to : from;
      expect(await gateway.apply(next)).toMatchObject({ code: 0, stderr: "" });
      expect(await gateway.kernel()).toBe(next);
      expect(await gateway.disk()).toBe(next);
      if (round % 6 === 5) await gateway.expectInStep(next);
      from = next;
    }
    expect(seen.old).toBeGreaterThan(0);
    expect(seen.new).toBeGreaterThan(0);
    const both = seen.both > 0 ? ` (${seen.both} times between its two commits, with both side by side)` : "";
    return {
      done: `kill −9 of the tool, every other time with all that it started, at ${rounds} random moments of a change (seed ${SEED})`,
      held: `${rounds} of ${rounds}: ${seen.old} times the old set, ${seen.new} times the new, whole, in the kernel and on disk${both}; the next apply converges`,
      saw: "nothing: the caller's connection ends",
    };
  });

  fault(4, variant.label, async () => {
    gateway = await BareGateway.start(variant, { systemd: true });
    await gateway.bootsWithForeignRules();
    const random = randomNumbers(SEED);
    const rounds = sweep(3, 40);
    const seen = { old: 0, new: 0 };
    let from: Which = "old";
    for (let round = 0; round < rounds; round++) {
      const to = other(from);
      const cut = gateway.apply(to);
      await new Promise((resolve) => setTimeout(resolve, random() * 1.2 * gateway.usual));
      expect(await gateway.machine.reboot()).toBe("restored: 1 farms\n");
      await cut;
      const disk = await gateway.disk();
      await gateway.expectInStep(disk);
      seen[disk === to ? "new" : "old"]++;
      const next: Which = round % 2 ? to : from;
      expect(await gateway.apply(next)).toMatchObject({ code: 0, stderr: "" });
      await gateway.expectInStep(next);
      from = next;
    }
    return {
      done: `the machine rebooted at ${rounds} random moments of a change (seed ${SEED})`,
      held: `${rounds} of ${rounds} boots brought back the old set (${seen.old}) or the new one (${seen.new}), whole; the next apply converges`,
      saw: "nothing: the caller's connection ends",
    };
  });
}
