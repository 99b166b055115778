import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FARM, TARGETS } from "./farms";
import { BACKEND_FIELDS, FARM_FIELDS, problemsOf } from "./problems";

/** A farm from an untyped language may be anything: it compiles or is told why not, and nothing else ever happens. */

describe("what is no farm at all is told so", () => {
  const fields = `is not an object; its fields are ${FARM_FIELDS}`;
  test.each<[string, unknown]>([
    ["null", null],
    ["undefined", undefined],
    ["a number", 5],
    ["a text", "farm"],
    ["a list", [FARM]],
    ["a list with a farm's fields", Object.assign([], FARM)],
    ["a function", () => FARM],
    ["a symbol", Symbol("farm")],
  ])("%s", (_, spec) => expect(problemsOf(spec)).toEqual([fields]));
});

describe("odd objects are what their fields are", () => {
  const spec = (backend: unknown) => problemsOf({ ...FARM, backends: [backend] });

  test("no prototype", () =>
    expect(spec(Object.assign(Object.create(null), { address: "10.0.0.3" }))).toEqual([]));
  test("a getter", () =>
    expect(
      spec({
        get address() {
          return "10.0.0.3";
        },
      }),
    ).toEqual([]));
  test("a field called __proto__ is one too many", () => {
    expect(spec(JSON.parse('{ "address": "10.0.0.3", "__proto__": { "weight": 5 } }'))).toEqual([
      `backends[0].__proto__: is not a field here; there are ${BACKEND_FIELDS}`,
    ]);
  });
  test("a field with a line break in its name", () => {
    expect(spec({ address: "10.0.0.3", "a\nb": 1 })).toEqual([
      `backends[0]["a\\nb"]: is not a field here; there are ${BACKEND_FIELDS}`,
    ]);
  });
  test("a list with holes", () => expect(problemsOf({ ...FARM, backends: new Array(2) })).toHaveLength(2));
  test("a BigInt is not a number", () => {
    expect(spec({ address: "10.0.0.3", mark: 5n })).toEqual([
      "backends[0].mark: 5 is not a mark; a mark is between 1 and 0xffffffff",
    ]);
  });
});

const junk = fc.anything({
  withBigInt: true,
  withDate: true,
  withMap: true,
  withNullPrototype: true,
  withObjectString: true,
  withSet: true,
  withSparseArray: true,
  withTypedArray: true,
});
const leaf = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      "203.0.113.10",
      "10.0.0.3",
      "2001:db8::3",
      "tcp",
      "all",
      80,
      "80,443",
      undefined,
    ),
  },
  fc.constantFrom<unknown>(
    null,
    -0,
    Number.NaN,
    1e99,
    "",
    "__proto__",
    Symbol("junk"),
    5n,
    "vip",
    "roundRobin",
    0xff,
    "sourceHash",
    "sourceIpPort",
    "0.0.0.0/0",
    "::/0",
    "10.0.0.3/24",
    "auto",
    "down",
    "ftp",
    true,
    24,
  ),
  junk,
);
const record = (...fields: string[]) =>
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record(Object.fromEntries(fields.map((field) => [field, leaf])), { requiredKeys: [] }),
    },
    junk,
  );
const list = (item: fc.Arbitrary<unknown>) =>
  fc.oneof({ weight: 5, arbitrary: fc.array(item, { maxLength: 4 }) }, junk);
/** Mostly not there, so that what is gets a chance to be judged. */
const maybe = (value: fc.Arbitrary<unknown>) => fc.option(value, { nil: undefined, freq: 1 });
const LEAVES = [
  "algorithm",
  "sourceNat",
  "prefixLength",
  "prefixLength6",
  "slots",
  "minActive",
  "whenEmpty",
  "onRemoval",
  "looseTcp",
  "helper",
];
const farm = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.record({
      listeners: list(record("address", "protocol", "port", "ports")),
      backends: list(record("address", "port", "weight", "mark", "state", "priority", "maxConnections")),
      ...Object.fromEntries(LEAVES.map((field) => [field, maybe(leaf)])),
      localNetworks: maybe(list(leaf)),
      affinity: maybe(record("by", "timeoutSeconds", "maxEntries")),
      pins: maybe(list(record("source", "backend"))),
      limits: maybe(record("maxConnections", "newConnectionsPerSecond", "burst", "perSource")),
      allow: maybe(list(leaf)),
      deny: maybe(list(leaf)),
      log: maybe(record("prefix", "perSecond", "burst")),
    }),
  },
  junk,
);
const target = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...TARGETS.map(([, target]) => target)) },
  fc.record({ dataPlane: fc.constantFrom("nftables", "iptables", "tc"), layout: leaf, markMask: leaf }),
  junk,
);

test("whatever it is: it compiles, or is told why not on one line a problem", () => {
  fc.assert(
    fc.property(fc.oneof(fc.constant("web"), junk), farm, target, (name, spec, target) => {
      for (const line of problemsOf(spec, { name, target })) {
        expect(line).toMatch(/^.+$/);
        expect(line.length).toBeLessThan(500);
      }
    }),
    { numRuns: 1_000 },
  );
});

/** Every field right in itself, a few of them at a time: what may be wrong is how they go together. */
const ends = fc.record({
  listeners: fc.array(
    fc.record({
      address: fc.constantFrom("203.0.113.10", "203.0.113.11", "2001:db8:ffff::10"),
      protocol: fc.constantFrom("tcp", "udp", "all"),
    }),
    { minLength: 1, maxLength: 2 },
  ),
  backends: fc.array(
    fc.record(
      {
        address: fc.constantFrom("10.0.0.3", "10.0.0.4", "10.0.0.5", "2001:db8::3"),
        state: fc.constantFrom("active", "drain", "down"),
        priority: fc.constantFrom(0, 10),
        maxConnections: fc.constant(100),
      },
      { requiredKeys: ["address"] },
    ),
    { minLength: 1, maxLength: 3 },
  ),
});
const features: Record<string, unknown[]> = {
  algorithm: ["random", "roundRobin", "sourceHash", "flowHash"],
  sourceNat: ["none", "vip", "auto", "203.0.113.1"],
  localNetworks: [["10.0.0.0/24"], ["2001:db8::/32"]],
  prefixLength: [24, 32],
  prefixLength6: [64],
  slots: [16, 256],
  affinity: ["sourceIp", "sourceIpPort", "destinationIp"].map((by) => ({ by, timeoutSeconds: 60 })),
  pins: [[{ source: "198.51.100.0/24", backend: "10.0.0.3" }], [{ source: "::/0", backend: "2001:db8::3" }]],
  minActive: [1, 2],
  whenEmpty: ["reject", "drop"],
  onRemoval: ["keep", "cut"],
  limits: [{}, { maxConnections: 5 }, { perSource: { newConnectionsPerSecond: 5 } }],
  allow: [["0.0.0.0/0"], ["198.51.100.0/24", "2001:db8:1::/48"]],
  deny: [[], ["0.0.0.0/0"], ["198.51.100.7"]],
  looseTcp: [true, false],
  helper: ["ftp", "tftp", "sip"],
  log: [{}, { prefix: "web:" }],
};
const plausible = fc
  .subarray(Object.keys(features), { maxLength: 4 })
  .chain((fields) =>
    fc.tuple(
      ends,
      fc.record(Object.fromEntries(fields.map((field) => [field, fc.constantFrom(...features[field]!)]))),
    ),
  )
  .map(([farm, fields]) => ({ ...farm, ...fields }));

test("however right parts are put together: they compile, or are told why not", () => {
  const targets = TARGETS.flatMap(([, target]) => [target, { ...target, markMask: 0xff00 }]);
  fc.assert(
    fc.property(plausible, fc.constantFrom(...targets), (spec, target) => {
      for (const line of problemsOf(spec, { target })) {
        expect(line).toMatch(/^[a-zA-Z0-9[\].]+: .+$/);
        expect(line).not.toMatch(/undefined|\[object|NaN/);
      }
    }),
    { numRuns: 1_000 },
  );
});
