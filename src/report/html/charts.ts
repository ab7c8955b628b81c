/**
 * The page's charts, drawn by ECharts to SVG text, without a browser. The SVG is inert: no script, no style, no identifier that
 * two charts share. Colours are the page's CSS variables, so that they follow light and dark mode.
 *
 * Only this file imports echarts.
 */
import { BarChart, LineChart } from "echarts/charts";
import { GridComponent } from "echarts/components";
import { init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import { rounded } from "../figures.ts";
import type { Series } from "./digest.ts";
import type { Bar, Point, RoundTrips } from "./statistics.ts";

use([BarChart, LineChart, GridComponent, SVGRenderer]);

/** Each chart is drawn for a wide page and for a phone; CSS shows one of them. */
const WIDTHS = { wide: 540, narrow: 330 } as const;
const FONT = 12;

type Options = Parameters<ReturnType<typeof init>["setOption"]>[0];

function draw(width: number, height: number, options: Options): string {
  const chart = init(null, null, { renderer: "svg", ssr: true, width, height });
  try {
    chart.setOption({
      animation: false,
      textStyle: { fontSize: FONT, color: "var(--muted)" },
      ...options,
    });
    return inert(chart.renderToSVGString(), width, height);
  } finally {
    // It keeps the process alive otherwise.
    chart.dispose();
  }
}

/** Removes styles, classes and the attributes that ECharts' own script would read. */
function inert(svg: string, width: number, height: number): string {
  return svg
    .replace(/<style\b[\s\S]*?<\/style>/g, "")
    .replace(/ (class|style|ecmeta_\w+|xmlns:\w+|pointer-events)="[^"]*"/g, "")
    .replace(/<svg\b[^>]*>/, `<svg viewBox="0 0 ${width} ${height}" aria-hidden="true">`)
    .replace(/<rect\b[^>]*fill="none"[^>]*><\/rect>\n?/, "");
}

/** Both sizes of a chart, with a description for screen readers. */
function figure(label: string, sizes: (width: number, narrow: boolean) => string): string {
  return `<div class="chart" role="img" aria-label="${label}"><div class="wide">${sizes(WIDTHS.wide, false)}</div><div class="narrow">${sizes(WIDTHS.narrow, true)}</div></div>`;
}

const axis = {
  axisLine: { lineStyle: { color: "var(--rule)" } },
  axisTick: { show: false },
  axisLabel: { color: "var(--muted)", fontSize: FONT },
  splitLine: { lineStyle: { color: "var(--rule)" } },
  nameTextStyle: { color: "var(--muted)", fontSize: FONT },
} as const;

/** Below ten with two decimals: rounded, the labels of an axis would repeat themselves. */
const tick = (value: number): string => (value < 10 ? `${Number(value.toFixed(2))}` : rounded(value));

const figureLabel = ({ value }: { value?: unknown }): string => rounded(Number(value));

const shorten = (text: string, most: number): string =>
  text.length > most ? `${[...text].slice(0, most - 1).join("")}…` : text;

/** Horizontal bars, the longest on top. */
export function barChart(label: string, bars: readonly Bar[], colour: string): string {
  const down = [...bars].reverse();
  return figure(label, (width, narrow) =>
    draw(width, 24 * bars.length + 8, {
      grid: { left: narrow ? 124 : 176, right: 52, top: 4, bottom: 4, outerBoundsMode: "none" },
      xAxis: { type: "value", show: false },
      yAxis: {
        type: "category",
        // Two labels that look the same once shortened must stay two.
        data: down.map((_, i) => String(i)),
        ...axis,
        axisLine: { show: false },
        axisLabel: {
          ...axis.axisLabel,
          color: "var(--ink)",
          interval: 0,
          formatter: (value: string) => shorten(down[Number(value)].label, narrow ? 17 : 25),
        },
      },
      series: [
        {
          type: "bar",
          silent: true,
          barWidth: 14,
          data: down.map(({ ports }) => ports),
          itemStyle: { color: colour, borderRadius: [0, 3, 3, 0] },
          label: {
            show: true,
            position: "right",
            color: "var(--muted)",
            fontSize: FONT,
            formatter: figureLabel,
          },
        },
      ],
    }),
  );
}

const milliseconds = (ms: number): string =>
  ms >= 10_000 ? `${Number((ms / 1000).toPrecision(3))} s` : `${Number(ms.toPrecision(4))}`;

/** Histogram of round trips. */
export function roundTripChart(label: string, trips: RoundTrips): string {
  const beyond = trips.bounds.at(-1) === Number.POSITIVE_INFINITY;
  const labels = trips.bounds
    .slice(0, -1)
    .map((bound, i, all) => `${beyond && i === all.length - 1 ? "≥ " : ""}${milliseconds(bound)}`);
  // The last one is always labelled.
  const every = (narrow: boolean): number => Math.ceil(labels.length / (narrow ? 6 : 11));
  return figure(label, (width, narrow) =>
    draw(width, 240, {
      grid: { left: 52, right: 12, top: 14, bottom: 44, outerBoundsMode: "none" },
      xAxis: {
        type: "category",
        data: labels,
        name: "round trip in ms, from",
        nameLocation: "middle",
        nameGap: 28,
        ...axis,
        axisLabel: {
          ...axis.axisLabel,
          interval: (i: number) =>
            i === labels.length - 1 || (i % every(narrow) === 0 && i + 1 < labels.length - every(narrow) / 2),
        },
      },
      yAxis: { type: "value", minInterval: 1, ...axis, axisLabel: { ...axis.axisLabel, formatter: rounded } },
      series: (["open", "closed", "filtered"] as const).map((state) => ({
        type: "bar",
        stack: "answers",
        silent: true,
        barCategoryGap: "12%",
        data: [...trips[state]],
        itemStyle: { color: `var(--${state})` },
      })),
    }),
  );
}

/** Line styles of the series, in order. The page's legend uses the same. */
export const LINES = {
  sent: { name: "SYNs sent", colour: "var(--accent)" },
  received: { name: "packets received", colour: "var(--open)" },
  rate: { name: "what the path was found to hold", colour: "var(--muted)" },
} as const;

const DASHES = ["solid", "dashed", "dotted", [2, 6]] as const;

interface Line {
  readonly points: readonly (readonly [number, number])[];
  readonly colour: string;
  readonly dash: (typeof DASHES)[number];
}

function lineChart(
  label: string,
  lines: readonly Line[],
  height: number,
  say: (value: number) => string,
): string {
  const last = Math.max(...lines.flatMap(({ points }) => points.map(([x]) => x)));
  return figure(label, (width) =>
    draw(width, height, {
      grid: { left: 52, right: 12, top: 14, bottom: 44, outerBoundsMode: "none" },
      xAxis: {
        type: "value",
        min: 0,
        max: last,
        name: "seconds since the start",
        nameLocation: "middle",
        nameGap: 28,
        ...axis,
        splitLine: { show: false },
        axisLabel: { ...axis.axisLabel, showMaxLabel: false, formatter: tick, hideOverlap: true },
      },
      yAxis: { type: "value", min: 0, ...axis, axisLabel: { ...axis.axisLabel, formatter: say } },
      series: lines.map(({ points, colour, dash }) => ({
        type: "line" as const,
        silent: true,
        showSymbol: false,
        data: points.map(([x, y]) => [x, y]),
        lineStyle: { color: colour, width: 2, type: typeof dash === "string" ? dash : [...dash] },
      })),
    }),
  );
}

const valuesOf = (points: readonly Point[], key: "sent" | "received" | "rate" | "loss"): [number, number][] =>
  points.flatMap((point) => {
    const value = point[key];
    return value === undefined ? [] : [[point.seconds, value] as [number, number]];
  });

/** Above so many times the highest rate of packets, what the path was found to hold is not drawn: it would flatten all else. */
const MOST_HELD = 2;

/** Series to be drawn, their lines broken where a path was found to hold far more than was sent. @returns and the most of that, if any */
export function heldRates(series: readonly Series[]): {
  readonly drawn: readonly Series[];
  readonly above?: number;
} {
  const points = series.flatMap((each) => each.points);
  const most = MOST_HELD * Math.max(...points.map(({ sent, received }) => Math.max(sent, received)));
  const above = Math.max(...points.map(({ rate = 0 }) => rate));
  if (above <= most) return { drawn: series };
  const drawn = series.map((each) => ({
    ...each,
    points: each.points.map((point) => ((point.rate ?? 0) > most ? { ...point, rate: Number.NaN } : point)),
  }));
  return { drawn, above };
}

/** Packets per second. Runs are told apart by their dashes. */
export function rateChart(label: string, series: readonly Series[]): string {
  const lines = series.flatMap(({ points }, i) =>
    (["rate", "received", "sent"] as const).flatMap((key) => {
      const values = valuesOf(points, key);
      return values.length < 2 ? [] : [{ points: values, colour: LINES[key].colour, dash: DASHES[i] }];
    }),
  );
  return lineChart(label, lines, 240, tick);
}

/** Loss in percent; empty if no run reports it. */
export function lossChart(label: string, series: readonly Series[]): string {
  const lines = series.flatMap(({ points }, i) => {
    const values = valuesOf(points, "loss").map(([x, y]): [number, number] => [x, 100 * y]);
    return values.length < 2 ? [] : [{ points: values, colour: "var(--filtered)", dash: DASHES[i] }];
  });
  if (lines.length === 0) return "";
  return lineChart(label, lines, 180, (value) => `${value} %`);
}
