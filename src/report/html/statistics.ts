/**
 * Statistics of bounded size: top lists of labels, a histogram of round trips, rates over time.
 *
 * Not here: which ports and runs go in (digest.ts), how they are drawn (charts.ts).
 */
import { compareKeys } from "../addresses.ts";
import type { RecordedProgress, RecordedState } from "../read/recorded.ts";

/** Most points in a series. */
const POINTS = 240;

export interface Bar {
  readonly label: string;
  readonly ports: number;
  readonly hosts: number;
}

export interface Tops {
  readonly bars: readonly Bar[];
  /** Number of further labels. */
  readonly more: number;
}

export interface RoundTrips {
  /** Bounds of the bins in milliseconds: one more than there are bins. */
  readonly bounds: readonly number[];
  readonly open: readonly number[];
  readonly closed: readonly number[];
  readonly filtered: readonly number[];
  readonly count: number;
  readonly median: number;
  readonly p95: number;
  readonly max: number;
}

/** A moment of a run: seconds since its start, packets per second, loss from 0 to 1. */
export interface Point {
  readonly seconds: number;
  readonly sent: number;
  readonly received: number;
  readonly rate?: number;
  readonly loss?: number;
}

/** Counts, by label, ports and the hosts that have them. */
export function createTally() {
  const tallies = new Map<string, { ports: number; hosts: Set<number> }>();
  return {
    add(label: string, host: number): void {
      const tally = tallies.get(label) ?? { ports: 0, hosts: new Set() };
      tally.ports++;
      tally.hosts.add(host);
      tallies.set(label, tally);
    },
    tops(most: number): Tops {
      const sorted = [...tallies].sort(([a, x], [b, y]) => y.ports - x.ports || compareKeys(a, b));
      return {
        bars: sorted.slice(0, most).map(([label, { ports, hosts }]) => ({ label, ports, hosts: hosts.size })),
        more: Math.max(0, sorted.length - most),
      };
    },
  };
}

/** Rates between moments, thinned out to about POINTS. */
export function pointsOf(moments: readonly RecordedProgress[]): Point[] {
  const points: Point[] = [];
  const every = Math.max(1, Math.ceil(moments.length / POINTS));
  let before: RecordedProgress = { elapsedMs: 0, sent: 0, received: 0 };
  moments.forEach((moment, i) => {
    if ((i + 1) % every !== 0 && i !== moments.length - 1) return;
    const seconds = (moment.elapsedMs - before.elapsedMs) / 1000;
    if (seconds <= 0) return;
    points.push({
      seconds: moment.elapsedMs / 1000,
      sent: Math.max(0, moment.sent - before.sent) / seconds,
      received: Math.max(0, moment.received - before.received) / seconds,
      ...(moment.rate === undefined ? {} : { rate: moment.rate }),
      ...(moment.loss === undefined ? {} : { loss: moment.loss }),
    });
    before = moment;
  });
  return points;
}

/** Bins of equal width with round bounds. A long tail goes into one last bin without an upper bound. */
export function histogram(
  trips: readonly { readonly ms: number; readonly state: RecordedState }[],
): RoundTrips | undefined {
  if (trips.length === 0) return undefined;
  const sorted = Float64Array.from(trips, ({ ms }) => ms).sort();
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  const first = sorted[0];
  const last = Math.min(at(0.99), 1.5 * at(0.95));
  const width = roundStep(Math.max((last - first) / 24, last / 1000, 0.001));
  const from = Math.floor(first / width) * width;
  const bins = Math.min(30, Math.floor((last - from) / width) + 1);
  const beyond = sorted[sorted.length - 1] >= from + bins * width;
  const bounds = Array.from({ length: bins + 1 }, (_, i) => Number((from + i * width).toPrecision(8)));
  if (beyond) bounds.push(Number.POSITIVE_INFINITY);
  const counts = {
    open: bounds.slice(1).map(() => 0),
    closed: bounds.slice(1).map(() => 0),
    filtered: bounds.slice(1).map(() => 0),
  };
  for (const { ms, state } of trips) {
    const bin = Math.min(Math.floor((ms - from) / width), bounds.length - 2);
    counts[state === "open" || state === "closed" ? state : "filtered"][Math.max(0, bin)]++;
  }
  return {
    bounds,
    ...counts,
    count: trips.length,
    median: at(0.5),
    p95: at(0.95),
    max: sorted[sorted.length - 1],
  };
}

/** The smallest of 1, 2 or 5 times a power of ten that is not below `value`. */
function roundStep(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((each) => each * power >= value * 0.999) ?? 10;
  return Number((step * power).toPrecision(3));
}
