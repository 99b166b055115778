import { describe, expect, test } from "vitest";
import { compile } from "../../src/core";
import { FARM, NFTABLES } from "./farms";
import { backendProblems, listenerProblems } from "./problems";

describe("an address is known by one text, however it was written", () => {
  test.each([
    ["10.0.0.3", "10.0.0.3"],
    ["2001:DB8::3", "2001:db8::3"],
    ["2001:0db8:0000:0000:0000:0000:0000:0003", "2001:db8::3"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"], // RFC 5952, 4.2.3: the first of two equal runs
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"], // 4.2.2: a single zero stays
    ["2001:db8::10.0.0.3", "2001:db8::a00:3"],
  ])("%s is %s", (written, canonical) => {
    const vip = canonical.includes(":") ? "2001:db8:ffff::1" : "203.0.113.10";
    const { plan } = compile(
      "web",
      { listeners: [{ address: vip, protocol: "tcp" }], backends: [{ address: written }] },
      NFTABLES,
    );
    expect(plan.pools[0]!.backends[0]).toMatchObject({ key: canonical, address: canonical });
  });

  test("two writings of one address are one backend twice", () => {
    const spec = {
      listeners: [{ address: "2001:db8:ffff::1", protocol: "tcp" as const }],
      backends: [{ address: "2001:db8::3" }, { address: "2001:DB8:0::3" }],
    };
    expect(() => compile("web", spec, NFTABLES)).toThrow("2001:db8::3 is backends[0] already");
  });
});

describe("an address that no routed packet has is refused", () => {
  test.each([
    [
      "a name",
      "web.example.com",
      "is not an IP address; names are not resolved, because a rule holds addresses",
    ],
    ["an empty text", "", "is not an IP address; names are not resolved, because a rule holds addresses"],
    [
      "octal digits",
      "010.0.0.3",
      "is not an IP address; names are not resolved, because a rule holds addresses",
    ],
    [
      "three numbers",
      "10.0.3",
      "is not an IP address; names are not resolved, because a rule holds addresses",
    ],
    [
      "a space before",
      " 10.0.0.3",
      "is not an IP address; names are not resolved, because a rule holds addresses",
    ],
    ["a prefix", "10.0.0.3/32", "has a prefix length; give the address alone"],
    ["a port", "10.0.0.3:80", "has a port; give the address alone, and the port as a field of its own"],
    [
      "a port after IPv6",
      "[2001:db8::3]:80",
      "has a port; give the address alone, and the port as a field of its own",
    ],
    [
      "a name with a port",
      "web.example.com:80",
      "is not an IP address; names are not resolved, because a rule holds addresses",
    ],
    ["a zone", "fe80::1%eth0", "has a zone; give an address that is routed"],
    ["IPv4-mapped", "::ffff:10.0.0.3", "is an IPv4-mapped address; write it as IPv4"],
    ["IPv4-mapped in hexadecimal", "::FFFF:a00:3", "is an IPv4-mapped address; write it as IPv4"],
    ["unspecified", "0.0.0.0", "is the unspecified address"],
    ["unspecified IPv6", "::", "is the unspecified address"],
    ["loopback", "127.0.0.53", "is a loopback address: only the machine itself can reach it"],
    ["loopback IPv6", "::1", "is a loopback address: only the machine itself can reach it"],
    ["multicast", "224.0.0.1", "is a multicast address"],
    ["multicast IPv6", "ff02::1", "is a multicast address"],
    ["broadcast", "255.255.255.255", "is a reserved or broadcast address"],
    ["link-local", "169.254.169.254", "is a link-local address, which is not routed"],
    ["link-local IPv6", "fe80::1", "is a link-local address, which is not routed"],
  ])("%s", (_, address, problem) => {
    expect(backendProblems({ address })).toEqual([`backends[0].address: "${address}" ${problem}`]);
    expect(listenerProblems({ address, protocol: "tcp" })).toEqual([
      `listeners[0].address: "${address}" ${problem}`,
    ]);
  });

  test("a number is none", () => {
    expect(backendProblems({ address: 10 })).toEqual([
      "backends[0].address: 10 is not an IP address; write it as text, such as 203.0.113.10",
    ]);
  });

  test("as a source of SNAT too", () => {
    const spec = { ...FARM, sourceNat: "127.0.0.1" };
    expect(() => compile("web", spec, NFTABLES)).toThrow(
      'sourceNat: "127.0.0.1" is not none, masquerade, vip, auto or an IP address',
    );
  });
});
