import fc from "fast-check";
import { expect, test } from "vitest";
import { compile, type FarmSpec, Helper, type TargetSpec } from "../../src/core";
import { NAT, ZEVENET } from "../spec/farms";
import { IptablesGateway } from "./iptables";
import { inEmptyNamespace, iptablesRestore } from "./kernel";
import type { Packet } from "./packet";

/**
 * Many farms on one iptables gateway: the tool sorts their lines into trees, and every packet meets what it would meet in the lines as they
 * were written, one after the other.
 */

interface Service {
  readonly address: string;
  readonly protocol: "tcp" | "udp" | "sctp" | "all";
  readonly from: number;
  readonly to: number;
}

const PROTOCOLS = ["tcp", "udp", "sctp"] as const;
const RUNS = Number(process.env.RUNS ?? 1);

/** Addresses and ports that share few or many of their first bits. */
const byte = fc.oneof(fc.constantFrom(0, 1, 2, 3, 4, 127, 128, 255), fc.integer({ min: 0, max: 255 }));
const v4 = fc
  .tuple(fc.constantFrom(10, 203), fc.constantFrom(0, 9), byte, byte)
  .map((bytes) => bytes.join("."));
const group = fc.integer({ min: 1, max: 0xffff }).map((value) => value.toString(16));
const v6 = fc.oneof(
  fc.tuple(group, group).map(([a, b]) => `2001:db8:${a}::${b}`),
  group.map((a) => `2001:db8::${a}`),
  fc.tuple(group, group, group, group).map((groups) => `2001:db8:1:2:${groups.join(":")}`),
);
const port = fc.oneof(
  fc.constantFrom(1, 2, 80, 443, 32767, 32768, 65535),
  fc.integer({ min: 1, max: 65535 }),
);
const portsOf = (protocol: Service["protocol"], address: string) =>
  fc
    .uniqueArray(port, { minLength: 12, maxLength: 60 })
    .map((ports) => ports.map((at): Service => ({ address, protocol, from: at, to: at })));
const serviceOn = (address: fc.Arbitrary<string>): fc.Arbitrary<Service> =>
  fc.oneof(
    {
      weight: 9,
      arbitrary: fc
        .tuple(address, fc.constantFrom(...PROTOCOLS), port)
        .map(([address, protocol, at]) => ({ address, protocol, from: at, to: at })),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(address, fc.constantFrom(...PROTOCOLS), port, fc.integer({ min: 1, max: 300 }))
        .map(([address, protocol, at, more]) => ({
          address,
          protocol,
          from: at,
          to: Math.min(at + more, 65535),
        })),
    },
    {
      weight: 1,
      arbitrary: address.map((address) => ({ address, protocol: "all" as const, from: 0, to: 65535 })),
    },
  );

const meet = (a: Service, b: Service) =>
  a.address === b.address &&
  (a.protocol === b.protocol || a.protocol === "all" || b.protocol === "all") &&
  a.from <= b.to &&
  b.from <= a.to;

/** As a gateway takes them: no two meet. Few addresses with many ports, or many addresses. */
const services: fc.Arbitrary<Service[]> = fc
  .oneof(
    portsOf("tcp", "203.0.113.9"),
    portsOf("udp", "2001:db8::9"),
    fc
      .array(v4, { minLength: 1, maxLength: 3 })
      .chain((few) => fc.array(serviceOn(fc.constantFrom(...few)), { minLength: 9, maxLength: 60 })),
    fc.array(serviceOn(v4), { minLength: 9, maxLength: 60 }),
    fc.array(serviceOn(v6), { minLength: 9, maxLength: 60 }),
    fc
      .array(v6, { minLength: 1, maxLength: 2 })
      .chain((few) => fc.array(serviceOn(fc.constantFrom(...few)), { minLength: 9, maxLength: 40 })),
  )
  .map((all) => all.filter((one, k) => !all.slice(0, k).some((other) => meet(one, other))));

/** Farms of two services each. What their rules are like is not the question: one has no backend left, so that its lines are others. */
function farmsOf(all: readonly Service[], target: TargetSpec, more: Partial<FarmSpec> = {}): string {
  const farms: string[] = [];
  for (let k = 0; k < all.length; k += 2) {
    const own = all.slice(k, k + 2);
    const backend = (last: number) =>
      own[0]!.address.includes(":") ? `2001:db8:ff::${last}` : `192.168.7.${last}`;
    const refuses = k % 10 === 4 && target.layout !== "zevenet";
    const spec: FarmSpec = {
      listeners: own.map(({ address, protocol, from, to }) =>
        protocol === "all"
          ? { address, protocol }
          : { address, protocol, ...(from === to ? { port: from } : { ports: `${from}-${to}` }) },
      ),
      backends: [
        { address: backend(1), ...(refuses && { state: "drain" }) },
        { address: backend(2), ...(refuses && { state: "drain" }) },
      ],
      ...(k % 6 === 0 && { sourceNat: "masquerade" }),
      ...more,
    };
    farms.push(compile(`farm${k}`, spec, { ...target, ...(k % 14 === 8 && { interface: "eth0" }) }).ruleSet);
  }
  return farms.join("");
}

/** At each end of a service, beside it, and where nothing is. */
function packetsTo(all: readonly Service[]): Packet[] {
  return all.flatMap(({ address, protocol, from, to }) =>
    (protocol === "all" ? PROTOCOLS : [protocol, "tcp" as const]).flatMap((of) =>
      [...new Set([from - 1, from, to, to + 1])]
        .filter((at) => at > 0 && at < 65536)
        .flatMap((at) =>
          ["eth0", undefined].map(
            (enters): Packet => ({
              source: address.includes(":") ? "2001:db8:aa::7" : "198.51.100.7",
              sourcePort: 40_000,
              address,
              protocol: of,
              port: at,
              enters,
            }),
          ),
        ),
    ),
  );
}

/** What a table holds behind the tool's restore, as a text that can be walked through; the jumps to its chains are the walker's own. */
function planned(ruleSets: string, family: string): string {
  const head = ruleSets.includes("# data-plane iptables zevenet") ? "# data-plane iptables zevenet\n" : "";
  const blocks = iptablesRestore(ruleSets, { family })
    .replace(/^-I .*\n/gm, "")
    .split(/^(?=\*)/m);
  // The last block of a table fills all its chains again.
  const last = new Map(blocks.map((block) => [block.split("\n")[0], block]));
  return `${head}# ${family}\n${[...last.values()].join("")}`;
}

test.each([
  ["nat", NAT],
  ["zevenet", ZEVENET],
])("layout %s: a packet meets in the trees what it meets in the lines", (_, target) => {
  let grew = 0;
  fc.assert(
    fc.property(services, (all) => {
      const ruleSets = farmsOf(all, target);
      const family = all[0]!.address.includes(":") ? "ip6" : "ip";
      const tree = planned(ruleSets, family);
      if (/ -g NFLB-[A-Z]+\.\d+$/m.test(tree)) grew += 1;
      const [flat, grown] = [new IptablesGateway(ruleSets), new IptablesGateway(tree)];
      for (const packet of packetsTo(all)) {
        expect(grown.open(packet)).toEqual(flat.open(packet));
        expect(grown.guards(packet)).toBe(flat.guards(packet));
      }
    }),
    { numRuns: 25 * RUNS, seed: 1, endOnFailure: true },
  );
  expect(grew).toBeGreaterThan(15 * RUNS);
});

/** How many rules a packet is compared with on its way through a chain. */
function walked(restore: string, table: string, chain: string, matches: (rule: string) => boolean): number {
  const rules = restore.slice(restore.indexOf(`*${table}\n`), restore.length);
  const own = [...rules.slice(0, rules.indexOf("COMMIT")).matchAll(/^-A (\S+) (.*)$/gm)];
  const here = own.filter(([, name]) => name === chain).map(([, , rule]) => rule!);
  const hit = here.findIndex(matches);
  if (hit < 0) return here.length;
  const to = / -g (NFLB-[A-Z]+\.\d+)$/.exec(here[hit]!)?.[1];
  return hit + 1 + (to === undefined ? 0 : walked(restore, table, to, matches));
}

test("of 4,096 farms a packet is compared with few lines", () => {
  const all = Array.from({ length: 4096 }, (_, k) => ({
    address: `10.0.${k >> 8}.${k & 0xff}`,
    protocol: "tcp" as const,
    from: 80,
    to: 80,
  }));
  const restore = iptablesRestore(farmsOf(all, NAT));
  for (const address of ["10.0.0.0", "10.0.7.99", "10.0.15.255"]) {
    const within = (rule: string) => {
      const [, network = "", length = "32"] = /(?:-d|--ctorigdst) ([\d.]+)(?:\/(\d+))?/.exec(rule)!;
      const number = (text: string) => text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
      return Math.floor((number(address) - number(network)) / 2 ** (32 - Number(length))) === 0;
    };
    for (const [table, chain] of [
      ["nat", "NFLB-PREROUTING"],
      ["filter", "NFLB-FORWARD"],
      ["mangle", "NFLB-INPUT"],
    ] as const)
      expect(walked(restore, table, chain, within)).toBeLessThanOrEqual(6 * 4);
  }
});

test("what a helper expects, on other ports than its service, is accepted before any branch", () => {
  const ports = Array.from(
    { length: 20 },
    (_, k): Service => ({ address: "203.0.113.9", protocol: "tcp", from: 2100 + k, to: 2100 + k }),
  );
  const restore = iptablesRestore(farmsOf(ports, NAT, { helper: Helper.Ftp }));
  const accepts = restore.split("\n").filter((line) => line.includes("--ctstatus EXPECTED"));
  expect(accepts.length).toBe(40);
  for (const line of accepts) expect(line).toMatch(/^-A NFLB-FORWARD /);
});

test.each(["ip", "ip6"])("the kernel takes the trees of %s as they are written", (family) => {
  const [all = []] = fc.sample(
    services.filter((some) => some.length > 20 && some[0]!.address.includes(":") === (family === "ip6")),
    { numRuns: 1, seed: 7 },
  );
  const command = family === "ip6" ? "ip6tables" : "iptables";
  const restore = iptablesRestore(farmsOf(all, NAT), { family });
  const kept = inEmptyNamespace(`${command}-restore; ${command}-save`, restore);
  const rules = (text: string) => text.split("\n").filter((line) => /^-A NFLB-[A-Z]+\./.test(line)).length;
  expect(rules(kept)).toBe(rules(restore));
  expect(rules(kept)).toBeGreaterThan(0);
});
