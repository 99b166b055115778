import { expect, test } from "vitest";
import { slotOf } from "../../src/explain/nftables-hash";
import type { Arrival } from "../../src/explain/packet";
import { renderRule } from "../../src/nftables/render-rule";
import type { NftHash } from "../../src/nftables/ruleset";
import type { Family } from "../../src/spec/address";
import { inEmptyNamespace } from "../trace/kernel";

/** The slots that `explain` works out are those in which the kernel puts real packets. */

const HASHES: Record<Family, NftHash[]> = {
  ip: [
    { of: "source", prefix: 32, slots: 4096 },
    { of: "source", prefix: 29, slots: 65536 },
    { of: "flow", prefix: 32, slots: 65536 },
    { of: "addresses", prefix: 32, slots: 1000 },
  ],
  ip6: [
    { of: "source", prefix: 128, slots: 4096 },
    { of: "source", prefix: 67, slots: 65536 },
    { of: "flow", prefix: 128, slots: 65536 },
    { of: "addresses", prefix: 128, slots: 1000 },
  ],
};

const SOURCES: Record<Family, string[]> = {
  ip: Array.from({ length: 12 }, (_, i) => `127.${i}.7.${i * 20 + 1}`),
  ip6: Array.from({ length: 12 }, (_, i) => `2001:db8:${i}:${i.toString(16)}fff::${i * 20 + 1}`),
};
const DESTINATION: Record<Family, string> = { ip: "127.0.0.1", ip6: "2001:db8:0:fff::1" };
const PORT = 7777;

/** Marks every packet with its slot and notes it down, for each hash. Behind it, the packets. */
function script(family: Family): string {
  const type = `${family === "ip" ? "ipv4_addr" : "ipv6_addr"} . inet_service . mark`;
  const sets = HASHES[family].map((_, i) => `set seen${i} { type ${type}; size 4096; flags dynamic; }`);
  const rules = HASHES[family].flatMap((hash, i) => [
    ...renderRule(family, { kind: "hashSlot", hash }),
    `add @seen${i} { ${family} saddr . udp sport . ct mark }`,
  ]);
  const table = `table ${family} t {
    ${sets.join("\n")}
    chain c {
      type filter hook output priority 0;
      udp dport ${PORT} goto slots
    }
    chain slots {
      ${rules.join("\n")}
    }
  }`;
  const send = `
    const dgram = require("node:dgram");
    for (const address of ${JSON.stringify(SOURCES[family])})
      for (let i = 0; i < 10; i++) {
        const socket = dgram.createSocket(${family === "ip" ? '"udp4"' : '"udp6"'});
        socket.bind({ address }, () => socket.send("x", ${PORT}, "${DESTINATION[family]}", () => socket.close()));
      }`;
  const addresses = family === "ip" ? [] : SOURCES.ip6.map((one) => `ip addr add ${one}/128 dev lo nodad`);
  return `
    ip link set lo up
    ${addresses.join("\n")}
    nft -f - <<'EOF'\n${table}\nEOF
    '${process.execPath}' -e '${send}'
    ${HASHES[family].map((_, i) => `echo "# ${i}"; nft list set ${family} t seen${i}`).join("\n")}
  `;
}

test.each(["ip", "ip6"] as const)("%s", (family) => {
  const listed = inEmptyNamespace(script(family), "")
    .split(/^# \d$/m)
    .slice(1);
  for (const [i, hash] of HASHES[family].entries()) {
    const seen = [...listed[i]!.matchAll(/([0-9a-f.:]+) \. (\d+) \. (0x[0-9a-f]+)/g)];
    expect(seen).toHaveLength(SOURCES[family].length * 10);
    for (const [, source, sourcePort, slot] of seen) {
      const packet = { family, source, sourcePort: Number(sourcePort), destination: DESTINATION[family] };
      expect(slotOf(hash, { ...packet, protocol: "udp", port: PORT } as Arrival)).toBe(Number(slot));
    }
  }
});
