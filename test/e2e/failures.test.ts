import { readdirSync, readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { fault } from "../faults/fault";
import { foreignRules, plantForeignRules } from "../faults/foreign";
import type { Call, Result } from "../support/engine/cli";
import type { Engine } from "../support/engine/engine";
import type { PulumiStack } from "../support/engine/stack";
import type { Gateway, Lab } from "../support/lab";
import {
  counts,
  EVEN,
  edge,
  everything,
  type FarmData,
  farm,
  leftovers,
  rewrite,
  stackOf,
  useScene,
} from "./support";

/** A farm that fails half-way: engine and gateway agree again after the next `up`. */

let lab: Lab;
let engine: Engine;
let gateway: Gateway;
let theirs: string;

useScene({ backends: 3 }, async (scene) => {
  ({ lab, engine, gateway } = scene);
  theirs = await plantForeignRules(gateway);
});

/**
 * Puts a program before the real one, which `action` decides about for every input that names the third backend.
 */
async function interpose(program: string, action: string): Promise<void> {
  const real = (await gateway.sh(`PATH=/usr/sbin:/sbin command -v ${program}`)).trim();
  await gateway.write(
    `/usr/local/sbin/${program}`,
    `#!/bin/sh
text=$(mktemp)
trap 'rm -f "$text"' EXIT
case "$*" in *-f*) cat "$2" >"$text" ;; *-restore*|*noflush*) cat >"$text" ;; esac
if grep -q 192.0.2.3 "$text"; then ${action}; fi
${real} "$@" <"$text"
`,
    "755",
  );
}

async function expose(program: string): Promise<void> {
  await gateway.sh(`rm -f /usr/local/sbin/${program}`);
}

describe.each([
  { dataPlane: "nftables", program: "nft" },
  { dataPlane: "iptables", program: "iptables-restore" },
] as const)("$dataPlane", ({ dataPlane, program }) => {
  const good = (): FarmData => farm("web", [edge(gateway, { dataPlane })]);
  const bad = (): FarmData => ({ ...good(), backends: [{ address: "192.0.2.3" }] });
  let stack: PulumiStack;

  beforeAll(async () => {
    stack = await stackOf(engine, [bad()], [gateway]);
  });

  it("converges after a first apply that failed", async () => {
    await interpose(program, `echo "Error: no luck today" >&2; exit 1`);
    const { output } = await stack.up({ fails: true });
    expect(output).toContain(
      "applying farm web failed, the last good set stays in force; the kernel said: Error: no luck today",
    );
    expect((await stack.resources()).map(({ urn }) => urn.split("::").at(-1)).sort()).toEqual([
      "netfilter-lb-edge-1",
      "web",
    ]);
    expect(await gateway.sh("netfilter-lb list")).toBe("");
    await expose(program);
    await stack.up();
    expect(await counts(lab, 10)).toEqual({ "192.0.2.3": 10 });
    await rewrite(stack, [good()]);
    await stack.up();
  });

  it("keeps the old set, here and in the state, when a change fails", async () => {
    const before = await everything(gateway);
    await interpose(program, `echo "Error: no luck today" >&2; exit 1`);
    await rewrite(stack, [bad()]);
    const { output } = await stack.up({ fails: true });
    expect(output).toContain("the last good set stays in force");
    await expose(program);
    expect(await everything(gateway)).toBe(before);
    expect(await counts(lab, 10)).toEqual(EVEN);
    const applied = (await stack.resources()).filter(({ urn }) => urn.includes("command:remote:Command"));
    expect(applied).toHaveLength(2);
    expect(JSON.stringify(applied)).not.toContain("192.0.2.3");

    // Taken back, the change was never there; made again, it arrives.
    const dials = gateway.sshConnections;
    await rewrite(stack, [good()]);
    await stack.up();
    expect(gateway.sshConnections).toBe(dials);
    await rewrite(stack, [bad()]);
    await stack.up();
    expect(await counts(lab, 10)).toEqual({ "192.0.2.3": 10 });
    await rewrite(stack, [good()]);
    await stack.up();
  });

  /** Ends an `up` that is in the middle of an apply, by somebody else or by the program that runs it. */
  const ends = {
    "the provider is killed": async ({ process: { pid } }: Call) => {
      process.kill(await providerOf(pid!), "SIGKILL");
    },
    "the engine is killed, then pulumi cancel": async (call: Call) => {
      call.process.kill("SIGKILL");
      await call.result;
      // The engine's own lock on the stack outlives it.
      locked = await stack.up({ fails: true });
      await stack.cancel();
    },
    "Ctrl-C": async ({ process }: Call) => void process.kill("SIGINT"),
    "Ctrl-C twice": async ({ process }: Call) => {
      process.kill("SIGINT");
      await new Promise((resolve) => setTimeout(resolve, 300));
      process.kill("SIGINT");
    },
    "pulumi cancel, and another up at once": async () => {
      await stack.cancel();
      await stack.up({ fails: "either" });
    },
  };
  let locked: Result | undefined;
  const ways = Object.entries(ends).slice(0, dataPlane === "nftables" ? undefined : 2);

  fault(
    23,
    dataPlane,
    async () => {
      const outcomes: string[] = [];
      for (const [way, end] of ways) {
        await interpose(program, "touch /run/under-way; sleep 2");
        await rewrite(stack, [bad()]);
        const call = stack.start(["up", "--yes", "--skip-preview", "--stack", stack.name]);
        try {
          await expect.poll(() => gateway.sh("ls /run"), { timeout: 60_000 }).toContain("under-way");
          await end(call);
          const { code, signal } = await call.result;
          outcomes.push(`${way}: ${signal ?? `exit code ${code}`}`);
        } finally {
          await expose(program);
          await gateway.sh("rm -f /run/under-way");
        }
        // Whichever set is in force, it is whole; a tool that was left alone ends its work first.
        expect(await gateway.sh("netfilter-lb verify"), way).toContain("in step: all farms");
        const between = await counts(lab, 10);
        expect([EVEN, { "192.0.2.3": 10 }]).toContainEqual(between);
        await stack.up();
        expect(await counts(lab, 10), way).toEqual({ "192.0.2.3": 10 });
        expect(await gateway.sh("netfilter-lb verify"), way).toContain("in step: all farms");
        await rewrite(stack, [good()]);
        await stack.up();
        expect(await counts(lab, 10), way).toEqual(EVEN);
      }
      const message = /[^\n]*currently locked[^\n]*/.exec(locked!.output)?.[0].trim();
      expect(message).toBeDefined();
      return {
        done: `ended an up in the middle of an apply: ${ways.map(([way]) => way).join("; ")}`,
        held:
          `${ways.length} of ${ways.length}: the old or the new set was in force, whole, and 10 of 10 connections found its backends; the ` +
          `next up brought the new one (${outcomes.join("; ")})`,
        saw: `an up before the cancel: ${message}`,
      };
    },
    480_000,
  );

  fault(
    3,
    dataPlane,
    async () => {
      const commands = async () =>
        JSON.stringify((await stack.resources()).filter(({ urn }) => urn.includes("command:remote:Command")));
      await rewrite(stack, [good()]);
      await stack.up();
      await rewrite(stack, [bad()]);
      // All is done, and the answer is held back.
      await gateway.sh(`cd /usr/local/sbin && mv netfilter-lb netfilter-lb.real && cat >netfilter-lb <<'END'
#!/bin/sh
/usr/local/sbin/netfilter-lb.real "$@" >/run/answer 2>&1
touch /run/under-way
sleep 3
cat /run/answer
END
      chmod 755 netfilter-lb`);
      const call = stack.start(["up", "--yes", "--skip-preview", "--stack", stack.name]);
      try {
        await expect.poll(() => gateway.sh("ls /run"), { timeout: 60_000 }).toContain("under-way");
        expect(await gateway.sh("cat /run/answer")).toContain("applied: farm web");
        gateway.ssh.cut();
        expect((await call.result).code).not.toBe(0);
      } finally {
        await gateway.sh("cd /usr/local/sbin && mv netfilter-lb.real netfilter-lb; rm -f /run/under-way");
      }
      const { output } = await call.result;
      const stored = await gateway.sh("cat /etc/netfilter-lb/farms/web.rules");
      expect(stored).toContain("192.0.2.3");
      expect(await commands()).not.toContain("192.0.2.3");
      expect(await counts(lab, 10)).toEqual({ "192.0.2.3": 10 });
      await stack.up();
      expect(await commands()).toContain("192.0.2.3");
      expect(await gateway.sh("cat /etc/netfilter-lb/farms/web.rules")).toBe(stored);
      expect(await gateway.sh("netfilter-lb verify")).toContain("in step: all farms");
      expect(await foreignRules(gateway)).toBe(theirs);
      await rewrite(stack, [good()]);
      await stack.up();
      expect(await counts(lab, 10)).toEqual(EVEN);
      return {
        done: "SSH cut when the gateway had applied and stored the new set, before its answer arrived",
        held: "the new set serves 10 of 10 connections; the engine has the old one in its state, and the next up finds the new one in force, stores nothing anew and agrees",
        saw: /error: (.*)/.exec(output)?.[1]?.trim() ?? output.slice(-300),
      };
    },
    240_000,
  );

  it("leaves nothing behind", async () => {
    await stack.destroy();
    expect(await leftovers(gateway)).toBe("");
  });
});

fault(
  21,
  "two stacks, by pulumi",
  async () => {
    const of = (name: string, host: number, weight: number) =>
      farm(name, [edge(gateway, { dataPlane: host < 22 ? "nftables" : "iptables" })], {
        listeners: [{ address: `203.0.113.${host}`, protocol: "tcp", port: 80 }],
        backends: [{ address: "192.0.2.1", weight }, { address: "192.0.2.2" }],
      });
    const at = (weight: number) => [
      [of("a1", 20, weight), of("a2", 21, weight)],
      [of("b1", 22, weight), of("b2", 23, weight)],
    ];
    const stacks = await Promise.all(
      at(1).map((farms, i) => stackOf(engine, farms, [gateway], { stack: `stack-${i}` })),
    );
    await Promise.all(stacks.map((stack) => stack.up()));
    await Promise.all(stacks.map((stack, i) => rewrite(stack, at(4)[i]!)));
    await Promise.all(stacks.map((stack) => stack.up()));
    expect(await gateway.sh("netfilter-lb verify")).toContain("in step: all farms");
    for (const host of [20, 21, 22, 23])
      expect(await counts(lab, 10, { to: `203.0.113.${host}` })).toEqual({ "192.0.2.1": 8, "192.0.2.2": 2 });
    await Promise.all(stacks.map((stack) => stack.destroy()));
    expect(await leftovers(gateway)).toBe("");
    expect((await gateway.sh("cat /proc/sys/net/ipv4/ip_forward")).trim()).toBe("0");
    return {
      done: "two stacks, each with two farms, went up at the same time on one gateway, were changed at the same time, and destroyed",
      held:
        "40 of 40 connections were spread by the changed weights, 8 to 2; kernel and files agreed; nothing was left in the end, and " +
        "forwarding was off again",
      saw: "nothing",
    };
  },
  240_000,
);

/** The command provider that an engine started: its process, found among the engine's descendants. */
async function providerOf(engine: number): Promise<number> {
  const parents = new Map<number, number>();
  for (const entry of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "utf8");
      parents.set(Number(entry), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
    } catch {
      // It has ended since.
    }
  }
  const isBelow = (pid: number): boolean => {
    const parent = parents.get(pid);
    return parent !== undefined && (parent === engine || isBelow(parent));
  };
  const provider = [...parents.keys()].filter(isBelow).find((pid) => {
    const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
    return /command-provider\/provider\.mjs|pulumi-resource-command/.test(command);
  });
  if (provider === undefined) throw new Error("the engine runs no command provider");
  return provider;
}
