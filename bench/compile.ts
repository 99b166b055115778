/**
 * How long `compile` takes for 10,000 backends, and whether it gives the same bytes each time:
 *
 *     npm run bench
 */
import { performance } from "node:perf_hooks";
import { compile, type FarmSpec, type TargetSpec } from "../src/core";

const BACKENDS = 10_000;
const ROUNDS = 7;

const spec: FarmSpec = {
  listeners: [{ address: "203.0.113.10", protocol: "tcp", ports: "80,443" }],
  backends: Array.from({ length: BACKENDS }, (_, i) => ({
    address: `10.${i >> 16}.${(i >> 8) & 0xff}.${i & 0xff}`,
    weight: 1 + (i % 9),
  })),
  sourceNat: "masquerade",
};

const targets: readonly (readonly [string, TargetSpec])[] = [
  ["nftables", { dataPlane: "nftables" }],
  ["iptables nat", { dataPlane: "iptables" }],
  ["iptables zevenet", { dataPlane: "iptables", layout: "zevenet" }],
];

console.log(`compile of ${BACKENDS} backends, median of ${ROUNDS} (node ${process.version})`);
for (const [label, target] of targets) {
  const texts = new Set<string>();
  const times = Array.from({ length: ROUNDS }, () => {
    const start = performance.now();
    texts.add(compile("web", spec, target).ruleSet);
    return performance.now() - start;
  }).sort((a, b) => a - b);
  const median = times[Math.floor(ROUNDS / 2)]!;
  const [text] = texts;
  console.log(
    `${label.padEnd(16)} ${median.toFixed(0).padStart(5)} ms   ${text!.length} bytes, ${texts.size === 1 ? "the same each time" : "NOT the same each time"}`,
  );
  if (texts.size !== 1 || median > 1000) process.exitCode = 1;
}
