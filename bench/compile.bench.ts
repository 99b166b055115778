/**
 * Compiling under vitest, to see what a change of the code does to it:
 *
 *     npx vitest bench --run --outputJson before.json
 *     npx vitest bench --run --compare before.json
 */

import { bench, describe } from "vitest";
import { compile, type TargetSpec } from "../src/core";
import { Claims } from "../src/farm/claims";
import { farmsOf } from "./rules/ours";

const TARGETS: readonly TargetSpec[] = [
  { dataPlane: "nftables" },
  { dataPlane: "iptables" },
  { dataPlane: "iptables", layout: "zevenet" },
];

describe.each(TARGETS)("%o", (target) => {
  for (const [farms, backends] of [
    [1, 10],
    [1, 1000],
    [100, 10],
  ] as const) {
    const specs = farmsOf({ protocol: "tcp", farms, backends });
    bench(`${farms} farms of ${backends} backends`, () => {
      for (const [name, spec] of specs) compile(name, spec, target);
    });
  }
});

describe("what a thousand farms of one gateway claim", () => {
  const plans = farmsOf({ protocol: "tcp", farms: 1000, backends: 10 }).map(
    ([name, spec]) => [name, compile(name, spec, { dataPlane: "nftables" }).plan] as const,
  );
  bench("each against all others", () => {
    const claims = new Claims("edge-1");
    for (const [name, plan] of plans) claims.claim(name, plan, "all");
  });
});
