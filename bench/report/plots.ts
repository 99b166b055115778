/** Which plots a result gets. */

import { BY_WEIGHT } from "../b9-distribution";
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
        ratios(result, "b1-ratio", "New flow: ratio to the bare spread", {
          shown: ({ role, subject, part }) =>
            part === undefined && role === "ours" && subject !== "iptables, layout zevenet",
          scale: "linear",
        }),
      ];
    case "B2":
      return [
        ratios(result, "b2-ratio", "Established TCP packet: ratio to plain DNAT, by the number of farms", {
          shown: ({ part }) => part === "tcp",
          scale: "log",
        }),
      ];
    case "B4":
      return ["the last farm dialled", "all farms in turn"].map((part, k) =>
        costs(result, `b4-cost-${k + 1}`, `Cost of a new flow, by the number of farms: ${part}`, part),
      );
    case "B5":
      return [times(result, "b5-time", "All farms of a gateway at once, on the host")];
    case "B6":
      return [times(result, "b6-time", "One backend of one farm, on the host")];
    case "B9":
      return [distribution(result)];
    default:
      return [];
  }
}

/** In microseconds, both axes logarithmic. */
function costs(result: Result, name: string, title: string, part?: string): NamedPlot {
  const figures = result.figures.filter((figure) => figure.part === part);
  const µs = (value: number) => value / 1000;
  return {
    name,
    plot: {
      title,
      description: `Microseconds a packet against the number of ${result.axis}, both logarithmic, for ${subjectsOf(figures).join(", ")}.`,
      x: pointsAxis(result.axis, atOf(figures)),
      y: logAxis(
        "µs a packet",
        figures.map(({ values }) => µs(median(values))),
      ),
      series: seriesOf(figures, ({ values }) => values.map(µs)),
    },
  };
}

interface RatiosOptions {
  shown(figure: Figure): boolean;
  readonly scale: "linear" | "log";
}

function ratios(result: Result, name: string, title: string, { shown, scale }: RatiosOptions): NamedPlot {
  const figures = result.figures.filter((figure) => figure.ratios && shown(figure));
  const limits = limitsOf(figures);
  const range = [...figures.map((figure) => median(figure.ratios!)), ...limits.map(({ y }) => y), 1];
  return {
    name,
    plot: {
      title,
      description: `Ratio to the baseline of the same round against the number of ${result.axis}, for ${subjectsOf(figures).join(", ")}; dotted lines are targets.`,
      x: pointsAxis(result.axis, atOf(figures)),
      y: scale === "log" ? logAxis("ratio", range) : linearAxis("ratio", range, (value) => value.toFixed(2)),
      series: seriesOf(figures, ({ ratios = [] }) => ratios),
      limits,
    },
  };
}

/** Milliseconds, both axes logarithmic; each data plane beside its own baseline. */
function times(result: Result, name: string, title: string): NamedPlot {
  const figures = result.figures.map((figure) => ({
    ...figure,
    subject: `${figure.subject}, ${figure.part}`,
  }));
  return {
    name,
    plot: {
      title,
      description: `Milliseconds against the number of farms, both logarithmic, for ${subjectsOf(figures).join("; ")}.`,
      x: pointsAxis(result.axis, atOf(figures)),
      y: logAxis(
        "ms",
        figures.map(({ values }) => median(values)),
      ),
      series: seriesOf(figures, ({ values }) => values).map((series, k) => ({
        ...series,
        ...styleOf(
          figures.find(({ subject }) => subject === series.name)!.part ?? "",
          k % 2 ? "ours" : "rival",
        ),
      })),
    },
  };
}

/** Beside each other at each weight, since they would hide one another. */
function distribution(result: Result): NamedPlot {
  const figures = result.figures.filter(
    ({ part, subject }) => part === BY_WEIGHT && !subject.includes("legacy"),
  );
  const subjects = subjectsOf(figures);
  const marks = ["dot", "ring", "cross"] as const;
  const series = seriesOf(figures, ({ values }) => values).map((each, k): Series => {
    const others = subjects.length - 1;
    const step = k === 0 ? 0 : (k - (others + 1) / 2) * (0.6 / others);
    return {
      ...each,
      ...styleOf(each.name.split(", ")[0]!, "ours"),
      line: "none",
      mark: k === 0 ? "dash" : marks[(k - 1) % marks.length]!,
      points: each.points.map(({ x, y }) => ({ x: x + step, y })),
    };
  });
  const weights = [...new Set(atOf(figures))];
  return {
    name: "b9-distribution",
    plot: {
      title: "120,000 flows over nine backends of weights 1 to 9",
      description: `Percent of the flows that each backend got, against its weight, for ${subjects.join("; ")}.`,
      x: {
        label: "weight of the backend",
        scale: "linear",
        ticks: weights,
        from: 0.5,
        to: Math.max(...weights) + 0.5,
      },
      y: linearAxis("percent of the flows", [0, ...figures.map(({ values }) => median(values))]),
      series,
    },
  };
}

function atOf(figures: readonly Figure[]): number[] {
  return figures.map(({ at }) => at);
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
    label: `target ≤ ${y}`,
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
  "nftables, forwarding locked": COLOURS.blue,
  iptables: COLOURS.teal,
  "iptables, forwarding locked": COLOURS.teal,
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
