import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compile } from "../../src/core";
import { anyCase, equal, NAT, simpleCase } from "../spec/farms";
import { inEmptyNamespace } from "../trace/kernel";

/** The real iptables takes every rule set, and prints it again byte for byte: only so can drift be told. */

const SHARED = "PREROUTING INPUT FORWARD OUTPUT POSTROUTING"
  .split(" ")
  .map((chain) => `:NFLB-${chain} - [0:0]\n`)
  .join("");

/** A part of a rule set: what `ipset restore`, and `iptables-restore` or `ip6tables-restore`, get. */
interface Restore {
  command: string;
  sets: string;
  /** With the chains that all farms share. */
  text: string;
}

function restores(ruleSet: string): Restore[] {
  return ruleSet
    .split(/^# (?=ip6?$)/m)
    .slice(1)
    .map((part) => {
      const tables = part.search(/^\*/m);
      return {
        command: part.startsWith("ip6") ? "ip6tables" : "iptables",
        sets: part.slice(0, tables).replace(/^ip6?\n/, ""),
        text: part.slice(tables).replace(/^\*.*\n/gm, (table) => table + SHARED),
      };
    });
}

/** Loads both parts, and prints what the kernel then has of either. */
const LOAD_AND_SAVE = `
  input=$(cat)
  sets=$(printf '%s\\n' "$input" | sed -n '/^create\\|^add/p')
  text=$(printf '%s\\n' "$input" | sed '/^create/d; /^add/d')
  printf '%s\\n' "$sets" | ipset restore
  printf '%s\\n' "$text" | $tool-restore --noflush --test
  printf '%s\\n' "$text" | $tool-restore --noflush
  $tool-save
  ipset save`;

/** The lines of sets, without what the kernel chooses itself, in an order that is nobody's. */
function setsOf(text: string): string[] {
  return text
    .split("\n")
    .filter((line) => /^(create|add) /.test(line))
    .map((line) => line.replace(/ (hashsize|bucketsize|initval) \S+/g, ""))
    .sort();
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
  .sample(fc.oneof(simpleCase, anyCase, anyCase), { numRuns: 90, seed: 1 })
  .filter(({ target }) => target.dataPlane === "iptables");

describe.each(["nft", "legacy"])("iptables-%s", (variant) => {
  test.each(farms.map((farm, i) => [i, farm.target.layout ?? "nat", farm] as const))(
    "any farm: %i, %s",
    (_, _layout, farm) => {
      const { ruleSet } = compile(farm.name, farm.spec, farm.target);
      for (const { command, sets, text } of restores(ruleSet)) {
        const printed = inEmptyNamespace(`tool=${command}-${variant}${LOAD_AND_SAVE}`, sets + text);
        expect(rulesByChain(printed)).toEqual(rulesByChain(text));
        expect(setsOf(printed)).toEqual(setsOf(sets));
      }
    },
  );

  test("a thousand backends, drawn, in turn or by a hash", () => {
    for (const algorithm of ["random", "roundRobin", "flowHash"] as const)
      for (const { command, text } of restores(compile("web", equal(1000, { algorithm }), NAT).ruleSet))
        inEmptyNamespace(`${command}-${variant}-restore --noflush --test`, text);
  });
});

/** The kernel keeps rates as whole steps: what is written is what it gives back. */
test.each(["nft", "legacy"])("every rate: iptables-%s", (variant) => {
  const rates = Array.from({ length: 10_000 }, (_, i) => i + 1).filter(
    (rate) => rate % 37 === 1 || rate < 200,
  );
  const texts = rates.map((rate) => {
    const spec = equal(2, {
      limits: { newConnectionsPerSecond: rate, perSource: { newConnectionsPerSecond: rate, burst: 5 } },
      log: { perSecond: rate, burst: rate },
    });
    const limits = compile("web", spec, NAT).ruleSet.match(/^-A NFLB-web .*limit.*\n/gm)!;
    expect(limits).toHaveLength(3);
    return limits.join("");
  });
  const text = `*nat\n:NFLB-web - [0:0]\n${texts.join("")}COMMIT\n`;
  const printed = inEmptyNamespace(
    `iptables-${variant}-restore --noflush; iptables-${variant}-save -t nat`,
    text,
  );
  expect(rulesByChain(printed)).toEqual(rulesByChain(text));
});
