import { describe, expect, test } from "vitest";
import type { FarmSpec, TargetSpec } from "../../src/core";
import { soundness } from "../../src/spec";
import { checkTarget } from "../../src/spec/check-target";
import { formatProblem } from "../../src/spec/problem";
import { checkShape, PENDING, schemas } from "../../src/spec/schema";
import { FARM, NAT, NFTABLES, ZEVENET } from "./farms";
import { problemsOf } from "./problems";

/** What a gateway's own fields are told, and what a gateway cannot do for a farm. */

const BACKEND = { address: "10.0.0.3" };

describe("a gateway", () => {
  const hundred = {
    ...FARM,
    backends: Array.from({ length: 100 }, (_, i) => ({ address: `10.0.0.${i + 1}` })),
  };
  const marked = { ...FARM, backends: [{ ...BACKEND, mark: 0x20c }] };
  test.each<[string, unknown, unknown, string]>([
    ["no data plane", FARM, {}, "dataPlane: is missing; give one of nftables, iptables"],
    ["an unknown one", FARM, { dataPlane: "ipvs" }, 'dataPlane: "ipvs" is not one of nftables, iptables'],
    ["an unknown layout", FARM, { ...ZEVENET, layout: "flat" }, 'layout: "flat" is not one of nat, zevenet'],
    [
      "a layout of nftables",
      FARM,
      { ...NFTABLES, layout: "nat" },
      'layout: "nat" is a layout of iptables; leave it out with nftables',
    ],
    [
      "an interface of 16 characters",
      FARM,
      { ...NFTABLES, interface: "abcdefghijklmnop" },
      'interface: "abcdefghijklmnop" is not an interface name; it has at most 15 letters, digits, dots, dashes and underscores',
    ],
    [
      "iptables' wildcard",
      FARM,
      { ...NFTABLES, interface: "eth+" },
      'interface: "eth+" is not an interface name; it has at most 15 letters, digits, dots, dashes and underscores',
    ],
    [
      "an empty mask",
      FARM,
      { ...NFTABLES, markMask: 0 },
      "markMask: 0 is not a mark; a mark is between 1 and 0xffffffff",
    ],
    [
      "too narrow a mask",
      hundred,
      { ...NFTABLES, markMask: 0x3f },
      "markMask: 0x3f has room for 63 marks; the farm has 100 backends",
    ],
    [
      "a mark outside the mask",
      marked,
      { ...NFTABLES, markMask: 0xff },
      "markMask: 0xff does not hold backends[0].mark 0x20c; give the backend a mark within it, or none",
    ],
    [
      "a misspelt field",
      FARM,
      { ...NFTABLES, iface: "eth0" },
      "iface: is not a field here; there are dataPlane, layout, interface, markMask",
    ],
    [
      "nothing at all",
      FARM,
      undefined,
      "is not an object; its fields are dataPlane, layout, interface, markMask",
    ],
  ])("%s", (_, spec, target, problem) => {
    // `undefined` as an argument would be the default.
    expect(problemsOf(spec, { target: target ?? null })).toEqual([problem]);
  });

  test("a mask with room for exactly the farm's backends is enough", () => {
    const seven = { ...FARM, backends: hundred.backends.slice(0, 7) };
    expect(problemsOf(seven, { target: { ...NFTABLES, markMask: 0x7 } })).toEqual([]);
    expect(problemsOf(seven, { target: { ...NFTABLES, markMask: 0x3 } })).toHaveLength(1);
  });
});

describe("layout zevenet has what Zevenet 5 has", () => {
  const refused = (what: string) => `layout: "zevenet" has no ${what}; take layout nat, or nftables`;
  test.each<[string, object, string]>([
    ["a hash of the source", { algorithm: "sourceHash" }, "sourceHash"],
    ["a hash of the flow", { algorithm: "flowHash" }, "flowHash"],
    ["affinity", { affinity: { by: "sourceIp", timeoutSeconds: 60 } }, "affinity"],
    ["pins", { pins: [{ source: "198.51.100.0/24", backend: "10.0.0.3" }] }, "pins"],
    ["limits", { limits: { maxConnections: 5 } }, "limits"],
    [
      "a backend's limit",
      { backends: [{ address: "10.0.0.3" }, { address: "10.0.0.4", maxConnections: 5 }] },
      "maxConnections (backends[1])",
    ],
    ["an allow list", { allow: ["198.51.100.0/24"] }, "allow"],
    ["a deny list", { deny: ["198.51.100.0/24"] }, "deny"],
    ["a log", { log: {} }, "log"],
  ])("and not %s", (_, fields, what) => {
    expect(problemsOf({ ...FARM, ...fields }, { target: ZEVENET })).toEqual([refused(what)]);
    expect(problemsOf({ ...FARM, ...fields }, { target: NAT })).toEqual([]);
  });

  test("every one of them is named", () => {
    const fields = { algorithm: "flowHash", allow: ["198.51.100.0/24"], log: {} };
    expect(problemsOf({ ...FARM, ...fields }, { target: ZEVENET })).toEqual(
      ["flowHash", "allow", "log"].map(refused),
    );
  });

  test.each<[string, object]>([
    ["turns", { algorithm: "roundRobin" }],
    [
      "states and tiers",
      {
        backends: [
          { ...BACKEND, state: "drain" },
          { address: "10.0.0.4", priority: 10 },
        ],
      },
    ],
    ["lists without entries", { deny: [], pins: [] }],
    ["what tells nothing yet", { algorithm: PENDING, deny: PENDING }],
    ["the rest", { sourceNat: "auto", whenEmpty: "drop", onRemoval: "cut", looseTcp: true, minActive: 2 }],
  ])("but %s", (_, fields) => expect(targetProblems({ ...FARM, ...fields }, ZEVENET)).toEqual([]));
});

describe("a mark of which others have bits", () => {
  const hash = { algorithm: "sourceHash" };
  const affinity = { affinity: { by: "sourceIp", timeoutSeconds: 60 } };
  const nft = "(nft 1.0.6 cannot put a looked-up value beside other bits)";
  const refused = (text: string) => [`markMask: 0xff leaves bits of the mark to others, but ${text}`];
  test.each<[string, object, object, string[]]>([
    [
      "nftables with affinity",
      NFTABLES,
      affinity,
      refused(`affinity writes all of it ${nft}; use the whole mark, or an iptables gateway`),
    ],
    [
      "nftables with a hash of networks",
      NFTABLES,
      { ...hash, prefixLength: 24 },
      refused(`prefixLength writes all of it ${nft}; use the whole mark`),
    ],
    ["nftables with a hash of addresses", NFTABLES, { ...hash, prefixLength: 32 }, []],
    ["nftables with turns", NFTABLES, { algorithm: "roundRobin" }, []],
    [
      "iptables with a hash",
      NAT,
      hash,
      refused(
        "sourceHash writes all of it (HMARK knows no mask); use the whole mark, or an nftables gateway",
      ),
    ],
    [
      "iptables with a hash of flows",
      NAT,
      { algorithm: "flowHash" },
      refused("flowHash writes all of it (HMARK knows no mask); use the whole mark, or an nftables gateway"),
    ],
    ["iptables with affinity", NAT, affinity, []],
    [
      "what is not known yet",
      NFTABLES,
      { algorithm: PENDING, affinity: { by: PENDING, timeoutSeconds: 1 } },
      [],
    ],
  ])("%s", (_, target, fields, problems) => {
    expect(targetProblems({ ...FARM, ...fields }, { ...target, markMask: 0xff })).toEqual(problems);
    expect(targetProblems({ ...FARM, ...fields }, { ...target, markMask: 0xffff_ffff })).toEqual([]);
  });

  test("networks of IPv6", () => {
    const farm = {
      listeners: [{ address: "2001:db8:ffff::10", protocol: "tcp" }],
      backends: [{ address: "2001:db8::3" }],
      algorithm: "sourceHash",
      prefixLength6: 64,
    };
    expect(targetProblems(farm, { ...NFTABLES, markMask: 0xff })).toEqual(
      refused(`prefixLength6 writes all of it ${nft}; use the whole mark`),
    );
  });
});

/** What a gateway says to a farm of which parts may not be known yet. */
function targetProblems(spec: object, target: object): string[] {
  const shape = checkShape(schemas.farm, spec);
  return checkTarget(target as TargetSpec, spec as FarmSpec, soundness(spec, shape)).map(formatProblem);
}
