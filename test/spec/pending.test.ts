import { describe, expect, test } from "vitest";
import { relations } from "../../src/spec";
import { formatProblem } from "../../src/spec/problem";
import { checkShape, PENDING, schemas } from "../../src/spec/schema";
import { FARM } from "./farms";
import { BACKEND_FIELDS } from "./problems";

/** What is told of a farm of which parts are known only after other resources are made. */
function problemsOf(spec: unknown): string[] {
  const shape = checkShape(schemas.farm, spec);
  return [...shape, ...relations(spec, shape)].map(formatProblem);
}

describe("what is not known yet is neither right nor wrong", () => {
  test.each<[string, object]>([
    ["an address", { backends: [{ address: PENDING }] }],
    ["a port", { listeners: [{ address: "203.0.113.10", protocol: "tcp", port: PENDING }] }],
    ["a protocol", { listeners: [{ address: "203.0.113.10", protocol: PENDING, port: 80 }] }],
    ["a weight", { backends: [{ address: "10.0.0.3", weight: PENDING }], algorithm: "roundRobin" }],
    [
      "a mark",
      {
        backends: [
          { address: "10.0.0.3", mark: PENDING },
          { address: "10.0.0.4", mark: PENDING },
        ],
      },
    ],
    ["an algorithm", { algorithm: PENDING }],
    ["a source", { sourceNat: PENDING }],
    [
      "an address that may be of the missing family",
      { backends: [{ address: "2001:db8::3" }, { address: PENDING }] },
    ],
    [
      "a port that may be claimed",
      { listeners: [PENDING, 80].map((port) => ({ address: "203.0.113.10", protocol: "tcp", port })) },
    ],
    [
      "states and tiers",
      { backends: [{ address: "10.0.0.3", state: PENDING, priority: PENDING }], minActive: 5 },
    ],
    ["a hash that may be", { algorithm: PENDING, prefixLength: 24, slots: 64 }],
    ["a prefix", { algorithm: "roundRobin", prefixLength: PENDING, prefixLength6: PENDING, slots: PENDING }],
    ["every part of affinity", { affinity: { by: PENDING, timeoutSeconds: PENDING, maxEntries: PENDING } }],
    ["a pin's backend", { pins: [{ source: "198.51.100.0/24", backend: PENDING }] }],
    ["a pin's source", { pins: [PENDING, PENDING].map((source) => ({ source, backend: "10.0.0.3" })) }],
    [
      "a backend that may be pinned",
      { backends: [{ address: PENDING }], pins: [{ source: "198.51.100.0/24", backend: "10.0.0.9" }] },
    ],
    ["limits", { limits: { maxConnections: PENDING, newConnectionsPerSecond: PENDING, burst: PENDING } }],
    ["a rate that its burst may go with", { limits: { newConnectionsPerSecond: PENDING, burst: 5 } }],
    ["a limit by source", { limits: { perSource: { newConnectionsPerSecond: PENDING, burst: PENDING } } }],
    ["a network of a list", { allow: ["2001:db8::/32", PENDING], deny: ["0.0.0.0/0", PENDING] }],
    ["a whole list", { allow: PENDING, deny: PENDING, localNetworks: PENDING, sourceNat: "auto" }],
    ["who is allowed of those who are denied", { allow: PENDING, deny: ["0.0.0.0/0"] }],
    ["whether addresses stay", { sourceNat: PENDING, localNetworks: ["10.0.0.0/24"] }],
    ["a helper", { helper: PENDING }],
    [
      "a protocol that a helper may speak",
      { listeners: [{ address: "203.0.113.10", protocol: PENDING }], helper: "tftp", looseTcp: true },
    ],
    ["the rest", { minActive: PENDING, whenEmpty: PENDING, onRemoval: PENDING, looseTcp: PENDING }],
    ["a log", { log: { prefix: PENDING, perSecond: PENDING, burst: PENDING } }],
    ["an address that may be a twin", { backends: [{ address: PENDING }, { address: PENDING }] }],
  ])("%s", (_, fields) => expect(problemsOf({ ...FARM, ...fields })).toEqual([]));
});

describe("what is known beside it is checked", () => {
  test.each<[string, object, string]>([
    [
      "in the same backend",
      { backends: [{ address: PENDING, weight: 0 }] },
      "backends[0].weight: 0 is not between 1 and 65535; to take a backend out of service set its state to drain or down",
    ],
    [
      "in others",
      { backends: [{ address: PENDING }, { address: "10.0.0.4" }, { address: "10.0.0.4" }] },
      "backends[2]: 10.0.0.4 is backends[1] already; name each once and give it a weight",
    ],
    [
      "a field's name",
      { backends: [{ address: PENDING, wieght: PENDING }] },
      `backends[0].wieght: is not a field here; there are ${BACKEND_FIELDS}`,
    ],
    [
      "a list cannot be looked into",
      { backends: PENDING },
      "backends: is not known yet; write it out, with an Output only where a single text or number stands",
    ],
    [
      "nor affinity",
      { affinity: PENDING },
      "affinity: is not known yet; write it out, with an Output only where a single text or number stands",
    ],
    [
      "nor a list of pins",
      { pins: PENDING },
      "pins: is not known yet; write it out, with an Output only where a single text or number stands",
    ],
    [
      "beside a network",
      { deny: [PENDING, "10.0.0.7/8"] },
      'deny[1]: "10.0.0.7/8" has bits behind its prefix; write 10.0.0.0/8',
    ],
    [
      "nor an entry",
      { backends: [PENDING] },
      "backends[0]: is not known yet; write it out, with an Output only where a single text or number stands",
    ],
  ])("%s", (_, fields, problem) => expect(problemsOf({ ...FARM, ...fields })).toEqual([problem]));
});
