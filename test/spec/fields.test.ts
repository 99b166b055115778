import { describe, expect, test } from "vitest";
import { FARM } from "./farms";
import { BACKEND_FIELDS, backendProblems, FARM_FIELDS, listenerProblems, problemsOf } from "./problems";

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
    [
      "every state",
      { backends: ["active", "drain", "down"].map((state, i) => ({ address: `10.0.0.${i + 3}`, state })) },
    ],
    [
      "tiers and a limit",
      {
        backends: [
          { ...BACKEND, priority: 0, maxConnections: 1 },
          { address: "10.0.0.4", priority: 65535 },
        ],
      },
    ],
    ["the coarsest hash", { algorithm: "sourceHash", prefixLength: 1, slots: 16 }],
    ["the finest", { algorithm: "sourceHash", prefixLength: 32, slots: 65536 }],
    ["the shortest affinity", { affinity: { by: "sourceIp", timeoutSeconds: 1, maxEntries: 1 } }],
    ["the longest", { affinity: { by: "destinationIp", timeoutSeconds: 2147483, maxEntries: 16777216 } }],
    ["affinity by port", { affinity: { by: "sourceIpPort", timeoutSeconds: 60 } }],
    [
      "pins",
      {
        pins: [
          { source: "198.51.100.0/24", backend: "10.0.0.3" },
          { source: "198.51.100.7", backend: "10.0.0.4" },
        ],
      },
    ],
    ["the lowest limits", { limits: { maxConnections: 1, newConnectionsPerSecond: 1, burst: 1 } }],
    ["the highest", { limits: { perSource: { newConnectionsPerSecond: 10000, burst: 10000 } } }],
    ["lists", { allow: ["198.51.100.0/24", "192.0.2.7"], deny: ["198.51.100.128/25"] }],
    ["empty lists of what is left alone", { deny: [], pins: [] }],
    ["some clients masqueraded", { sourceNat: "auto", localNetworks: ["10.0.0.0/24"] }],
    ["the rest", { minActive: 2, whenEmpty: "drop", onRemoval: "cut", looseTcp: true, helper: "ftp" }],
    ["a log as it comes", { log: {} }],
    ["a log of one's own", { log: { prefix: "web.80:=_-", perSecond: 1, burst: 10000 } }],
  ])("%s", (_, fields) => expect(problemsOf({ ...FARM, ...fields })).toEqual([]));
});

describe("a backend", () => {
  const weight = "to take a backend out of service set its state to drain or down";
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
      `backends[0].wieght: is not a field here; there are ${BACKEND_FIELDS}`,
    ],
    [
      "a state of another product",
      { ...BACKEND, state: "maintenance" },
      'backends[0].state: "maintenance" is not one of active, drain, down',
    ],
    [
      "a priority below all",
      { ...BACKEND, priority: -1 },
      "backends[0].priority: -1 is not between 0 and 65535",
    ],
    [
      "a limit of none",
      { ...BACKEND, maxConnections: 0 },
      "backends[0].maxConnections: 0 is not between 1 and 16777216",
    ],
    ["a number in its place", 3, `backends[0]: is not an object; its fields are ${BACKEND_FIELDS}`],
    ["null in its place", null, `backends[0]: is not an object; its fields are ${BACKEND_FIELDS}`],
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
      'algorithm: "leastconn" is not one of random, roundRobin, sourceHash, flowHash',
    ],
    [
      "SNAT to a network",
      { sourceNat: "10.0.0.0/8" },
      'sourceNat: "10.0.0.0/8" is not none, masquerade, vip, auto or an IP address',
    ],
    [
      "SNAT in capitals",
      { sourceNat: "VIP" },
      'sourceNat: "VIP" is not none, masquerade, vip, auto or an IP address',
    ],
    ["a misspelt field", { backend: [] }, `backend: is not a field here; there are ${FARM_FIELDS}`],
  ])("%s", (_, fields, problem) => expect(problemsOf({ ...FARM, ...fields })).toContain(problem));
});

describe("affinity", () => {
  const affinity = { by: "sourceIp", timeoutSeconds: 60 };
  test.each<[string, unknown, string[]]>([
    [
      "nothing said of it",
      {},
      [
        "affinity.by: is missing; give one of sourceIp, sourceIpPort, destinationIp",
        "affinity.timeoutSeconds: is missing; give the seconds that a client is remembered",
      ],
    ],
    [
      "by cookie",
      { ...affinity, by: "cookie" },
      ['affinity.by: "cookie" is not one of sourceIp, sourceIpPort, destinationIp'],
    ],
    [
      "no time",
      { ...affinity, timeoutSeconds: 0 },
      ["affinity.timeoutSeconds: 0 is not between 1 and 2147483"],
    ],
    [
      "no entries",
      { ...affinity, maxEntries: 0 },
      ["affinity.maxEntries: 0 is not between 1 and 16777216; to remember nobody leave affinity out"],
    ],
    [
      "a misspelt field",
      { ...affinity, timeout: 60 },
      ["affinity.timeout: is not a field here; there are by, timeoutSeconds, maxEntries"],
    ],
    ["a word", "sourceIp", ["affinity: is not an object; its fields are by, timeoutSeconds, maxEntries"]],
  ])("%s", (_, affinity, problems) => expect(problemsOf({ ...FARM, affinity })).toEqual(problems));
});

describe("limits", () => {
  const fields = "maxConnections, newConnectionsPerSecond, burst, perSource";
  test.each<[string, unknown, string]>([
    [
      "none",
      {},
      "limits: is empty; give maxConnections, newConnectionsPerSecond or perSource, or leave it out",
    ],
    [
      "none that is defined",
      { burst: undefined },
      "limits: is empty; give maxConnections, newConnectionsPerSecond or perSource, or leave it out",
    ],
    ["no connections", { maxConnections: 0 }, "limits.maxConnections: 0 is not between 1 and 16777216"],
    [
      "a rate beyond what the kernel counts",
      { newConnectionsPerSecond: 10001 },
      "limits.newConnectionsPerSecond: 10001 is not between 1 and 10000",
    ],
    [
      "a burst of no rate",
      { maxConnections: 5, burst: 20 },
      "limits.burst: 20 goes with newConnectionsPerSecond; give that too, or leave the field out",
    ],
    [
      "a burst of no rate by source",
      { perSource: { burst: 20 } },
      "limits.perSource.newConnectionsPerSecond: is missing; give how many a second",
    ],
    ["a misspelt field", { rate: 5 }, `limits.rate: is not a field here; there are ${fields}`],
    ["a number", 100, `limits: is not an object; its fields are ${fields}`],
  ])("%s", (_, limits, problem) => expect(problemsOf({ ...FARM, limits })).toEqual([problem]));
});

describe("a log", () => {
  const prefix = 'is not a prefix; it has 1 to 28 letters, digits, and "_", ".", ":", "=", "-"';
  test.each<[string, unknown, string]>([
    ["no prefix", { prefix: "" }, `log.prefix: "" ${prefix}`],
    ["a blank", { prefix: "web " }, `log.prefix: "web " ${prefix}`],
    ["29 characters", { prefix: "a".repeat(29) }, `log.prefix: "${"a".repeat(29)}" ${prefix}`],
    ["no lines", { perSecond: 0 }, "log.perSecond: 0 is not between 1 and 10000"],
    ["a switch", true, "log: is not an object; its fields are prefix, perSecond, burst"],
  ])("%s", (_, log, problem) => expect(problemsOf({ ...FARM, log })).toEqual([problem]));
});

describe("a list of networks", () => {
  test.each<[string, unknown[], string[]]>([
    [
      "a name",
      ["example.com"],
      ['[0]: "example.com" is not a network or an IP address, such as 198.51.100.0/24'],
    ],
    ["a number", [10], ["[0]: 10 is not a network; write it as text, such as 198.51.100.0/24"]],
    ["a hole", new Array(1), ["[0]: is missing; give a network, such as 198.51.100.0/24"]],
    ["too long a prefix", ["10.0.0.0/33"], ['[0]: "10.0.0.0/33" has no prefix length between 0 and 32']],
    ["an empty prefix", ["2001:db8::/"], ['[0]: "2001:db8::/" has no prefix length between 0 and 128']],
    ["a mask", ["10.0.0.0/255.0.0.0"], ['[0]: "10.0.0.0/255.0.0.0" has no prefix length between 0 and 32']],
    [
      "a host with a prefix",
      ["10.0.0.7/24"],
      ['[0]: "10.0.0.7/24" has bits behind its prefix; write 10.0.0.0/24'],
    ],
    [
      "the same of IPv6",
      ["2001:DB8::7/64"],
      ['[0]: "2001:DB8::7/64" has bits behind its prefix; write 2001:db8::/64'],
    ],
    ["a zone", ["fe80::1%eth0"], ['[0]: "fe80::1%eth0" has a zone; give a network that is routed']],
    [
      "IPv4 in IPv6",
      ["::ffff:10.0.0.0/104"],
      ['[0]: "::ffff:10.0.0.0/104" is IPv4-mapped; write it as IPv4'],
    ],
    [
      "every wrong entry",
      ["198.51.100.0/24", "a", "b"],
      [
        '[1]: "a" is not a network or an IP address, such as 198.51.100.0/24',
        '[2]: "b" is not a network or an IP address, such as 198.51.100.0/24',
      ],
    ],
    ["too many", Array(65537).fill("10.0.0.0/8"), [": has 65537 entries; 65536 are allowed"]],
  ])("%s", (_, networks, problems) => {
    for (const list of ["allow", "deny"])
      expect(problemsOf({ ...FARM, [list]: networks })).toEqual(
        problems.map((problem) => `${list}${problem}`),
      );
  });

  test.each<[string, object, string]>([
    [
      "that would shut out everybody",
      { allow: [] },
      "allow: is empty; that would shut out everybody: name the networks to serve, or leave it out",
    ],
    [
      "that says nothing",
      { sourceNat: "auto", localNetworks: [] },
      "localNetworks: is empty; name a network, or take sourceNat none",
    ],
    ["one text", { allow: "10.0.0.0/8" }, 'allow: "10.0.0.0/8" is not a list; give the networks to serve'],
    ["a map of pins", { pins: {} }, "pins: an object is not a list; give a list of pins"],
  ])("%s", (_, fields, problem) => expect(problemsOf({ ...FARM, ...fields })).toEqual([problem]));
});

describe("a pin", () => {
  const pin = { source: "198.51.100.0/24", backend: "10.0.0.3" };
  const key = "is not a backend's address, with its port where it has one, such as 10.0.0.3 or 10.0.0.3:80";
  test.each<[string, unknown, string]>([
    [
      "no source",
      { backend: "10.0.0.3" },
      "pins[0].source: is missing; give a network, such as 198.51.100.0/24",
    ],
    [
      "no backend",
      { source: "198.51.100.0/24" },
      "pins[0].backend: is missing; give a backend's address, with its port where it has one",
    ],
    ["a name for its backend", { ...pin, backend: "web-1" }, `pins[0].backend: "web-1" ${key}`],
    ["a place for its backend", { ...pin, backend: 0 }, `pins[0].backend: 0 ${key}`],
    ["a port too high", { ...pin, backend: "10.0.0.3:65536" }, `pins[0].backend: "10.0.0.3:65536" ${key}`],
    ["a zone", { ...pin, backend: "fe80::1%eth0" }, `pins[0].backend: "fe80::1%eth0" ${key}`],
    ["a pair", ["198.51.100.0/24", "10.0.0.3"], "pins[0]: is not an object; its fields are source, backend"],
  ])("%s", (_, pin, problem) => expect(problemsOf({ ...FARM, pins: [pin] })).toEqual([problem]));
});
