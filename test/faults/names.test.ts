/** Names and values that are none, in a program and, past the program, to the gateway's tool. */

import { expect } from "vitest";
import { compile } from "../../src/core";
import { shortName } from "../../src/spec/name";
import {
  edge,
  everything,
  type FarmData,
  farm,
  type GatewayData,
  stackOf,
  useScene,
  VIP,
} from "../e2e/support";
import { ruleSet } from "../host/fixtures";
import { applyArguments, OWNER } from "../host/support";
import type { Engine } from "../support/engine/engine";
import type { Gateway } from "../support/lab";
import { IPTABLES, NFTABLES, shared, VARIANTS } from "./bare-gateway";
import { fault } from "./fault";

const bareGateway = shared();

let engine: Engine;
let gateway: Gateway;

useScene({}, (scene) => {
  ({ engine, gateway } = scene);
});

/** Names that mean something to a shell, nft, iptables, a path or a terminal, or that only look like a name. */
const HOSTILE = [
  ...[
    "$(reboot)",
    "`reboot`",
    "web;reboot",
    "web|sh",
    "web&",
    "web>x",
    "we b",
    "web'",
    'web"',
    "web\\",
    "*",
    "~",
    "!!",
  ],
  ...[
    "web}",
    "web{",
    "web#",
    "web,",
    "web@",
    "web.",
    "-rf",
    "--owner",
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    "web/",
  ],
  ...[
    "web\nflush ruleset",
    "web\r",
    "web\t",
    "\u001b[31mweb",
    "web\u0000",
    "wеb",
    "web٣",
    "wéb",
    "𝓌eb",
    "web\u200b",
  ],
  ...["\u009b31mweb", "\u202ebew", "w".repeat(300), "we--0badcafe", "1web", "web-", "", " "],
] as const;

/** The gateway under that name, without a key to log in with. */
function undialled(name: string): GatewayData {
  const { privateKey: _, ...connection } = gateway.connection;
  return { name, dataPlane: "nftables", connection };
}

/** A program that tries to make each of these farms, and whose output says why none came to be. */
const TRYING = `
import { readFileSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import { LoadBalancerFarm } from "pulumi-netfilter-lb";

const said: string[] = [];
for (const { name, ...args } of JSON.parse(readFileSync("farms.json", "utf8"))) {
  try {
    new LoadBalancerFarm(name, args);
    said.push("made");
  } catch (error) {
    said.push(pulumi.RunError.isInstance(error) ? error.message : String(error));
  }
}
export const refused = said;
`;

fault(
  52,
  "",
  async () => {
    const plain = undialled("edge-1");
    // For gateways, interfaces and log lines more is right than for farms.
    const refusedAs = (fine: RegExp) => HOSTILE.filter((name) => !fine.test(name));
    const tried = [
      ...HOSTILE.map((name) => farm(name, [plain])),
      ...refusedAs(/^(?=.{1,253}$)\w[\w.-]*\w$/).map((name) => farm("web", [{ ...plain, name }])),
      ...refusedAs(/^[A-Za-z0-9][\w.-]{0,14}$/).map((name) => farm("web", [{ ...plain, interface: name }])),
      ...refusedAs(/^[\w.:=-]{1,28}$/).map((prefix) => ({ ...farm("web", [plain]), log: { prefix } })),
    ];
    const [before, dials] = [await everything(gateway), gateway.sshConnections];
    const stack = await engine.project({ "index.ts": TRYING, "farms.json": JSON.stringify(tried) });
    await stack.up();
    const { refused } = await stack.outputs<{ refused: string[] }>();
    expect(refused).toHaveLength(tried.length);
    for (const [index, text] of refused.entries()) {
      expect(text, JSON.stringify(tried[index])).toMatch(
        /^farm .*: 1 problem\n.* (is not|has 300 characters)/,
      );
      expect(text.split("\n")).toHaveLength(2);
      expect(text).not.toMatch(/(?!\n)\p{C}/u);
      expect(text.length).toBeLessThan(400);
    }
    expect(gateway.sshConnections).toBe(dials);
    expect(await everything(gateway)).toBe(before);

    const bare = await bareGateway(NFTABLES);
    const files = () => bare.sh("find /etc /usr/local /run | sort | sha256sum");
    const filesBefore = await files();
    const toTheTool = HOSTILE.filter((name) => !name.includes("\0"));
    let calls = 0;
    let saw = "";
    for (const name of toTheTool) {
      for (const args of [applyArguments(name, bare.sets.new), ["remove", name, "--owner", OWNER]]) {
        const { code, stdout, stderr } = await bare.machine.tool(args, { input: bare.sets.new });
        expect({ code, stdout }, JSON.stringify(args)).toEqual({ code: 2, stdout: "" });
        if (name === "web;reboot") saw = stderr.trim();
        calls++;
      }
    }
    expect(await files()).toBe(filesBefore);
    await bare.expectInStep("old");
    return {
      done: `${HOSTILE.length} names made for a shell, nft, iptables, a path or a terminal, of 300 characters or in other scripts: ${tried.length} programs with one as a farm, gateway, interface or log prefix, and ${calls} calls of the tool`,
      held: "all refused, in the program before anything is dialled; gateway, files and rules as before",
      saw: `${refused[1]?.replace(/\s+/g, " ")} … ${saw}`,
    };
  },
  120_000,
);

/** Two farm names that have one short name: with 32 bits of a hash there are some among a hundred thousand. */
function twins(): [string, string] {
  const seen = new Map<string, string>();
  for (let number = 0; ; number++) {
    const name = `production-website-${number}`;
    const twin = seen.get(shortName(name));
    if (twin !== undefined) return [twin, name];
    seen.set(shortName(name), name);
  }
}

fault(
  53,
  "",
  async () => {
    const [one, other] = twins();
    const at = (name: string, gatewayName: string, port: number): FarmData =>
      farm(name, [undialled(gatewayName)], {
        listeners: [{ address: VIP, protocol: "tcp", port }],
      });
    const [before, dials] = [await everything(gateway), gateway.sshConnections];
    const said: string[] = [];
    for (const farms of [
      [at(one, "edge-1", 80), at(other, "edge-1", 81)],
      [at("web-a", "b", 80), at("web", "a-b", 81)],
    ]) {
      const stack = await stackOf(engine, farms, []);
      const { output } = await stack.preview({ fails: true });
      said.push(/(farm \S+ (and|on) .*; rename one of them)/.exec(output)?.[1] ?? expect.fail(output));
    }
    expect(gateway.sshConnections).toBe(dials);
    expect(await everything(gateway)).toBe(before);

    for (const variant of [NFTABLES, IPTABLES]) {
      const bare = await bareGateway(variant);
      const set = (name: string, port: number) =>
        compile(
          name,
          {
            listeners: [{ address: "203.0.113.77", protocol: "tcp", port }],
            backends: [{ address: "10.0.0.3" }],
          },
          { dataPlane: variant === NFTABLES ? "nftables" : "iptables" },
        ).ruleSet;
      expect(await bare.machine.apply(one, set(one, 80))).toMatchObject({ code: 0, stderr: "" });
      const rules = await bare.machine.rules();
      const refused = await bare.machine.apply(other, set(other, 81));
      expect(refused).toMatchObject({ code: 3, stdout: "" });
      if (variant === NFTABLES) said.push(refused.stderr.trim());
      expect(await bare.machine.rules()).toBe(rules);
      expect(await bare.machine.tool(["list"])).toMatchObject({ stdout: expect.not.stringContaining(other) });
      expect(await bare.machine.remove(one)).toMatchObject({ code: 0, stderr: "" });
      await bare.expectInStep("old");
    }
    return {
      done: `farms ${one} and ${other}, which chains both call ${shortName(one)}; farms whose resources would have one name (web-a on b, web on a-b); and the two that only the tool can see, from two stacks`,
      held: "refused in the preview, and by the tool with the first farm's rules byte for byte as before",
      saw: said.join(" … "),
    };
  },
  120_000,
);

fault(
  54,
  "in a program",
  async () => {
    const [before, dials] = [await everything(gateway), gateway.sshConnections];
    const proxied = { ...gateway.connection, proxy: { host: "198.51.100.9" } };
    const wrong: Partial<FarmData> = {
      listeners: [
        { address: VIP, protocol: "tcp", ports: "80,70000" },
        { address: "203.0.113.256", protocol: "tcp", port: 81 },
        { address: VIP, protocol: "tcp", port: 0 },
        { address: `${VIP}/32`, protocol: "tcp", ports: "90-85" },
      ],
      backends: [
        { address: "192.0.2.1", weight: 0 },
        { address: "192.0.2.300" },
        { address: "192.0.2.2", weight: 1.5, port: 65536 },
        { address: "127.0.0.1", weight: 65536 },
        { address: "www.example.org", weight: Number.MAX_SAFE_INTEGER },
        { address: "224.0.0.1", mark: 2 ** 32 },
        { address: "fe80::1%eth0", mark: -1 },
      ],
    };
    const paths = [
      ...[
        "listeners[0].ports",
        "listeners[1].address",
        "listeners[2].port",
        "listeners[3].address",
        "listeners[3].ports",
      ],
      ...[
        "backends[0].weight",
        "backends[1].address",
        "backends[2].weight",
        "backends[2].port",
        "backends[3].address",
      ],
      ...[
        "backends[3].weight",
        "backends[4].address",
        "backends[4].weight",
        "backends[5].address",
        "backends[5].mark",
      ],
      ...["backends[6].address", "backends[6].mark", "gateways[0].connection.proxy"],
    ];
    const stack = await stackOf(engine, [farm("web", [edge(gateway, {}, proxied)], wrong)], [gateway]);
    const outputs = [await stack.preview({ fails: true }), await stack.up({ fails: true })];
    for (const { output } of outputs) {
      expect(output).toContain(`farm web: ${paths.length} problems`);
      for (const path of paths) expect(output.split(`${path}: `), path).toHaveLength(2);
      expect(output).not.toMatch(/\n\s+at /);
      expect(output).not.toContain("PRIVATE KEY");
    }
    expect(await stack.resources()).toEqual([]);
    expect(gateway.sshConnections).toBe(dials);
    expect(await everything(gateway)).toBe(before);
    return {
      done: `a farm with ${paths.length} addresses, ports, weights and marks that are none, in a preview and in an update`,
      held: `each is told, all at once, before anything is created or dialled; the gateway as before`,
      saw: /backends\[0\]\.weight: .*/.exec(outputs[0]?.output ?? "")?.[0] ?? expect.fail("no weight"),
    };
  },
  120_000,
);

for (const variant of VARIANTS)
  fault(54, `${variant.label}, to the tool`, async () => {
    const bare = await bareGateway(variant);
    const good = ruleSet({ plane: variant.plane });
    const changes: [from: RegExp, to: string][] = [
      [/203\.0\.113\.10(?=[ /])/g, "203.0.113.256"],
      [/203\.0\.113\.10(?=[ /])/g, "203.0.113"],
      [/ (tcp|--dport|--ctorigdstport|\.) 80\b/g, " $1 0x50"],
      [/\b80\b/g, "65536"],
      [/10\.0\.0\.3/g, "10.0.0.300"],
      [/10\.0\.0\.3/g, "10.0.0"],
      [/10\.0\.0\.3/g, "example.org"],
      [/0xa9a5126d/g, "0x1ffffffff"],
      [/0xa9a5126d/g, "0x"],
      variant === NFTABLES ? [/mod 2/, "mod 0"] : [/--probability 0\.50000000000/, "--probability 1.5"],
      variant === NFTABLES
        ? [/mod 2/, "mod 4294967296"]
        : [/--probability 0\.50000000000/, "--probability -1"],
    ];
    const said = { tool: 0, kernel: 0 };
    let saw = "";
    for (const [from, to] of changes) {
      const set = good.replace(from, to);
      expect(set, String(from)).not.toBe(good);
      const { code, stdout, stderr } = await bare.machine.apply("web", set);
      expect([1, 4, 6], `${from} ${to} ${stderr}`).toContain(code);
      expect(stdout).toBe("");
      await bare.expectHolds("old");
      said[code === 4 ? "tool" : "kernel"]++;
      if (code !== 4) saw = stderr.trim();
    }
    await bare.expectConverges();
    return {
      done: `${changes.length} rule sets with an address, port, mark or share that is none, past the program`,
      held: `${said.tool} refused by the tool, ${said.kernel} by nft or iptables; each time the old set, whole, in the kernel and on disk`,
      saw,
    };
  });
