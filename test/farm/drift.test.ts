import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test } from "vitest";
import { Drift } from "../../src";
import { parseReport, sayFindings, standingOf } from "../../src/host/report";
import { EDGE, farm } from "./farms";
import { run } from "./program";

/** How a farm stands on a gateway by that one's report, and what the arguments make of the Commands. */

const OWNER = "shop/prod/edge-1";
const HASH = "ab".repeat(32);
const stored = { name: "web", owner: OWNER, sha256: HASH, applied: "2026-01-01T00:00:00Z", repair: "beef" };
const finding = {
  farm: "web",
  shared: false,
  what: "extra",
  object: "ip chain web.abababab",
  text: "drop",
} as const;
const report = { reason: null, farms: [stored], findings: [], notes: [] };
const stands = (more: object) =>
  standingOf({ ...report, ...more }, { farm: "web", owner: OWNER, sha256: HASH });

describe("a farm stands", () => {
  test("in step, with the mark of its last repair", () => {
    expect(stands({})).toEqual({ kind: "in step", mark: "beef" });
    expect(stands({ farms: [{ ...stored, repair: null }] })).toEqual({ kind: "in step", mark: null });
  });

  test("in step where another farm drifted, or something is left of none", () => {
    const findings = [
      { ...finding, farm: "db" },
      { ...finding, farm: null },
    ];
    expect(stands({ findings })).toMatchObject({ kind: "in step" });
  });

  test("drifted by its own finding, or by one of what all farms share", () => {
    expect(stands({ findings: [finding] })).toEqual({ kind: "drifted", findings: [finding] });
    expect(stands({ findings: [{ ...finding, farm: null, shared: true }] })).toEqual({
      kind: "drifted",
      findings: [],
    });
  });

  test.each([
    ["does not hold farm web", { farms: [] }],
    [
      "holds farm web for shop/next/edge-1, not for shop/prod/edge-1",
      { farms: [{ ...stored, owner: "shop/next/edge-1" }] },
    ],
    [
      "holds another set of farm web (sha256 cdcdcdcd, applied 2026-01-01T00:00:00Z)",
      { farms: [{ ...stored, sha256: "cd".repeat(32) }] },
    ],
    [
      "holds another set of farm web (sha256 unknown, applied at no known time)",
      { farms: [{ ...stored, sha256: null, applied: null }] },
    ],
  ])("elsewhere: it %s", (words, more) => {
    expect(stands(more)).toEqual({ kind: "elsewhere", words });
  });
});

test.each([
  "",
  "in step: all farms",
  "3",
  "null",
  "{}",
  JSON.stringify({ ...report, farms: 3 }),
  JSON.stringify({ ...report, farms: [{ ...stored, repair: "; reboot" }] }),
  JSON.stringify({ ...report, findings: [{ ...finding, what: "odd" }] }),
])("%j is no report", (answer) => {
  expect(parseReport(answer)).toBeUndefined();
});

test("many findings are counted", () => {
  const lines = sayFindings(Array.from({ length: 25 }, () => finding));
  expect(lines).toHaveLength(11);
  expect(lines[0]).toBe("extra: ip chain web.abababab drop");
  expect(lines[10]).toBe("and 15 more");
});

test("a report of one shape may say more than this package reads", () => {
  expect(parseReport(JSON.stringify({ ...report, protocol: 1, more: [] }))).toEqual(report);
});

const creates = async (program: () => unknown) =>
  Object.fromEntries((await run(program)).map(({ name, inputs }) => [name, String(inputs.create)]));

test.each([30, pulumi.output(30), Promise.resolve(30)])(
  "repairs every so many seconds",
  async (repairEverySeconds) => {
    const made = await creates(() => farm("web", { gateways: [{ ...EDGE, repairEverySeconds }] }));
    expect(made["netfilter-lb-edge-1"]).toMatch(
      / prepare --owner project\/stack\/edge-1 --version 1 --plane nftables --repair-every 30 [|][|]/,
    );
  },
);

test("without it nothing is said of repairs", async () => {
  const made = await creates(() => farm("web"));
  expect(made["netfilter-lb-edge-1"]).toMatch(
    / prepare --owner project\/stack\/edge-1 --version 1 --plane nftables [|][|]/,
  );
});

test.each(Object.values(Drift))("drift %s leaves what a unit test sees as it is", async (drift) => {
  const before = await creates(() => farm("web"));
  expect(await creates(() => farm("web", { drift }))).toEqual(before);
});
