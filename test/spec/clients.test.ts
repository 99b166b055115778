import { describe, expect, test } from "vitest";
import { FARM } from "./farms";
import { problemsOf } from "./problems";

/** What the lists of clients contradict: who is served, and who is pinned to whom. */

const V4 = { address: "203.0.113.10", protocol: "tcp", port: 80 };
const V6 = { address: "2001:db8:ffff::10", protocol: "tcp", port: 80 };
const BOTH = { listeners: [V4, V6], backends: [{ address: "10.0.0.3" }, { address: "2001:db8::3" }] };

describe("somebody is served", () => {
  const unserved = (index: number) => `listeners[${index}] would serve nobody`;
  const everybody = (of: string) => [`deny: holds every ${of}, so ${unserved(0)}; deny less`];
  test.each<[string, object, string[]]>([
    ["all are denied", { deny: ["0.0.0.0/0"] }, everybody("IPv4 address")],
    ["in halves", { deny: ["128.0.0.0/1", "0.0.0.0/1"] }, everybody("IPv4 address")],
    [
      "in parts of all sizes",
      { deny: ["0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3", "224.0.0.0/3", "10.0.0.0/8"] },
      everybody("IPv4 address"),
    ],
    ["all but one", { deny: ["0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3", "224.0.0.0/4", "240.0.0.0/5"] }, []],
    [
      "all who are allowed",
      { allow: ["198.51.100.0/24"], deny: ["198.51.100.0/24"] },
      everybody("IPv4 address that allow lets in"),
    ],
    [
      "more than those",
      { allow: ["198.51.100.7", "198.51.100.0/25"], deny: ["198.0.0.0/8"] },
      everybody("IPv4 address that allow lets in"),
    ],
    [
      "those by parts",
      {
        allow: ["198.51.100.0/24", "192.0.2.1"],
        deny: ["198.51.100.128/25", "192.0.2.0/24", "198.51.100.0/25"],
      },
      everybody("IPv4 address that allow lets in"),
    ],
    [
      "all but a part of one",
      { allow: ["198.51.100.0/24"], deny: ["198.51.100.0/25", "198.51.100.192/26"] },
      [],
    ],
    ["all but another", { allow: ["198.51.100.0/24", "192.0.2.0/24"], deny: ["198.51.100.0/24"] }, []],
    ["nobody is denied", { allow: ["198.51.100.0/24"], deny: [] }, []],
    [
      "one family of two is denied",
      { ...BOTH, deny: ["::/0", "10.0.0.0/8"] },
      [`deny: holds every IPv6 address, so ${unserved(1)}; deny less`],
    ],
    [
      "one of two is not allowed",
      { ...BOTH, allow: ["198.51.100.0/24"] },
      [`allow: has no IPv6 network, so ${unserved(1)}; name one, such as ::/0`],
    ],
    [
      "each is, in part",
      { ...BOTH, allow: ["198.51.100.0/24", "2001:db8:1::/48"], deny: ["2001:db8:1::7"] },
      [],
    ],
  ])("%s", (_, fields, problems) => expect(problemsOf({ ...FARM, ...fields })).toEqual(problems));
});

describe("a network has a listener of its family", () => {
  test.each<[string, object, string[]]>([
    [
      "one has not",
      { deny: ["192.0.2.0/24", "2001:DB8::/32"] },
      ["deny[1]: 2001:db8::/32 is IPv6, but no listener is; leave it out"],
    ],
    [
      "many have not, and it is said once",
      { deny: ["2001:db8::/32", "192.0.2.0/24", "2001:db9::1"] },
      ["deny[0]: 2001:db8::/32 is IPv6, but no listener is; leave all 2 such networks out"],
    ],
    [
      "of clients nearby",
      { sourceNat: "auto", localNetworks: ["fd00::/8"] },
      ["localNetworks[0]: fd00::/8 is IPv6, but no listener is; leave it out"],
    ],
    [
      "of clients who are served",
      { allow: ["0.0.0.0/0", "::/0"] },
      ["allow[1]: ::/0 is IPv6, but no listener is; leave it out"],
    ],
  ])("%s", (_, fields, problems) => expect(problemsOf({ ...FARM, ...fields })).toEqual(problems));
});

test.each([
  ["none", {}],
  ["masquerade", { sourceNat: "masquerade" }],
  ["203.0.113.1", { sourceNat: "203.0.113.1" }],
])("local networks mean nothing where sourceNat is %s", (sourceNat, fields) => {
  expect(problemsOf({ ...FARM, ...fields, localNetworks: ["10.0.0.0/24"] })).toEqual([
    `localNetworks: goes with sourceNat auto, but sourceNat is ${sourceNat}; take that, or leave the field out`,
  ]);
});

describe("a pin leads to a backend of the farm", () => {
  const backends = [
    { address: "10.0.0.3" },
    { address: "10.0.0.4", port: 80 },
    { address: "10.0.0.5", port: 80 },
    { address: "10.0.0.5", port: 81, state: "down" },
    { address: "10.0.0.6" },
  ];
  const pinned = (backend: string) =>
    problemsOf({ ...FARM, backends, pins: [{ source: "198.51.100.0/24", backend }] });
  const unknown = (key: string) => `pins[0].backend: "${key}" is no backend of this farm; `;

  test.each<[string, string, string[]]>([
    ["by its address", "10.0.0.3", []],
    ["with its port", "10.0.0.4:80", []],
    ["though it is down", "10.0.0.5:81", []],
    [
      "of nobody",
      "10.0.0.9",
      [`${unknown("10.0.0.9")}there are 10.0.0.3, 10.0.0.4:80, 10.0.0.5:80, 10.0.0.5:81 and 1 more`],
    ],
    ["without its port", "10.0.0.4", [`${unknown("10.0.0.4")}write its port too: 10.0.0.4:80`]],
    [
      "without one of its ports",
      "10.0.0.5",
      [`${unknown("10.0.0.5")}write its port too: 10.0.0.5:80, 10.0.0.5:81`],
    ],
    ["with another port", "10.0.0.4:81", [`${unknown("10.0.0.4:81")}there is 10.0.0.4:80`]],
    [
      "with a port that it has not",
      "10.0.0.3:80",
      [`${unknown("10.0.0.3:80")}it has no port of its own: write 10.0.0.3`],
    ],
  ])("%s", (_, backend, problems) => expect(pinned(backend)).toEqual(problems));

  test.each(["2001:db8::3", "2001:DB8:0::3"])("however IPv6 is written: %s", (address) => {
    const pins = [
      { source: "2001:db8:1::/48", backend: address },
      { source: "2001:db8:2::/48", backend: `[${address}]:80` },
    ];
    const served = [{ address: "2001:db8::3" }, { address: "2001:db8::3", port: 80 }];
    expect(problemsOf({ listeners: [V6], backends: served, pins })).toEqual([]);
  });
});

describe("a pin holds clients", () => {
  const pinned = (...pins: [source: string, backend: string][]) =>
    problemsOf({ ...BOTH, pins: pins.map(([source, backend]) => ({ source, backend })) });

  test("of its backend's family", () => {
    expect(pinned(["2001:db8:1::/48", "10.0.0.3"], ["198.51.100.7", "2001:db8::3"])).toEqual([
      'pins[0].source: "2001:db8:1::/48" is IPv6, but the backend is IPv4; a connection stays in its family',
      'pins[1].source: "198.51.100.7" is IPv4, but the backend is IPv6; a connection stays in its family',
    ]);
  });
  test("once, however they are written", () => {
    expect(pinned(["2001:db8:1::/48", "2001:db8::3"], ["2001:DB8:1:0::/48", "2001:db8::3"])).toEqual([
      'pins[1].source: "2001:DB8:1:0::/48" is the source of pins[0] already; pin each network once',
    ]);
    expect(pinned(["198.51.100.7", "10.0.0.3"], ["198.51.100.7/32", "10.0.0.3"])).toEqual([
      'pins[1].source: "198.51.100.7/32" is the source of pins[0] already; pin each network once',
    ]);
  });
  test("and a part of them may go elsewhere", () => {
    expect(pinned(["198.51.100.0/24", "10.0.0.3"], ["198.51.100.7", "10.0.0.3"])).toEqual([]);
  });
});
