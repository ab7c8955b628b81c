/**
 * How far a run is, on standard error: a line at the bottom of the terminal, redrawn in place, and with `--stats-every` a
 * plain line from time to time. It also lets other text for that terminal appear above the line.
 *
 * All figures are counts, or computed from counts. Losses cannot be counted: "resent" is the share of SYNs that repeated an
 * earlier one, whether a packet was lost or the port is silent.
 */
import { createColors } from "picocolors";
import { clock, count, digits, rounded } from "../../report/figures.ts";
import type { ScanProgress } from "../../scan/probe/result.ts";

/** Shortest time between two drawings: five a second. */
const REDRAW_MS = 200;
/** Shorter runs draw no line. */
const FIRST_DRAW_MS = 1000;
/** Rates are means over this time; the time left is computed over a longer one, so that it does not jump. */
const RATE_MS = 2000;
const PACE_MS = 30_000;
const SAMPLE_MS = 100;

/** A host that takes longer than this is named, if the rest of the run does not. */
const LEAST_HELD_UP_MS = 3000;

/** Moves to the line's start and clears it. */
const CLEAR = "\r\x1b[K";

/** Figures that need two samples; undefined before the second. */
export interface Pace {
  /** SYNs and packets per second. */
  readonly sent?: number;
  readonly received?: number;
  /** Milliseconds. */
  readonly left?: number;
}

/** Computes how fast the run is from successive samples. Keeps those of the last 30 seconds, at most ten a second. */
export function createPaceMeter(): (progress: ScanProgress) => Pace {
  const looks: ScanProgress[] = [];
  return (progress) => {
    const { elapsedMs } = progress;
    const last = looks.at(-1);
    if (last === undefined || elapsedMs - last.elapsedMs >= SAMPLE_MS) looks.push(progress);
    while (looks.length > 1 && looks[1].elapsedMs <= elapsedMs - PACE_MS) looks.shift();
    const recent = looks.findLast((look) => look.elapsedMs <= elapsedMs - RATE_MS) ?? looks[0];
    const seconds = (elapsedMs - recent.elapsedMs) / 1000;
    if (seconds <= 0) return {};
    const decidedPerMs = (progress.decided - looks[0].decided) / (elapsedMs - looks[0].elapsedMs);
    return {
      sent: (progress.sent - recent.sent) / seconds,
      received: (progress.received - recent.received) / seconds,
      ...(decidedPerMs > 0 ? { left: (progress.total - progress.decided) / decidedPerMs } : {}),
    };
  };
}

type Colors = ReturnType<typeof createColors>;

interface Field {
  readonly text: string;
  /** When space is short, the lowest rank is dropped first. */
  readonly rank: number;
  readonly paint?: (text: string) => string;
}

/** Rounded down: 100 % means that nothing is left. */
const percent = (part: number, whole: number): string =>
  `${((whole === 0 ? 1000 : Math.floor((part / whole) * 1000)) / 10).toFixed(1)}%`;

function fields(progress: ScanProgress, pace: Pace, colors: Colors): Field[] {
  const { sent, retransmitted, receiveDrops, sendErrors, heldUp } = progress;
  // Where few ports are left, and those of one host, the pace of all the others tells nothing.
  const isHeldUp = heldUp !== undefined && heldUp.ms > Math.max(LEAST_HELD_UP_MS, pace.left ?? 0);
  const { lookingUp = 0 } = progress;
  const left = isHeldUp ? heldUp.ms : pace.left;
  const rate = (perSecond: number | undefined): string =>
    perSecond === undefined ? "-" : `${rounded(perSecond)}/s`;
  const all: (Field | false)[] = [
    { text: `${percent(progress.decided, progress.total)} done`, rank: 9, paint: colors.bold },
    lookingUp > 0 && { text: `looking up ${count(lookingUp, "name")}`, rank: 7.5 },
    { text: `${digits(progress.open)} open`, rank: 8, paint: colors.green },
    receiveDrops > 0 && { text: `${rounded(receiveDrops)} dropped here`, rank: 6, paint: colors.yellow },
    sendErrors > 0 && { text: `${rounded(sendErrors)} sends refused`, rank: 5, paint: colors.yellow },
    { text: `${rate(pace.sent)} sent`, rank: 4 },
    { text: `${rate(pace.received)} received`, rank: 3 },
    retransmitted > 0 && { text: `${percent(retransmitted, sent)} resent`, rank: 2 },
    { text: `${rounded(progress.inFlight)} in flight`, rank: 0 },
    { text: clock(progress.elapsedMs), rank: 1 },
    left !== undefined && lookingUp === 0 && { text: `about ${clock(left)} left`, rank: 7 },
    isHeldUp && { text: `held up by ${heldUp.ip}`, rank: 1.5 },
  ];
  return all.filter((field) => field !== false);
}

const GAP = ", ";

/** The line for a terminal: the most important figures that fit in `width` columns. */
export function progressLine(progress: ScanProgress, pace: Pace, width: number, colour: boolean): string {
  let shown = fields(progress, pace, createColors(colour));
  const length = (): number => shown.map(({ text }) => text).join(GAP).length;
  while (length() > width && shown.length > 0) {
    const lowest = Math.min(...shown.map(({ rank }) => rank));
    shown = shown.filter(({ rank }) => rank !== lowest);
  }
  return shown.map(({ text, paint = String }) => paint(text)).join(GAP);
}

/** The line for `--stats-every`: every figure, easy to grep. */
export function statsLine(progress: ScanProgress, pace: Pace): string {
  const figures = fields(progress, pace, createColors(false)).map(({ text }) => text);
  const pairs = `${digits(progress.decided)} of ${digits(progress.total)} pairs`;
  const workers = progress.workers > 1 ? [`${progress.workers} workers`] : [];
  return `synprobe: ${[pairs, ...figures, ...workers].join(GAP)}\n`;
}

export interface ProgressOptions {
  /** Writes text to standard error unchanged, control sequences included. */
  readonly write: (text: string) => void;
  /** Draw the line at the bottom: only where `write` reaches a terminal. */
  readonly live: boolean;
  readonly colour: boolean;
  /** The terminal's columns, now. */
  readonly columns: () => number;
  /** A steady clock, in milliseconds. */
  readonly now: () => number;
  /** Milliseconds between two plain lines; none when undefined. */
  readonly statsEveryMs?: number;
}

export interface Progress {
  /** Takes a new sample; should be called five times a second, may be called more often. */
  update(progress: ScanProgress): void;
  /**
   * Makes whole lines for the same terminal appear above the progress line: write what it returns, to either stream. Each
   * piece clears the line and draws it again, so pieces of two streams may come in any order.
   */
  above(text: string): string;
  /** The run is over: removes the line for good. */
  done(): void;
}

export function createProgress(options: ProgressOptions): Progress {
  const { write, live, colour, columns, now, statsEveryMs = Number.POSITIVE_INFINITY } = options;
  const paceOf = createPaceMeter();
  const startMs = now();
  let nextDrawMs = startMs + FIRST_DRAW_MS;
  let nextStatsMs = startMs + statsEveryMs;
  let line = "";
  let drawn = false;
  let over = false;

  const above = (text: string): string => (drawn ? `${CLEAR}${text}${line}` : text);

  return {
    above,
    update(progress) {
      if (over) return;
      const pace = paceOf(progress);
      const nowMs = now();
      if (nowMs >= nextStatsMs) {
        nextStatsMs += statsEveryMs * Math.ceil((nowMs - nextStatsMs + 1) / statsEveryMs);
        write(above(statsLine(progress, pace)));
      }
      if (live && nowMs >= nextDrawMs) {
        // At fixed times, so that samples a little early do not halve the rate.
        nextDrawMs += REDRAW_MS * Math.ceil((nowMs - nextDrawMs + 1) / REDRAW_MS);
        // The last column stays free: a terminal may wrap after it.
        line = progressLine(progress, pace, columns() - 1, colour);
        drawn = true;
        write(above(""));
      }
    },
    done() {
      over = true;
      line = "";
      if (drawn) write(CLEAR);
    },
  };
}

/**
 * Whether a line may be redrawn in place: only on a terminal that can, and not in CI. NO_COLOR does not matter here.
 */
export function mayDraw(isTerminal: boolean, env: NodeJS.ProcessEnv): boolean {
  const { CI, TERM } = env;
  return isTerminal && TERM !== "dumb" && (CI === undefined || CI === "" || CI === "false");
}
