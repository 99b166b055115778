import fc from "fast-check";
import { expect, test } from "vitest";
import { Algorithm, compile } from "../../src/core";
import { Fraction } from "../../src/plan/fraction";
import { readRuleSet } from "../../src/report/read";
import { anyCase } from "../spec/farms";

/** What a rule set's text says, and what made it. */

test("reads back what a farm was made of, from any gateway's text", () => {
  fc.assert(
    fc.property(anyCase, ({ name, spec, target }) => {
      const { plan, ruleSet } = compile(name, spec, target);
      const read = readRuleSet(ruleSet);
      expect(read.name).toBe(name);
      expect(read.dataPlane).toBe(
        target.dataPlane === "nftables" ? "nftables" : `iptables ${target.layout ?? "nat"}`,
      );
      expect(read.services).toEqual(plan.pools.flatMap(({ services }) => services));
      expect(read.interface).toBe(target.interface);
      expect(read.sourceNat).toBe(spec.sourceNat ?? "none");
      if (read.algorithm !== undefined) expect(read.algorithm).toBe(spec.algorithm ?? Algorithm.Random);

      const wanted = new Map(
        plan.pools.flatMap((pool) => pool.backends.map((one) => [one.key, { pool, one }])),
      );
      expect(read.backends.map(({ key }) => key).sort()).toEqual([...wanted.keys()].sort());
      for (const { key, family, mark, port, share } of read.backends) {
        const { pool, one } = wanted.get(key)!;
        expect([family, mark, port]).toEqual([pool.family, one.mark, one.port]);
        const exact = Fraction.of(one.share, pool.total);
        // Small weights come back as they were; large ones as the kernel's thresholds have them.
        if (target.dataPlane === "nftables" || pool.total <= 46_340) expect(share).toEqual(exact);
        else {
          const error = share.minus(exact);
          const bound = Fraction.of(pool.backends.length, 2n ** 32n);
          expect(bound.isLessThan(error.numerator < 0n ? Fraction.ZERO.minus(error) : error)).toBe(false);
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("a text that lacks a line, has one twice or another one, is refused in one sentence", () => {
  fc.assert(
    fc.property(
      anyCase,
      fc.nat(),
      fc.constantFrom("drop", "double", "junk"),
      ({ name, spec, target }, at, how) => {
        const lines = compile(name, spec, target).ruleSet.split("\n");
        const i = at % (lines.length - 1);
        // A service that is missing in the header of a text is one that its rules have all the same.
        fc.pre(!lines[i]!.startsWith("# service"));
        if (how === "drop") lines.splice(i, 1);
        if (how === "double") lines.splice(i, 0, lines[i]!);
        if (how === "junk") lines[i] = "rm -rf";
        let read: unknown;
        try {
          read = readRuleSet(lines.join("\n"));
        } catch (error) {
          expect((error as Error).name).toBe("SpecError");
          expect((error as Error).message).toMatch(
            /^rule set: 1 problem\n {2}.*which no rule set of this package has; /,
          );
          return;
        }
        // What still reads as one is a rule set that lacks rules of one of its services, which `compile` would not make.
        expect(how).not.toBe("junk");
        expect(read).toBeDefined();
      },
    ),
    { numRuns: 300 },
  );
});

test.each([
  ["the only one", "\t\t\t0 : ", 0xff],
  ["one of several", "\t\t\t1 : ", undefined],
])("a draw of which a number leads nowhere is refused: %s", (_, slot, markMask) => {
  const backends = [{ address: "10.0.0.1" }, ...(markMask ? [] : [{ address: "10.0.0.2" }])];
  const listeners = [{ address: "203.0.113.10", protocol: "sctp" as const, ports: "1-9" }];
  const { ruleSet } = compile(
    "web",
    { listeners, backends },
    { dataPlane: "nftables", ...(markMask && { markMask }) },
  );
  const lines = ruleSet.split("\n");
  const kept = lines.filter((line) => !line.startsWith(slot));
  expect(kept.length).toBe(lines.length - 1);
  expect(() => readRuleSet(kept.join("\n"))).toThrow(/^rule set: 1 problem\n {2}.*line \d+ is /);
});
