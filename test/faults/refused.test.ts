/** A rule set that the gateway's nft, iptables or kernel does not take. */

import { expect } from "vitest";
import { ruleSet } from "../host/fixtures";
import { IPTABLES, LEGACY, NFTABLES, shared, VARIANTS, type Variant, ZEVENET } from "./bare-gateway";
import { fault } from "./fault";

const gatewayOf = shared();

/** More than one table changes, so that one may be committed before another is refused. */
const SERVICES = ["203.0.113.10 tcp 80", "203.0.113.10 tcp 8000-8080", "203.0.113.10 tcp 443"];

/** Applies the new set with each of these rules more. @returns what the tool said, without repetitions */
async function refused(variant: Variant, extras: readonly string[]): Promise<string[]> {
  const gateway = await gatewayOf(variant);
  const said: string[] = [];
  for (const extra of extras) {
    const set = ruleSet({ plane: gateway.plane, services: SERVICES, extra });
    const outcome = await gateway.machine.apply("web", set);
    expect([1, 6]).toContain(outcome.code);
    const message = await gateway.expectRefused(outcome, outcome.code);
    expect(message).toMatch(/^netfilter-lb: applying farm web failed, the last good set stays in force; /);
    said.push(message);
  }
  await gateway.expectConverges();
  return said;
}

for (const variant of [IPTABLES, LEGACY, ZEVENET])
  fault(6, variant.label, async () => {
    const said = await refused(variant, [
      "-m tcp --dport 80 -j ACCEPT",
      "-j NFLB-web.nowhere",
      "-j NFLB-web",
    ]);
    return {
      done: `${said.length} sets whose nat section is wrong, behind a good mangle section: an option without its protocol, a chain that is not there, and a loop, which only the kernel sees, after mangle was committed`,
      held: `${said.length} of ${said.length}: the old set, whole, in every table`,
      saw: said.at(-1) ?? "",
    };
  });

fault(6, "nftables", async () => {
  const said = await refused(NFTABLES, [
    "goto web.farm.nowhere",
    "dnat to ct mark map { 0x1 : 10.0.0.3 . 80 }",
  ]);
  return {
    done: "a set with a chain that is not there, and one whose translation has a port and no protocol",
    held: "2 of 2: the old set, whole",
    saw: said.at(-1) ?? "",
  };
});

for (const variant of VARIANTS)
  fault(7, variant.label, async () => {
    const rule = variant === NFTABLES ? "goto web.farm" : "-j MASQUERADE";
    const why = variant === NFTABLES ? "a chain that leads to itself" : "masquerade before routing";
    const said = await refused(variant, [rule]);
    return {
      done: `a set with a rule that only the kernel can refuse: ${why} (${rule})`,
      held: "the old set, whole",
      saw: said.at(-1) ?? "",
    };
  });
