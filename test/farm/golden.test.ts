import { describe, expect, test, vi } from "vitest";
import { run } from "./program";

/**
 * Every example program, on every kind of gateway: the text that it would send there, kept in test/golden. A change of
 * these files is a change of what gateways get; `npx vitest run test/farm/golden.test.ts -u` writes them.
 */

const EXAMPLES: [example: string, mode: string, config: Record<string, string>][] = [
  ["quickstart", "default", {}],
  ["zevenet", "dnat", {}],
  ["zevenet", "nat", { "project:mode": "nat" }],
  ["four-backends", "random", { "project:algorithm": "random" }],
  ["four-backends", "roundRobin", { "project:algorithm": "roundRobin" }],
  ["two-backends", "random", { "project:algorithm": "random" }],
  ["two-backends", "roundRobin", { "project:algorithm": "roundRobin" }],
  ["two-gateways", "web", {}],
  ["two-gateways", "dns", {}],
  ["two-gateways", "media", {}],
  ["maintenance", "all", {}],
  ["maintenance", "drained", { "project:10.0.0.3": "drain" }],
  [
    "maintenance",
    "sorry",
    { "project:10.0.0.3": "down", "project:10.0.0.4": "down", "project:10.0.0.5": "down" },
  ],
  ["resolvers", "default", {}],
  ["many-farms", "three", { "project:tenants": "3" }],
];

/** Layout zevenet has no affinity and no hash. */
const NOT_OF_ZEVENET = ["maintenance", "resolvers"];

const PLANES: [plane: string, config: Record<string, string>][] = [
  ["nftables", {}],
  ["iptables-nat", { dataPlane: "iptables" }],
  ["iptables-zevenet", { dataPlane: "iptables", layout: "zevenet" }],
];

function configOf(gateway: string, fields: Record<string, string>): Record<string, string> {
  const all = {
    host: "198.51.100.7",
    hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5",
    privateKey: "key",
    ...fields,
  };
  return Object.fromEntries(Object.entries(all).map(([key, value]) => [`${gateway}:${key}`, value]));
}

describe.each(EXAMPLES)("%s, %s", (example, mode, config) => {
  const planes = PLANES.filter(([, { layout }]) => layout === undefined || !NOT_OF_ZEVENET.includes(example));
  test.each(planes)("%s", async (plane, fields) => {
    vi.resetModules();
    const made = await run(() => import(`../../examples/${example}/index.ts`), {
      config: { ...config, ...configOf("edge-1", fields), ...configOf("edge-2", fields) },
      secretKeys: ["edge-1:privateKey", "edge-2:privateKey"],
    });
    const applied = made.filter(
      ({ type, parent, name }) =>
        type === "command:remote:Command" &&
        parent !== undefined &&
        (example !== "two-gateways" || name.startsWith(mode)),
    );
    const texts = new Set(applied.map(({ inputs }) => inputs.stdin as string));
    expect(texts.size).toBe(1); // the same on every gateway
    await expect([...texts][0]).toMatchFileSnapshot(`../golden/${example}.${mode}.${plane}.rules`);
  });
});
