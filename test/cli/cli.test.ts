import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { explainCommand } from "../../src/cli/explain";
import type { FarmSpec } from "../../src/core";
import { toolText } from "../../src/host/tool";
import { Engine, ROOT } from "../support/engine/engine";
import type { PreviewJson, PulumiStack, StackState } from "../support/engine/stack";

/** The command as a shell runs it, and with a real preview on its standard input. */

const PROGRAM = join(ROOT, "examples/explain/web.json");
const PACKET = {
  source: "198.51.100.9",
  destination: "203.0.113.10",
  protocol: "tcp",
  destinationPort: 443,
};

function cli(args: string[], input = ""): { code: number | null; out: string; err: string } {
  const command = ["--require", "tsx/cjs", join(ROOT, "src/cli.ts"), ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, {
    input,
    encoding: "utf8",
    cwd: ROOT,
  });
  return { code: status, out: stdout, err: stderr };
}

describe("explain", () => {
  test("prints a trace that a reader follows", () => {
    const { code, out } = cli(["explain", PROGRAM, "--packet", JSON.stringify({ ...PACKET, draw: 0.8 })]);
    expect(code).toBe(0);
    expect(out.split("\n")[0]).toBe(
      "+ prerouting netfilter_lb translate: ip daddr . meta l4proto . th dport vmap @services",
    );
    expect(out).toContain("drew 3 below 4: 10.0.0.4");
    expect(out).toMatch(/=> to 10\.0\.0\.4:443, source masqueraded, mark 0x180d338d\n$/);
  });

  test("prints every possible outcome with its chance, and data with --json", () => {
    const args = ["explain", PROGRAM, "--packet", JSON.stringify(PACKET)];
    expect(cli(args).out).toMatch(/=> 2 outcomes are possible\n\n3\/4 \(75 %\): to 10\.0\.0\.3:443/);
    expect(JSON.parse(cli([...args, "--json"]).out).possible).toHaveLength(2);
  });

  test("shows rules that do not match with --all", () => {
    const args = ["explain", PROGRAM, "--packet", JSON.stringify({ ...PACKET, destinationPort: 22 })];
    expect(cli(args).out).toBe("=> untouched: no rule of this farm is about it\n");
    expect(cli([...args, "--all"]).out).toContain("has no 203.0.113.10 . tcp . 22");
  });
});

test("tool prints what a gateway runs", () => {
  expect(cli(["tool"])).toEqual({ code: 0, out: toolText(), err: "" });
});

describe("explain, of a farm that asks for everything", () => {
  const FARM: FarmSpec = {
    listeners: [{ address: "203.0.113.10", protocol: "tcp", port: 80 }],
    backends: [
      { address: "10.0.0.1", maxConnections: 100 },
      { address: "10.0.0.2", priority: 1 },
      { address: "10.0.0.3", state: "drain" },
    ],
    algorithm: "sourceHash",
    affinity: { by: "sourceIp", timeoutSeconds: 300 },
    pins: [{ source: "198.51.100.64/26", backend: "10.0.0.2" }],
    deny: ["192.0.2.0/24"],
    allow: ["198.51.100.0/24", "192.0.2.0/24"],
    limits: {
      maxConnections: 1000,
      newConnectionsPerSecond: 100,
      perSource: { newConnectionsPerSecond: 10 },
    },
    sourceNat: "auto",
    log: {},
    helper: "ftp",
  };
  const packet = {
    source: "198.51.100.9",
    destination: "203.0.113.10",
    protocol: "tcp",
    destinationPort: 80,
  };
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "cli-"));
    const none = { ...FARM, backends: [{ address: "10.0.0.1", state: "drain" }], pins: [] };
    for (const [name, spec] of Object.entries({ full: FARM, empty: none }))
      for (const dataPlane of ["nftables", "iptables"])
        writeFileSync(
          join(folder, `${name}.${dataPlane}.json`),
          JSON.stringify({ name: "web", spec, target: { dataPlane } }),
        );
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test.each<[string, object, string, string?]>([
    ["a client", {}, "to 10.0.0.1:80, source kept (198.51.100.9), mark 0xf5047344"],
    [
      "one that is pinned",
      { source: "198.51.100.65" },
      "to 10.0.0.2:80, source kept (198.51.100.65), mark 0xcb5f37b4",
    ],
    [
      "one that is remembered",
      { affinity: "10.0.0.3" },
      "to 10.0.0.3:80, source kept (198.51.100.9), mark 0xa9a5126d",
    ],
    ["one that is not served", { source: "192.0.2.1" }, "dropped because deny has its source"],
    ["a stranger", { source: "198.51.101.1" }, "dropped because allow has not its source"],
    [
      "one that began elsewhere",
      { syn: false },
      "dropped as a tcp connection that does not begin with a SYN",
    ],
    ["one too many", { over: ["connections"] }, "dropped by the farm's limit of connections"],
    [
      "one too many for its backend",
      { over: ["backendConnections"] },
      "dropped by its backend's limit of connections",
    ],
    ["one too soon", { over: ["rate"] }, "dropped by the farm's limit of new connections a second"],
    [
      "one too soon after its last",
      { over: ["sourceRate"] },
      "dropped by the limit of new connections a second for its source",
    ],
    ["nobody there", {}, "no backend is active: answered with a TCP reset", "empty"],
  ])("%s", (_, more, outcome, farm = "full") => {
    for (const plane of ["nftables", "iptables"]) {
      const program = join(folder, `${farm}.${plane}.json`);
      const out = explainCommand([program, "--packet", JSON.stringify({ ...packet, ...more })]);
      expect([plane, out.split("\n").at(-1)]).toEqual([plane, `=> ${outcome}`]);
      expect(out).not.toMatch(/undefined|NaN/);
    }
  });
});

describe("what is wrong is said in one line or list, with its exit code", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "cli-"));
    writeFileSync(join(folder, "half.json"), '{ "name": "web" }');
    writeFileSync(join(folder, "broken.json"), "{");
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const packet = ["--packet", JSON.stringify(PACKET)];
  test.each<[args: string[], code: number, message: RegExp]>([
    [[], 2, /^netfilter-lb: a command is missing; see netfilter-lb --help\n$/],
    [["apply"], 2, /^netfilter-lb: apply is not a command; see/],
    [["report", "web.json"], 2, /^netfilter-lb: Unexpected argument 'web\.json'/],
    [["explain"], 2, /^netfilter-lb: explain takes one program; see/],
    [["explain", PROGRAM], 2, /^netfilter-lb: explain needs --packet; see/],
    [["explain", PROGRAM, "--packt", "{}"], 2, /^netfilter-lb: Unknown option '--packt'/],
    [["explain", PROGRAM, "--packet", "{"], 1, /^netfilter-lb: --packet: .*JSON/],
    [["explain", PROGRAM, "--packet", "{}"], 1, /^netfilter-lb: packet: 3 problems\n {2}source: is missing/],
    [["explain", "nowhere.json", ...packet], 1, /^netfilter-lb: nowhere\.json: ENOENT/],
    [
      ["explain", "HALF", ...packet],
      1,
      /half\.json: is not a program; give \{ "name", "spec", "target" \}\n$/,
    ],
    [["explain", "BROKEN", ...packet], 1, /broken\.json: .*JSON/],
    [
      ["explain", PROGRAM, "--packet", JSON.stringify({ ...PACKET, over: ["rate"], affinity: "10.0.0.3" })],
      1,
      /^netfilter-lb: packet: 2 problems\n {2}affinity: .*leave it out\n {2}over\[0\]: .*leave over out\n$/,
    ],
    [["report"], 1, /^netfilter-lb: standard input is empty: give it what pulumi preview --json prints\n$/],
  ])("%j", (args, code, message) => {
    const paths = args.map((arg) => (/^[A-Z]+$/.test(arg) ? join(folder, `${arg.toLowerCase()}.json`) : arg));
    const result = cli(paths);
    expect([result.code, result.out]).toEqual([code, ""]);
    expect(result.err).toMatch(message);
  });

  test.each([["--help"], ["help"], ["report", "--help"], ["explain", "--help"]])("help: %s %s", (...args) => {
    const { code, out } = cli(args.filter((arg) => arg !== undefined));
    expect(code).toBe(0);
    expect(out).toContain("Exit codes: 0 done");
  });
});

describe("report, of a real preview", () => {
  let engine: Engine;
  let stack: PulumiStack;

  const program = (backends: string) => `
    import { LoadBalancerFarm } from "pulumi-netfilter-lb";
    import * as pulumi from "@pulumi/pulumi";
    const connection = { host: "192.0.2.1", privateKey: pulumi.secret("key"), insecureIgnoreHostKey: true };
    new LoadBalancerFarm("web", {
      gateways: [{ name: "edge-1", connection, dataPlane: "nftables" }],
      listeners: [{ address: "203.0.113.10", protocol: "tcp", port: 80 }],
      backends: ${backends},
    });`;
  const plain = `[{ address: "10.0.0.3", weight: 3 }, { address: "10.0.0.4" }]`;

  beforeAll(async () => {
    engine = await Engine.open();
    stack = await engine.project({ "index.ts": program(plain) });
  });
  afterAll(() => engine?.close());

  const print = async (): Promise<string> => (await stack.preview({ args: ["--json"] })).stdout;

  test("a new farm", async () => {
    const { code, out } = cli(["report"], await print());
    expect(code).toBe(0);
    expect(out).toMatch(/^web on edge-1\n {2}The farm is created: nftables, random, source NAT none\.\n/);
    expect(out).toContain("Backend 10.0.0.3 is added: share 3/4 (75 %), mark 0xa9a5126d.");
  });

  test("a secret backend: it cannot tell, and does not", async () => {
    await stack.write({ "index.ts": program(`[{ address: pulumi.secret("10.0.0.77") }]`) });
    const { out } = cli(["report", "--markdown"], await print());
    expect(out).toContain("- The new rules: secret, since a value in them is.");
    expect(out).not.toContain("10.0.0.77");
  });

  test("a backend whose address another resource gives: it cannot tell yet", async () => {
    const host = `import { remote } from "@pulumi/command";
      const host = new remote.Command("host", { connection: { host: "192.0.2.9" }, create: "hostname -i" });`;
    await stack.write({ "index.ts": host + program("[{ address: host.stdout }]") });
    expect(cli(["report"], await print()).out).toBe(
      "web on edge-1\n  The new rules: not known yet, since a value in them comes from a resource that is still to be made or changed.\n" +
        "  So what this changes for traffic cannot be told.\n",
    );
  });

  test("a preview that fails", async () => {
    await stack.write({ "index.ts": program("[]") });
    const { stdout } = await stack.preview({ args: ["--json"], fails: true });
    const { code, err } = cli(["report"], stdout);
    expect(code).toBe(1);
    expect(err).toMatch(
      /^netfilter-lb: the preview failed: .*\n? *backends: is empty; give at least one backend/s,
    );
  });

  test("a change, another data plane, and a farm that leaves", async () => {
    await stack.write({ "index.ts": program(plain) });
    await stack.importState(stateAfter(await stack.previewJson(), await stack.exportState()));

    await stack.write({ "index.ts": program(plain.replace("3 }", "2 }")) });
    const change = await print();
    expect(JSON.parse(change).steps.map((step: { op: string }) => step.op)).toContain("update");
    expect(cli(["report"], change).out).toContain("Of new connections, 1/12 (8.33 %) go to another backend");

    await stack.write({ "index.ts": program(plain).replace("nftables", "iptables") });
    expect(cli(["report"], await print()).out).toContain("Data plane: nftables → iptables nat.");

    await stack.write({ "index.ts": "export {};" });
    expect(cli(["report"], await print()).out).toMatch(/^web on edge-1\n {2}The farm is removed: nftables/);
  });
});

/** The state that an update leaves, made of its preview: no gateway is dialled. */
function stateAfter(preview: PreviewJson, state: StackState): StackState {
  const id = "5a7e0000-0000-4000-8000-000000000001";
  // What a preview does not know yet are ids: of the host, of the provider.
  const known = JSON.parse(JSON.stringify(preview).replaceAll("04da6b54-80e4-46f7-96ec-b56ff0331ba9", id));
  const made = (known as PreviewJson).steps.map(({ newState }) => ({
    ...newState!,
    ...(newState!.custom === true && { id }),
    outputs: {},
  }));
  const [urn] = (
    made.find(({ type }) => type === "command:remote:Command") as { provider?: string }
  ).provider!.split(`::${id}`);
  const provider = { urn: urn!, custom: true, id, type: "pulumi:providers:command", inputs: {}, outputs: {} };
  const [stack, ...others] = made;
  state.deployment.resources = [stack!, provider, ...others];
  return state;
}
