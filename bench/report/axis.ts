/** Axes that fit what is to be shown. */

import type { Axis } from "./plot";

/** Powers of ten, with 2 and 5 between them where there are few. */
export function logAxis(label: string, values: readonly number[], print?: (value: number) => string): Axis {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const steps = high / low > 300 ? [1] : high / low > 30 ? [1, 3] : [1, 2, 5];
  const all: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    for (const step of steps) all.push(Number((step * 10 ** power).toPrecision(3)));
  const from = all.filter((tick) => tick <= low).at(-1) ?? low;
  const to = all.find((tick) => tick >= high) ?? high;
  const ticks = all.filter((tick) => tick >= from && tick <= to);
  return { label, scale: "log", ticks, from, to, ...(print && { print }) };
}

/** The points themselves are the ticks. */
export function pointsAxis(label: string, points: readonly number[]): Axis {
  const ticks = [...new Set(points)].sort((a, b) => a - b);
  return { label, scale: "log", ticks, from: ticks[0]!, to: ticks.at(-1)! };
}

export function linearAxis(
  label: string,
  values: readonly number[],
  print?: (value: number) => string,
): Axis {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const raw = (high - low || 1) / 6;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= raw) ?? 10);
  const from = Math.floor(low / step) * step;
  const to = Math.ceil(high / step) * step;
  const count = Math.round((to - from) / step);
  const ticks = Array.from({ length: count + 1 }, (_, k) => Number((from + k * step).toPrecision(6)));
  return { label, scale: "linear", ticks, from, to, ...(print && { print }) };
}
