import fc from "fast-check";
import { expect, test } from "vitest";
import { InputError } from "../../src/cli/errors";
import { readPreview } from "../../src/cli/preview";
import { report } from "../../src/cli/report";
import { compare, compile, SpecError } from "../../src/core";
import { readRuleSet } from "../../src/report/read";
import { preview, step } from "../report/previews";
import { anyCase, simpleCase } from "../spec/farms";
import { allowTime, cases } from "./cases";
import { garbled, mutated } from "./mutations";

/** What reads texts of others: rule sets, previews. It makes sense of them, or says in words what is wrong. */

allowTime();

const ruleSets = anyCase.map(({ name, spec, target }) => compile(name, spec, target).ruleSet);

function orTold<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    expect(error instanceof SpecError || error instanceof InputError, String((error as Error).stack)).toBe(
      true,
    );
    expect((error as Error).message).toMatch(/\S+ \S+ \S+/);
    expect((error as Error).message.length).toBeLessThan(2000);
    return undefined;
  }
}

test("a rule set in which something was changed is refused, or means what it says", () => {
  fc.assert(
    fc.property(garbled(ruleSets), (text) => {
      const read = orTold(() => readRuleSet(text));
      if (!read) return;
      // What is read is told in full: the same text read again, and nothing of it is left unsaid.
      expect(readRuleSet(text)).toEqual(read);
      expect(compare(text, text)).toMatchObject({ change: "none" });
    }),
    cases(400),
  );
});

test("a text that is no rule set is refused", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.string({ unit: "binary" }), fc.lorem({ mode: "sentences" })),
      (text) => {
        expect(orTold(() => readRuleSet(text))).toBeUndefined();
        expect(orTold(() => compare(text, undefined))).toBeUndefined();
      },
    ),
    cases(300),
  );
});

const rules = simpleCase.map(({ spec, target }) => compile("web", spec, target).ruleSet);
const anyStep = fc
  .tuple(rules, rules, fc.constantFrom("create", "update", "replace", "delete", "same", "delete-replaced"))
  .map(([before, after, op]) =>
    step({ ...(op !== "create" && { before }), ...(!op.startsWith("delete") && { after }), op }),
  );
const anyPreview = fc.array(anyStep, { maxLength: 3 }).map((steps) => JSON.parse(preview(...steps)));

test("a preview in which something was changed", () => {
  fc.assert(
    fc.property(mutated(anyPreview), fc.boolean(), (any, markdown) => {
      const text = orTold(() => report(JSON.stringify(any), markdown));
      if (text !== undefined) expect(text).not.toMatch(/undefined|\[object |NaN/);
    }),
    cases(200),
  );
});

test("any JSON, and any text, in the place of a preview", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.json(), fc.string(), fc.constantFrom("", " ", "null", "[]", "{}", '{"steps":{}}')),
      (text) => {
        orTold(() => readPreview(text));
      },
    ),
    cases(500),
  );
});
