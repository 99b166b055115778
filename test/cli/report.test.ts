import { describe, expect, test } from "vitest";
import { report } from "../../src/cli/report";
import { compile } from "../../src/core";
import { preview, rules, step } from "../report/previews";
import { equal, NAT, NFTABLES, weighted } from "../spec/farms";

/** What `netfilter-lb report` makes of a preview. */

const MORE = rules(equal(3));
const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

test("nothing changes: it says so", () => {
  const nothing = "Nothing changes: no farm of this package gets other rules.";
  expect(report(preview(), false)).toBe(nothing);
  expect(report(preview(step({ before: rules(), after: MORE, op: "same" })), true)).toBe(nothing);
  const other = { op: "create", urn: "urn:a", newState: { inputs: { delete: "rm -rf /tmp/x", stdin: "x" } } };
  expect(report(preview(other, { op: "create", urn: "urn:b", newState: {} }), false)).toBe(nothing);
});

test("farms and gateways come in one order; gateways of which the same is to be said stand together", () => {
  const change = { before: rules(equal(2)), after: MORE };
  const steps = [
    step({ ...change, gateway: "edge-2" }),
    step({ farm: "api", before: rules(equal(2), NAT, "api") }),
    step({ ...change, gateway: "edge-1" }),
  ];
  const text = report(preview(...steps), false);
  expect(text.match(/^\S.*$/gm)).toEqual(["api on edge-1", "web on edge-1, edge-2"]);
  expect(report(preview(...steps.reverse()), false)).toBe(text);
});

test("a replacement is one change, whatever steps it has", () => {
  const state = { before: rules(equal(2)), after: MORE };
  const steps = [
    step({ before: state.before, op: "delete-replaced" }),
    step({ ...state, op: "replace" }),
    step({ ...state, op: "create-replacement" }),
  ];
  const wanted = report(preview(step(state)), false);
  expect(report(preview(...steps), false)).toBe(wanted);
  expect(report(preview(...steps.reverse()), false)).toBe(wanted);
});

describe("a group", () => {
  const dns = rules({ listeners: [{ address: "203.0.113.12", protocol: "udp", port: 53 }] }, NFTABLES, "dns");
  const web = rules(equal(2));

  test("is told farm by farm, of those that change", () => {
    const text = report(preview(step({ group: "all", before: dns + web, after: dns + MORE })), false);
    expect(text).toBe(report(preview(step({ before: web, after: MORE })), false));
  });

  test("that comes, or leaves, does so with its farms", () => {
    const heads = (text: string) => text.match(/^\S.*$|^ {2}The farm is \w+/gm);
    const farms = (word: string) => ["dns on edge-1", word, "web on edge-1", word];
    expect(heads(report(preview(step({ group: "all", after: dns + web })), false))).toEqual(
      farms("  The farm is created"),
    );
    expect(heads(report(preview(step({ group: "all", before: dns + web })), false))).toEqual(
      farms("  The farm is removed"),
    );
  });

  test("and a farm that stands alone exchange services", () => {
    const shop = rules(equal(2), NFTABLES, "shop");
    const steps = [
      step({ farm: "shop", before: shop }),
      step({ group: "all", before: dns, after: dns + web }),
    ];
    const alone = [step({ farm: "shop", before: shop }), step({ after: web })];
    expect(report(preview(...steps), false)).toBe(report(preview(...alone), false));
  });

  test("whose rules are hidden, or are applied again, is told as a whole", () => {
    expect(report(preview(step({ group: "all", before: dns + web, after: "[secret]" })), false)).toBe(
      [
        "group all on edge-1",
        "  The new rules: secret, since a value in them is.",
        "  So what this changes for traffic cannot be told.",
      ].join("\n"),
    );
    expect(report(preview(step({ group: "all", before: web, after: web })), false)).toBe(
      "group all on edge-1\n  The same rules are applied again: nothing changes for traffic.",
    );
  });
});

test.each([
  ["[secret]", "The new rules: secret, since a value in them is."],
  [
    UNKNOWN,
    "The new rules: not known yet, since a value in them comes from a resource that is still to be made or changed.",
  ],
])("%s hides the rules: it says what it cannot tell", (stdin, words) => {
  expect(report(preview(step({ before: rules(), after: stdin })), false)).toBe(
    `web on edge-1\n  ${words}\n  So what this changes for traffic cannot be told.`,
  );
});

test("the same rules again are no change, and neither is a gateway that is given up", () => {
  expect(report(preview(step({ before: rules(), after: rules() })), false)).toMatch(
    /The same rules are applied again: nothing changes for traffic\./,
  );
  const lost = step({ before: rules() }) as { oldState: { retainOnDelete?: boolean } };
  lost.oldState.retainOnDelete = true;
  expect(report(preview(lost), false)).toMatch(/The gateway is given up \(gone\)/);
});

test("a farm that is renamed hands its services over", () => {
  const text = report(
    preview(
      step({ farm: "web", before: rules() }),
      step({ farm: "shop", after: rules({}, NFTABLES, "shop") }),
    ),
    false,
  );
  expect(text).toContain("Service 203.0.113.10 tcp 80 moves to farm shop.");
  expect(text).toContain("Service 203.0.113.10 tcp 80 comes from farm web.");
  expect(text).not.toMatch(/neither translation nor guard|the gateway forgets/);
});

describe("a comment for a pull request", () => {
  const farms = (count: number, backends: number) =>
    preview(
      ...Array.from({ length: count }, (_, i) => {
        const farm = `farm-${i + 1}`;
        const before = compile(farm, equal(backends), NFTABLES).ruleSet;
        const after = compile(farm, weighted([2, ...Array<number>(backends - 1).fill(1)]), NFTABLES).ruleSet;
        return step({ farm, before, after });
      }),
    );

  test("has room for 64,000 characters, and says how many farms are left out", () => {
    const comment = report(farms(60, 40), true);
    expect(comment.length).toBeLessThanOrEqual(64_000);
    const shown = comment.match(/^### /gm)!.length;
    expect(shown).toBeGreaterThan(5);
    expect(comment).toMatch(
      new RegExp(
        `\\n${60 - shown} more farms are left out here, for length: run netfilter-lb report without --markdown\\.$`,
      ),
    );
    expect(report(farms(60, 40), false).match(/ on edge-1$/gm)).toHaveLength(60);
  });

  test("names no single backends where there are hundreds", () => {
    const comment = report(farms(1, 500), true);
    expect(comment).not.toContain("Backend ");
    expect(comment).toContain("- 500 lines about single backends are left out here, for length.");
  });
});

test.each([
  ["", "standard input is empty: give it what pulumi preview --json prints"],
  [
    "Previewing update (dev)\n{}",
    'standard input is not the JSON of pulumi preview --json: it begins with "Previewing update (dev)"; pass its standard output alone, without what else was printed',
  ],
  ["[1]", "standard input is JSON, but not of pulumi preview --json: it has no steps"],
  ["null", "standard input is JSON, but not of pulumi preview --json: it has no steps"],
  [
    JSON.stringify({ steps: [], diagnostics: [{ severity: "error", message: "farm web: 1 problem\n" }] }),
    "the preview failed: farm web: 1 problem",
  ],
  [preview(step({ after: "#!/bin/sh" })), /^rule set: 1 problem/],
])("what is no preview gets one clear error: %j", (text, message) => {
  expect(() => report(text, false)).toThrow(message);
});
