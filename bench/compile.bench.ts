/**
 * Compiling under vitest, to see what a change of the code does to it:
 *
 *     npx vitest bench --run --outputJson before.json
 *     npx vitest bench --run --compare before.json
 */

import { bench, describe } from "vitest";
import { compile, type TargetSpec } from "../src/core";
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
