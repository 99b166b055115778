/** Rules that others flush, reload or edit, and a lock that a dead run left. */

import { expect } from "vitest";
import { FOREIGN, type Plane } from "../host/fixtures";
import { BareGateway, LEGACY, NFTABLES, oursOf, shared, VARIANTS, type Variant } from "./bare-gateway";
import { fault } from "./fault";
import { foreignRules } from "./foreign";

const gatewayOf = shared();

/** What is missing is back after one run of what the timer calls; the next one finds nothing to do. */
async function expectRepaired(gateway: BareGateway): Promise<string> {
  const { code, stdout, stderr } = await gateway.machine.tool(["repair"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/^repaired 1 farms: missing was /);
  await gateway.expectInStep("old");
  expect(await gateway.machine.tool(["repair"])).toEqual({ code: 0, stdout: "", stderr: "" });
  return stdout.trim();
}

for (const variant of VARIANTS.filter(({ iptables }) => iptables === "nft"))
  fault(25, variant.label, async () => {
    const gateway = await gatewayOf(variant);
    await gateway.sh(`nft flush ruleset; ${FOREIGN}`);
    return {
      done: "`nft flush ruleset`, then others load their rules again",
      held: "`netfilter-lb repair`, which the timer calls, brought the same set back, beside theirs; its next run did nothing",
      saw: await expectRepaired(gateway),
    };
  });

/** The rule commands of other programs, as their sources have them; the programs themselves are not run. */
const RELOADS: Readonly<
  Record<string, { command: string; undo?: string; takes: (variant: Variant) => boolean }>
> = {
  "firewalld, nftables backend": {
    command: `for round in 1 2; do nft -f - <<'X'
table inet firewalld
delete table inet firewalld
table inet firewalld { chain filter_FORWARD { type filter hook forward priority 10; policy accept; ct state established accept; }; }
X
done; nft delete table inet firewalld`,
    takes: () => false,
  },
  "ufw, flush-all": {
    command: `for t in iptables ip6tables; do
      for table in filter mangle nat raw; do $t -t $table -F; $t -t $table -X; done
      for chain in INPUT OUTPUT FORWARD; do $t -P $chain ACCEPT; done
    done; ${FOREIGN.slice(FOREIGN.indexOf("for t in"))}`,
    takes: ({ plane }) => plane !== "nftables",
  },
  "Docker, start": {
    command: `iptables -N DOCKER-USER; iptables -A DOCKER-USER -j RETURN
      iptables -P FORWARD DROP; iptables -I FORWARD -j DOCKER-USER`,
    undo: "iptables -D FORWARD -j DOCKER-USER; iptables -F DOCKER-USER; iptables -X DOCKER-USER; iptables -P FORWARD ACCEPT",
    takes: ({ plane }) => plane === "nftables",
  },
};

/** Everything on the gateway, in no order of tables and chains: programs that flush make theirs anew. */
async function contents({ machine }: BareGateway, plane: Plane): Promise<string[]> {
  const ours = oursOf(await machine.rules(), plane);
  return `${ours}\n${await foreignRules(machine)}`.split("\n").sort();
}

for (const variant of VARIANTS)
  fault(
    26,
    variant.label,
    async () => {
      const gateway = await BareGateway.start(variant);
      const repair = async () => (await gateway.machine.tool(["repair"])).stdout.trim();
      const saw: string[] = [];
      try {
        const before = await contents(gateway, variant.plane);
        for (const [program, { command, undo = ":", takes }] of Object.entries(RELOADS)) {
          await gateway.sh(command);
          const words = await repair();
          expect(words !== "", program).toBe(takes(variant));
          if (words !== "") saw.push(`${program}: ${words}`);
          expect(await gateway.machine.tool(["verify"]), program).toMatchObject({ code: 0 });
          expect(await repair()).toBe("");
          await gateway.sh(undo);
          await gateway.machine.tool(["restore"]);
          expect(await contents(gateway, variant.plane), program).toEqual(before);
        }
      } finally {
        await gateway.end();
      }
      return {
        done: `the rule commands of three programs: ${Object.keys(RELOADS).join("; ")}`,
        held: "what they took along, or shut, was back after one repair; what they left alone was left alone; others' rules stayed",
        saw: saw.join("; ") || "nothing",
      };
    },
    120_000,
  );

for (const variant of VARIANTS.filter(({ plane }) => plane !== "nftables"))
  fault(27, variant.label, async () => {
    const gateway = await gatewayOf(variant);
    await gateway.sh(`for t in iptables ip6tables; do $t -t nat -F
      ${FOREIGN.match(/\$t -t nat .*/g)?.join("\n")}
    done`);
    const { code, stdout } = await gateway.machine.tool(["verify"]);
    expect(code).toBe(7);
    expect(stdout).toMatch(/^- base ip nat PREROUTING /m);
    return {
      done: "`iptables -t nat -F`, and nothing else",
      held: "verify named what was missing; one repair brought the same set back",
      saw: await expectRepaired(gateway),
    };
  });

for (const variant of VARIANTS)
  fault(28, variant.label, async () => {
    const gateway = await gatewayOf(variant);
    // Counters move, and are no drift.
    await gateway.sh("iptables -t nat -Z; iptables -t mangle -Z; iptables -Z");
    await gateway.expectInStep("old");
    await gateway.sh(
      variant === NFTABLES
        ? `chain=$(nft list table ip netfilter_lb | sed -n 's/^.chain \\(web\\.[0-9a-f]*\\) {/\\1/p' | head -n 1)
           nft insert rule ip netfilter_lb $chain ip saddr 192.0.2.66 drop`
        : "iptables -t nat -I NFLB-web -s 192.0.2.66 -j RETURN",
    );
    const { code, stdout } = await gateway.machine.tool(["verify"]);
    expect(code).toBe(7);
    const finding = stdout.split("\n").find((line) => line.startsWith("+ web "));
    expect(finding).toContain("192.0.2.66");
    expect(await gateway.apply("old")).toMatchObject({ code: 0, stdout: "applied: farm web\n" });
    await gateway.expectInStep("old");
    return {
      done: "a rule put into the farm's first chain by hand, after all counters were set to 0",
      held: "counters were no drift; verify named the rule and its farm; the same set applied again took it away",
      saw: finding ?? "",
    };
  });

for (const variant of [NFTABLES, LEGACY])
  fault(22, variant.label, async () => {
    const gateway = await gatewayOf(variant);
    // A holder that is killed: what it wrote into the lock stays.
    await gateway.sh(`(exec 9>>/run/netfilter-lb.lock; flock 9; echo 'apply web, pid 1, owner a/b/c, since noon' >/run/netfilter-lb.lock
      touch /run/held; exec sleep 600) >/dev/null 2>&1 & holder=$!
      until [ -e /run/held ]; do sleep 0.05; done
      kill -9 $holder; rm /run/held; cat /run/netfilter-lb.lock`);
    const apply = await gateway.apply("new", { env: { NETFILTER_LB_LOCK_WAIT: "0" } });
    expect(apply).toMatchObject({ code: 0, stderr: "" });
    await gateway.expectConverges();
    return {
      done: "a run killed (kill −9) that held the lock, and left its name in it",
      held: "the next apply had the lock at once, without any wait: it belongs to the open file, not to what it says",
      saw: "nothing",
    };
  });
