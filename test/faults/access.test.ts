/** Who is talked to, what is told to whom, and what an account on a gateway must be allowed to do. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { toolText } from "../../src/host/tool";
import {
  counts,
  EVEN,
  edge,
  everything,
  farm,
  leftovers,
  rewrite,
  stackOf,
  useScene,
  VIP,
} from "../e2e/support";
import type { Engine } from "../support/engine/engine";
import type { PulumiStack, ResourceState } from "../support/engine/stack";
import type { Gateway, Lab } from "../support/lab";
import { fault } from "./fault";
import { foreignRules, plantForeignRules } from "./foreign";

let lab: Lab;
let engine: Engine;
let gateway: Gateway;
let foreign: string;

useScene({}, async (scene) => {
  ({ lab, engine, gateway } = scene);
  foreign = await plantForeignRules(gateway);
});

/** The lines of an engine's output that say so. */
function lineWith(output: string, words: RegExp): string {
  return (
    output
      .split("\n")
      .find((line) => words.test(line))
      ?.trim() ?? expect.fail(`no ${words} in:\n${output}`)
  );
}

fault(
  50,
  "",
  async () => {
    const at = (weight: number, withKey = true) => {
      const { hostKey, ...connection } = { ...gateway.connection, dialErrorLimit: 1 };
      return farm("web", [edge(gateway, {}, { ...connection, ...(withKey && { hostKey }) })], {
        backends: [{ address: "192.0.2.1", weight }, { address: "192.0.2.2" }],
      });
    };
    const stack = await stackOf(engine, [at(1)], [gateway]);
    await stack.up();
    const [before, state] = [await everything(gateway), await stack.resources()];

    const asBefore = at(4);
    await gateway.ssh.newHostKey();
    await rewrite(stack, [asBefore]);
    const { output } = await stack.up({ fails: true });
    expect(await everything(gateway)).toBe(before);
    expect(await counts(lab, 10)).toEqual(EVEN);
    expect(rulesIn(await stack.resources())).toEqual(rulesIn(state));

    await rewrite(stack, [at(4, false)]);
    const dials = gateway.sshConnections;
    const refused = lineWith((await stack.preview({ fails: true })).output, /hostKey: is missing/);
    expect(gateway.sshConnections).toBe(dials);

    await rewrite(stack, [at(4)]);
    await stack.up();
    expect(await counts(lab, 10)).toEqual({ "192.0.2.1": 8, "192.0.2.2": 2 });
    await stack.destroy();
    expect(await leftovers(gateway)).toBe("");
    expect(await foreignRules(gateway)).toBe(foreign);
    return {
      done: "a gateway with a farm answers with another host key, as a machine does that was set up anew or that somebody put in its place; then a program without any host key",
      held: "nothing is sent there, gateway and state stay as they were, connections are served by the old weights; with the new key in the program the change arrives",
      saw: `${lineWith(output, /host key/)} … ${refused}`,
    };
  },
  240_000,
);

/** What the state says that the gateways have. The component's own inputs, a description, change before anything is done. */
function rulesIn(resources: readonly ResourceState[]): unknown[] {
  return resources.filter(({ type }) => type === "command:remote:Command").map(({ inputs }) => inputs?.stdin);
}

/** The command lines of every process on this machine. */
function processTexts(): string {
  const texts: string[] = [];
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      texts.push(readFileSync(`/proc/${pid}/cmdline`, "utf8"));
    } catch {
      // It has ended since.
    }
  }
  return texts.join("\n");
}

/** Every file below a folder. */
function filesIn(folder: string): string {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1"))
    .join("\n");
}

/** An `up`, while the command lines of this machine's processes are looked at. */
async function watchedUp(stack: PulumiStack): Promise<{ output: string; looks: number; seen: string }> {
  const call = stack.start([
    "up",
    "--yes",
    "--skip-preview",
    "--diff",
    "--show-full-output",
    "--stack",
    stack.name,
  ]);
  const seen = new Set<string>();
  let looks = 0;
  const timer = setInterval(() => {
    looks++;
    seen.add(processTexts());
  }, 100);
  const { output, code } = await call.result;
  clearInterval(timer);
  expect(code, output).toBe(0);
  return { output, looks, seen: [...seen].join("\n") };
}

for (const [subject, privateKey] of [
  ["from a secret setting", `new pulumi.Config("keys").requireSecret("edge-1")`],
  ["from a plain setting", `new pulumi.Config("keys").require("edge-1")`],
] as const)
  fault(
    51,
    subject,
    async () => {
      const { privateKey: key, ...connection } = gateway.connection;
      const password = "correct-horse-battery";
      const program = (weight: number, more: string) => `
        import * as pulumi from "@pulumi/pulumi";
        import { LoadBalancerFarm } from "pulumi-netfilter-lb";
        const connection = {
          ...${JSON.stringify({ ...connection, dialErrorLimit: 1 })},
          privateKey: ${privateKey},
          password: pulumi.secret("${password}"),
          ${more}
        };
        export const web = new LoadBalancerFarm("web", {
          gateways: [{ name: "edge-1", dataPlane: "nftables", connection }],
          listeners: [{ address: "${VIP}", protocol: "tcp", port: 80 }],
          backends: [{ address: "192.0.2.1", weight: ${weight} }],
        });
      `;
      const stack = await engine.project({ "index.ts": program(1, "") }, { secrets: { "keys:edge-1": key } });
      // The tool's own programs are slow, so that command lines can be looked at; and they note those of the gateway.
      await gateway.write(
        "/usr/local/sbin/nft",
        '#!/bin/sh\ncat /proc/*/cmdline /proc/*/environ 2>/dev/null >>/etc/seen; sleep 0.2; exec /usr/sbin/nft "$@"\n',
        "755",
      );
      const said: string[] = [];
      const note = async (result: Promise<{ output: string }>) => said.push((await result).output);
      await note(stack.preview({ diff: true }));
      await note(stack.run(["preview", "--json", "--stack", stack.name]));
      const watched = await watchedUp(stack);
      said.push(watched.output, watched.seen);
      expect(watched.seen).toContain("pulumi");
      await note(stack.run(["stack", "export", "--stack", stack.name]));
      await note(stack.run(["stack", "output", "--json", "--stack", stack.name]));

      // What a provider might print of a connection: one that it cannot use, and one with a field that it does not know.
      for (const more of [
        `privateKey: pulumi.interpolate\`\${${privateKey}}\`.apply((text) => text.slice(0, -100)),`,
        `proxy: { host: "198.51.100.9", privateKey: ${privateKey} },`,
        `privateKey: [${privateKey}] as never,`,
        `privatekey: ${privateKey},`,
      ]) {
        await stack.write({ "index.ts": program(2, more) });
        await note(stack.up({ fails: true, diff: true }));
      }
      await note(stack.run(["stack", "export", "--stack", stack.name]));
      said.push(filesIn(stack.folder.replace("project-", "state-")));
      await stack.write({ "index.ts": program(2, "") });
      await note(stack.destroy({ diff: true }));
      said.push(filesIn(stack.folder.replace("project-", "state-")));
      const onGateway = await gateway.sh(
        "tr '\\0' ' ' </etc/seen; cat /etc/netfilter-lb/*/* 2>/dev/null; rm -f /etc/seen /usr/local/sbin/nft",
      );
      expect(onGateway).toContain("/usr/local/sbin/netfilter-lb apply web --owner");
      said.push(onGateway, gateway.ssh.log);

      const material = [password, ...key.split("\n").filter((line) => /^[\w+/=]{30,}$/.test(line))];
      expect(material.length).toBeGreaterThan(3);
      for (const text of material) expect(said.join("\n").includes(text)).toBe(false);
      expect(said.join("\n")).not.toContain("PRIVATE KEY");
      expect(await leftovers(gateway)).toBe("");
      expect(await foreignRules(gateway)).toBe(foreign);
      const size = said.reduce((sum, text) => sum + text.length, 0);
      return {
        done: `a preview, an update, four that fail (a key cut short, a key in an unknown field, in a list, under a misspelt name) and a destroy; then ${material.length} pieces of key and password looked for in ${size} characters: what was printed, state, its history and backups, command lines here (${watched.looks} looks), command lines, environments and files of the gateway`,
        held: "none of them anywhere",
        saw: lineWith(said.join("\n"), /connection\.privatekey: is not a field/),
      };
    },
    240_000,
  );

fault(
  55,
  "",
  async () => {
    const connection = await gateway.addUser("deploy", "ALL=(root) NOPASSWD: /usr/local/sbin/netfilter-lb");
    await gateway.sh("sed -i '1i Defaults logfile=/etc/sudo.log, !syslog' /etc/sudoers.d/deploy");
    const preinstalled = { sudo: true, tool: "preinstalled" } as const;
    const at = (backends: { address: string }[]) => [
      farm("web", [edge(gateway, preinstalled, connection)], { backends }),
    ];
    const stack = await stackOf(engine, at([{ address: "192.0.2.1" }, { address: "192.0.2.2" }]), [gateway]);
    const saw = lineWith((await stack.up({ fails: true })).output, /is not installed: install it/);

    await gateway.write("/usr/local/sbin/netfilter-lb", "#!/bin/sh\necho hello\n", "755");
    const other = lineWith((await stack.up({ fails: true })).output, /is not the tool of this package/);

    await gateway.write("/usr/local/sbin/netfilter-lb", toolText(), "755");
    await stack.up();
    expect(await counts(lab, 10)).toEqual(EVEN);
    await rewrite(stack, at([{ address: "192.0.2.2" }]));
    await stack.up();
    expect(await counts(lab, 10)).toEqual({ "192.0.2.2": 10 });
    const elsewhere = [
      "nft list ruleset",
      "iptables-save",
      "sh -c id",
      "cat /etc/shadow",
      "tee /usr/local/sbin/netfilter-lb",
    ];
    for (const command of elsewhere) {
      const { code, stderr } = await gateway.try(`runuser -u deploy -- sudo -n ${command} </dev/null`);
      expect(code, command).not.toBe(0);
      expect(stderr).toMatch(/sudo: a password is required|not allowed/);
    }
    await stack.destroy();
    expect((await leftovers(gateway)).trim()).toBe("/usr/local/sbin/netfilter-lb");
    await gateway.sh("rm /usr/local/sbin/netfilter-lb");
    // Entries are broken over several lines; a refused one has its reason before the TTY.
    const log = (await gateway.sh("cat /etc/sudo.log; rm /etc/sudo.log")).replace(/\n\s+/g, " ");
    const ran = log
      .split("\n")
      .filter((line) => / : TTY=| : PWD=/.test(line) && !/password is required|not allowed/.test(line));
    const commands = ran.map((line) => /COMMAND=(\S+ \S+)/.exec(line)?.[1]);
    expect(new Set(commands)).toEqual(
      new Set(["prepare", "apply", "remove", "retire"].map((name) => `/usr/local/sbin/netfilter-lb ${name}`)),
    );
    expect(await foreignRules(gateway)).toBe(foreign);
    return {
      done: `an account that may run /usr/local/sbin/netfilter-lb by sudo and nothing else (one line in sudoers): a farm set up, changed and destroyed; ${elsewhere.length} other commands`,
      held: `sudo's log has ${commands.length} commands, all of them that one; the others were refused`,
      saw: `${saw} … ${other}`,
    };
  },
  240_000,
);
