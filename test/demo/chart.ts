/** A bar a backend: what was asked for beside what was measured. */

const WIDTH = 40;

export interface Row {
  backend: string;
  /** 0 to 1. */
  expected: number;
  connections: number;
}

export function chart(rows: readonly Row[]): string[] {
  const total = rows.reduce((sum, { connections }) => sum + connections, 0);
  const name = Math.max(7, ...rows.map(({ backend }) => backend.length));
  return [
    `${"backend".padEnd(name)}  expected  measured  connections`,
    ...rows.map(({ backend, expected, connections }) => {
      const measured = connections / total;
      return [
        backend.padEnd(name),
        percent(expected).padStart(8),
        percent(measured).padStart(8),
        String(connections).padStart(11),
        bar(measured, expected),
      ].join("  ");
    }),
  ];
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** What was measured, with a mark where the expectation stands. */
function bar(measured: number, expected: number): string {
  const filled = Math.round(measured * WIDTH);
  const cells = [..."█".repeat(filled).padEnd(WIDTH, "·")];
  cells[Math.min(WIDTH - 1, Math.max(0, Math.round(expected * WIDTH) - 1))] = "▌";
  return cells.join("");
}
