import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { remote } from "@pulumi/command";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Engine, ROOT } from "./engine/engine";
import { makeTemporary } from "./engine/temporary";
import { type Sshd, startSshd } from "./sshd";

const PROGRAM = `
import { remote } from "@pulumi/command";
import { Config } from "@pulumi/pulumi";

const config = new Config();
const command = new remote.Command("hello", {
  connection: config.requireSecretObject("connection"),
  create: "cat",
  stdin: config.require("greeting"),
});
export const said = command.stdout;
`;

let engine: Engine;
let sshd: Sshd;

beforeAll(async () => {
  engine = await Engine.open();
  console.log(engine.description);
  sshd = await startSshd();
});

afterAll(async () => {
  await engine?.close();
  await sshd?.close();
});

test("a TypeScript program goes up, previews a change, and is destroyed", async () => {
  const connection = JSON.stringify(sshd.connection);
  const stack = await engine.project(
    { "index.ts": PROGRAM },
    { config: { greeting: "hello" }, secrets: { connection } },
  );

  await stack.up();
  expect(await stack.outputs()).toEqual({ said: "hello" });

  await stack.configure({ greeting: "good day" });
  const preview = await stack.preview({ diff: true });
  expect(preview.stdout).toMatch(/stdin\s*: "hello" => "good day"/);
  expect((await stack.previewJson()).steps.map(({ op }) => op)).toContain("update");
  expect(await stack.outputs()).toEqual({ said: "hello" });

  await stack.destroy();
  expect(await stack.resources()).toEqual([]);
});

test("a failure carries what the engine said", async () => {
  const stack = await engine.project({ "index.ts": `throw new Error("on purpose");` });
  await expect(stack.up()).rejects.toThrow(/on purpose/);
  const result = await stack.up({ fails: true });
  expect(result.code).not.toBe(0);
});

test("a program may run inside the test", async () => {
  const stack = await engine.inline(async () => {
    const command = new remote.Command("hello", { connection: sshd.connection, create: "echo inline" });
    return { said: command.stdout };
  });
  const { outputs } = await stack.up();
  expect(outputs.said?.value).toBe("inline");
  await stack.destroy();
});

test("a project folder is run without writing to it", async () => {
  const source = await makeTemporary("project");
  writeFileSync(join(source, "package.json"), "{}");
  writeFileSync(join(source, "said.ts"), `export const said: string = "hello";`);
  mkdirSync(join(source, "program"));
  writeFileSync(join(source, "program/Pulumi.yaml"), "name: folder\nruntime: nodejs\nmain: index.ts\n");
  writeFileSync(join(source, "program/index.ts"), `export { said } from "../said";`);
  symlinkSync(join(ROOT, "node_modules"), join(source, "node_modules"));

  const stack = await engine.project(join(source, "program"), { stack: "dev", config: { key: "value" } });
  await stack.up();
  expect(await stack.outputs()).toEqual({ said: "hello" });
  expect(readdirSync(join(source, "program"))).toEqual(["Pulumi.yaml", "index.ts"]);
  rmSync(source, { recursive: true });
});

test("a provider whose engine was killed finishes its command, then ends", async () => {
  const connection = JSON.stringify(sshd.connection);
  const stack = await engine.project(
    { "index.ts": PROGRAM },
    { config: { greeting: "hi" }, secrets: { connection } },
  );
  const slow = PROGRAM.replace('"cat"', '"sleep 2"');
  await stack.write({ "index.ts": slow });
  const before = sshd.open();
  const call = stack.start(["up", "--yes", "--skip-preview"]);
  await expect.poll(() => sshd.open(), { timeout: 10_000 }).toBe(before + 1);
  call.process.kill("SIGKILL");
  await call.result;
  expect(sshd.open()).toBe(before + 1);
  await expect.poll(() => sshd.open(), { timeout: 10_000 }).toBe(before);
});

test("closing leaves nothing behind", async () => {
  const other = await Engine.open();
  const stack = await other.project({ "index.ts": "export {};" });
  const call = stack.start(["up", "--yes", "--skip-preview"]);
  await other.close();
  expect((await call.result).signal).toBe("SIGKILL");
  expect(existsSync(stack.folder)).toBe(false);
});
