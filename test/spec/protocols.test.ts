import { describe, expect, test } from "vitest";
import { Helper, type Protocol } from "../../src/core";
import { FARM } from "./farms";
import { problemsOf } from "./problems";

/** What the listeners' protocols contradict: helpers, affinity by port, a switch that is TCP's. */

const ADDRESS = { ip: "203.0.113.10", ip6: "2001:db8:ffff::10" };
const BACKEND = { ip: { address: "10.0.0.3" }, ip6: { address: "2001:db8::3" } };

const withHelper = (helper: string, family: "ip" | "ip6", ...protocols: Protocol[]) =>
  problemsOf({
    listeners: protocols.map((protocol) => ({ address: ADDRESS[family], protocol })),
    backends: [BACKEND[family]],
    helper,
  });

describe("a helper speaks what the listeners do", () => {
  test.each<[Helper, Protocol[]]>([
    ["amanda", ["udp"]],
    ["ftp", ["tcp"]],
    ["h323", ["tcp"]],
    ["irc", ["tcp"]],
    ["pptp", ["tcp"]],
    ["sip", ["tcp", "udp"]],
    ["snmp", ["udp"]],
    ["tftp", ["udp"]],
  ])("%s: %j", (helper, protocols) => {
    expect(withHelper(helper, "ip", ...protocols)).toEqual([]);
    for (const protocol of ["tcp", "udp", "sctp"] as const)
      expect(withHelper(helper, "ip", protocol)).toEqual(
        protocols.includes(protocol)
          ? []
          : [
              `helper: "${helper}" speaks ${protocols.join(" and ")}, but listeners[0] is ${protocol}; make that a farm of its own`,
            ],
      );
    expect(withHelper(helper, "ip", "all")).toEqual([
      `helper: "${helper}" speaks ${protocols.join(" and ")}, but listeners[0] takes every protocol; give it protocol ${protocols.join(" or ")}`,
    ]);
  });

  test("the first that does not is named", () => {
    expect(withHelper("ftp", "ip", "tcp", "udp", "sctp")).toEqual([
      'helper: "ftp" speaks tcp, but listeners[1] is udp; make that a farm of its own',
    ]);
  });

  test.each(["ftp", "sip", "tftp"] as const)("%s in IPv6 too", (helper) => {
    expect(withHelper(helper, "ip6", helper === "tftp" ? "udp" : "tcp")).toEqual([]);
  });
  test.each(["amanda", "h323", "irc", "pptp", "snmp"] as const)("%s not in IPv6", (helper) => {
    expect(withHelper(helper, "ip6", ["amanda", "snmp"].includes(helper) ? "udp" : "tcp")).toEqual([
      `helper: "${helper}" is translated in IPv4 alone, but listeners[0] is IPv6; make a farm for each family`,
    ]);
  });

  test.each<[Helper, string]>([
    ["netbios-ns", "follows only broadcasts that the gateway itself sends; leave it out"],
    [
      "sane",
      "does not follow what is translated; leave it out, and take a listener without port and affinity by sourceIp",
    ],
  ])("%s serves no farm", (helper, why) => {
    for (const protocol of ["tcp", "udp"] as const)
      expect(withHelper(helper, "ip", protocol)).toEqual([`helper: "${helper}" ${why}`]);
  });

  test("every helper is judged", () => {
    for (const helper of Object.values(Helper)) expect(withHelper(helper, "ip", "sctp")).toHaveLength(1);
  });
});

describe("affinity by port", () => {
  const sticky = (by: string, protocol: string) =>
    problemsOf({
      ...FARM,
      listeners: [{ address: "203.0.113.10", protocol }],
      affinity: { by, timeoutSeconds: 60 },
    });

  test.each(["tcp", "udp", "sctp"])("goes with %s", (protocol) => {
    expect(sticky("sourceIpPort", protocol)).toEqual([]);
  });
  test("does not go with every protocol", () => {
    expect(sticky("sourceIpPort", "all")).toEqual([
      "affinity.by: sourceIpPort needs ports, but listeners[0] takes every protocol; take sourceIp, or give the listener a protocol",
    ]);
  });
  test.each(["sourceIp", "destinationIp"])("%s does", (by) => expect(sticky(by, "all")).toEqual([]));
});

describe("a TCP connection that is under way", () => {
  const loose = (looseTcp: boolean, ...protocols: string[]) =>
    problemsOf({
      ...FARM,
      listeners: protocols.map((protocol) => ({ address: "203.0.113.10", protocol })),
      looseTcp,
    });

  test.each([["tcp"], ["all"], ["udp", "tcp"]])("comes to %s %s", (...protocols) => {
    expect(loose(true, ...protocols.filter(Boolean))).toEqual([]);
  });
  test("never comes to other protocols", () => {
    expect(loose(true, "udp", "sctp")).toEqual([
      "looseTcp: true goes with tcp, but no listener takes it; leave the field out",
    ]);
    expect(loose(false, "udp")).toEqual([]);
  });
});
