/**
 * Plots as SVG text. No background, and one set of middle tones that stand out from white and from near-black alike (all
 * between 3.3 : 1 and 5.8 : 1 against #ffffff and #0d1117): an image in a page does not know the page's own theme.
 */

const WIDTH = 860;
const HEIGHT = 420;
const MARGIN = { top: 44, right: 225, bottom: 52, left: 68 };
const INK = "#6e7b88";
const FONT = "font-family=\"system-ui, -apple-system, 'Segoe UI', sans-serif\"";
const LABEL_HEIGHT = 15;

export const COLOURS = {
  grey: INK,
  blue: "#3b82f6",
  teal: "#0e9aa7",
  purple: "#8e6ff0",
  red: "#e5484d",
  orange: "#d9730d",
  green: "#16a34a",
  pink: "#d6409f",
} as const;

export interface Axis {
  readonly label: string;
  readonly scale: "linear" | "log";
  readonly ticks: readonly number[];
  readonly from: number;
  readonly to: number;
  print?(value: number): string;
}

export interface Point {
  readonly x: number;
  readonly y: number;
  /** The middle half of the samples. */
  readonly low?: number;
  readonly high?: number;
}

export interface Series {
  readonly name: string;
  readonly colour: string;
  /** A line in this style, or points only. */
  readonly line: "thick" | "thin" | "dashed" | "none";
  readonly mark?: "dot" | "ring" | "cross" | "dash";
  readonly points: readonly Point[];
}

export interface Plot {
  readonly title: string;
  /** What a screen reader says. */
  readonly description: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly Series[];
  /** Horizontal limits, such as targets, from one x to another. */
  readonly limits?: readonly { y: number; from: number; to: number; label: string }[];
}

export function toSvg(plot: Plot): string {
  const { x, y, series, limits = [] } = plot;
  const px = (value: number) => place(x, value, MARGIN.left, WIDTH - MARGIN.right);
  const py = (value: number) => place(y, value, HEIGHT - MARGIN.bottom, MARGIN.top);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-labelledby="title description" ${FONT} font-size="12">`,
    `<title id="title">${escapeXml(plot.title)}</title>`,
    `<desc id="description">${escapeXml(plot.description)}</desc>`,
    text(MARGIN.left, 20, plot.title, { size: 15, weight: 600 }),
    ...y.ticks.map((tick) => gridLine(py(tick), printed(y, tick))),
    ...x.ticks.map((tick) =>
      text(px(tick), HEIGHT - MARGIN.bottom + 18, printed(x, tick), { anchor: "middle" }),
    ),
    text((MARGIN.left + WIDTH - MARGIN.right) / 2, HEIGHT - 12, x.label, { anchor: "middle" }),
    text(MARGIN.left - 8, MARGIN.top - 10, y.label, { anchor: "start" }),
    ...limits.flatMap((limit) => limitLine(px(limit.from), px(limit.to), py(limit.y), limit.label)),
    ...series.flatMap((each) => drawn(each, px, py)),
    ...labels([...series, ...limits.filter(({ to }) => to >= x.to).map(asSeries)], py),
    "</svg>",
  ];
  return `${parts.join("\n")}\n`;
}

function place({ scale, from, to }: Axis, value: number, start: number, end: number): number {
  const part = scale === "log" ? Math.log(value / from) / Math.log(to / from) : (value - from) / (to - from);
  return round(start + Math.min(1, Math.max(0, part)) * (end - start));
}

function gridLine(y: number, label: string): string {
  const line = `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y}" y2="${y}" stroke="${INK}" stroke-opacity="0.25"/>`;
  return `${line}\n${text(MARGIN.left - 8, y + 4, label, { anchor: "end" })}`;
}

/** A limit that ends before the plot does has its name there, the others theirs with the names of the lines. */
function limitLine(from: number, to: number, y: number, label: string): string[] {
  const dots = 'stroke-width="1.5" stroke-dasharray="2 4"';
  return [
    `<line x1="${from}" x2="${to}" y1="${y}" y2="${y}" stroke="${COLOURS.red}" ${dots}/>`,
    ...(to < WIDTH - MARGIN.right ? [text(to + 6, y + 4, label, { colour: COLOURS.red })] : []),
  ];
}

function drawn(
  { colour, line, mark = "dot", points }: Series,
  px: (x: number) => number,
  py: (y: number) => number,
): string[] {
  const width = line === "thick" ? 2.5 : 1.5;
  const dash = line === "dashed" ? ' stroke-dasharray="5 4"' : "";
  const path = points.map(({ x, y }, k) => `${k === 0 ? "M" : "L"}${px(x)} ${py(y)}`).join("");
  return [
    ...(line === "none"
      ? []
      : [`<path d="${path}" fill="none" stroke="${colour}" stroke-width="${width}"${dash}/>`]),
    ...points.flatMap(({ x, low, high }) =>
      low === undefined || high === undefined
        ? []
        : [
            `<line x1="${px(x)}" x2="${px(x)}" y1="${py(low)}" y2="${py(high)}" stroke="${colour}" stroke-width="1.5"/>`,
          ],
    ),
    ...points.map(({ x, y }) => marked(mark, px(x), py(y), colour)),
  ];
}

function marked(mark: NonNullable<Series["mark"]>, x: number, y: number, colour: string): string {
  switch (mark) {
    case "dot":
      return `<circle cx="${x}" cy="${y}" r="3" fill="${colour}"/>`;
    case "ring":
      return `<circle cx="${x}" cy="${y}" r="5" fill="none" stroke="${colour}" stroke-width="1.5"/>`;
    case "cross":
      return `<path d="M${x - 4} ${y - 4}L${x + 4} ${y + 4}M${x - 4} ${y + 4}L${x + 4} ${y - 4}" stroke="${colour}" stroke-width="1.5"/>`;
    case "dash":
      return `<line x1="${x - 14}" x2="${x + 14}" y1="${y}" y2="${y}" stroke="${colour}" stroke-width="3" stroke-opacity="0.6"/>`;
    default:
      throw mark satisfies never;
  }
}

function asSeries({ y, to, label }: NonNullable<Plot["limits"]>[number]): Series {
  return { name: label, colour: COLOURS.red, line: "none", points: [{ x: to, y }] };
}

/** Names stand at the end of their lines, pushed apart where they would overlap. */
function labels(series: readonly Series[], py: (y: number) => number): string[] {
  const ends = series
    .flatMap(({ name, colour, line, mark, points }) => {
      const last = points.at(-1);
      const shown = line === "none" ? mark : undefined;
      return last ? [{ name, colour, mark: shown, y: py(last.y) + 4 }] : [];
    })
    .sort((a, b) => a.y - b.y);
  for (let pass = 0; pass < 50; pass++) {
    for (const [k, upper] of ends.entries()) {
      const lower = ends[k + 1];
      const overlap = lower ? LABEL_HEIGHT - (lower.y - upper.y) : 0;
      if (!lower || overlap <= 0) continue;
      upper.y = Math.max(MARGIN.top, upper.y - overlap / 2);
      lower.y = upper.y + LABEL_HEIGHT;
    }
    const below = (ends.at(-1)?.y ?? 0) - (HEIGHT - MARGIN.bottom);
    if (below > 0) for (const end of ends) end.y -= below;
  }
  const column = WIDTH - MARGIN.right + 14;
  return ends.flatMap(({ name, colour, mark, y }) => [
    ...(mark ? [marked(mark, column + 4, round(y - 4), colour)] : []),
    text(column + (mark ? 24 : 0), round(y), name, { colour, weight: 500 }),
  ]);
}

interface TextOptions {
  readonly anchor?: "start" | "middle" | "end";
  readonly colour?: string;
  readonly size?: number;
  readonly weight?: number;
}

function text(x: number, y: number, content: string, options: TextOptions = {}): string {
  const { anchor = "start", colour = INK, size, weight } = options;
  const more = `${size ? ` font-size="${size}"` : ""}${weight ? ` font-weight="${weight}"` : ""}`;
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="${colour}"${more}>${escapeXml(content)}</text>`;
}

function printed({ print }: Axis, value: number): string {
  return print ? print(value) : value.toLocaleString("en");
}

function escapeXml(content: string): string {
  return content.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
