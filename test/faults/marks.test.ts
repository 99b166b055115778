import { expect } from "vitest";
import { compile } from "../../src/core";
import { ALL, eachPlane, type Plane, VIP } from "../traffic/plane";
import { Watch } from "../traffic/watch";
import { fault } from "./fault";

/** Marks of connections that are the same in two farms, or in a farm and in rules of somebody else. */

const OTHER = "203.0.113.11";
/** The bits that the machine's own rules use. */
const THEIRS = 0x12000000;
const OURS = 0x00ff0000;

eachPlane({ planes: ALL, backends: 3, serve: { tcp: [80] } }, (plane) => {
  fault(30, plane.label, async () => {
    const [a, b, c] = plane.backends as [string, string, string];
    const dial = (to: string) => plane.connect({ to, port: 80, count: 20 });

    // Two farms, whose marks stand for different backends, and for different sources.
    const listener = (address: string) => [{ address, protocol: "tcp" as const, port: 80 }];
    const farm = (to: string, backends: readonly [string, string], sourceNat: string) => ({
      listeners: listener(to),
      backends: backends.map((address, i) => ({ address, mark: 0x10 + i })),
      sourceNat,
    });
    await plane.apply(farm(VIP, [a, b], "vip"), "web");
    await plane.apply(farm(OTHER, [b, c], "none"), "shop");
    for (const [to, members, source] of [
      [VIP, [a, b], VIP],
      [OTHER, [b, c], plane.from()],
    ] as const) {
      const { answers, lost } = await dial(to);
      expect(lost).toBe(0);
      for (const answer of answers) {
        expect(members).toContain(answer.address);
        expect(answer.source).toBe(source);
      }
    }
    await plane.remove("shop");

    // The machine's own rules use bits of the mark, from before the farm's choice or from between its marks and its translation.
    let served = 0;
    for (const priority of [-170, -110]) {
      await plane.gateway.sh("conntrack -F 2>/dev/null");
      await plane.apply({ backends: [a, b].map((address) => ({ address })) }, "web", { markMask: OURS });
      await using _ = await marking(plane, priority);
      const { answers, lost } = await dial(VIP);
      expect(lost).toBe(0);
      served += answers.length;
      const held = await plane.hold();
      const mark = await markOf(plane);
      // What comes later overwrites; what comes before is kept.
      if (priority === -170) expect((mark & ~OURS) >>> 0).toBe(THEIRS);
      if (priority === -170) expect(mark & OURS).not.toBe(0);
      expect(await held.ask()).toHaveProperty("address");
      await held.close();
    }

    // Without a markMask the farm has all bits. Layout zevenet takes a marked connection for one that was chosen for already.
    const without: string[] = [];
    for (const priority of [-170, -110]) {
      await plane.gateway.sh("conntrack -F 2>/dev/null");
      await plane.apply({ backends: [a, b].map((address) => ({ address })) });
      const watch = await Watch.start(plane.gateway, [VIP]);
      await watch.expectOnly([a, b]);
      await using _ = await marking(plane, priority);
      const { answers, lost } = await plane.connect({ count: 20, timeout: 900 });
      expect(lost).toBe(plane.label === "zevenet" && priority === -170 ? 20 : 0);
      const { input, forward, stray } = await watch.end();
      expect({ input, forward, stray }).toEqual({ input: 0, forward: 0, stray: 0 });
      without.push(`${answers.length} of 20`);
    }

    const clash = (backends: { address: string; mark: number }[], markMask?: number) => {
      try {
        compile(
          "web",
          { listeners: listener(VIP), backends },
          { ...plane.target, ...(markMask && { markMask }) },
        );
      } catch (error) {
        return (error as Error).message;
      }
      throw new Error("nobody minds");
    };
    const twice = clash([a, b].map((address) => ({ address, mark: 0x10 })));
    expect(twice).toMatch(/0x10/);
    const outside = clash([{ address: a, mark: 0x10 }], OURS);
    expect(outside).toMatch(/0x10/);
    return {
      done:
        "two farms whose backends have the same marks; a machine whose own rules set bits of the mark, beside a farm with markMask; " +
        "one mark for two backends of a farm; a mark outside of markMask",
      held:
        `40 of 40 connections came to a backend of their own farm, with their own farm's source; ${served} of ${served} were served ` +
        `beside the machine's own marks, whose bits stayed; without a markMask ${without.join(" and ")} were (rules that mark before ` +
        "mangle, and after), and no packet passed untranslated; the other two were refused before anything was touched",
      saw: `${twice.replace(/\s+/g, " ")} — ${outside.replace(/\s+/g, " ")}`,
    };
  });
});

/** Somebody else's rule that marks new connections. */
async function marking(plane: Plane, priority: number) {
  await plane.gateway.sh(
    `nft 'table ip foreign { chain c { type filter hook prerouting priority ${priority}; ct state new ct mark set ${THEIRS}; }; }'`,
  );
  return { [Symbol.asyncDispose]: async () => void (await plane.gateway.sh("nft delete table ip foreign")) };
}

/** The mark of the one connection that is open. */
async function markOf(plane: Plane): Promise<number> {
  const text = await plane.gateway.sh(
    "conntrack -L -p tcp --state ESTABLISHED --orig-port-dst 80 2>/dev/null",
  );
  return Number(/mark=(\d+)/.exec(text)![1]);
}
