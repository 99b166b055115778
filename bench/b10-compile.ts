/** B10: how long `compile` takes, and whether it gives the same bytes each time. */

import { performance } from "node:perf_hooks";
import { compile, type FarmSpec, type TargetSpec } from "../src/core";
import type { Measurement } from "./harness/measurement";
import { type Contender, inRounds } from "./harness/rounds";
import { farmsOf } from "./rules/ours";

const TARGETS: readonly (readonly [name: string, target: TargetSpec])[] = [
  ["nftables", { dataPlane: "nftables" }],
  ["iptables", { dataPlane: "iptables" }],
  ["iptables, layout zevenet", { dataPlane: "iptables", layout: "zevenet" }],
];

interface Input {
  readonly part: string;
  /** Backends in all. */
  readonly backends: number;
  readonly atMostMs: number;
  readonly farms: readonly (readonly [name: string, spec: FarmSpec])[];
}

export const compileTime: Measurement = {
  id: "B10",
  title: "Compiling: time, and the same bytes each time",
  unit: "ms",
  axis: "backends",
  rounds: 7,
  async run(context) {
    const texts = new Map<Contender, Set<string>>();
    const contenders = inputs(context.quick).flatMap(({ part, backends, atMostMs, farms }) =>
      TARGETS.map(([subject, target]) => {
        const contender: Contender = {
          subject,
          role: "ours",
          part,
          at: backends,
          target: { of: "value", atMost: atMostMs },
          async sample() {
            const start = performance.now();
            const ruleSets = farms.map(([name, spec]) => compile(name, spec, target).ruleSet);
            const value = performance.now() - start;
            const seen = texts.get(contender) ?? new Set();
            texts.set(contender, seen.add(ruleSets.join("")));
            return { value };
          },
        };
        return contender;
      }),
    );
    const figures = await inRounds(contenders, context);
    const unequal = [...texts]
      .filter(([, seen]) => seen.size > 1)
      .map(([{ subject, part }]) => `${subject}, ${part}`);
    if (unequal.length > 0) throw new Error(`not the same bytes each time: ${unequal.join("; ")}`);
    const peak = Math.round(process.resourceUsage().maxRSS / 1024);
    return {
      figures,
      notes: [
        `The same bytes in all rounds. Most memory that the process had, all of these in turn: ${peak} MiB.`,
      ],
    };
  },
};

function inputs(quick: boolean): Input[] {
  const backends = quick ? 100 : 10_000;
  const farms = farmsOf({ protocol: "tcp", farms: quick ? 10 : 1000, backends: 10 });
  return [
    { part: "one farm", backends, atMostMs: 1000, farms: [["web", largeFarm(backends)]] },
    { part: "farms of 10", backends: 10 * farms.length, atMostMs: 2000, farms },
  ];
}

/** With what makes a plan work: weights, two ports, source NAT. */
function largeFarm(backends: number): FarmSpec {
  return {
    listeners: [{ address: "203.0.113.10", protocol: "tcp", ports: "80,443" }],
    backends: Array.from({ length: backends }, (_, k) => ({
      address: `10.${k >> 16}.${(k >> 8) & 0xff}.${k & 0xff}`,
      weight: 1 + (k % 9),
    })),
    sourceNat: "masquerade",
  };
}
