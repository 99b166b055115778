/** Both variants of iptables on one gateway. */

import { afterEach, expect } from "vitest";
import { FOREIGN } from "../host/fixtures";
import { BareGateway, foreignOf, IPTABLES, LEGACY } from "./bare-gateway";
import { fault } from "./fault";

let gateway: BareGateway;
afterEach(() => gateway.end());

const COMMANDS = ["", "-save", "-restore"].flatMap((end) => [`iptables${end}`, `ip6tables${end}`]);

/** As update-alternatives does it. */
const select = (iptables: "nft" | "legacy") =>
  gateway.sh(
    COMMANDS.map((command) => {
      const real = `/usr/sbin/${command.replace("tables", `tables-${iptables}`)}`;
      return `ln -sf ${real} /etc/alternatives/${command}`;
    }).join("\n"),
  );

/** Rules in the other variant, in the form of iptables-save. */
const inVariant = (iptables: "nft" | "legacy") =>
  gateway.sh(
    `for t in iptables ip6tables; do $t-${iptables}-save | sed -e 's/\\[[0-9:]*\\]//' -e '/^#/d'; done`,
  );

for (const variant of [IPTABLES, LEGACY]) {
  const other = variant === IPTABLES ? "legacy" : "nft";

  fault(14, `rules of others in iptables-${other}`, async () => {
    gateway = await BareGateway.start(variant);
    await gateway.sh(FOREIGN.replaceAll("$t", `$t-${other}`).replace(/^nft[\s\S]*?^X$/m, ""));
    const theirs = await inVariant(other);
    await gateway.noteForeign();
    await gateway.expectConverges();
    await gateway.machine.remove("web");
    expect(await inVariant(other)).toBe(theirs);
    return {
      done: `${theirs.match(/^-A /gm)?.length} rules of others in iptables-${other}, while farms are in iptables-${variant.iptables}; changes and a removal`,
      held: `the rules of others are byte for byte the same in both, and the farm is whole after each change`,
      saw: "nothing",
    };
  });

  fault(14, `iptables-${variant.iptables} becomes iptables-${other}`, async () => {
    gateway = await BareGateway.start(variant);
    const rules = await inVariant(variant.iptables);
    await select(other);
    const found = await gateway.machine.tool(["verify"]);
    expect(found.code).toBe(7);
    const applied = await gateway.apply("new");
    expect(applied).toEqual({ code: 0, stdout: "applied: farm web\n", stderr: "" });
    expect(await inVariant(other)).toMatch(/-j DNAT --to-destination 10\.0\.0\.8/);
    expect(await inVariant(other)).not.toContain("10.0.0.5");
    expect(await inVariant(variant.iptables)).not.toContain("NFLB-");
    expect(foreignOf(await inVariant(variant.iptables))).toBe(foreignOf(rules));
    expect(await gateway.machine.tool(["verify"])).toMatchObject({ code: 0 });

    await select(variant.iptables);
    expect(await gateway.machine.tool(["restore"])).toMatchObject({ code: 0, stderr: "" });
    expect(await inVariant(other)).not.toContain("NFLB-");
    await gateway.expectInStep("new");

    // Somebody tries the other one, and comes back.
    await gateway.sh(
      `iptables-${variant.iptables}-save -t nat | grep -e NFLB- -e '^[*C]' | iptables-${other}-restore --noflush`,
    );
    const stray = await gateway.machine.tool(["verify"]);
    expect(stray.code).toBe(7);
    expect(stray.stdout).toContain(
      `+ base iptables-${other} rules of farms, from before this gateway changed`,
    );
    await gateway.machine.tool(["restore"]);
    await gateway.expectConverges();
    return {
      done: `update-alternatives from iptables-${variant.iptables} to iptables-${other} behind a farm, a change, and back again`,
      held: "after the next run the set is whole in the variant of now, nothing of it is left in the other, and the rules of others stay",
      saw: `${stray.stdout.trim()} ${stray.stderr.trim()}`,
    };
  });
}
