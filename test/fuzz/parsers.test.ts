import { BlockList, isIP, SocketAddress } from "node:net";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compile } from "../../src/core";
import { addressProblem, parseAddress } from "../../src/spec/address";
import { canonicalKey } from "../../src/spec/check";
import { nameProblem, shortName } from "../../src/spec/name";
import { formatPorts, parsePorts, portsProblem } from "../../src/spec/ports";
import { networkOf, parsePrefix, prefixProblem, toNumber, toText } from "../../src/spec/prefix";
import { FARM, NAT, NFTABLES, ZEVENET } from "../spec/farms";
import { allowTime, cases } from "./cases";

/** The smallest parsers, against an independent reading: Node's own, or one that is written here in another way. */

allowTime();

/** What looks like an address, a network, a backend's key, or nearly. */
const nearly = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.ipV4Extended(),
  fc.tuple(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(130)).map(([address, length]) => `${address}/${length}`),
  fc.tuple(fc.ipV4(), fc.nat(70_000)).map(([address, port]) => `${address}:${port}`),
  fc.tuple(fc.ipV6(), fc.nat(70_000)).map(([address, port]) => `[${address}]:${port}`),
  fc
    .array(fc.constantFrom(..."0123456789abcdefABCDEF:.%/[]- \n".split("")), { maxLength: 45 })
    .map((all) => all.join("")),
  fc
    .array(fc.constantFrom("0", "00", "ffff", "1", "255", "256", ":", "::", ".", "/", "%eth0"), {
      maxLength: 14,
    })
    .map((all) => all.join("")),
);

describe("an address", () => {
  /** The number that Node's block list keeps of it. */
  const isSame = (a: string, b: string) => {
    const family = isIP(a) === 4 ? "ipv4" : "ipv6";
    const list = new BlockList();
    list.addAddress(a, family);
    return isIP(a) === isIP(b) && list.check(b, family);
  };

  test("is one where Node says so, and its canonical text is that very address", () => {
    fc.assert(
      fc.property(nearly, (text) => {
        const parsed = parseAddress(text);
        expect(parsed !== undefined).toBe(isIP(text) !== 0);
        if (!parsed) {
          expect(addressProblem(text)).toBeTypeOf("string");
          return;
        }
        const plain = text.replace(/%.*/, "");
        expect(isSame(plain, parsed.text)).toBe(true);
        expect(parseAddress(parsed.text)).toEqual(parsed);
        expect(parsed.text).toMatch(/^[0-9a-f:.]+$/);
        if (addressProblem(text) !== undefined) return;
        // What a farm may have goes through numbers and back.
        expect(toText(toNumber(parsed.text), parsed.family)).toBe(parsed.text);
        const family = parsed.family === "ip" ? "ipv4" : "ipv6";
        expect(new SocketAddress({ address: parsed.text, family }).address).toBe(parsed.text);
      }),
      cases(3000),
    );
  });

  test("with a port is a backend's key, and its canonical form the same one", () => {
    fc.assert(
      fc.property(nearly, (text) => {
        const key = canonicalKey(text);
        const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(text) ?? [];
        const address = port === undefined ? text : (bracketed ?? plain ?? "");
        const right =
          addressProblem(address) === undefined &&
          (port === undefined || (Number(port) >= 1 && Number(port) <= 65535)) &&
          (bracketed === undefined || isIP(address) === 6 || isIP(address) === 4);
        // An IPv6 address may end like a port.
        if (isIP(text) === 6)
          expect(key).toBe(addressProblem(text) === undefined ? parseAddress(text)!.text : undefined);
        else expect(key !== undefined).toBe(right);
        if (key !== undefined) expect(canonicalKey(key)).toBe(key);
      }),
      cases(3000),
    );
  });
});

describe("a network", () => {
  test("holds the addresses that Node's block list says, and is written in one way", () => {
    fc.assert(
      fc.property(nearly, fc.oneof(fc.ipV4(), fc.ipV6()), (text, other) => {
        const parsed = parsePrefix(text);
        expect(parsed !== undefined || prefixProblem(text) !== undefined).toBe(true);
        if (!parsed) return;
        expect(parsePrefix(parsed.text)).toEqual(parsed);
        const [address = "", length] = text.split("/");
        const family = isIP(address) === 4 ? "ipv4" : "ipv6";
        const list = new BlockList();
        const bits = family === "ipv4" ? 32 : 128;
        // Node's list has no network of everybody.
        if (Number(length ?? bits) === 0) return;
        list.addSubnet(address, Number(length ?? bits), family);
        const ends = [parsed.first, parsed.last].map((number) => toText(number, parsed.family));
        for (const end of ends) expect(list.check(end, family)).toBe(true);
        const beyond = parsed.last + 1n;
        if (beyond < 1n << BigInt(bits))
          expect(list.check(toText(beyond, parsed.family), family)).toBe(false);
        if (parsed.first > 0n)
          expect(list.check(toText(parsed.first - 1n, parsed.family), family)).toBe(false);
        const theirs = parseAddress(other)!;
        if (theirs.family === parsed.family && !/^::ffff:/.test(theirs.text)) {
          const number = toNumber(theirs.text);
          expect(parsed.first <= number && number <= parsed.last).toBe(list.check(other, family));
        }
      }),
      cases(3000),
    );
  });

  test("whose last bits are not 0 is told which one holds it", () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(128), (address, length) => {
        const bits = isIP(address) === 4 ? 32 : 128;
        const network = networkOf(address, length % (bits + 1));
        expect(parsePrefix(network)).toBeDefined();
        const text = `${address}/${length % (bits + 1)}`;
        if (parsePrefix(text) || /^::ffff:/i.test(parseAddress(address)!.text)) return;
        expect(prefixProblem(text)).toBe(`has bits behind its prefix; write ${network}`);
      }),
      cases(1000),
    );
  });
});

test("a list of ports is the set of its ports", () => {
  const number = fc.oneof(
    fc.nat(20).map(String),
    fc.constantFrom("65535", "65536", "00", "080", "1e3", "", " 7 ", "0x50", "٣"),
  );
  const item = fc.oneof(
    number,
    fc.tuple(number, number).map((ends) => ends.join("-")),
    fc.string({ maxLength: 3 }),
  );
  fc.assert(
    fc.property(
      fc.array(item, { maxLength: 5 }).map((items) => items.join(",")),
      (text) => {
        const parsed = parsePorts(text);
        expect(parsed === undefined).toBe(portsProblem(text) !== undefined);
        const ports: number[] = [];
        let right = true;
        for (const part of text.split(",")) {
          const ends = part.split("-").map((end) => end.trim());
          right &&= ends.length <= 2 && ends.every((end) => /^[0-9]{1,5}$/.test(end));
          const [from, to] = [Number(ends[0]), Number(ends.at(-1))];
          right &&= from >= 1 && to <= 65535 && from <= to;
          for (let port = from; right && port <= to && ports.length < 70_000; port++) ports.push(port);
        }
        right &&= new Set(ports).size === ports.length;
        expect(parsed !== undefined).toBe(right);
        if (!parsed) return;
        expect(
          parsed.flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, i) => from + i)),
        ).toEqual(ports.sort((a, b) => a - b));
        expect(parsePorts(parsed.map(formatPorts).join(","))).toEqual(parsed);
      },
    ),
    cases(2000),
  );
});

describe("a farm's name", () => {
  const anyName = fc.oneof(
    fc.string({ maxLength: 80 }),
    fc.stringMatching(/^[A-Za-z][A-Za-z0-9]{0,30}(?:[_-][A-Za-z0-9]{1,15}){0,3}$/),
    fc.stringMatching(/^[A-Z]{1,14}$/),
    fc.stringMatching(/^[a-z]{2}--[0-9a-f]{8}$/),
  );

  test("is a word to every program that it is given to, and stands in chains at no more than 12 characters", () => {
    fc.assert(
      fc.property(anyName, (name) => {
        if (nameProblem(name) !== undefined) return;
        expect(name).toMatch(/^[A-Za-z][A-Za-z0-9_-]{0,62}$/);
        const short = shortName(name);
        expect(short).toMatch(/^[A-Za-z][A-Za-z0-9_-]{0,11}$/);
        expect(short).not.toMatch(/^[A-Z]+$/);
        // A shortened name is nobody's own.
        if (short !== name) expect(nameProblem(short)).toBeTypeOf("string");
      }),
      cases(3000),
    );
  });

  test("and all that is made of it, fits into what nft, iptables and ipset take", () => {
    fc.assert(
      fc.property(anyName, fc.constantFrom(NFTABLES, NAT, ZEVENET), (name, target) => {
        if (nameProblem(name) !== undefined) return;
        const rich =
          target === ZEVENET
            ? {}
            : { affinity: { by: "sourceIpPort" as const, timeoutSeconds: 9 }, deny: ["192.0.2.1"] };
        const backends = Array.from({ length: 12 }, (_, i) => ({ address: `10.0.0.${i + 1}` }));
        const { ruleSet } = compile(name, { ...FARM, backends, ...rich }, target);
        // XT_EXTENSION_MAXNAMELEN, IPSET_MAXNAMELEN and NFT_NAME_MAXLEN, each with its closing NUL.
        for (const [, chain = ""] of ruleSet.matchAll(/^:(\S+) /gm))
          expect(chain.length).toBeLessThanOrEqual(28);
        for (const [, set = ""] of ruleSet.matchAll(/^create (\S+) /gm))
          expect(set.length).toBeLessThanOrEqual(31);
        for (const [, one = ""] of ruleSet.matchAll(/^\t(?:chain|map|set) (\S+) /gm))
          expect(one.length).toBeLessThanOrEqual(255);
      }),
      cases(150),
    );
  });
});
