import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compile, type FarmSpec } from "../../src/core";
import { anyCase, NAT, NFTABLES, simpleCase, ZEVENET } from "../spec/farms";

/** What iptables and the reader's screen have room for. */

const setsOf = (ruleSet: string) => [...ruleSet.matchAll(/^create (\S+) /gm)].map(([, set]) => set!);

const chainsOf = (ruleSet: string) => [...ruleSet.matchAll(/^:(\S+) /gm)].map(([, chain]) => chain!);

test("a chain's name has at most 28 characters, belongs to the farm, and is declared once", () => {
  fc.assert(
    fc.property(simpleCase, fc.constantFrom(NAT, ZEVENET), ({ name, spec, target }, { layout }) => {
      const { layout: _, ...rest } = target;
      const { ruleSet, plan } = compile(name, spec, {
        ...rest,
        dataPlane: "iptables",
        ...(layout && { layout }),
      });
      for (const part of ruleSet.split(/^(?=# ip6?$|\*)/m)) {
        const chains = chainsOf(part);
        expect(new Set(chains).size).toBe(chains.length);
        for (const chain of chains) {
          expect(chain.length).toBeLessThanOrEqual(28);
          expect(chain.split(".")[0]).toBe(`NFLB-${plan.shortName}`);
        }
      }
    }),
  );
});

test("a set's name has at most 31 characters, belongs to the farm, and is declared once and before it is asked", () => {
  fc.assert(
    fc.property(
      anyCase.filter(({ target }) => target.dataPlane === "iptables"),
      ({ name, spec, target }) => {
        const { ruleSet, plan } = compile(name, spec, target);
        const sets = setsOf(ruleSet);
        expect(new Set(sets).size).toBe(sets.length);
        for (const set of sets) {
          expect(set.length).toBeLessThanOrEqual(31);
          expect(set.split(".")[0]).toBe(`NFLB-${plan.shortName}`);
        }
        const asked = [...ruleSet.matchAll(/--(?:match|add)-set (\S+) /g)].map(([, set]) => set!);
        expect(new Set(asked)).toEqual(new Set(sets));
      },
    ),
  );
});

describe("everything as long as it gets", () => {
  const address = (n: number) => `2001:db8:1111:2222:3333:4444:5555:${(0x6000 + n).toString(16)}`;
  const spec: FarmSpec = {
    listeners: (["tcp", "udp", "sctp"] as const).map((protocol) => ({
      address: address(0),
      protocol,
      ports: "10000-20000,30000-40000",
    })),
    backends: Array.from({ length: 60 }, (_, i) => ({
      address: address(i + 1),
      port: 65535,
      mark: 0xffff_0000 - i * 0x1_0000,
    })),
    sourceNat: "vip",
  };
  const extremes = { interface: "fifteen-letters", markMask: 0xffff_0000 };

  test.each([
    ["nftables", { dataPlane: "nftables", ...extremes }],
    ["iptables nat", { ...NAT, ...extremes }],
    ["iptables zevenet", { ...ZEVENET, ...extremes }],
  ] as const)("a line is cut, if at all, behind address and ports: %s", (_, target) => {
    for (const name of ["a-name-as-long-as-a-name-can-be".padEnd(63, "x"), "twelve-chars"])
      for (const algorithm of ["random", "roundRobin"] as const) {
        const lines = compile(name, { ...spec, algorithm }, target).ruleSet.split("\n");
        const long = lines.filter((line) => line.length > 150);
        expect(long.filter((line) => !/2001:\S+ .*[13]0000[-:][24]0000 /.test(line.slice(0, 150)))).toEqual(
          [],
        );
        // Those are the lines that iptables prints so, with an IPv6 address in all its length.
        expect(new Set(long.map((line) => line.split(" ").slice(0, 2).join(" ")))).toEqual(
          new Set(target.dataPlane === "nftables" ? ["add element"] : ["-A NFLB-POSTROUTING"]),
        );
      }
  });

  const v4 = (n: number) => `203.100.113.${100 + n}`;
  const spec4: FarmSpec = {
    ...spec,
    listeners: spec.listeners.map((listener) => ({ ...listener, address: v4(0) })),
    backends: spec.backends.map((backend, i) => ({ ...backend, address: v4(i + 1) })),
  };

  test("with IPv4 none is", () => {
    for (const target of [NFTABLES, NAT, ZEVENET])
      for (const line of compile("twelve-chars", spec4, { ...target, ...extremes }).ruleSet.split("\n"))
        expect(line.length, line).toBeLessThanOrEqual(150);
  });

  const networks = Array.from({ length: 40 }, (_, i) => `198.151.100.${200 + i}/32`);
  const networks6 = networks.map((_, i) => `${address(0x100 + i)}/128`);
  const features = (family: "ip" | "ip6"): Partial<FarmSpec> => {
    const [own, ends] = family === "ip" ? [networks, spec4.backends] : [networks6, spec.backends];
    const key = family === "ip" ? `${v4(1)}:65535` : `[${address(1)}]:65535`;
    return {
      backends: ends.map((backend) => ({ ...backend, maxConnections: 16_777_216 })),
      sourceNat: "auto",
      localNetworks: own,
      affinity: { by: "sourceIpPort", timeoutSeconds: 2_147_483, maxEntries: 16_777_216 },
      pins: own.map((source) => ({ source, backend: key })),
      allow: own.slice(0, 20),
      deny: own.slice(20),
      limits: {
        maxConnections: 16_777_216,
        newConnectionsPerSecond: 10_000,
        burst: 10_000,
        perSource: { newConnectionsPerSecond: 10_000, burst: 10_000 },
      },
      log: { prefix: "twenty-eight.characters:====", perSecond: 10_000, burst: 10_000 },
    };
  };

  test.each(["random", "sourceHash", "flowHash"] as const)(
    "lists, pins, affinity, limits and logs fit in a line of iptables: %s",
    (algorithm) => {
      const more = { algorithm, ...(algorithm !== "random" && { slots: 65_536 }) };
      for (const state of ["active", "down"] as const)
        for (const [whole, family] of [
          [spec4, "ip"],
          [spec, "ip6"],
        ] as const) {
          const farm = { ...whole, ...features(family), ...more };
          const backends = farm.backends.map((backend) => ({ ...backend, state }));
          const { ruleSet } = compile(
            "twelve-chars",
            { ...farm, backends },
            { ...NAT, interface: "fifteen-letters" },
          );
          const long = ruleSet.split("\n").filter((line) => line.length > 150);
          // With an IPv6 address in all its length some are cut, behind it.
          const known = /^-A NFLB-(POSTROUTING .*|FORWARD .* -m mark ! --mark 0x6e666c62 -j DROP)$/;
          // A rate is cut in its expiry, which follows from what stands before it.
          const rate = /^-A NFLB-\S+ -m hashlimit .* --hashlimit-name \S+ /;
          expect(
            long.filter((line) => !(family === "ip6" && known.test(line)) && !rate.test(line.slice(0, 150))),
          ).toEqual([]);
        }
    },
  );

  test("a Zevenet comment gives the farm's name up, and keeps the backend's number", () => {
    const { ruleSet } = compile("twelve-chars", spec, ZEVENET);
    expect(ruleSet).toContain("--comment _59_ ");
    expect(compile("app", spec, ZEVENET).ruleSet).toContain("--comment FARM_app_59_ ");
  });
});
