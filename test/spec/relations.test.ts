import { describe, expect, test } from "vitest";
import { FARM } from "./farms";
import { BACKEND_FIELDS, problemsOf } from "./problems";

/** What no single field shows: fields that contradict each other. */

const tcp = (address: string, rest: object = {}) => ({ address, protocol: "tcp", ...rest });
const VIP = "203.0.113.10";

describe("a port is claimed once", () => {
  const claimed = (claim: string) =>
    `listeners[1]: ${claim} is claimed by listeners[0] already; claim each port once`;
  test.each<[string, object, object, string[]]>([
    ["the same", tcp(VIP, { port: 80 }), tcp(VIP, { port: 80 }), [claimed(`${VIP} tcp 80`)]],
    ["in a range", tcp(VIP, { ports: "1-100" }), tcp(VIP, { port: 80 }), [claimed(`${VIP} tcp 80`)]],
    ["in every port", tcp(VIP), tcp(VIP, { port: 80 }), [claimed(`${VIP} tcp 80`)]],
    ["in every protocol", tcp(VIP, { protocol: "all" }), tcp(VIP, { port: 80 }), [claimed(`${VIP} tcp 80`)]],
    [
      "every protocol after",
      tcp(VIP, { port: 80 }),
      tcp(VIP, { protocol: "all" }),
      [claimed(`${VIP} all -`)],
    ],
    ["another port is free", tcp(VIP, { port: 80 }), tcp(VIP, { port: 81 }), []],
    ["another protocol is free", tcp(VIP, { port: 53 }), tcp(VIP, { port: 53, protocol: "udp" }), []],
    ["another address is free", tcp(VIP, { port: 80 }), tcp("203.0.113.11", { port: 80 }), []],
  ])("%s", (_, first, second, problems) => {
    expect(problemsOf({ ...FARM, listeners: [first, second] })).toEqual(problems);
  });
});

describe("a backend is named once and marked once", () => {
  test.each<[string, object[], string[]]>([
    [
      "the same address",
      [{ address: "10.0.0.3" }, { address: "10.0.0.3", weight: 2 }],
      ["backends[1]: 10.0.0.3 is backends[0] already; name each once and give it a weight"],
    ],
    [
      "the same address and port",
      [
        { address: "10.0.0.3", port: 80 },
        { address: "10.0.0.3", port: 80 },
      ],
      ["backends[1]: 10.0.0.3:80 is backends[0] already; name each once and give it a weight"],
    ],
    [
      "two ports of one address",
      [
        { address: "10.0.0.3", port: 80 },
        { address: "10.0.0.3", port: 81 },
      ],
      [],
    ],
    [
      "the same mark",
      [{ address: "10.0.0.3", mark: 0x20c }, { address: "10.0.0.4" }, { address: "10.0.0.5", mark: 0x20c }],
      ["backends[2].mark: 0x20c of 10.0.0.5 is the mark of backends[0], 10.0.0.3, too; give each its own"],
    ],
  ])("%s", (_, backends, problems) => expect(problemsOf({ ...FARM, backends })).toEqual(problems));
});

describe("what cannot work together", () => {
  const v6 = { address: "2001:db8::3" };
  test.each<[string, object, string[]]>([
    [
      "a backend that is the virtual IP",
      { backends: [{ address: VIP }] },
      [`backends[0].address: "${VIP}" is the address of listeners[0]; a packet sent there would come back`],
    ],
    [
      "a backend's port where every protocol comes",
      { listeners: [tcp(VIP, { protocol: "all" })], backends: [{ address: "10.0.0.3", port: 80 }] },
      [
        "backends[0].port: 80 goes with tcp, udp or sctp, but listeners[0] takes every protocol; " +
          "leave the port out, or give the listener a protocol",
      ],
    ],
    [
      "backends of another family alone",
      { backends: [v6] },
      [
        `listeners[0].address: "${VIP}" has no backend of its family; NAT does not turn IPv4 into another`,
        'backends[0].address: "2001:db8::3" has no listener of its family; NAT does not turn another into IPv6',
      ],
    ],
    [
      "both families on both sides",
      { listeners: [tcp(VIP), tcp("2001:db8:ffff::1")], backends: [{ address: "10.0.0.3" }, v6] },
      [],
    ],
    [
      "SNAT to the other family",
      { sourceNat: "2001:db8::1" },
      [
        'sourceNat: "2001:db8::1" is IPv6, but listeners[0] is not; take masquerade or vip, or make a farm for each family',
      ],
    ],
    [
      "a round that no one reads",
      {
        algorithm: "roundRobin",
        backends: [
          { address: "10.0.0.3", weight: 65535 },
          { address: "10.0.0.4", weight: 65534 },
        ],
      },
      [
        "backends: weights of the IPv4 backends make a round of 131069 turns; 16384 are allowed with roundRobin: take smaller weights, or random",
      ],
    ],
    [
      "large weights with a large divisor",
      {
        algorithm: "roundRobin",
        backends: [
          { address: "10.0.0.3", weight: 60000 },
          { address: "10.0.0.4", weight: 30000 },
        ],
      },
      [],
    ],
  ])("%s", (_, fields, problems) => expect(problemsOf({ ...FARM, ...fields })).toEqual(problems));
});

test("every problem comes at once, in the order of the fields", () => {
  const spec = {
    listeners: [tcp("203.0.113"), tcp(VIP, { port: 80 }), tcp(VIP, { port: 80 })],
    backends: [{ address: "10.0.0.3", weight: 0, colour: "red" }, { address: VIP }],
    algorithm: "fastest",
  };
  expect(problemsOf(spec, { name: "no good", target: { dataPlane: "tc" } })).toEqual([
    'name: "no good" is not a name; use letters, digits and single "-" or "_", a letter first',
    'listeners[0].address: "203.0.113" is not an IP address; names are not resolved, because a rule holds addresses',
    "backends[0].weight: 0 is not between 1 and 65535; to take a backend out of service set its state to drain or down",
    `backends[0].colour: is not a field here; there are ${BACKEND_FIELDS}`,
    'algorithm: "fastest" is not one of random, roundRobin, sourceHash, flowHash',
    `listeners[2]: ${VIP} tcp 80 is claimed by listeners[1] already; claim each port once`,
    `backends[1].address: "${VIP}" is the address of listeners[1]; a packet sent there would come back`,
    'dataPlane: "tc" is not one of nftables, iptables',
  ]);
});
