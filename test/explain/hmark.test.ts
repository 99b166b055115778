import { describe, expect, test } from "vitest";
import { explain, type FarmSpec } from "../../src/core";
import { hmark } from "../../src/explain/hmark";
import type { Arrival } from "../../src/explain/packet";
import { renderTarget } from "../../src/iptables/render-rule";
import type { PacketHash } from "../../src/iptables/ruleset";
import type { Family } from "../../src/spec/address";
import { inEmptyNamespace } from "../trace/kernel";

/** The slot that `explain` works out is the one that the kernel's HMARK gives to a real packet. */

const HASH: Omit<PacketHash, "source"> = { destination: 0, ports: false, seed: 0x6e666c62, modulus: 4096 };

const FORMS: [what: string, family: Family, hash: PacketHash][] = [
  ["source", "ip", { ...HASH, source: 32 }],
  ["source /24", "ip", { ...HASH, source: 24 }],
  ["source /9", "ip", { ...HASH, source: 9, modulus: 1000 }],
  ["addresses", "ip", { ...HASH, source: 32, destination: 32 }],
  ["flow", "ip", { ...HASH, source: 32, destination: 32, ports: true, modulus: 65_536 }],
  ["source", "ip6", { ...HASH, source: 128 }],
  ["source /56", "ip6", { ...HASH, source: 56 }],
  ["source /31", "ip6", { ...HASH, source: 31 }],
  ["addresses", "ip6", { ...HASH, source: 128, destination: 128, modulus: 65_536 }],
  ["flow", "ip6", { ...HASH, source: 128, destination: 128, ports: true, modulus: 65_536 }],
];

/** Every address of these is the namespace's own, so that packets can come from any of them. */
const LOCAL = { ip: "10.0.0.0/8", ip6: "2001:db8::/32" };
const COUNT = 200;

/** One datagram for each flow, from any address and port to any other. */
const SEND = `
  const { createSocket } = require("node:dgram");
  const random = (n) => Math.floor(Math.random() * n);
  const address = { udp4: () => [10, random(256), random(256), random(256)].join("."),
    udp6: () => ["2001:db8", ...Array.from({ length: 6 }, () => (1 + random(65535)).toString(16))].join(":") }[process.argv[1]];
  for (let i = 0; i < ${COUNT}; i++) {
    const socket = createSocket(process.argv[1]);
    socket.bind(1024 + random(60000), address(), () => socket.send("x", 1 + random(65535), address(), () => socket.close()));
  }`;

/** Flows that a real kernel hashed, with the mark that each got. */
function hashedByKernel(
  family: Family,
  hash: PacketHash,
): (Pick<Arrival, "source" | "destination" | "sourcePort" | "port"> & { mark: number })[] {
  const tool = family === "ip" ? "iptables" : "ip6tables";
  const rules = [
    "*nat",
    `-A OUTPUT -p udp ${renderTarget(family, { kind: "hashMark", ...hash })}`,
    "-A OUTPUT -j CONNMARK --save-mark",
    "COMMIT",
    "",
  ].join("\n");
  const printed = inEmptyNamespace(
    `ip link set lo up
    sysctl -qw net.ipv6.ip_nonlocal_bind=1
    ip ${family === "ip" ? "" : "-6"} route add local ${LOCAL[family]} dev lo
    ${tool}-nft-restore
    node -e '${SEND}' ${family === "ip" ? "udp4" : "udp6"}
    conntrack -L -f ${family === "ip" ? "ipv4" : "ipv6"} -p udp 2>/dev/null`,
    rules,
  );
  return [...printed.matchAll(/^udp .*?src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+) .* mark=(\d+) /gm)].map(
    ([, source, destination, sourcePort, port, mark]) => ({
      source: source!,
      destination: destination!,
      sourcePort: Number(sourcePort),
      port: Number(port),
      mark: Number(mark),
    }),
  );
}

test.each(FORMS)("%s, %s", (_, family, hash) => {
  const flows = hashedByKernel(family, hash);
  expect(flows.length).toBeGreaterThan(COUNT * 0.9);
  for (const { mark, ...flow } of flows)
    expect([flow, hmark(hash, { ...flow, family } as Arrival)]).toEqual([flow, mark]);
});

test("a flow has one hash both ways", () => {
  const hash = { ...HASH, source: 32, destination: 32, ports: true };
  const [a, b] = ["198.51.100.7", "203.0.113.10"];
  const there = { source: a, destination: b, sourcePort: 40_000, port: 80 } as Arrival;
  const back = { source: b, destination: a, sourcePort: 80, port: 40_000 } as Arrival;
  expect(hmark(hash, there)).toBe(hmark(hash, back));
});

describe("explain", () => {
  const spec: FarmSpec = {
    listeners: [{ address: "203.0.113.10", protocol: "tcp", port: 80 }],
    backends: [{ address: "10.0.0.3", weight: 3 }, { address: "10.0.0.4" }],
    algorithm: "flowHash",
  };
  const packet = {
    source: "198.51.100.7",
    destination: "203.0.113.10",
    protocol: "tcp",
    destinationPort: 80,
  };

  test("without a source port names every backend, with the part of the slots that it has", () => {
    const { possible } = explain("web", spec, packet, { dataPlane: "iptables" });
    const nftables = explain("web", spec, packet, { dataPlane: "nftables" });
    const chances = ({ possible: all }: typeof nftables) =>
      Object.fromEntries(
        all.map(({ outcome, probability }) => [
          outcome.kind === "translated" && outcome.to.address,
          `${probability.numerator}/${probability.denominator}`,
        ]),
      );
    expect(possible).toHaveLength(2);
    expect(chances({ ...nftables, possible })).toEqual(chances(nftables));
  });

  test("with one follows the tree to one backend", () => {
    const seen = new Set<string>();
    for (let sourcePort = 1; sourcePort < 40; sourcePort++) {
      const { outcome, steps } = explain("web", spec, { ...packet, sourcePort }, { dataPlane: "iptables" });
      if (outcome?.kind !== "translated") throw new Error(`${sourcePort}: ${outcome?.kind}`);
      seen.add(outcome.to.address);
      expect(steps.filter(({ matched, chain }) => matched && chain.startsWith("NFLB-web.h"))).not.toEqual([]);
    }
    expect(seen.size).toBe(2);
  });
});
