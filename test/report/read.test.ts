import fc from "fast-check";
import { expect, test } from "vitest";
import { Algorithm, compile, type Plan, type Pool } from "../../src/core";
import { Fraction } from "../../src/plan/fraction";
import { pinnedRanges } from "../../src/plan/pins";
import { readRuleSet } from "../../src/report/read";
import { anyCase, type Case } from "../spec/farms";

/** What a rule set's text says, and what made it. */

/** What of a plan its rules show. */
function shown({ pools, ...plan }: Plan, { spec, target }: Case) {
  const each = <T>(get: (pool: Pool) => T[]) => pools.flatMap(get);
  const byFamily = <T>(get: (pool: Pool) => T | undefined) =>
    Object.fromEntries(pools.flatMap((pool) => (get(pool) === undefined ? [] : [[pool.family, get(pool)]])));
  const tcp = each(({ services }) => services).some(
    ({ protocol }) => protocol === "tcp" || protocol === "all",
  );
  const remembers = each(({ reachable }) => reachable).length > 0;
  // iptables keeps a rate as a whole number of steps between two.
  const kept = target.dataPlane === "nftables";
  return {
    name: plan.name,
    services: each(({ services }) => services),
    interface: plan.interface,
    pins: each(({ pins, family }) =>
      pinnedRanges(pins, family).map((pin) => ({ family, ...pin, backend: pin.backend.key })),
    ),
    allow: spec.allow && each(({ allow }) => allow!),
    deny: each(({ deny }) => deny),
    empty: byFamily(({ chosen }) => (chosen.length === 0 ? plan.whenEmpty : undefined)),
    onRemoval: plan.onRemoval,
    looseTcp: tcp ? plan.looseTcp : undefined,
    helper: plan.helper,
    affinity: remembers ? plan.affinity : undefined,
    ...(kept && { limits: plan.limits, log: plan.log }),
  };
}

test("reads back what a farm was made of, from any gateway's text", () => {
  fc.assert(
    fc.property(anyCase, (one) => {
      const { name, spec, target } = one;
      const { plan, ruleSet } = compile(name, spec, target);
      const read = readRuleSet(ruleSet);
      expect(read).toMatchObject(shown(plan, one));
      expect(read.dataPlane).toBe(
        target.dataPlane === "nftables" ? "nftables" : `iptables ${target.layout ?? "nat"}`,
      );
      // A network that holds everybody is no match in iptables, and zevenet changes a source by its backend's mark.
      const local = plan.pools.flatMap(({ localNetworks }) => localNetworks);
      const isTold = target.layout !== "zevenet" || plan.pools.every(({ chosen }) => chosen.length > 0);
      if (isTold && !local.some((network) => network.endsWith("/0"))) {
        expect(read.sourceNat).toBe(spec.sourceNat ?? "none");
        expect(read.localNetworks).toEqual(local);
      }
      if (read.algorithm !== undefined) expect(read.algorithm).toBe(spec.algorithm ?? Algorithm.Random);

      const wanted = plan.pools.flatMap(({ family, backends, total, reachable }) =>
        backends
          .filter(({ role }) => role !== "down")
          .map((backend) => ({
            family,
            key: backend.key,
            address: backend.address,
            port: backend.port,
            mark: backend.mark,
            role: backend.role,
            share: backend.share === 0 ? Fraction.ZERO : Fraction.of(backend.share, total),
            maxConnections: reachable.includes(backend) ? backend.maxConnections : undefined,
          })),
      );
      expect(read.backends).toEqual(wanted);

      for (const { family, chosen, slots } of plan.pools) {
        const hash = read.hash[family];
        if (hash) {
          expect(hash.slots).toEqual(slots!.map((index) => chosen[index]!.key));
          expect(hash.of).toBe(plan.hash!.of);
          if (hash.of === "source") expect(hash.prefix).toBe(plan.hash!.prefix[family]);
        } else expect(new Set(slots).size).toBeLessThanOrEqual(1);
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

const listeners = [{ address: "203.0.113.10", protocol: "sctp" as const, ports: "1-9" }];

test.each([
  ["of a draw", "\t\t\t1 : ", {}, undefined],
  ["of a draw, with a partial mask", "\t\t\t1 : ", {}, 0xff],
  ["of a hash", "\t\t\t# 10.0.0.2 ", { algorithm: "sourceHash" as const, slots: 16 }, undefined],
])("a number that leads nowhere is refused: %s", (_, slot, fields, markMask) => {
  const backends = [{ address: "10.0.0.1" }, { address: "10.0.0.2" }];
  const { ruleSet } = compile(
    "web",
    { listeners, backends, ...fields },
    { dataPlane: "nftables", ...(markMask && { markMask }) },
  );
  const lines = ruleSet.split("\n");
  const kept = lines.filter((line) => !line.startsWith(slot));
  expect(kept.length).toBe(lines.length - 1);
  expect(() => readRuleSet(kept.join("\n"))).toThrow(/^rule set: 1 problem\n {2}.*line \d+ is /);
});

test.each([
  ["a pin's", "sourceNat", "none", "-s 198.51.100.0/24 -g", "-s {98.51.100.0/24 -g"],
  ["a pin's, of the other family", "sourceNat", "none", "-s 198.51.100.0/24 -g", "-s 2001:db8::/32 -g"],
  ["a neighbour's", "sourceNat", "auto", "-s 10.0.0.0/24 ", "-s 10.0.0.0/33 "],
])("a network that is none is refused: %s", (_, field, value, written, forged) => {
  const backends = [{ address: "10.0.0.1" }, { address: "10.0.0.2" }];
  const pins = [{ source: "198.51.100.0/24", backend: "10.0.0.1" }];
  const { ruleSet } = compile(
    "web",
    { listeners, backends, pins, [field]: value },
    { dataPlane: "iptables" },
  );
  expect(ruleSet).toContain(written);
  expect(() => readRuleSet(ruleSet.replaceAll(written, forged))).toThrow(
    "rule set: 1 problem\n  has a rule about the network",
  );
});

test.each([
  [
    "a share",
    "0xcb5f37b4 1/2",
    "0xcb5f37b4 1/3",
    "gives backends other marks or shares than its header says",
  ],
  ["a state", "1/2\n#", "1/2 drain\n#", "gives backends other marks or shares than its header says"],
  ["a mark", "# backend 10.0.0.1 0x", "# backend 10.0.0.1 0x1", "has rules about 10.0.0.1, of which"],
  ["a key", "# backend 10.0.0.1", "# backend 10.0.0.7", "has rules about 10.0.0.1, of which"],
  ["a service", "sctp 1-9\n", "sctp 1-8\n", "has elements of other services than its header"],
  ["a mask", "# backend", "# mark-mask 0xff\n# backend", "has rules of another mark-mask than its header"],
])("a header that the rules contradict is refused: %s", (_, written, forged, problem) => {
  const backends = [{ address: "10.0.0.1" }, { address: "10.0.0.2" }];
  const { ruleSet } = compile("web", { listeners, backends }, { dataPlane: "nftables" });
  expect(ruleSet).toContain(written);
  expect(() => readRuleSet(ruleSet.replace(written, forged))).toThrow(problem);
});
