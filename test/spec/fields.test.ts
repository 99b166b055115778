import { describe, expect, test } from "vitest";
import { FARM, NFTABLES, ZEVENET } from "./farms";
import { backendProblems, listenerProblems, problemsOf } from "./problems";

/** What each single field is told: where, the value, and what would be right. */

const BACKEND = { address: "10.0.0.3" };
const LISTENER = { address: "203.0.113.10", protocol: "tcp", port: 80 };

describe("a farm that is right compiles", () => {
  test.each([
    ["the smallest", {}],
    ["every field", { algorithm: "roundRobin", sourceNat: "masquerade" }],
    ["a source address", { sourceNat: "203.0.113.1" }],
    ["an undefined field is one left out", { algorithm: undefined, sourceNat: undefined }],
    ["the lowest port and weight", { backends: [{ ...BACKEND, port: 1, weight: 1, mark: 1 }] }],
    ["the highest", { backends: [{ ...BACKEND, port: 65535, weight: 65535, mark: 0xffffffff }] }],
    ["every port", { listeners: [{ address: "203.0.113.10", protocol: "udp" }] }],
    ["every protocol", { listeners: [{ address: "203.0.113.10", protocol: "all" }] }],
  ])("%s", (_, fields) => expect(problemsOf({ ...FARM, ...fields })).toEqual([]));
});

describe("a backend", () => {
  const weight = "to take a backend out of service remove it";
  test.each<[string, unknown, string]>([
    ["no address", {}, "backends[0].address: is missing; give the address of the machine that serves"],
    ["weight 0", { ...BACKEND, weight: 0 }, `backends[0].weight: 0 is not between 1 and 65535; ${weight}`],
    [
      "weight too high",
      { ...BACKEND, weight: 65536 },
      `backends[0].weight: 65536 is not between 1 and 65535; ${weight}`,
    ],
    [
      "negative weight",
      { ...BACKEND, weight: -3 },
      `backends[0].weight: -3 is not between 1 and 65535; ${weight}`,
    ],
    [
      "half a weight",
      { ...BACKEND, weight: 1.5 },
      `backends[0].weight: 1.5 is not a whole number between 1 and 65535; ${weight}`,
    ],
    [
      "a weight in text",
      { ...BACKEND, weight: "3" },
      `backends[0].weight: "3" is not a whole number between 1 and 65535; ${weight}`,
    ],
    [
      "NaN",
      { ...BACKEND, weight: Number.NaN },
      `backends[0].weight: NaN is not a whole number between 1 and 65535; ${weight}`,
    ],
    ["minus zero", { ...BACKEND, weight: -0 }, `backends[0].weight: 0 is not between 1 and 65535; ${weight}`],
    [
      "a number beyond all",
      { ...BACKEND, weight: 1e99 },
      `backends[0].weight: 1e+99 is not between 1 and 65535; ${weight}`,
    ],
    ["port 0", { ...BACKEND, port: 0 }, "backends[0].port: 0 is not a port; a port is between 1 and 65535"],
    [
      "port too high",
      { ...BACKEND, port: 65536 },
      "backends[0].port: 65536 is not a port; a port is between 1 and 65535",
    ],
    [
      "null for a port",
      { ...BACKEND, port: null },
      "backends[0].port: null is not a port; a port is between 1 and 65535",
    ],
    [
      "mark 0",
      { ...BACKEND, mark: 0 },
      "backends[0].mark: 0 is not a mark; a mark is between 1 and 0xffffffff",
    ],
    [
      "a mark of 33 bits",
      { ...BACKEND, mark: 2 ** 32 },
      "backends[0].mark: 4294967296 is not a mark; a mark is between 1 and 0xffffffff",
    ],
    [
      "a misspelt field",
      { ...BACKEND, wieght: 3 },
      "backends[0].wieght: is not a field here; there are address, port, weight, mark",
    ],
    ["a number in its place", 3, "backends[0]: is not an object; its fields are address, port, weight, mark"],
    ["null in its place", null, "backends[0]: is not an object; its fields are address, port, weight, mark"],
  ])("%s", (_, backend, problem) => expect(backendProblems(backend)).toEqual([problem]));
});

describe("a listener", () => {
  test.each<[string, unknown, string]>([
    [
      "no address",
      { protocol: "tcp" },
      "listeners[0].address: is missing; give the address that clients dial",
    ],
    [
      "no protocol",
      { address: "203.0.113.10" },
      "listeners[0].protocol: is missing; give one of tcp, udp, sctp, all",
    ],
    [
      "an unknown protocol",
      { ...LISTENER, protocol: "icmp" },
      'listeners[0].protocol: "icmp" is not one of tcp, udp, sctp, all',
    ],
    [
      "capitals",
      { ...LISTENER, protocol: "TCP" },
      'listeners[0].protocol: "TCP" is not one of tcp, udp, sctp, all',
    ],
    [
      "a port in text",
      { ...LISTENER, port: "80" },
      'listeners[0].port: "80" is not a port; a port is between 1 and 65535',
    ],
    [
      "port and ports",
      { ...LISTENER, ports: "443" },
      "listeners[0].ports: stands beside port; give one of the two",
    ],
    [
      "a port of every protocol",
      { ...LISTENER, protocol: "all" },
      "listeners[0].port: goes with tcp, udp or sctp; write a listener for each protocol, or leave the port out for everything",
    ],
    [
      "ports of every protocol",
      { address: "203.0.113.10", protocol: "all", ports: "80,443" },
      "listeners[0].ports: goes with tcp, udp or sctp; write a listener for each protocol, or leave the port out for everything",
    ],
    [
      "a field of a backend",
      { ...LISTENER, weight: 3 },
      "listeners[0].weight: is not a field here; there are address, protocol, port, ports",
    ],
    [
      "a list in its place",
      [],
      "listeners[0]: is not an object; its fields are address, protocol, port, ports",
    ],
  ])("%s", (_, listener, problem) => expect(listenerProblems(listener)).toEqual([problem]));
});

describe("the farm's own fields", () => {
  test.each<[string, object, string]>([
    ["no listeners", { listeners: undefined }, "listeners: is missing; give at least one listener"],
    ["an empty list", { backends: [] }, "backends: is empty; give at least one backend"],
    [
      "a map in a list's place",
      { backends: {} },
      "backends: an object is not a list; give at least one backend",
    ],
    ["null in a list's place", { backends: null }, "backends: null is not a list; give at least one backend"],
    [
      "too many listeners",
      { listeners: Array(4097).fill(3) },
      "listeners: has 4097 entries; 4096 are allowed",
    ],
    [
      "an algorithm of another product",
      { algorithm: "leastconn" },
      'algorithm: "leastconn" is not one of random, roundRobin',
    ],
    [
      "SNAT to a network",
      { sourceNat: "10.0.0.0/8" },
      'sourceNat: "10.0.0.0/8" is not none, masquerade, vip or an IP address',
    ],
    [
      "SNAT in capitals",
      { sourceNat: "VIP" },
      'sourceNat: "VIP" is not none, masquerade, vip or an IP address',
    ],
    [
      "a misspelt field",
      { backend: [] },
      "backend: is not a field here; there are listeners, backends, algorithm, sourceNat",
    ],
  ])("%s", (_, fields, problem) => expect(problemsOf({ ...FARM, ...fields })).toContain(problem));
});

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
      "markMask: 0xff does not hold backends[0].mark 0x20c",
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
