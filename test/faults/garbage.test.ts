/** Gateways, and programs on them, that answer anything but what they should. */

import { randomBytes } from "node:crypto";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { expect } from "vitest";
import {
  counts,
  EVEN,
  edge,
  type FarmData,
  farm,
  leftovers,
  rewrite,
  stackOf,
  useScene,
} from "../e2e/support";
import type { Engine } from "../support/engine/engine";
import type { Gateway, Lab } from "../support/lab";
import { type BareGateway, IPTABLES, NFTABLES, shared, VARIANTS } from "./bare-gateway";
import { fault } from "./fault";
import { foreignRules, plantForeignRules } from "./foreign";

const bareGateway = shared();

let lab: Lab;
let engine: Engine;
let gateway: Gateway;
let foreign: string;

useScene({}, async (scene) => {
  ({ lab, engine, gateway } = scene);
  foreign = await plantForeignRules(gateway);
});

/** Rules of others whose comments, over several lines, read like rules of ours. */
const IMITATION = `
nft -f - <<'X'
table ip imitation {
	chain forward {
		type filter hook forward priority 5
		ip saddr 192.0.2.67 accept comment "x
table ip netfilter_lb {
	map services {
		elements = { 203.0.113.10 . tcp . 80 : drop }
	}
}
y"
	}
}
X
for table in mangle nat filter; do
  iptables -t $table -A OUTPUT -d 192.0.2.67 -m comment --comment 'x
-A FORWARD -j NFLB-FORWARD
-A OUTPUT -j NFLB-OUTPUT
COMMIT
*nat
:NFLB-web - [0:0]
-A NFLB-web -j ACCEPT
-A PREROUTING -j NFLB-PREROUTING' -j ACCEPT
done`;

/** Them, as they read. */
const IMITATORS = `nft list table ip imitation
for table in mangle nat filter; do iptables -t $table -S OUTPUT | sed -n '/192.0.2.67/,/ACCEPT$/p'; done`;

const FORGET_IMITATORS = `nft delete table ip imitation
for table in mangle nat filter; do
  number=$(iptables -t $table -L OUTPUT -n --line-numbers | sed -n 's/^\\([0-9]*\\) .* 192.0.2.67 .*/\\1/p')
  iptables -t $table -D OUTPUT $number
done`;

/** A megabyte of noise with what a terminal obeys in it, and how the tool says it. */
const NOISE = `head -c 1000000 /dev/urandom; printf '\\033]0;owned\\007\\033[31mred\\n'`;

function expectReadable({ stdout, stderr }: { stdout: string; stderr: string }): void {
  for (const text of [stdout, stderr]) {
    expect(
      [...text].filter((character) => /(?!\n)\p{Cc}/u.test(character)),
      JSON.stringify(text),
    ).toEqual([]);
    expect(text.length).toBeLessThan(2000);
  }
}

for (const variant of VARIANTS) {
  fault(58, `${variant.label}, rules of others that look like ours`, async () => {
    const bare = await bareGateway(variant);
    await bare.sh(IMITATION);
    const before = await bare.sh(IMITATORS);
    expect(before.match(/NFLB-web|netfilter_lb/g)?.length).toBeGreaterThan(3);
    const { machine } = bare;
    for (const action of [
      () => bare.apply("new"),
      () => bare.apply("old"),
      () => bare.apply("old"),
      () => machine.tool(["verify"]),
      () => machine.tool(["restore"]),
      () => machine.remove("web"),
      () => bare.apply("old"),
      () => machine.tool(["status"]),
    ]) {
      expect(await action()).toMatchObject({ code: 0, stderr: "" });
      expect(await bare.sh(IMITATORS)).toBe(before);
    }
    await bare.sh(FORGET_IMITATORS);
    await bare.expectInStep("old");
    return {
      done: "foreign rules whose comments have line breaks and, behind them, a table and jumps like ours; two changes, a repetition, verify, restore, removal and set-up",
      held: "each did what it should, and those rules are byte for byte as before",
      saw: "nothing",
    };
  });
}

for (const variant of [NFTABLES, IPTABLES])
  fault(58, `${variant.label}, programs`, async () => {
    const bare = await bareGateway(variant);
    const programs = variant === NFTABLES ? ["nft"] : ["iptables-restore", "iptables"];
    const said = { refused: 0, done: 0 };
    let saw = "";
    const attempt = async (action: () => ReturnType<BareGateway["apply"]>, codes: readonly number[]) => {
      const outcome = await action();
      expectReadable(outcome);
      expect(codes, outcome.stderr).toContain(outcome.code);
      if (outcome.code === 1) saw = outcome.stderr.trim();
      said[outcome.code === 0 ? "done" : "refused"]++;
      return outcome;
    };
    for (const program of programs) {
      await bare.interpose(program, `${NOISE}; { ${NOISE}; } >&2; exit 1`);
      await attempt(() => bare.apply("new"), [0, 1]);
      // Not every program is asked for everything: what says that it is done must be.
      const verified = await attempt(() => bare.machine.tool(["verify"]), [0, 1, 6, 7]);
      await bare.expose(program);
      if (verified.code === 0) await bare.expectHolds(await bare.disk());
      const holds = await bare.kernel();
      if (holds === "old") expect(await bare.disk()).toBe("old");
      await bare.expectConverges();
    }
    // It does what it is told, but what it says of the rules is noise.
    for (const program of variant === NFTABLES ? ["nft"] : ["iptables-save"]) {
      const listing = program === "nft" ? "list" : "";
      await bare.interpose(program, `case "$*" in *${listing}*) ${NOISE}; exit 0 ;; esac; exec REAL "$@"`);
      await attempt(() => bare.machine.tool(["verify"]), [1, 6, 7]);
      await attempt(() => bare.apply("new"), [0, 1]);
      await attempt(() => bare.machine.tool(["status"]), [0, 1]);
      await bare.expose(program);
      await bare.expectConverges();
    }
    return {
      done: `${programs.join(", ")} put out a megabyte of noise with control codes on both channels and fail; then list noise as rules and succeed`,
      held: `${said.refused} calls refused, ${said.done} that did not need them done; never a set in part, verify never says in step, each message short and readable; all converges`,
      saw,
    };
  });

/** A server that is none: it says this to whoever connects, and hangs up. */
async function speaker(bytes: Buffer): Promise<Server> {
  const server = createServer((socket: Socket) => {
    socket.on("error", () => {});
    socket.resume();
    socket.end(bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

fault(
  58,
  "not SSH",
  async () => {
    const speakers = await Promise.all(
      [
        randomBytes(1_000_000),
        Buffer.from("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
        Buffer.from("SSH-2.0-\u001b]0;owned\u0007\u001b[31mred\r\n\0\0\0\0\0\0\0"),
        Buffer.alloc(0),
      ].map(speaker),
    );
    try {
      const others = speakers.map((server, index) => ({
        ...edge(
          gateway,
          {},
          { ...gateway.connection, port: (server.address() as AddressInfo).port, dialErrorLimit: 0 },
        ),
        name: `other-${index}`,
      }));
      const at = (all: boolean): FarmData[] => {
        const gateways = all ? [edge(gateway), ...others] : [edge(gateway)];
        return [
          farm(
            "web",
            gateways.map((each) => ({ ...each, connection: { ...each.connection, privateKey: "edge-1" } })),
          ),
        ];
      };
      const stack = await stackOf(engine, at(true), [gateway]);
      const { output } = await stack.up({ fails: true, args: ["--continue-on-error"] });
      const errors = [
        ...output.matchAll(/^ +command:remote:Command \((netfilter-lb-other-\d)\):\n +error: (.*)/gm),
      ];
      expect(new Set(errors.map(([, name]) => name)).size, output).toBe(speakers.length);
      expect(output).not.toMatch(/(?![\n\t])\p{Cc}/u);
      expect(output.length).toBeLessThan(20_000);
      expect(await counts(lab, 10)).toEqual(EVEN);
      expect(await gateway.sh("netfilter-lb verify")).toContain("in step: all farms");

      await rewrite(stack, at(false));
      await stack.up();
      await stack.destroy();
      expect(await leftovers(gateway)).toBe("");
      expect(await foreignRules(gateway)).toBe(foreign);
      return {
        done: `${speakers.length} of five gateways answer with a megabyte of noise, HTTP, control codes in an SSH banner, or hang up`,
        held: "the update fails for each of them and names it; the fifth serves; without them in the program the next update succeeds",
        saw: errors.map(([, name, why]) => `${name}: ${why}`).join(" … "),
      };
    } finally {
      for (const server of speakers) server.close();
    }
  },
  240_000,
);

fault(
  59,
  "",
  async () => {
    const connection = await gateway.addUser("loud", "ALL=(ALL) NOPASSWD: ALL");
    const motd = `printf '\\033]0;owned\\007\\033[31mred\\377\\376\\n'; yes "authorised use only" | head -c 20000`;
    await gateway.sh(`mkdir /etc/loud; usermod -s /bin/bash -d /etc/loud loud; chown loud /etc/loud
      { ${motd}; } >/etc/ssh/banner; { ${motd}; } >/etc/motd; echo 'echo sshrc; echo sshrc >&2' >/etc/ssh/sshrc
      sed -i 's/^PrintMotd no/PrintMotd yes/' /etc/ssh/sshd_config; echo 'Banner /etc/ssh/banner' >>/etc/ssh/sshd_config`);
    const at = (weight: number) => [
      farm("web", [edge(gateway, { sudo: true }, connection)], {
        backends: [{ address: "192.0.2.1", weight }, { address: "192.0.2.2" }],
      }),
    ];
    await gateway.write("/etc/loud/.bashrc", `${motd}; { ${motd}; } >&2\n`);
    const stack = await stackOf(engine, at(1), [gateway]);
    const { output } = await stack.up();
    expect(output).not.toContain("authorised use only");
    expect(await counts(lab, 10)).toEqual(EVEN);
    expect(await gateway.sh("netfilter-lb verify")).toContain("in step: all farms");

    // Start-up files that also read what was meant for the tool.
    await gateway.write("/etc/loud/.bashrc", "head -c 100 >/dev/null\n");
    await rewrite(stack, at(4));
    const failed = await stack.up({ fails: true });
    expect(await counts(lab, 10)).toEqual(EVEN);
    expect(await gateway.sh("netfilter-lb verify")).toContain("in step: all farms");

    await gateway.sh("rm /etc/loud/.bashrc /etc/ssh/sshrc; sed -i '/^Banner/d' /etc/ssh/sshd_config");
    await stack.up();
    expect(await counts(lab, 10)).toEqual({ "192.0.2.1": 8, "192.0.2.2": 2 });
    await stack.destroy();
    expect(await leftovers(gateway)).toBe("");
    expect(await foreignRules(gateway)).toBe(foreign);
    return {
      done: "a banner before the log-in, a message of the day, an sshrc and a start-up file of the shell that say 20 KB each, with control codes and bytes that are no text; then a start-up file that reads 100 bytes of standard input",
      held: "the first update arrives all the same, with none of the noise printed; the second is refused with the old set whole, and arrives once that file is gone",
      saw: /netfilter-lb: the rule set .*/.exec(failed.output)?.[0] ?? expect.fail(failed.output),
    };
  },
  240_000,
);
