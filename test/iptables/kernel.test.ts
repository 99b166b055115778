import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compile } from "../../src/core";
import { anyCase, equal, NAT } from "../spec/farms";
import { inEmptyNamespace } from "../trace/kernel";

/** The real iptables takes every rule set, and prints it again byte for byte: only so can drift be told. */

const SHARED = "PREROUTING INPUT FORWARD OUTPUT POSTROUTING"
  .split(" ")
  .map((chain) => `:NFLB-${chain} - [0:0]\n`)
  .join("");

/** The parts of a rule set: what `iptables-restore` and `ip6tables-restore` get, with the chains that all farms share. */
function restores(ruleSet: string): { command: string; text: string }[] {
  return ruleSet
    .split(/^# (?=ip6?$)/m)
    .slice(1)
    .map((part) => ({
      command: part.startsWith("ip6") ? "ip6tables" : "iptables",
      text: part.replace(/^ip6?\n/, "").replace(/^\*.*\n/gm, (table) => table + SHARED),
    }));
}

/** `TABLE CHAIN` to its rules, in their order: a listing has the chains in an order of its own. */
function rulesByChain(text: string): Map<string, string[]> {
  const chains = new Map<string, string[]>();
  let table = "";
  for (const line of text.split("\n")) {
    if (line.startsWith("*")) table = line;
    const chain = /^(?::|-A )(NFLB-\S+)/.exec(line)?.[1];
    if (chain === undefined) continue;
    const rules = chains.get(`${table} ${chain}`) ?? [];
    chains.set(`${table} ${chain}`, line.startsWith("-A") ? [...rules, line] : rules);
  }
  return chains;
}

const farms = fc
  .sample(anyCase, { numRuns: 40, seed: 1 })
  .filter(({ target }) => target.dataPlane === "iptables");

describe.each(["nft", "legacy"])("iptables-%s", (variant) => {
  test.each(farms.map((farm, i) => [i, farm.target.layout ?? "nat", farm] as const))(
    "any farm: %i, %s",
    (_, _layout, farm) => {
      const { ruleSet } = compile(farm.name, farm.spec, farm.target);
      for (const { command, text } of restores(ruleSet)) {
        const tool = `${command}-${variant}`;
        const printed = inEmptyNamespace(
          `text=$(cat)
        printf '%s\\n' "$text" | ${tool}-restore --noflush --test
        printf '%s\\n' "$text" | ${tool}-restore --noflush
        ${tool}-save`,
          text,
        );
        expect(rulesByChain(printed)).toEqual(rulesByChain(text));
      }
    },
  );

  test("a thousand backends, drawn or in turn", () => {
    for (const algorithm of ["random", "roundRobin"] as const)
      for (const { command, text } of restores(compile("web", equal(1000, { algorithm }), NAT).ruleSet))
        inEmptyNamespace(`${command}-${variant}-restore --noflush --test`, text);
  });
});
