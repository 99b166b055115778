import * as pulumi from "@pulumi/pulumi";
import type { EngineEvent, Stack } from "@pulumi/pulumi/automation";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import {
  type BackendArgs,
  type GatewayArgs,
  LoadBalancerFarm,
  type LoadBalancerFarmArgs,
  LoadBalancerFarms,
} from "../../src";
import { Engine } from "../support/engine/engine";
import { farm } from "./farms";
import { run } from "./program";

/** What `pulumi preview` prints where the stack has `netfilter-lb:report`, and that nothing else depends on it. */

vi.setConfig({ testTimeout: 120_000 });

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.open();
});
afterAll(() => engine?.close());

const WEIGHTED = [{ address: "10.0.0.3", weight: 3 }, { address: "10.0.0.4" }];
const CREATED = [
  "web on edge-1",
  "  The farm is created: nftables, random, source NAT none.",
  "  Service 203.0.113.10 tcp 80 is added.",
  "  Backend 10.0.0.3 is added: share 3/4 (75 %), mark 0xa9a5126d.",
];

/** A program of the Automation API, whose farm can be changed. */
async function inline(
  project: string,
  more: Partial<GatewayArgs> = {},
  options: () => pulumi.ComponentResourceOptions = () => ({}),
) {
  const made: { backends: BackendArgs[]; stack: Stack } = {
    backends: WEIGHTED,
    stack: await engine.inline(
      async () => {
        const connection = {
          host: "192.0.2.1",
          privateKey: pulumi.secret("key"),
          insecureIgnoreHostKey: true,
        };
        const args: LoadBalancerFarmArgs = {
          gateways: [{ name: "edge-1", connection, dataPlane: "nftables", ...more }],
          listeners: [{ address: "203.0.113.10", protocol: "tcp", port: 80 }],
          backends: made.backends,
        };
        new LoadBalancerFarm("web", args, options());
      },
      "test",
      project,
    ),
  };
  return made;
}

/** What a preview logs, line by line, and the state that its update would leave. No gateway is dialled. */
async function preview(stack: Stack): Promise<{ lines: string[]; made: Resource[] }> {
  const events: EngineEvent[] = [];
  await stack.preview({ onEvent: (event) => events.push(event) });
  return {
    lines: events.flatMap(({ diagnosticEvent: one }) =>
      one && !one.ephemeral && (one.severity as string) !== "debug"
        ? one.message
            .replace(/<\{%.*?%\}>/g, "")
            .trimEnd()
            .split("\n")
        : [],
    ),
    made: events.flatMap(({ resourcePreEvent: one }) =>
      one?.metadata.new ? [one.metadata.new as unknown as Resource] : [],
    ),
  };
}

interface Resource {
  urn: string;
  type: string;
  custom?: boolean;
  provider?: string;
  parent?: string;
  inputs: { connection?: object; triggers?: object; stdin?: string };
}

/** Makes what a preview would make the state. */
async function pretend(stack: Stack, made: readonly Resource[]): Promise<void> {
  const resources = made.map(({ urn, type, custom, provider, parent, inputs: given }) => {
    // Events have secrets and unknowns in a form that a state has not.
    const known = { ...(given.connection && { connection: {} }), ...(given.triggers && { triggers: [ID] }) };
    const inputs = { ...given, ...known };
    const state = { urn, type, parent, inputs, outputs: inputs, custom: custom === true };
    return {
      ...state,
      ...(custom && { id: ID }),
      ...(provider && { provider: provider.replace(/[^:]*$/, ID) }),
    };
  });
  const state = await stack.exportStack();
  await stack.importStack({ ...state, deployment: { ...state.deployment, resources } });
}

const ID = "5a7e0000-0000-4000-8000-000000000001";

const WANTED = ["netfilter-lb:report", { value: "true" }] as const;

describe("a program without a language host", () => {
  test("a new farm, and then each change of it", async () => {
    const program = await inline("changes");
    await program.stack.setConfig(...WANTED);
    const { lines, made } = await preview(program.stack);
    expect(lines.slice(0, 4)).toEqual(CREATED);

    await pretend(program.stack, made);
    program.backends = [{ address: "10.0.0.3", weight: 2 }, { address: "10.0.0.4" }];
    expect((await preview(program.stack)).lines).toEqual([
      "web on edge-1",
      "  Of new connections, 1/12 (8.33 %) go to another backend than before.",
      "  Backend 10.0.0.3: share 3/4 (75 %) → 2/3 (66.67 %).",
      "  Backend 10.0.0.4: share 1/4 (25 %) → 1/3 (33.33 %).",
      "  Established connections keep their backend and the source address that it sees: connection tracking holds both, and no rule chooses again.",
    ]);
  });

  test("a group: its farms that change, the first of many", async () => {
    const farm = (port: number, weight: number) => ({
      listeners: [{ address: "203.0.113.10", protocol: "tcp" as const, port }],
      backends: [{ address: "10.0.0.3", weight }, { address: "10.0.0.4" }],
    });
    let weights = { web: 1, shop: 1 };
    let many = 0;
    const connection = { host: "192.0.2.1", privateKey: pulumi.secret("key"), insecureIgnoreHostKey: true };
    const stack = await engine.inline(
      async () => {
        const more = Array.from({ length: many }, (_, k) => [`farm${k}`, farm(1000 + k, 1)]);
        const farms = {
          web: farm(80, weights.web),
          shop: farm(81, weights.shop),
          ...Object.fromEntries(more),
        };
        new LoadBalancerFarms("all", {
          gateways: [{ name: "edge-1", connection, dataPlane: "nftables" }],
          farms,
        });
      },
      "test",
      "group",
    );
    await stack.setConfig(...WANTED);
    const { lines, made } = await preview(stack);
    const heads = (all: readonly string[]) =>
      all.filter((line) => / on edge-1/.test(line) && !line.startsWith(" "));
    expect(heads(lines)).toEqual(["shop on edge-1", "web on edge-1"]);

    await pretend(stack, made);
    weights = { web: 3, shop: 1 };
    const changed = (await preview(stack)).lines;
    expect(heads(changed)).toEqual(["web on edge-1"]);
    expect(changed).toContain("  Backend 10.0.0.3: share 1/2 (50 %) → 3/4 (75 %).");
    many = 30;
    const last = heads((await preview(stack)).lines);
    expect(last).toHaveLength(21);
    expect(last.at(-1)).toBe(
      "group all on edge-1: 11 more farms change; pulumi preview --json | npx netfilter-lb report tells all",
    );
  });

  test("options that a user's transformation merges do no harm, and its hooks are called too", async () => {
    let called = 0;
    const program = await inline("transformed", {}, () => {
      const hook = new pulumi.ResourceHook("own", () => void called++, { onDryRun: true });
      const more = { protect: true, hooks: { beforeCreate: [hook] } };
      return {
        transformations: [
          ({ props, opts, type }) =>
            type === "command:remote:Command" ? { props, opts: pulumi.mergeOptions(opts, more) } : undefined,
        ],
      };
    });
    await program.stack.setConfig(...WANTED);
    expect((await preview(program.stack)).lines.slice(0, 4)).toEqual(CREATED);
    expect(called).toBe(1);
  });

  test("nothing where the stack does not ask for it", async () => {
    const program = await inline("silent");
    expect((await preview(program.stack)).lines).toEqual([]);
  });

  test("a secret backend: it cannot tell, and does not", async () => {
    const program = await inline("secret");
    await program.stack.setConfig(...WANTED);
    program.backends = [{ address: pulumi.secret("10.0.0.77") }];
    const { lines } = await preview(program.stack);
    expect(lines).toEqual([
      "web on edge-1",
      "  The new rules: secret, since a value in them is.",
      "  So what this changes for traffic cannot be told.",
    ]);
  });

  test("rules that this version cannot read: a warning, and the preview goes on", async () => {
    const program = await inline("unreadable");
    await program.stack.setConfig(...WANTED);
    const { made } = await preview(program.stack);
    for (const { inputs } of made)
      if (inputs.stdin !== undefined) inputs.stdin = inputs.stdin.replace("rule set 1", "rule set 0");
    await pretend(program.stack, made);
    const { lines } = await preview(program.stack);
    expect(lines.join("\n")).toMatch(/rule set: 1 problem\n.*is of version 0/);
  });

  test("programs that run side by side print each their own", async () => {
    const programs = await Promise.all([inline("left"), inline("right", { name: "edge-2" })]);
    for (const { stack } of programs) await stack.setConfig(...WANTED);
    const [left, right] = await Promise.all(programs.map(({ stack }) => preview(stack)));
    expect(left!.lines.filter((line) => / on /.test(line))[0]).toBe("web on edge-1");
    expect(right!.lines[0]).toBe("web on edge-2");
  });
});

test("with a language host that is older than the engine: it says so once, and the preview goes on", async () => {
  const stack = await engine.project(
    {
      "index.ts": `
        import { LoadBalancerFarm } from "pulumi-netfilter-lb";
        const connection = { host: "192.0.2.1", insecureIgnoreHostKey: true };
        const gateways = ["edge-1", "edge-2"].map((name) => ({ name, connection, dataPlane: "nftables" as const }));
        new LoadBalancerFarm("web", {
          gateways,
          listeners: [{ address: "203.0.113.10", protocol: "tcp", port: 80 }],
          backends: [{ address: "10.0.0.3", weight: 3 }, { address: "10.0.0.4" }],
        });`,
    },
    { config: { "netfilter-lb:report": true } },
  );
  const { steps, diagnostics } = await stack.previewJson();
  expect(steps.map(({ op }) => op)).toEqual(Array(6).fill("create"));
  const lines = diagnostics!.map(({ message }) => message.trim());
  // Today's language host can do it, and prints the report.
  if (lines[0] !== "web on edge-1")
    expect(lines).toEqual([expect.stringMatching(/no resource hook can be registered here/)]);
});

test("unit tests with mocks make what they make without it", async () => {
  const circumstances = { preview: true, config: { "netfilter-lb:report": "true" } };
  expect(await run(() => farm("web"), circumstances)).toEqual(
    await run(() => farm("web"), { preview: true }),
  );
});
