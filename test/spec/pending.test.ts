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
      "nor an entry",
      { backends: [PENDING] },
      "backends[0]: is not known yet; write it out, with an Output only where a single text or number stands",
    ],
  ])("%s", (_, fields, problem) => expect(problemsOf({ ...FARM, ...fields })).toEqual([problem]));
});
