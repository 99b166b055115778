import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type BackendSpec, BackendState, type FarmSpec } from "../../src/core";
import { renderHeader } from "../../src/plan/header";
import { makePlan, type Pool } from "../../src/plan/plan";
import { FARM, weighted } from "../spec/farms";

const poolOf = (spec: Partial<FarmSpec>): Pool => makePlan("web", { ...FARM, ...spec }).pools[0]!;
const names = (list: readonly { address: string }[]) =>
  list.map(({ address }) => address.split(".")[3]).join("");

/** Backends 10.0.0.0, 10.0.0.1 … in short: `a0 d1 x0` are an active one of tier 0, a draining one of 1, one of 0 that is down. */
function tiers(text: string): BackendSpec[] {
  const state = { a: "active", d: "drain", x: "down" } as const;
  return text.split(" ").map((word, i) => ({
    address: `10.0.0.${i}`,
    state: state[word[0] as "a" | "d" | "x"],
    priority: Number(word.slice(1)),
  }));
}

describe("the tier with the lowest number that has enough active members carries the connections", () => {
  test.each([
    ["a0 a0", 1, "01", "one tier"],
    ["a0 a1", 1, "0", "the lowest number"],
    ["a9 a2 a9", 1, "1", "whatever its place in the list"],
    ["d0 a1", 1, "1", "draining members do not count"],
    ["x0 a1 a1", 1, "12", "nor those that are down"],
    ["a0 a1 a1", 2, "12", "as many as minActive says"],
    ["a0 d0 a1 a1", 2, "23", "active ones, that is"],
    ["a0 a1", 2, "0", "where none has so many, the first with any"],
    ["x0 a1 a1 a2", 3, "12", "the first with any, not the largest"],
    ["a0 a0 a0 a65535", 3, "012", "the last tier is the sorry backend"],
    ["d0 x0 x0 a65535", 3, "3", "which carries when all others are gone"],
    ["d0 x1", 1, "", "no active member at all"],
  ])("%s, minActive %i: %s (%s)", (text, minActive, wanted) => {
    const pool = poolOf({ backends: tiers(text), minActive });
    expect(names(pool.chosen)).toBe(wanted);
    expect(pool.total).toBe(wanted.length);
  });

  test("the default is one, and priority 0", () => {
    const pool = poolOf({ backends: [{ address: "10.0.0.1" }, { address: "10.0.0.2", priority: 1 }] });
    expect(names(pool.chosen)).toBe("1");
  });

  test("each family for itself", () => {
    const { pools } = makePlan("web", {
      listeners: [...FARM.listeners, { address: "2001:db8:ffff::1", protocol: "tcp", port: 80 }],
      backends: [
        { address: "10.0.0.3", state: "down" },
        { address: "10.0.0.4", priority: 1 },
        { address: "2001:db8::3" },
        { address: "2001:db8::4", priority: 1 },
      ],
    });
    expect(pools.map(({ chosen }) => chosen.map(({ address }) => address))).toEqual([
      ["10.0.0.4"],
      ["2001:db8::3"],
    ]);
  });

  const farm = fc.record({
    backends: fc
      .array(
        fc.record({
          state: fc.constantFrom(...Object.values(BackendState)),
          priority: fc.nat(3),
          weight: fc.integer({ min: 1, max: 9 }),
        }),
        { minLength: 1, maxLength: 12 },
      )
      .map((list) => list.map((one, i): BackendSpec => ({ ...one, address: `10.0.0.${i}` }))),
    minActive: fc.integer({ min: 1, max: 4 }),
    algorithm: fc.constantFrom("random", "roundRobin", "sourceHash"),
    affinity: fc.option(fc.constant({ by: "sourceIp" as const, timeoutSeconds: 60 }), { nil: undefined }),
  });

  test("who shares, and who can be reached, for any farm", () => {
    fc.assert(
      fc.property(farm, fc.array(fc.nat(11), { maxLength: 3 }), ({ affinity, ...spec }, pinned) => {
        const pins = pinned.map((i, n) => ({
          source: `198.51.100.${n}`,
          backend: `10.0.0.${i % spec.backends.length}`,
        }));
        const pool = poolOf({ ...spec, pins, ...(affinity && { affinity }), slots: 64 });
        const active = pool.backends.filter((_, i) => spec.backends[i]!.state === "active");
        for (const [i, { role, share, weight }] of pool.backends.entries()) {
          const { state, priority } = spec.backends[i]!;
          expect(role === "standby" ? "active" : role).toBe(state);
          if (role !== "active") expect(share).toBe(0);
          if (role === "active") {
            if (spec.algorithm !== "sourceHash") expect(share).toBeGreaterThan(0);
            expect(weight).toBe(spec.backends[i]!.weight);
          }
          if (role !== "standby") continue;
          const [mine, carrying] = [priority!, pool.chosen[0]!.priority];
          expect(mine).not.toBe(carrying);
          // It stands by because it is behind, or because its own tier has too few.
          const members = (tier: number) => active.filter((one) => one.priority === tier).length;
          if (mine < carrying) expect(members(mine)).toBeLessThan(spec.minActive);
          if (mine < carrying) expect(members(carrying)).toBeGreaterThanOrEqual(spec.minActive);
        }
        expect(pool.chosen.length > 0).toBe(active.length > 0);
        expect(new Set(pool.chosen.map(({ priority }) => priority)).size).toBeLessThanOrEqual(1);
        expect(pool.backends.reduce((sum, { share }) => sum + share, 0)).toBe(pool.total);
        if (spec.algorithm === "sourceHash" && active.length > 0) {
          expect(pool.total).toBe(64);
          pool.chosen.forEach((backend, index) => {
            expect(backend.share).toBe(pool.slots!.filter((slot) => slot === index).length);
          });
        }
        const live = (address: string) =>
          spec.backends.find((one) => one.address === address)!.state !== "down";
        const wanted = pool.backends.filter(
          ({ address, role }) =>
            role === "active" ||
            (role === "drain" && affinity !== undefined) ||
            (live(address) && pins.some(({ backend }) => backend === address)),
        );
        expect(pool.reachable).toEqual(wanted);
      }),
    );
  });
});

test("a state, a tier and a limit change no mark, and of a hash only the slots that must", () => {
  const spec = weighted([1, 1, 1, 1], { algorithm: "sourceHash" });
  const backends = spec.backends.map((one, i) => (i === 2 ? { ...one, state: "drain" as const } : one));
  const [before, after] = [poolOf(spec), poolOf({ ...spec, backends })];
  expect(after.backends.map(({ mark }) => mark)).toEqual(before.backends.map(({ mark }) => mark));
  before.slots!.forEach((index, slot) => {
    if (index !== 2) expect(after.chosen[after.slots![slot]!]!.key).toBe(before.chosen[index]!.key);
  });
});

describe("the header says who a backend is and what it gets", () => {
  const header = (spec: Partial<FarmSpec>) => renderHeader(makePlan("web", { ...FARM, ...spec }), "nftables");
  test("its share and its state; one that is down is left out, as if it were removed", () => {
    const lines = header({ backends: tiers("a0 d0 a1 x0 a0") });
    expect(
      lines.filter((line) => line.startsWith("# backend")).map((line) => line.replace(/0x\S+/, "M")),
    ).toEqual([
      "# backend 10.0.0.0 M 1/2",
      "# backend 10.0.0.1 M 0/2 drain",
      "# backend 10.0.0.2 M 0/2 standby",
      "# backend 10.0.0.4 M 1/2",
    ]);
  });
  test("with nobody active, shares of nothing", () => {
    expect(header({ backends: tiers("d0 x0") }).at(-1)).toMatch(
      /^# backend 10\.0\.0\.0 0x[0-9a-f]+ 0\/0 drain$/,
    );
  });
  test("slots of a hash are shares of their number, not in lowest terms", () => {
    const shares = header({ backends: tiers("a0 a0"), algorithm: "flowHash", slots: 16 })
      .filter((line) => line.startsWith("# backend"))
      .map((line) => line.split(" ").at(-1)!.split("/").map(Number));
    expect(shares.map(([, total]) => total)).toEqual([16, 16]);
    expect(shares[0]![0]! + shares[1]![0]!).toBe(16);
  });
  test("`on-removal` stands before the backends, and only where connections are cut", () => {
    const cut = header({ onRemoval: "cut" });
    expect(cut.indexOf("# on-removal cut")).toBe(cut.findIndex((line) => line.startsWith("# backend")) - 1);
    expect(header({ onRemoval: "keep" }).join()).not.toContain("on-removal");
  });
});
