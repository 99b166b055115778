import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Lab } from "../support/lab";
import { chiSquareTest } from "../support/statistics";

/** The rules that many guides show, and what they lose: the reason for this package, and a control for its tests. */

const VIP = "203.0.113.10";

let lab: Lab;

beforeAll(async () => {
  lab = await Lab.create({ gateways: [{ name: "edge-1", forwarding: true }], backends: 4 });
  // What is not translated reaches the gateway itself, which has nobody at that port: refused.
  await lab.gateway().sh(`ip addr add ${VIP}/32 dev lo`);
  await lab.backends.serve({ tcp: [80] });
});

afterAll(() => lab?.close());

/** One rule a backend in nat's PREROUTING, as the guides have them. */
async function load(match: (index: number) => string): Promise<void> {
  const rules = lab.backends4.map(
    (address, i) =>
      `-A PREROUTING -d ${VIP} -p tcp --dport 80 -m statistic ${match(i)} -j DNAT --to-destination ${address}`,
  );
  await lab.gateway().sh("iptables-restore", { input: ["*nat", ...rules, "COMMIT", ""].join("\n") });
}

describe("four rules one after the other", () => {
  it.each([
    ["of probability .25", () => "--mode random --probability 0.25"],
    ["of every 4, packet 0 to 3", (i: number) => `--mode nth --every 4 --packet ${i}`],
  ])("%s leave about three in ten connections without a backend", async (_, match) => {
    await load(match);
    const { counts, refused, lost } = await lab.client.connect({ to: VIP, port: 80, count: 2000 });
    expect(lost).toBe(refused);
    const observed = [...lab.backends4.map((address) => counts[address] ?? 0), refused];
    // Each rule takes a quarter of what the rules before it left: (3/4)^4 = 31.6 % are left.
    const shares = [0.25, 0.25 * 0.75, 0.25 * 0.75 ** 2, 0.25 * 0.75 ** 3, 0.75 ** 4];
    if (match(0).includes("random")) expect(chiSquareTest(observed, shares)).toBeGreaterThan(0.001);
    else expect(refused).toBeGreaterThan(500);
  });

  it("of 1/4, 1/3, 1/2 and 1 leave none", async () => {
    await load((i) => `--mode random --probability ${(1 / (4 - i)).toFixed(11)}`);
    const { lost } = await lab.client.connect({ to: VIP, port: 80, count: 2000 });
    expect(lost).toBe(0);
  });
});
