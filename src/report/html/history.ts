/**
 * What a store adds to the page: ports by time, and the changes, the newest first. Bars are SVG without text, as wide as the page.
 *
 * Not here: which ports and changes those are (runtime/store/read-at.ts).
 */
import { compareKeys, sortKey } from "../addresses.ts";
import { count, utc } from "../figures.ts";
import type { Change, Interval, RecordedHistory, RecordedRun } from "../read/recorded.ts";

/** Escapes text for HTML. */
type Escape = (text: string, longest?: number) => string;

/** Units of a bar's length, the fewest that are seen on a phone too, and of its height. */
const LENGTH = 1000;
const SHORTEST = 6;
const HEIGHT = 16;
/** Times written above the bars; a phone has every other one. */
const TICKS = 4;
/** Changes on paper; page.css has the same number. */
const ON_PAPER = 100;
const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

interface Section {
  readonly name: string;
  readonly heading: string;
  readonly content: string;
}

/** @returns the sections of the runs that are of a store; none without one */
export function historySections(runs: readonly RecordedRun[], h: Escape): Section[] {
  return runs.flatMap(({ name, history, startedMs = 0 }, i) => {
    if (history === undefined) return [];
    const of = runs.length > 1 ? ` in ${h(name)}` : "";
    const id = i === 0 ? "" : `-${i}`;
    return [
      { name: `timeline${id}`, heading: `Ports by time${of}`, content: timeline(history, startedMs, h) },
      { name: `changes${id}`, heading: `Changes${of}`, content: changesTable(history, h) },
    ];
  });
}

/** `host:port`, its protocol unless it is TCP, and the names it has. */
function portOf({ ip, port, proto, name, service }: Interval, h: Escape): string {
  const names = [name, service].filter((each) => each !== undefined && each !== "").join(" ");
  const place = `${ip.includes(":") ? `[${ip}]` : ip}:${port}${proto === "tcp" ? "" : `/${proto}`}`;
  return `${h(place)}${names === "" ? "" : `<small>${h(names)}</small>`}`;
}

const kindOf = (state: string): string => (state === "open" || state === "filtered" ? state : "closed");
const verdict = (state: string, reason: string, h: Escape): string =>
  `<span class="state ${kindOf(state)}">${h(state)}</span> ${h(reason, 40)}`;

function timeline({ ports, morePorts }: RecordedHistory, atMs: number, h: Escape): string {
  const lines = ports
    .map((intervals) => ({ intervals, key: sortKey(intervals[0].ip), port: intervals[0].port }))
    .sort((a, b) => compareKeys(a.key, b.key) || a.port - b.port)
    .map(({ intervals }) => intervals);
  const seen = lines.flat();
  if (seen.length === 0) return `<p class="left-out">No port has changed, and none is open.</p>`;
  const from = Math.min(...seen.map(({ firstMs }) => firstMs));
  const to = Math.min(atMs, Math.max(...seen.map(({ lastMs }) => lastMs)));
  if (to <= from) return `<p class="left-out">All of it was seen at one time, ${utc(from)} UTC.</p>`;
  const rows = lines.map((intervals) => {
    const last = intervals[intervals.length - 1];
    return `<tr><th scope="row">${portOf(last, h)}</th><td>${bars(intervals, from, to, h)}</td><td>${h(last.state)} since ${utc(last.firstMs)}</td></tr>`;
  });
  const more =
    morePorts === 0
      ? ""
      : `<p class="left-out">Not in this picture: ${count(morePorts, "more port")} that changed, before these did.</p>`;
  return `<p class="legend"><i class="open"></i> open <i class="closed"></i> closed <i class="filtered"></i> filtered. Between two bars a port was not looked at, and changed.</p><div class="times"><table class="plain"><thead><tr><th scope="col">Port</th><th scope="col"><div class="ticks">${ticks(from, to)}</div></th><th scope="col">As seen last, UTC</th></tr></thead><tbody>${rows.join("")}</tbody></table></div>${more}`;
}

function ticks(from: number, to: number): string {
  // No two of them are the same.
  const step = (to - from) / TICKS;
  const [start, end] = step >= DAY_MS ? [0, 10] : step >= MINUTE_MS ? [5, 16] : [11, 19];
  return Array.from({ length: TICKS + 1 }, (_, i) => utc(from + ((to - from) * i) / TICKS).slice(start, end))
    .map((text) => `<span>${text}</span>`)
    .join("");
}

/** One port's intervals. Their heights differ as their colours do. */
function bars(intervals: readonly Interval[], from: number, to: number, h: Escape): string {
  const at = (ms: number): number => Math.round(((ms - from) / (to - from)) * LENGTH);
  const shapes: string[] = [];
  // From the last on: where there is no room, the later one is seen.
  let end = LENGTH;
  for (const { state, reason, firstMs, lastMs } of [...intervals].reverse()) {
    const kind = kindOf(state);
    const height = kind === "open" ? HEIGHT : kind === "filtered" ? HEIGHT / 2 : HEIGHT / 4;
    const x = Math.max(0, Math.min(at(firstMs), end - SHORTEST));
    const width = Math.max(SHORTEST, Math.min(at(lastMs), end) - x);
    end = x;
    shapes.unshift(
      `<rect x="${x}" y="${(HEIGHT - height) / 2}" width="${width}" height="${height}" fill="var(--${kind})"><title>${h(state)} (${h(reason, 40)}) from ${utc(firstMs)} to ${utc(lastMs)}</title></rect>`,
    );
  }
  const first = at(intervals[0].firstMs);
  return `<svg viewBox="0 0 ${LENGTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="${count(intervals.length, "time")} in one state"><rect x="${first}" y="${HEIGHT / 2 - 0.5}" width="${LENGTH - first}" height="1" fill="var(--rule)"></rect>${shapes.join("")}</svg>`;
}

function changesTable({ changes, moreChanges }: RecordedHistory, h: Escape): string {
  if (changes.length === 0) return `<p class="left-out">No port is known to have changed.</p>`;
  const row = (change: Change): string =>
    `<tr><td>${utc(change.firstMs)}</td><th scope="row">${portOf(change, h)}</th><td>${verdict(change.oldState, change.oldReason, h)}<small>until ${utc(change.oldLastMs)}</small></td><td>${verdict(change.state, change.reason, h)}</td></tr>`;
  const paper =
    changes.length <= ON_PAPER ? "" : `<p class="left-out paper">On paper, the newest ${ON_PAPER}.</p>`;
  const more =
    moreChanges === 0
      ? ""
      : `<p class="left-out">And ${count(moreChanges, "older change")}: synprobe history changes has them.</p>`;
  return `<div class="list changes"><table class="plain"><thead><tr><th scope="col">Seen first, UTC</th><th scope="col">Port</th><th scope="col">Was</th><th scope="col">Is</th></tr></thead><tbody>${changes.map(row).join("")}</tbody></table></div>${paper}${more}`;
}
