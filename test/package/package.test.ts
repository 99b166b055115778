import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { toolText } from "../../src/host/tool";
import { type Packed, pack } from "./packed";

/** What a user gets from the registry: built, packed, unpacked into a project, and used there. */

const SOURCES = join(__dirname, "../../src");

let packed: Packed;
beforeAll(() => {
  packed = pack();
});
afterAll(() => packed?.remove());

describe("the tarball", () => {
  test("holds the build, what a Pulumi plugin needs, and papers", () => {
    expect(packed.files.filter((path) => !path.startsWith("dist/")).sort()).toEqual(
      ["CHANGELOG.md", "LICENSE", "PulumiPlugin.yaml", "README.md", "package.json"].sort(),
    );
    expect(
      packed.files.filter(
        (path) => !/^dist\/[\w/-]+\.(js|js\.map|d\.ts)$/.test(path) && path.startsWith("dist/"),
      ),
    ).toEqual(readdirSync(join(SOURCES, "host/tool")).map((name) => `dist/host/tool/${name}`));
  });

  test("holds the tool as it is in the sources", () => {
    const program = `process.stdout.write(require("./node_modules/pulumi-netfilter-lb/dist/host/tool").toolText())`;
    expect(packed.run("tool.cjs", program)).toBe(toolText().trim());
  });

  test("has nothing that publint would mend", async () => {
    const [{ publint }, { formatMessage }] = await Promise.all([import("publint"), import("publint/utils")]);
    const pkgDir = join(packed.consumer, "node_modules/pulumi-netfilter-lb");
    const { messages, pkg } = await publint({ pkgDir, pack: false, strict: true });
    expect(messages.map((message) => formatMessage(message, pkg as Record<string, unknown>))).toEqual([]);
  });
});

const SPEC = `{ listeners: [{ address: "203.0.113.10", protocol: "tcp", port: 80 }], backends: [{ address: "10.0.0.3" }] }`;

describe("a program", () => {
  test("in CommonJS has both entries", () => {
    const program = `
      const { LoadBalancerFarm, Algorithm, Tool } = require("pulumi-netfilter-lb");
      const { compile, SpecError } = require("pulumi-netfilter-lb/core");
      const { plan } = compile("web", ${SPEC}, { dataPlane: "nftables" });
      console.log(typeof LoadBalancerFarm, Algorithm.RoundRobin, Tool.Managed, SpecError.name, plan.pools.length);`;
    expect(packed.run("both.cjs", program)).toBe("function roundRobin managed SpecError 1");
  });

  test("in ESM imports from both by name", () => {
    const program = `
      import { Algorithm, LoadBalancerFarm, Tool } from "pulumi-netfilter-lb";
      import { compile, SpecError } from "pulumi-netfilter-lb/core";
      const { plan } = compile("web", ${SPEC}, { dataPlane: "iptables" });
      console.log(typeof LoadBalancerFarm, Algorithm.RoundRobin, Tool.Managed, SpecError.name, plan.pools.length);`;
    expect(packed.run("both.mjs", program)).toBe("function roundRobin managed SpecError 1");
  });

  test("that takes only the core loads nothing of Pulumi", () => {
    const program = `
      require("pulumi-netfilter-lb/core");
      console.log(Object.keys(require.cache).filter((file) => /[\\\\/]@pulumi[\\\\/]/.test(file)).length);
      require("pulumi-netfilter-lb");
      console.log(Object.keys(require.cache).some((file) => /[\\\\/]@pulumi[\\\\/]/.test(file)));`;
    expect(packed.run("core.cjs", program)).toBe("0\ntrue");
  });

  const typed = `
    import { type Compiled, compile, type FarmSpec } from "pulumi-netfilter-lb/core";
    import { type GatewayArgs, LoadBalancerFarm } from "pulumi-netfilter-lb";
    const spec: FarmSpec = ${SPEC};
    export const compiled: Compiled = compile("web", spec, { dataPlane: "nftables" });
    declare const gateway: GatewayArgs;
    export const shares = new LoadBalancerFarm("web", { gateways: [gateway], ...spec }).shares.apply((all) => all["10.0.0.3"]);
    // @ts-expect-error a protocol is one of four
    export const wrong: FarmSpec = { ...spec, listeners: [{ address: "203.0.113.10", protocol: "icmp" }] };`;

  test("finds the types in CommonJS and in ESM, as Node resolves them", () => {
    packed.check({ "types.cts": typed, "types.mts": typed }, ["--module", "node16", "--target", "es2022"]);
  });

  test("and as a bundler does", () => {
    packed.check({ "types.ts": typed }, [
      "--module",
      "esnext",
      "--moduleResolution",
      "bundler",
      "--target",
      "es2022",
    ]);
  });
});
