/** Sets on trial: what could keep a gateway from going back, or shut out whoever would bring it back. */

import { afterEach, expect } from "vitest";
import { edge, everything, farm, rewrite, stackOf, VIP } from "../e2e/support";
import { Engine } from "../support/engine/engine";
import { Lab } from "../support/lab";
import { FrontDoor } from "../support/lab/front-door";
import { BareGateway, IPTABLES, NFTABLES } from "./bare-gateway";
import { fault } from "./fault";
import { foreignRules, plantForeignRules } from "./foreign";

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function bareGateway(variant: typeof NFTABLES): Promise<BareGateway> {
  const gateway = await BareGateway.start(variant);
  ends.push(() => gateway.end());
  // No watcher: each step is the test's own.
  await gateway.interpose("setsid", 'case "$*" in *" watch "*) ;; *) exec REAL "$@" ;; esac');
  return gateway;
}

/** Seconds since the boot stand where a test puts them. */
const uptime = (gateway: BareGateway, seconds: number) =>
  gateway.sh(`echo ${seconds}.00 1.00 >/run/uptime
    grep -q ' /proc/uptime ' /proc/self/mounts || mount --bind /run/uptime /proc/uptime`);

const expire = (gateway: BareGateway) => gateway.machine.tool(["expire"]);

for (const variant of [NFTABLES, IPTABLES]) {
  fault(18, variant.label, async () => {
    const gateway = await bareGateway(variant);
    for (const [from, to] of [
      ["2026-11-21", "2099-01-01"],
      ["2026-11-21", "1971-01-01"],
    ] as const) {
      await gateway.interpose(
        "date",
        `case "$*" in *%s*) REAL -d ${from} +%s ;; *) echo ${from}T00:00:00Z ;; esac`,
      );
      await uptime(gateway, 1000);
      expect(await gateway.apply("new", { confirm: 60 })).toMatchObject({ code: 0, stderr: "" });
      await gateway.sh(`sed -i s/${from}/${to}/g /usr/local/sbin/date`);
      await uptime(gateway, 1059);
      expect(await expire(gateway)).toMatchObject({ code: 0, stderr: "" });
      await gateway.expectHolds("new");
      await uptime(gateway, 1060);
      await expire(gateway);
      await gateway.expectHolds("old");
      await gateway.expose("date");
    }
    return {
      done: "during a trial of 60 s the clock jumped to 2099, and to 1971",
      held: "on trial after 59 s, back to the old set after 60, as if nothing had been",
      saw: "nothing of the clock",
    };
  });

  fault(20, variant.label, async () => {
    const gateway = await bareGateway(variant);
    const program = variant === NFTABLES ? "nft" : "iptables-restore";
    await gateway.interpose("logger", 'echo "$@" >>/run/syslog');
    await gateway.apply("new", { confirm: 3600 });
    // The old set alone has a source address of its own.
    await gateway.interpose(
      program,
      `text=$(mktemp); trap 'rm -f "$text"' EXIT
case "$*" in *-f*) cat "$2" >"$text" ;; *-restore*|*noflush*) cat >"$text" ;; esac
if grep -q -e masquerade -e MASQUERADE "$text"; then echo "Error: no luck today" >&2; exit 1; fi
REAL "$@" <"$text"`,
    );
    await gateway.sh("sed -i 's/^# until .*/# until 1/' /etc/netfilter-lb/trials/web.trial");
    const { code, stderr } = await expire(gateway);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^netfilter-lb: ATTENTION: farm web was not confirmed within 3600 s, and its set stays, because going back failed/,
    );
    expect(stderr).toContain("the kernel said: Error: no luck today");
    expect(await gateway.sh("cat /run/syslog")).toContain("ATTENTION: farm web was not confirmed");
    await gateway.expectHolds("new");
    await gateway.expose(program);
    await expire(gateway);
    await gateway.expectHolds("old");
    return {
      done: "a set that nobody confirmed, and a kernel that refuses the one before it",
      held: "the new set, whole, in the kernel and on disk; tried again, the old one (the tool tries by itself every few seconds)",
      saw: `${stderr.trim()} — on standard error of the command that met it, and in syslog`,
    };
  });
}

for (const dataPlane of ["nftables", "iptables"] as const)
  fault(
    19,
    dataPlane,
    async () => {
      const door = "203.0.113.50";
      const lab = await Lab.create();
      ends.push(() => lab.close());
      const engine = await Engine.open();
      ends.push(() => engine.close());
      const gateway = lab.gateway();
      const foreign = await plantForeignRules(gateway);
      const way = await FrontDoor.open(lab, gateway, door);
      ends.push(() => way.close());
      await lab.backends.serve({ tcp: [80] });

      const of = (addresses: string[]) =>
        farm("web", [edge(gateway, { dataPlane }, { ...way.connection, dialErrorLimit: 60 })], {
          listeners: [
            { address: VIP, protocol: "tcp", port: 80 },
            ...addresses.map((address) => ({ address, protocol: "all" as const })),
          ],
          confirm: { withinSeconds: 20 },
        });
      // Shared maps of every kind are there from the start, since they stay while any farm does.
      const stack = await stackOf(engine, [of(["203.0.113.60"])], [gateway]);
      await stack.up();
      const before = lines(await everything(gateway));

      await rewrite(stack, [of(["203.0.113.60", door])]);
      const { refused } = way;
      const { output } = await stack.up({ fails: true });
      expect(way.refused).toBeGreaterThan(refused);
      expect(lines(await everything(gateway))).toEqual(before);
      expect(await foreignRules(gateway)).toContain(foreign.trim().split("\n").at(-1));
      expect((await lab.client.connect({ to: VIP, port: 80, count: 10 })).lost).toBe(0);
      const saw =
        output
          .split("\n")
          .find((line) => line.includes("was not confirmed within"))
          ?.trim() ?? expect.fail(output);

      await rewrite(stack, [of(["203.0.113.60"])]);
      await stack.up();
      expect(lines(await everything(gateway))).toEqual(before);
      return {
        done: "a farm that takes every port of the address by which SSH comes in through a redirect that neither the preview nor sshd can see; new connections to sshd were refused",
        held: "the old set, the rules of others and SSH are back by themselves; the program changed back, pulumi up succeeds",
        saw,
      };
    },
    240_000,
  );

/** Rules of farms that share a chain stand by who came last; what is kept of trials is no rule. */
const lines = (text: string) =>
  text
    .split("\n")
    .filter((line) => !line.includes("/netfilter-lb/trials"))
    .sort();
