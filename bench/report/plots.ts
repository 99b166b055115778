/** Which plots a result gets. */

import type { Figure, Result } from "../harness/result";
import { median, quartiles } from "../harness/statistics";
import { linearAxis, logAxis, pointsAxis } from "./axis";
import { COLOURS, type Plot, type Series } from "./plot";

export interface NamedPlot {
  /** Its file's, without `.svg`. */
  readonly name: string;
  readonly plot: Plot;
}

export function plotsOf(result: Result): NamedPlot[] {
  switch (result.id) {
    case "B1":
      return [
        costs(result, "b1-cost", "Cost of a new flow, by the number of backends"),
        ratios(result, "b1-ratio", "New flow: ratio to the bare spread", ["ours", "reference"]),
      ];
    case "B2":
      return [
        ratios(
          result,
          "b2-ratio",
          "Established TCP packet: ratio to plain DNAT",
          ["ours", "rival"],
          "tcp",
          "log",
        ),
      ];
    case "B4":
      return [costs(result, "b4-cost", "Cost of a new flow, by the number of farms")];
    default:
      return [];
  }
}

/** In microseconds, both axes logarithmic. */
function costs(result: Result, name: string, title: string): NamedPlot {
  const figures = result.figures;
  const µs = (value: number) => value / 1000;
  return {
    name,
    plot: {
      title,
      description: `Microseconds a packet against the number of ${result.axis}, both logarithmic, for ${subjectsOf(figures).join(", ")}.`,
      x: pointsAxis(
        result.axis,
        figures.map(({ at }) => at),
      ),
      y: logAxis(
        "µs a packet",
        figures.flatMap(({ values }) => values.map(µs)),
      ),
      series: seriesOf(figures, ({ values }) => values.map(µs)),
    },
  };
}

function ratios(
  result: Result,
  name: string,
  title: string,
  roles: readonly Figure["role"][],
  part?: string,
  scale: "linear" | "log" = "linear",
): NamedPlot {
  const figures = result.figures.filter(
    (figure) => figure.ratios && roles.includes(figure.role) && (part === undefined || figure.part === part),
  );
  const shown = figures.filter(({ subject }) => scale === "log" || !/zevenet|forward/i.test(subject));
  const values = shown.flatMap((figure) => [...quartiles(figure.ratios!), median(figure.ratios!)]);
  const limits = limitsOf(shown);
  const range = [...values, ...limits.map(({ y }) => y), 1];
  return {
    name,
    plot: {
      title,
      description: `Ratio to the baseline of the same round against the number of ${result.axis}, for ${subjectsOf(shown).join(", ")}; dotted lines are targets.`,
      x: pointsAxis(
        result.axis,
        figures.map(({ at }) => at),
      ),
      y: scale === "log" ? logAxis("ratio", range) : linearAxis("ratio", range, (value) => value.toFixed(2)),
      series: seriesOf(shown, ({ ratios = [] }) => ratios),
      limits,
    },
  };
}

/** One line for each limit, along the points that it is for. */
function limitsOf(figures: readonly Figure[]): NonNullable<Plot["limits"]> {
  const ends = new Map<number, number[]>();
  for (const { target, at } of figures)
    if (target?.atMost !== undefined) ends.set(target.atMost, [...(ends.get(target.atMost) ?? []), at]);
  return [...ends].map(([y, points]) => ({
    y,
    from: Math.min(...points) * (points.every((at) => at === points[0]) ? 0.6 : 1),
    to: Math.max(...points),
    label: `target ${y}`,
  }));
}

function seriesOf(figures: readonly Figure[], valuesOf: (figure: Figure) => readonly number[]): Series[] {
  return subjectsOf(figures).map((name) => {
    const own = figures.filter(({ subject }) => subject === name).sort((a, b) => a.at - b.at);
    return {
      name,
      ...styleOf(name, own[0]!.role),
      points: own.map((figure) => {
        const values = valuesOf(figure);
        const [low, high] = quartiles(values);
        return { x: figure.at, y: median(values), low, high };
      }),
    };
  });
}

function subjectsOf(figures: readonly Figure[]): string[] {
  return [...new Set(figures.map(({ subject }) => subject))];
}

const COLOUR_OF: Readonly<Record<string, string>> = {
  nftables: COLOURS.blue,
  iptables: COLOURS.teal,
  "iptables (legacy)": COLOURS.green,
  "iptables, layout zevenet": COLOURS.purple,
  "naive rules": COLOURS.red,
  "Zevenet's list": COLOURS.pink,
  "kube-proxy's chain": COLOURS.orange,
};

/** Ours are solid, rivals dashed, what they are measured against is grey. */
export function styleOf(subject: string, role: Figure["role"]): Pick<Series, "colour" | "line"> {
  const colour = COLOUR_OF[subject] ?? COLOURS.grey;
  if (role === "rival") return { colour, line: "dashed" };
  return { colour, line: role === "reference" ? "thin" : "thick" };
}
