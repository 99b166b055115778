import fc from "fast-check";
import { expect, test } from "vitest";
import { compile, type FarmSpec } from "../../src/core";
import { caseOnAll, equal, NFTABLES } from "../spec/farms";
import { inEmptyNamespace, nftablesBase } from "../trace/kernel";

/** The real nft takes every rule set, beside the table that the tool makes. */

/**
 * Checks, loads and lists; what nft lists it must take again, as another tool might at the next boot. The second list is the same,
 * but for networks that nft joined in the first.
 */
const LOAD = `
  text=$(cat)
  printf '%s\\n' "$text" | nft -c -f -
  printf '%s\\n' "$text" | nft -f -
  again() {
    listed=$(nft list ruleset)
    nft flush ruleset
    printf '%s\\n' "$listed" | nft -f -
  }
  again
  again
  [ "$(nft list ruleset)" = "$listed" ]
  printf '%s\\n' "$listed"
`;

const farms = fc.sample(caseOnAll([NFTABLES]), { numRuns: 40, seed: 1 });

test.each(farms.map((farm, i) => [i, farm] as const))("any farm: %i", (_, { name, spec, targets }) => {
  const { ruleSet } = compile(name, spec, targets[0]!);
  const own = [...ruleSet.matchAll(/^\t((?:chain|map|set|ct helper) \S+ \{)/gm)].map(([, one]) => one!);
  const listed = inEmptyNamespace(LOAD, nftablesBase(ruleSet) + ruleSet);
  expect(own.filter((one) => !listed.includes(one))).toEqual([]);
});

test("farms stand beside each other in the shared maps", () => {
  const other: FarmSpec = { ...equal(3), listeners: [{ address: "203.0.113.11", protocol: "udp" }] };
  const farms = [compile("web", equal(2), NFTABLES), compile("other", other, NFTABLES)];
  const text = farms.map(({ ruleSet }) => ruleSet).join("");
  const listed = inEmptyNamespace(LOAD, nftablesBase(text) + text);
  expect(listed).toMatch(/203\.0\.113\.11 \. udp \. 0-65535 : goto other\.farm\b/);
  expect(listed).toMatch(/203\.0\.113\.10 \. tcp \. 80 : goto web\.farm\b/);
});

test("thousand backends, weights of five digits and a counter of ten thousand turns are no trouble", () => {
  const thousand = equal(1000);
  const heavy = thousand.backends.map((backend, i) => ({ ...backend, weight: 65535 - i }));
  const turning = thousand.backends.map((backend, i) => ({ ...backend, weight: (i % 19) + 1 }));
  for (const spec of [
    { ...thousand, backends: heavy },
    { ...thousand, backends: turning, algorithm: "roundRobin" as const },
  ]) {
    const { ruleSet } = compile("web", spec, NFTABLES);
    inEmptyNamespace("nft -c -f -", nftablesBase(ruleSet) + ruleSet);
  }
});
