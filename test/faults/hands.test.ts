import { afterEach, describe, expect } from "vitest";
import { FOREIGN, PLANES, type Plane, ruleSet } from "../host/fixtures";
import { Machine, OWNER } from "../host/support";
import type { Outcome } from "../support/lab/process";
import { foreignOf, LEGACY, NFTABLES, oursOf, shared, VARIANTS } from "./bare-gateway";
import { fault, sweep } from "./fault";

/** Several hands on one gateway: at the same time, for the same service, on one data plane and then the other. */

const STRANGER = "shop/dev/edge-1";
const SERVICE = "203.0.113.10 tcp 80";

const start = shared();

/** A run took its turn, or had begun before the one that came first: then it says so. @returns how many did: 0 or 1 */
function expectInTurn({ code, stderr }: Outcome, what: string): number {
  if (code === 0) {
    expect(stderr).toBe("");
    return 0;
  }
  expect({ code, stderr }).toEqual({
    code: 3,
    stderr: expect.stringMatching(
      new RegExp(
        `^netfilter-lb: another run of ${OWNER} changed farm web .* so farm web ${what}; run this again`,
      ),
    ),
  });
  return 1;
}

describe.each(VARIANTS)("$label", (variant) => {
  fault(21, variant.label, async () => {
    const gateway = await start(variant);
    const rounds = sweep(2, 60);
    const last = { old: 0, new: 0 };
    let runs = 0;
    let outrun = 0;
    let refused = "";
    const all = async (...outcomes: Promise<Outcome>[]) => {
      runs += outcomes.length;
      return await Promise.all(outcomes);
    };
    for (let round = 0; round < rounds; round++) {
      const [one, other, , stranger] = await all(
        gateway.apply("new"),
        gateway.apply("old"),
        gateway.machine.tool(["restore"]),
        gateway.apply("new", { owner: STRANGER }),
        gateway.machine.tool(["verify"]),
      );
      expect(stranger).toMatchObject({ code: 3, stdout: "" });
      refused = stranger!.stderr.trim();
      const which = await gateway.disk();
      await gateway.expectInStep(which);
      last[which]++;
      const [won, lost] = which === "new" ? [one, other] : [other, one];
      expect(won).toMatchObject({ code: 0, stderr: "" });
      outrun += expectInTurn(lost!, "is not applied");

      // One puts a change in while the other takes the farm away: what came last counts, and nothing in between.
      const [change, removal] = await all(gateway.apply("new"), gateway.machine.remove("web"));
      expect(change).toMatchObject({ code: 0, stderr: "" });
      outrun += expectInTurn(removal!, "stays");
      if ((await gateway.machine.stored("web")) !== "") await gateway.expectInStep("new");
      else {
        expect(foreignOf(await gateway.machine.rules())).toBe(gateway.foreign);
        expect(oursOf(await gateway.machine.rules(), variant.plane)).not.toMatch(/\bweb\b/);
      }
      expect(await gateway.apply("old")).toMatchObject({ code: 0, stderr: "" });
      await gateway.expectInStep("old");
    }
    return {
      done:
        `${rounds} rounds of two operators who apply two versions of a farm at once, beside a restore, a verify and another stack's ` +
        "apply; then one who changes it while the other removes it",
      held:
        `${runs} runs took their turns: each time one of the two versions was in force, whole, the same in the kernel and on disk ` +
        `(the one ${last.old} times, the other ${last.new} times), or none after a removal; ${outrun} runs that had begun earlier than the ` +
        "one before them were told so and changed nothing; the other stack was refused each time",
      saw: refused,
    };
  });

  fault(29, variant.label, async () => {
    const gateway = await start(variant);
    const { machine } = gateway;
    const db = (services: readonly string[], owner?: string) =>
      machine.apply("db", ruleSet({ plane: variant.plane, name: "db", services }), owner ? { owner } : {});
    const refusals: string[] = [];
    for (const services of [[SERVICE], ["203.0.113.10 tcp 0-65535"], ["203.0.113.10 all -"]]) {
      refusals.push(await gateway.expectRefused(await db(services, STRANGER), 3));
      // Of the same stack: whole services may move, and no parts of a range.
      if (services[0] !== SERVICE) refusals.push(await gateway.expectRefused(await db(services), 3));
    }
    // A farm of this stack takes it over, and gives it back.
    expect(await db([SERVICE])).toMatchObject({ code: 0, stderr: "" });
    expect(await machine.stored("web")).not.toContain(`# service ${SERVICE}\n`);
    expect(await machine.tool(["verify"])).toMatchObject({ code: 0, stdout: "in step: all farms\n" });
    expect(foreignOf(await machine.rules())).toBe(gateway.foreign);
    expect(await gateway.apply("old")).toMatchObject({ code: 0, stderr: "" });
    await gateway.expectInStep("old");
    expect(await machine.remove("db")).toMatchObject({ code: 0, stderr: "" });
    await gateway.expectInStep("old");
    return {
      done:
        "another stack's farm, then another farm of the same stack, claims the service of a farm, all ports of its address, and all " +
        "protocols",
      held:
        `${refusals.length} of ${refusals.length} refused, with the old set in force and on disk; the very same service within one ` +
        "stack moved to the other farm and back, in one swap each",
      saw: refusals[0]!,
    };
  });
});

/** What is given to the program of a plane, and in no other plane's set. */
const PROGRAMS: Readonly<Record<Plane, readonly [program: string, text: string]>> = {
  nftables: ["nft", "numgen"],
  "iptables nat": ["ip6tables-restore", "j CONNMARK --set-xmark"],
  "iptables zevenet": ["ip6tables-restore", "j CONNMARK --restore-mark"],
};

let machine: Machine | undefined;
afterEach(async () => {
  await machine?.end();
  machine = undefined;
});

describe.each([NFTABLES, LEGACY])("where iptables is iptables-$iptables", ({ iptables }) => {
  for (const from of PLANES)
    for (const to of PLANES.filter((plane) => plane !== from))
      fault(32, `iptables-${iptables}, from ${from} to ${to}`, async () => {
        const gateway = await Machine.start({ iptables });
        machine = gateway;
        await gateway.sh(FOREIGN);
        await gateway.tool(["prepare", "--owner", OWNER, "--lock-forward", "off"]);
        const foreign = foreignOf(await gateway.rules());
        const services = [SERVICE, "203.0.113.10 tcp 8000-8080", "203.0.113.11 all -", "2001:db8::10 udp 53"];
        const apply = (plane: Plane) => gateway.apply("web", ruleSet({ plane, services, masquerade: true }));
        const expectOnly = async (plane: Plane, like: string) => {
          const rules = await gateway.rules();
          expect(foreignOf(rules)).toBe(foreign);
          expect(oursOf(rules, plane)).toBe(like);
          expect(rules.includes("table ip netfilter_lb")).toBe(plane === "nftables");
          expect(rules.includes("NFLB-")).toBe(plane !== "nftables");
          expect(await gateway.stored("web")).toBe(ruleSet({ plane, services, masquerade: true }));
          expect(await gateway.tool(["verify"])).toMatchObject({ code: 0, stdout: "in step: all farms\n" });
        };
        const alone: string[] = [];
        for (const plane of [to, from]) {
          expect(await apply(plane)).toMatchObject({ code: 0, stderr: "" });
          alone.push(oursOf(await gateway.rules(), plane));
          if (plane === to) await gateway.remove("web");
        }
        // The new plane's program does not take it: the old one goes on.
        const [program, theirs] = PROGRAMS[to];
        const real = (await gateway.sh(`PATH=/usr/sbin:/sbin command -v ${program}`)).trim();
        await gateway.sh(`cat >/usr/local/sbin/${program} && chmod 755 /usr/local/sbin/${program}`, {
          input: `#!/bin/sh
case "$*" in *-f*) cat "$2" >/run/given ;; *noflush*) cat >/run/given ;; *) exec ${real} "$@" ;; esac
if grep -q '${theirs}' /run/given; then echo "no luck today" >&2; exit 1; fi
${real} "$@" </run/given\n`,
        });
        const refused = await apply(to);
        await gateway.sh(`rm /usr/local/sbin/${program}`);
        expect(refused).toMatchObject({ code: 1, stdout: "" });
        await expectOnly(from, alone[1]!);
        expect(await apply(to)).toEqual({ code: 0, stdout: "applied: farm web\n", stderr: "" });
        await expectOnly(to, alone[0]!);
        expect(await gateway.tool(["list"])).toMatchObject({ stdout: `web ${OWNER} ${to}\n` });
        await gateway.remove("web");
        expect(foreignOf(await gateway.rules())).toBe(foreign);
        return {
          done: "the farm's data plane changed, first where the new one's program fails, then where it works",
          held:
            "after the failure the old plane's rules, and nothing of the new one; then the new one's, just as on a gateway that never " +
            "had another, and nothing of the old one",
          saw: refused.stderr.trim(),
        };
      });
});
