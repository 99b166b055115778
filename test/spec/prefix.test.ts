import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  holds,
  mergedRanges,
  networkOf,
  type Prefix,
  parsePrefix,
  prefixProblem,
  toNumber,
  toText,
  withoutNested,
} from "../../src/spec/prefix";

const number = (family: "ip" | "ip6") =>
  fc.bigInt({ min: 0n, max: (1n << (family === "ip" ? 32n : 128n)) - 1n });
const anyAddress = fc
  .constantFrom("ip" as const, "ip6" as const)
  .chain((family) => number(family).map((n) => toText(n, family)))
  .filter((text) => !text.startsWith("::ffff:"));

/** Networks of few addresses, so that they meet. */
const network = fc
  .record({ host: fc.nat(255), length: fc.integer({ min: 24, max: 32 }) })
  .map(({ host, length }) => parsePrefix(networkOf(`10.0.0.${host}`, length))!);
const networks = fc.array(network, { maxLength: 12 });

const addresses = (list: readonly Pick<Prefix, "first" | "last">[]) =>
  new Set(
    list.flatMap(({ first, last }) =>
      Array.from({ length: Number(last - first) + 1 }, (_, i) => first + BigInt(i)),
    ),
  );

describe("a network", () => {
  test.each([
    ["10.0.0.0/8", "10.0.0.0/8", "10.0.0.0", "10.255.255.255"],
    ["0.0.0.0/0", "0.0.0.0/0", "0.0.0.0", "255.255.255.255"],
    ["10.0.0.7/32", "10.0.0.7", "10.0.0.7", "10.0.0.7"],
    ["10.0.0.7", "10.0.0.7", "10.0.0.7", "10.0.0.7"],
    ["2001:DB8:0::/33", "2001:db8::/33", "2001:db8::", "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff"],
    ["::/0", "::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
  ])("%s", (written, text, first, last) => {
    const prefix = parsePrefix(written)!;
    expect(prefix.text).toBe(text);
    expect([prefix.first, prefix.last]).toEqual([toNumber(first), toNumber(last)]);
    expect(prefixProblem(written)).toBeUndefined();
  });

  test("numbers and addresses are the same thing", () => {
    fc.assert(
      fc.property(anyAddress, (address) => {
        expect(toText(toNumber(address), address.includes(":") ? "ip6" : "ip")).toBe(address);
      }),
    );
  });

  test("of any length that holds an address: it does, and is right", () => {
    fc.assert(
      fc.property(anyAddress, fc.nat(128), (address, length) => {
        const text = networkOf(address, address.includes(":") ? length : length % 33);
        fc.pre(!text.startsWith("::ffff:"));
        expect(prefixProblem(text)).toBeUndefined();
        expect(holds(parsePrefix(text)!, address)).toBe(true);
      }),
    );
  });

  test("is right where nothing is wrong with it", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.ipV4Extended(), fc.ipV6()),
        fc.oneof(fc.nat(200), fc.string()),
        (address, length) => {
          const text = `${address}/${length}`;
          if (prefixProblem(text) === undefined) expect(parsePrefix(text)).toBeDefined();
          expect(prefixProblem(text)).not.toBe("");
        },
      ),
    );
  });
});

describe("a list of networks", () => {
  test("without nested ones holds the same addresses, each once", () => {
    fc.assert(
      fc.property(networks, (list) => {
        const kept = withoutNested(list);
        expect(addresses(kept)).toEqual(addresses(list));
        expect(kept.reduce((sum, { first, last }) => sum + Number(last - first) + 1, 0)).toBe(
          addresses(list).size,
        );
      }),
    );
  });

  test("as ranges holds the same addresses, and no range touches the next", () => {
    fc.assert(
      fc.property(networks, (list) => {
        const ranges = mergedRanges(list);
        expect(addresses(ranges)).toEqual(addresses(list));
        ranges.slice(1).forEach((range, i) => {
          expect(range.first > ranges[i]!.last + 1n).toBe(true);
        });
      }),
    );
  });
});
