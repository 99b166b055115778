/** The table of README, "How much one gateway carries": `npx tsx test/capacity/table.ts` prints it. */

import { type Capacity, capacity } from "../../src/core";
import { formatCount } from "../../src/spec/count";

const LIVES: readonly (readonly [string, number])[] = [
  ["1 s", 1],
  ["10 s", 10],
  ["1 minute", 60],
  ["10 minutes", 600],
  ["1 hour", 3600],
];
const SIZES = [65_536, 262_144, 1_048_576];

export function table(): string {
  const heads = SIZES.map((max) => {
    const { bytes } = of(max, 1).conntrack;
    return `${formatCount(max)} entries (${formatCount(bytes / 2 ** 20)} MiB)`;
  });
  return [
    row("a TCP connection lives", ...heads, "one backend, masqueraded"),
    row("---", ...SIZES.map(() => "---:"), "---:"),
    ...LIVES.map(([words, seconds]) =>
      row(
        words,
        ...SIZES.map((max) => formatCount(of(max, seconds).conntrack.newConnectionsPerSecond)),
        formatCount(of(SIZES[0]!, seconds).sourcePorts[0]!.newConnectionsPerSecond),
      ),
    ),
  ].join("\n");
}

function of(conntrackMax: number, connectionSeconds: number): Capacity {
  return capacity(
    "web",
    {
      listeners: [{ address: "203.0.113.10", protocol: "tcp", port: 80 }],
      backends: [{ address: "10.0.0.3" }],
      sourceNat: "masquerade",
    },
    { dataPlane: "nftables", capacity: { conntrackMax, connectionSeconds } },
  );
}

function row(...cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

if (require.main === module) console.log(table());
