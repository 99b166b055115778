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
const farm = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.record({
      listeners: list(record("address", "protocol", "port", "ports")),
      backends: list(record("address", "port", "weight", "mark")),
      algorithm: fc.option(leaf, { nil: undefined }),
      sourceNat: fc.option(leaf, { nil: undefined }),
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
