/**
 * What the library relies on in the `command` provider 1.2.1. Always asked of the stand-in, and of the
 * official plugin where it is installed.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Engine, type ProviderKind } from "./engine/engine";
import type { ProjectOptions } from "./engine/project";
import type { PulumiStack } from "./engine/stack";
import { makeTemporary } from "./engine/temporary";
import { type Sshd, startSshd } from "./sshd";

/** Commands by name, from resources.json: arguments, and options of the resource. */
const PROGRAM = `
import { existsSync, readFileSync } from "node:fs";
import { local, remote } from "@pulumi/command";
import { Config, secret } from "@pulumi/pulumi";

const connection = new Config().requireSecretObject<{ host: string }>("connection");
const resources = JSON.parse(readFileSync("resources.json", "utf8"));
for (const [name, { here, connected, secretStdin, options, ...args }] of Object.entries<any>(resources)) {
  if (secretStdin) args.stdin = secret(secretStdin);
  if (here) new local.Command(name, args, options);
  else new remote.Command(name, { ...args, connection: connection.apply((c) => ({ ...c, ...connected })) }, options);
}
`;

/** The arguments of a Command, and what the program above does with it. */
interface Described {
  create?: string;
  update?: string;
  delete?: string;
  stdin?: string;
  secretStdin?: string;
  environment?: Record<string, string>;
  addPreviousOutputInEnv?: boolean;
  logging?: string;
  triggers?: unknown[];
  /** Runs on this machine. */
  here?: boolean;
  /** In place of the server's connection data. */
  connected?: Record<string, unknown>;
  options?: Record<string, unknown>;
}

const providers: ProviderKind[] = Engine.hasOfficialProvider() ? ["stand-in", "official"] : ["stand-in"];

// A minute is short for seven runs of the engine where others keep the machine busy.
describe.each(providers)("the %s command provider", { timeout: 180_000 }, (provider) => {
  let engine: Engine;
  let sshd: Sshd;
  let folder: string;

  beforeAll(async () => {
    engine = await Engine.open({ provider });
    sshd = await startSshd(["AcceptEnv PULUMI_COMMAND_* ACCEPTED"]);
    folder = await makeTemporary("command-provider");
  });

  afterAll(async () => {
    await engine?.close();
    await sshd?.close();
    await rm(folder, { recursive: true, force: true });
  });

  const file = (name: string): string => join(folder, name);
  const read = (name: string): string => readFileSync(file(name), "utf8");

  async function stackOf(
    commands: Record<string, Described>,
    options: ProjectOptions = {},
  ): Promise<PulumiStack> {
    const files = { "index.ts": PROGRAM, "resources.json": JSON.stringify(commands) };
    const secrets = { connection: JSON.stringify(sshd.connection) };
    return await engine.project(files, { secrets, ...options });
  }

  const change = (stack: PulumiStack, commands: Record<string, Described>): Promise<void> =>
    stack.write({ "resources.json": JSON.stringify(commands) });

  const outputsOf = async (stack: PulumiStack): Promise<Record<string, unknown>> =>
    (await stack.resources())[0]!.outputs!;

  test("create runs the command once, update runs `update`, no change dials nobody", async () => {
    const log = file("created");
    const command = { create: `echo create >> ${log}; echo out; echo; echo err >&2`, stdin: "1" };
    const stack = await stackOf({ command });
    const before = sshd.accepted();

    await stack.preview();
    expect(sshd.accepted() - before).toBe(0);
    await stack.up();
    expect(read("created")).toBe("create\n");
    expect(await outputsOf(stack)).toMatchObject({
      stdout: "out\n",
      stderr: "err",
      addPreviousOutputInEnv: true,
    });

    await stack.up();
    await stack.refresh();
    expect(sshd.accepted() - before).toBe(1);

    await change(stack, { command: { ...command, stdin: "2" } });
    await stack.up();
    expect(read("created")).toBe("create\ncreate\n");

    const update = `echo "$PULUMI_COMMAND_STDOUT and $PULUMI_COMMAND_STDERR"`;
    await change(stack, { command: { ...command, stdin: "2", update } });
    await stack.up();
    expect(await outputsOf(stack)).toMatchObject({ stdout: "out\n and err", stderr: "" });

    await change(stack, { command: { ...command, stdin: "2", update, addPreviousOutputInEnv: false } });
    await stack.up();
    expect(await outputsOf(stack)).toMatchObject({ stdout: " and " });
    expect(sshd.accepted() - before).toBe(4);
  });

  test("stdin arrives byte for byte, 1 MiB of it too, or unread", async () => {
    const large = "0123456789abcdéf€𝄞\t\n".repeat(50_000);
    const odd = "\n\n  $HOME `x` \\ \" ' \r\n no line break at the end";
    const stack = await stackOf({
      large: { create: "sha256sum", stdin: large },
      odd: { create: "sha256sum", stdin: odd },
      none: { create: "sha256sum" },
      unread: { create: "true", stdin: large },
    });
    await stack.up();
    const digests = Object.fromEntries(
      (await stack.resources()).map(({ urn, outputs }) => [urn.split("::").at(-1), outputs!.stdout]),
    );
    const digest = (text: string): string => `${createHash("sha256").update(text).digest("hex")}  -`;
    expect(digests).toEqual({ large: digest(large), odd: digest(odd), none: digest(""), unread: "" });
  });

  test("triggers replace, everything else updates; delete runs from the state", async () => {
    const log = file("replaced");
    const say = (word: string): string => `echo "${word} $(cat)" >> ${log}`;
    const first = { create: say("create"), delete: say("delete"), stdin: "1", triggers: ["a"] };
    const stack = await stackOf({ command: first });
    await stack.up();

    const second = { ...first, stdin: "2", triggers: ["b"] };
    await change(stack, { command: second });
    const preview = await stack.preview({ diff: true });
    expect(preview.stdout).toMatch(/\+-command:remote:Command: \(replace\)/);
    expect(preview.stdout).toMatch(/~ \[0\]: "a" => "b"/);
    await stack.up();
    expect(read("replaced").split("\n").slice(0, -1)).toEqual(["create 1", "create 2", "delete 1"]);

    await change(stack, { command: { ...second, triggers: ["c"], options: { deleteBeforeReplace: true } } });
    await stack.up();
    expect(read("replaced").split("\n").slice(3, -1)).toEqual(["delete 2", "create 2"]);

    // A new connection is an update. What is deleted later is deleted over the connection in the state.
    const elsewhere = { dialErrorLimit: 3 };
    const third = { ...second, triggers: ["c"], connected: elsewhere };
    await change(stack, { command: third });
    const { steps } = await stack.previewJson();
    expect(steps.map(({ op }) => op)).toContain("update");
    await stack.up();
    expect(read("replaced").split("\n").slice(5, -1)).toEqual(["create 2"]);

    await stack.destroy();
    expect(read("replaced").split("\n").slice(6, -1)).toEqual(["delete 2"]);
  });

  test("a failed create leaves no state, a failed update the old one", async () => {
    const create = `echo "to stdout"; echo 'to "stderr"' >&2; exit 3`;
    const stack = await stackOf({ command: { create, delete: "exit 4", stdin: "the stdin" } });
    const { output } = await stack.up({ fails: true });
    expect(output).toContain(
      `Process exited with status 3: running "echo \\"to stdout\\"; echo 'to \\"stderr\\"' >&2; exit 3":`,
    );
    expect(output).toMatch(/to stdout\s+to "stderr"|to "stderr"\s+to stdout/);
    expect(output).not.toContain("the stdin");
    expect(output).not.toContain("PRIVATE KEY");
    expect(await stack.resources()).toEqual([]);

    const good = { create: "cat", stdin: "good" };
    await change(stack, { command: good });
    await stack.up();
    await change(stack, { command: { ...good, create: "exit 5", stdin: "bad" } });
    expect((await stack.up({ fails: true })).output).toContain("Process exited with status 5");
    expect(await outputsOf(stack)).toMatchObject({ create: "cat", stdin: "good", stdout: "good" });

    // Back to the old program: nothing to do.
    await change(stack, { command: good });
    const before = sshd.accepted();
    expect((await stack.up()).output).toMatch(/2 unchanged/);
    expect(sshd.accepted() - before).toBe(0);

    await change(stack, { command: { ...good, create: "kill -KILL $$" } });
    expect((await stack.up({ fails: true })).output).toContain(
      "Process exited with status 137 from signal KILL",
    );
  });

  test("a connection that is cut fails the command, which may go on", async () => {
    const create = `kill -KILL $PPID; sleep 0.5; echo went on >> ${file("cut")}`;
    const stack = await stackOf({ command: { create } });
    expect((await stack.up({ fails: true })).output).toContain(
      "wait: remote command exited without exit status or exit signal: running",
    );
    await expect.poll(() => existsSync(file("cut"))).toBe(true);
  });

  test("a failed delete keeps the resource", async () => {
    const stack = await stackOf({ command: { create: "true", delete: `test -e ${file("may-go")}` } });
    await stack.up();
    expect((await stack.destroy({ fails: true })).output).toContain("Process exited with status 1");
    expect(await stack.resources()).toHaveLength(1);
  });

  test("only the expected host key is talked to; without one, any", async () => {
    const other = `ssh-ed25519 ${Buffer.concat([
      Buffer.from("\0\0\0\x0bssh-ed25519\0\0\0\x20", "latin1"),
      Buffer.alloc(32, 7),
    ]).toString("base64")}`;
    const stack = await stackOf({
      command: { create: "true", connected: { hostKey: other, dialErrorLimit: 0 } },
    });
    expect((await stack.up({ fails: true })).output).toContain("host key mismatch");
    await change(stack, { command: { create: "true", connected: { hostKey: null } } });
    await stack.up();
    const known = `127.0.0.1 ${sshd.connection.hostKey} a comment`;
    await change(stack, { command: { create: "echo again", connected: { hostKey: known } } });
    await stack.up();
  });

  test("a dial is tried again as often as asked, a refused login included", async () => {
    const connected = { password: "wrong", privateKey: null, dialErrorLimit: 2 };
    const stack = await stackOf({ command: { create: "true", connected } });
    const before = sshd.accepted();
    const refused = await stack.up({ fails: true });
    expect(refused.output).toMatch(
      /after 2 failed attempts: ssh: handshake failed: ssh: unable to authenticate/,
    );
    expect(sshd.accepted() - before).toBe(3);

    await change(stack, { command: { create: "true", connected: { port: 1, dialErrorLimit: 1 } } });
    expect((await stack.up({ fails: true })).output).toMatch(
      /after 1 failed attempts: dial tcp .*connection refused/,
    );
  });

  test("environment needs the server's consent", async () => {
    const create = 'echo "$ACCEPTED"';
    const stack = await stackOf({ command: { create, environment: { ACCEPTED: "a value" } } });
    await stack.up();
    expect(await outputsOf(stack)).toMatchObject({ stdout: "a value" });
    await change(stack, { command: { create, environment: { REFUSED: "x" } } });
    expect((await stack.up({ fails: true })).output).toMatch(/could not set environment variable "REFUSED"/);
  });

  test("secrets are in no output and not in the state", async () => {
    const hidden = "a-hidden-word";
    const stack = await stackOf({
      command: { create: "cat >/dev/null", secretStdin: hidden, logging: "none" },
    });
    const printed = [(await stack.preview({ diff: true })).output, (await stack.up({ diff: true })).output];
    await change(stack, {
      command: { create: "cat >/dev/null", secretStdin: `${hidden}-too`, logging: "none" },
    });
    printed.push((await stack.preview({ diff: true })).output, JSON.stringify(await stack.previewJson()));
    printed.push((await stack.up({ diff: true })).output, JSON.stringify(await stack.exportState()));
    for (const text of printed) {
      expect(text).not.toContain(hidden);
      expect(text).not.toContain("PRIVATE KEY");
    }
    const shown = JSON.stringify(await stack.exportState({ showSecrets: true }));
    expect(shown).toContain(`${hidden}-too`);
    expect(shown).toContain("PRIVATE KEY");
  });

  test("a local Command runs here", async () => {
    const command = { here: true, create: 'echo "$WORD $(cat)"', stdin: "in", environment: { WORD: "a" } };
    const stack = await stackOf({ command });
    await stack.up();
    expect(await outputsOf(stack)).toMatchObject({ stdout: "a in", stderr: "" });
    await change(stack, { command: { ...command, create: "echo why >&2; exit 7" } });
    expect((await stack.up({ fails: true })).output).toMatch(/exit status 7: running .*:\s+why/);
  });
});
