import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compile, type FarmSpec } from "../../src/core";
import { anyCase, NAT, NFTABLES, ZEVENET } from "../spec/farms";

/** What iptables and the reader's screen have room for. */

const chainsOf = (ruleSet: string) => [...ruleSet.matchAll(/^:(\S+) /gm)].map(([, chain]) => chain!);

test("a chain's name has at most 28 characters, belongs to the farm, and is declared once", () => {
  fc.assert(
    fc.property(anyCase, fc.constantFrom(NAT, ZEVENET), ({ name, spec, target }, { layout }) => {
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

  test("with IPv4 none is", () => {
    const v4 = (n: number) => `203.100.113.${100 + n}`;
    const listeners = spec.listeners.map((listener) => ({ ...listener, address: v4(0) }));
    const backends = spec.backends.map((backend, i) => ({ ...backend, address: v4(i + 1) }));
    for (const target of [NFTABLES, NAT, ZEVENET])
      for (const line of compile(
        "twelve-chars",
        { ...spec, listeners, backends },
        { ...target, ...extremes },
      ).ruleSet.split("\n"))
        expect(line.length, line).toBeLessThanOrEqual(150);
  });

  test("a Zevenet comment gives the farm's name up, and keeps the backend's number", () => {
    const { ruleSet } = compile("twelve-chars", spec, ZEVENET);
    expect(ruleSet).toContain("--comment _59_ ");
    expect(compile("app", spec, ZEVENET).ruleSet).toContain("--comment FARM_app_59_ ");
  });
});
