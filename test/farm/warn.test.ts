import * as pulumi from "@pulumi/pulumi";
import type { EngineEvent } from "@pulumi/pulumi/automation";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { CapacityArgs, GatewayArgs, LoadBalancerFarmArgs } from "../../src";
import { Engine } from "../support/engine/engine";
import { EDGE, farm } from "./farms";
import { run, unknown } from "./program";

/** What a preview warns of, and that it is no more than a warning. */

vi.setConfig({ testTimeout: 120_000 });
afterEach(() => {
  vi.restoreAllMocks();
});

/** What the program logs as warnings, each with the resource that it is about. */
async function warned(
  program: () => unknown,
  preview = true,
): Promise<{ lines: string[]; about: unknown }[]> {
  const warn = vi.spyOn(pulumi.log, "warn").mockResolvedValue();
  await run(program, { preview });
  return warn.mock.calls.map(([message, about]) => ({ lines: message.split("\n"), about }));
}

const BUSY: CapacityArgs = { conntrackMax: 1000, newConnectionsPerSecond: 10 };
const COARSE: Partial<LoadBalancerFarmArgs> = {
  algorithm: "sourceHash",
  slots: 16,
  backends: [{ address: "10.0.0.3", weight: 10_000 }, { address: "10.0.0.4" }],
};
const at = (name: string, capacity?: CapacityArgs): GatewayArgs => ({
  ...EDGE,
  name,
  ...(capacity && { capacity }),
});

describe("a preview", () => {
  test("says nothing of a farm that its gateways can carry", async () => {
    expect(
      await warned(() => farm("web", { gateways: [at("edge-1", { newConnectionsPerSecond: 10 })] })),
    ).toEqual([]);
  });

  test("tells what the farm alone shows, once for all gateways", async () => {
    const [one, ...more] = await warned(() =>
      farm("web", { ...COARSE, gateways: [at("edge-1"), at("edge-2")] }),
    );
    expect(more).toEqual([]);
    expect(one!.lines).toEqual([
      "farm web: 1 warning about what its gateways can carry",
      expect.stringMatching(
        /^ {2}backends\[1]: 10\.0\.0\.4 is active .* none of the 16 slots .*; take .* \[no-slot; .*]$/,
      ),
    ]);
  });

  test("is about the component", async () => {
    let web: pulumi.Resource | undefined;
    const [one] = await warned(() => {
      web = farm("web", COARSE);
    });
    expect(one!.about).toBe(web);
  });

  test("names the gateway that a warning is about", async () => {
    const gateways = [
      at("edge-1"),
      at("edge-2", BUSY),
      at("edge-3", { ...BUSY, newConnectionsPerSecond: 1000 }),
    ];
    const [one] = await warned(() => farm("web", { gateways, sourceNat: "masquerade" }));
    expect(one!.lines).toEqual([
      "farm web: 3 warnings about what its gateways can carry",
      expect.stringMatching(
        /^ {2}gateways\[1]\.capacity\.newConnectionsPerSecond: 10 new .* \[conntrack-full; /,
      ),
      expect.stringMatching(
        /^ {2}gateways\[2]\.capacity\.newConnectionsPerSecond: 1,000 new .* \[conntrack-full; /,
      ),
      expect.stringMatching(/^ {2}on edge-3: sourceNat: masquerade leaves .* \[source-ports; /),
    ]);
  });

  test("says nothing of values that are not known yet", async () => {
    const backends = [{ address: "10.0.0.3", weight: 10_000 }, { address: unknown<string>() }];
    expect(await warned(() => farm("web", { ...COARSE, backends }))).toEqual([]);
  });
});

test("an update says nothing again", async () => {
  expect(await warned(() => farm("web", COARSE), false)).toEqual([]);
});

test("no resource depends on it, and farms may expect different loads of a gateway", async () => {
  const mail = { listeners: [{ address: "203.0.113.10", protocol: "tcp" as const, port: 25 }] };
  const made = (one?: CapacityArgs, other?: CapacityArgs) =>
    run(() => [
      farm("web", { gateways: [at("edge-1", one)] }),
      farm("mail", { ...mail, gateways: [at("edge-1", other)] }),
    ]);
  expect(await made(BUSY, { newConnectionsPerSecond: 7 })).toEqual(await made());
});

test.each<[string, unknown, string]>([
  [
    "a wrong number",
    { conntrackMax: -1 },
    "gateways[0].capacity.conntrackMax: -1 is not between 1 and 2147483647",
  ],
  [
    "another field",
    { ports: 1 },
    "gateways[0].capacity.ports: is not a field here; there are conntrackMax, ",
  ],
  [
    "an output",
    { memoryBytes: pulumi.output(5) },
    "gateways[0].capacity.memoryBytes: is an Output or a promise; write the value itself",
  ],
])("refuses %s", async (_, capacity, problem) => {
  await expect(
    run(() => farm("web", { gateways: [at("edge-1", capacity as CapacityArgs)] })),
  ).rejects.toThrow(problem);
});

test("the engine shows it as a diagnostic of the component, and the preview succeeds", async () => {
  const engine = await Engine.open();
  try {
    const stack = await engine.inline(async () => void farm("web", COARSE), "test", "warn");
    const events: EngineEvent[] = [];
    const { changeSummary } = await stack.preview({ onEvent: (event) => events.push(event) });
    expect(changeSummary).toEqual({ create: 4 });
    const warnings = events.flatMap(({ diagnosticEvent: one }) => (one?.severity === "warning" ? [one] : []));
    expect(warnings.map(({ urn }) => urn?.split("::").slice(2).join(" "))).toEqual([
      "netfilter-lb:index:LoadBalancerFarm web",
    ]);
    expect(warnings[0]!.message).toContain("backends[1]: 10.0.0.4 is active");
  } finally {
    await engine.close();
  }
});
