import { existsSync } from "node:fs";
import { remote } from "@pulumi/command";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Engine } from "./engine/engine";
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

test("closing leaves nothing behind", async () => {
  const other = await Engine.open();
  const stack = await other.project({ "index.ts": "export {};" });
  const call = stack.start(["up", "--yes", "--skip-preview"]);
  await other.close();
  expect((await call.result).signal).toBe("SIGKILL");
  expect(existsSync(stack.folder)).toBe(false);
});
