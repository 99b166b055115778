import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { FarmSpec } from "../../src/core";
import { pinnedRanges } from "../../src/plan/pins";
import { makePlan, type Pool } from "../../src/plan/plan";
import { toNumber } from "../../src/spec/prefix";
import { FARM } from "../spec/farms";

const poolOf = (spec: Partial<FarmSpec>): Pool => makePlan("web", { ...FARM, ...spec }).pools[0]!;
const backends = [{ address: "10.0.0.3" }, { address: "10.0.0.4" }];

describe("pins become ranges that lie side by side", () => {
  const ranges = (...pins: [source: string, backend: string][]) => {
    const pool = poolOf({
      backends,
      pins: pins.map(([source, last]) => ({ source, backend: `10.0.0.${last}` })),
    });
    return pinnedRanges(pool.pins, "ip").map(
      ({ first, last, backend }) => `${first}-${last} ${backend.address.split(".")[3]}`,
    );
  };
  test.each<[string, [string, string][], string[]]>([
    ["one", [["198.51.100.0/24", "3"]], ["198.51.100.0-198.51.100.255 3"]],
    ["an address", [["198.51.100.7", "3"]], ["198.51.100.7-198.51.100.7 3"]],
    [
      "one inside another",
      [
        ["198.51.100.0/24", "3"],
        ["198.51.100.7", "4"],
      ],
      ["198.51.100.0-198.51.100.6 3", "198.51.100.7-198.51.100.7 4", "198.51.100.8-198.51.100.255 3"],
    ],
    [
      "one at the beginning and one at the end of another",
      [
        ["198.51.100.128/25", "3"],
        ["198.51.100.0/24", "4"],
        ["198.51.100.0/32", "3"],
      ],
      ["198.51.100.0-198.51.100.0 3", "198.51.100.1-198.51.100.127 4", "198.51.100.128-198.51.100.255 3"],
    ],
    [
      "neighbours with one backend are one",
      [
        ["198.51.100.0/25", "3"],
        ["198.51.100.128/25", "3"],
      ],
      ["198.51.100.0-198.51.100.255 3"],
    ],
    [
      "everybody, but for one",
      [
        ["0.0.0.0/0", "3"],
        ["255.255.255.255", "4"],
      ],
      ["0.0.0.0-255.255.255.254 3", "255.255.255.255-255.255.255.255 4"],
    ],
    [
      "with a gap",
      [
        ["192.0.2.1", "3"],
        ["192.0.2.3", "3"],
      ],
      ["192.0.2.1-192.0.2.1 3", "192.0.2.3-192.0.2.3 3"],
    ],
  ])("%s", (_, pins, wanted) => expect(ranges(...pins)).toEqual(wanted));

  /** Networks of any length, close enough to nest and to touch. */
  const network = fc.tuple(fc.nat(0xff), fc.integer({ min: 24, max: 32 })).map(([host, length]) => {
    const size = 2 ** (32 - length);
    return { first: host - (host % size), size, text: `198.51.100.${host - (host % size)}/${length}` };
  });

  test("every address finds the backend of its longest prefix, and only by one range", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.record({ network, last: fc.constantFrom("3", "4") }), {
          maxLength: 12,
          selector: ({ network: { text } }) => text,
        }),
        (pins) => {
          const pool = poolOf({
            backends,
            pins: pins.map(({ network, last }) => ({ source: network.text, backend: `10.0.0.${last}` })),
          });
          const ranges = pinnedRanges(pool.pins, "ip").map(({ first, last, backend }) => ({
            first: toNumber(first),
            last: toNumber(last),
            backend: backend.address,
          }));
          const base = toNumber("198.51.100.0");
          for (let host = 0; host < 256; host++) {
            const [pin] = pins
              .filter(({ network: { first, size } }) => first <= host && host < first + size)
              .sort((a, b) => a.network.size - b.network.size);
            const found = ranges.filter(
              ({ first, last }) => first <= base + BigInt(host) && base + BigInt(host) <= last,
            );
            expect(found.map(({ backend }) => backend)).toEqual(pin ? [`10.0.0.${pin.last}`] : []);
            const [first] = pool.pins.filter(
              ({ source }) => source.first <= base + BigInt(host) && base + BigInt(host) <= source.last,
            );
            expect(first?.backend.address).toBe(pin && `10.0.0.${pin.last}`);
          }
          ranges.slice(1).forEach(({ first, backend }, i) => {
            expect(first).toBeGreaterThan(ranges[i]!.last);
            expect(first === ranges[i]!.last + 1n && backend === ranges[i]!.backend).toBe(false);
          });
        },
      ),
    );
  });
});

describe("a plan's networks", () => {
  test("pins are of their family, canonical, and not to a backend that is down", () => {
    const { pools } = makePlan("web", {
      listeners: [...FARM.listeners, { address: "2001:db8:ffff::1", protocol: "tcp", port: 80 }],
      backends: [...backends, { address: "10.0.0.5", state: "down" }, { address: "2001:db8::3", port: 80 }],
      pins: [
        { source: "2001:DB8:1::/48", backend: "[2001:DB8::3]:80" },
        { source: "198.51.100.0/24", backend: "10.0.0.4" },
        { source: "198.51.100.7/32", backend: "10.0.0.5" },
      ],
    });
    expect(pools.map(({ pins }) => pins.map(({ source, backend }) => [source.text, backend.key]))).toEqual([
      [["198.51.100.0/24", "10.0.0.4"]],
      [["2001:db8:1::/48", "[2001:db8::3]:80"]],
    ]);
  });

  test("lists have no network inside another, in a fixed order, each family its own", () => {
    const { pools } = makePlan("web", {
      listeners: [...FARM.listeners, { address: "2001:db8:ffff::1", protocol: "tcp", port: 80 }],
      backends: [...backends, { address: "2001:db8::3" }],
      deny: ["198.51.100.7", "198.51.100.0/24", "192.0.2.0/25", "192.0.2.128/25", "192.0.2.0/25"],
      allow: ["2001:db8:1::/48"],
    });
    expect(pools.map(({ deny }) => deny)).toEqual([
      ["192.0.2.0/25", "192.0.2.128/25", "198.51.100.0/24"],
      [],
    ]);
    // A list of the other family shuts this one out: it names who is served, and none of these is.
    expect(pools.map(({ allow }) => allow)).toEqual([[], ["2001:db8:1::/48"]]);
    expect(poolOf({}).allow).toBeUndefined();
  });

  test.each<[string, Partial<FarmSpec>, string[]]>([
    ["only with auto", { sourceNat: "masquerade" }, []],
    ["the /24 of each backend", { sourceNat: "auto" }, ["10.0.0.0/24"]],
    [
      "of each network once, backends that are down too: they may come back",
      {
        sourceNat: "auto",
        backends: [{ address: "10.0.1.9" }, { address: "10.0.0.3", state: "down" }, { address: "10.0.1.8" }],
      },
      ["10.0.0.0/24", "10.0.1.0/24"],
    ],
    ["those that the user names", { sourceNat: "auto", localNetworks: ["10.0.0.0/8"] }, ["10.0.0.0/8"]],
  ])("that need masquerade: %s", (_, spec, wanted) => {
    expect(poolOf({ backends, ...spec }).localNetworks).toEqual(wanted);
  });

  test("of IPv6 the /64", () => {
    const pool = poolOf({
      listeners: [{ address: "2001:db8:ffff::1", protocol: "tcp", port: 80 }],
      backends: [{ address: "2001:db8:0:7::3" }],
      sourceNat: "auto",
    });
    expect(pool.localNetworks).toEqual(["2001:db8:0:7::/64"]);
  });
});
