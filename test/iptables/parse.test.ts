import fc from "fast-check";
import { expect, test } from "vitest";
import { compile } from "../../src/core";
import { lower } from "../../src/iptables/lower";
import { renderIptRules } from "../../src/iptables/render";
import { parseIptables } from "../../src/report/iptables";
import { Lines } from "../../src/report/text";
import { anyCase, simpleCase } from "../spec/farms";

/** A text is read back as the very rules that it was made from. */

const anyIptables = fc
  .oneof(simpleCase, anyCase)
  .filter(({ target }) => target.dataPlane === "iptables")
  .map(({ name, spec, target }) => compile(name, spec, target));

/** What stands behind the header. */
function bodyOf(ruleSet: string): string[] {
  const lines = ruleSet.trimEnd().split("\n");
  return lines.slice(lines.findIndex((line) => /^# ip6?$/.test(line)));
}

test("rules that became text become the same rules again", () => {
  fc.assert(
    fc.property(
      anyIptables.filter(({ ruleSet }) => ruleSet.includes("iptables nat")),
      ({ plan, ruleSet }) => {
        const { families } = lower(plan, "nat");
        const filled = families.map((one) => ({
          ...one,
          tables: one.tables.filter(({ rules }) => rules.length > 0),
        }));
        expect(parseIptables(new Lines(bodyOf(ruleSet)))).toEqual({ families: filled });
      },
    ),
    { numRuns: 60 },
  );
});

test("in layout zevenet, whose comments may be shortened, the same text", () => {
  fc.assert(
    fc.property(
      anyIptables.filter(({ ruleSet }) => ruleSet.includes("iptables zevenet")),
      ({ ruleSet }) => {
        const body = bodyOf(ruleSet);
        expect(renderIptRules(parseIptables(new Lines(body)))).toEqual(body);
      },
    ),
    { numRuns: 40 },
  );
});
