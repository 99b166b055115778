import { show } from "./problem";

/** Ports `from` to `to`, both included; one port where they are equal. */
export interface PortRange {
  from: number;
  to: number;
}

export const EVERY_PORT: PortRange = { from: 0, to: 65535 };

/** `"80,443,8000-8080"` as ranges, lowest first; undefined where `portsProblem` has something to say. */
export function parsePorts(text: string): PortRange[] | undefined {
  if (portsProblem(text) !== undefined) return undefined;
  return text
    .split(",")
    .map((item) => {
      const [from, to = from] = item.split("-").map(Number);
      return { from: from!, to: to! };
    })
    .sort((a, b) => a.from - b.from);
}

/** Why `value` is not a list of ports and ranges that are apart; undefined where it is one. */
export function portsProblem(value: unknown): string | undefined {
  if (typeof value !== "string")
    return 'is not a list of ports; write it as text, such as "80,443,8000-8080"';
  const seen: PortRange[] = [];
  for (const item of value.split(",")) {
    const match = /^\s*(\d{1,5})(?:\s*-\s*(\d{1,5}))?\s*$/.exec(item);
    if (!match) return `has ${show(item)}, which is neither a port nor a range such as 8000-8080`;
    const range = { from: Number(match[1]), to: Number(match[2] ?? match[1]) };
    const written = item.replace(/\s/g, "");
    if (!isPort(range.from) || !isPort(range.to)) return `has ${written}; a port is between 1 and 65535`;
    if (range.from > range.to) return `has ${written}; a range goes from the lower port to the higher`;
    const twice = seen.find((other) => portsOverlap(range, other));
    if (twice)
      return `names ${formatPorts(range)} twice (also in ${formatPorts(twice)}); name each port once`;
    seen.push(range);
  }
  return undefined;
}

/** Whether `value` is a port that a packet can be sent to. */
export function isPort(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 65535;
}

export function portsOverlap(a: PortRange, b: PortRange): boolean {
  return a.from <= b.to && b.from <= a.to;
}

/** `80`, or `8000-8080`. */
export function formatPorts({ from, to }: PortRange): string {
  return from === to ? String(from) : `${from}-${to}`;
}
