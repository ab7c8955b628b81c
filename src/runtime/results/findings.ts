/**
 * What engines have found out about hosts and the path, as results: addresses as text, times as milliseconds since the Unix epoch;
 * and that of several workers as one.
 */
import type { Engine } from "../../scan/engine/engine.ts";
import type { Outage } from "../../scan/measure/outages.ts";
import type {
  LimitedHost,
  LossBurstFindings,
  ScanProgress,
  ScanSummary,
  TimedOutage,
} from "../../scan/probe/result.ts";
import { addressText } from "../../socket/table.ts";
import { wallMs } from "../system/clock.ts";

export type Findings = Pick<ScanSummary, "rstLimited" | "outages" | "bursts">;

/** Of each kind at most this many are told. */
const MOST = 1000;

export function toFindings(
  engine: Pick<Engine, "hostFindings" | "outages" | "bursts">,
  nowUs: number,
): Findings {
  const timed = ({ fromUs, toUs }: Outage, ip?: string): TimedOutage => ({
    ...(ip === undefined ? {} : { ip }),
    fromMs: wallMs(fromUs),
    ...(toUs === undefined ? {} : { toMs: wallMs(toUs) }),
  });
  const bursts = engine.bursts();
  const hosts = engine.hostFindings().map((host) => ({ ...host, ip: addressText(host.words, 0) }));
  return told(
    hosts.flatMap(({ ip, perSecond }) => (perSecond === undefined ? [] : [{ ip, perSecond }])).slice(0, MOST),
    [
      ...engine.outages(nowUs).map((outage) => timed(outage)),
      ...hosts.flatMap(({ ip, outages }) => outages.map((outage) => timed(outage, ip))),
    ].slice(0, MOST),
    bursts === undefined ? undefined : { share: bursts.share, meanMs: bursts.us / 1000 },
  );
}

/** Who holds up the run now. */
export function toHeldUp(engine: Pick<Engine, "heldUp">): Pick<ScanProgress, "heldUp"> {
  const longest = engine.heldUp();
  return longest === undefined
    ? {}
    : { heldUp: { ip: addressText(longest.words, 0), ms: longest.us / 1000 } };
}

/** Of several workers. */
export function longestHeldUp(all: readonly Pick<ScanProgress, "heldUp">[]): Pick<ScanProgress, "heldUp"> {
  return all.reduce(
    (longest, next) => ((next.heldUp?.ms ?? 0) > (longest.heldUp?.ms ?? 0) ? next : longest),
    {},
  );
}

/** What there is nothing of is left out. */
const told = (
  rstLimited: readonly LimitedHost[],
  outages: readonly TimedOutage[],
  bursts: LossBurstFindings | undefined,
): Findings => ({
  ...(rstLimited.length === 0 ? {} : { rstLimited }),
  ...(outages.length === 0 ? {} : { outages }),
  ...(bursts === undefined ? {} : { bursts }),
});

/** Each worker finds out about its share: a host's RSTs add up, outages that overlap are one, and of bursts the means are taken. */
export function mergeFindings(all: readonly Findings[]): Findings {
  const limited = new Map<string, number>();
  for (const { ip, perSecond } of all.flatMap(({ rstLimited = [] }) => rstLimited))
    limited.set(ip, (limited.get(ip) ?? 0) + perSecond);
  const merged: TimedOutage[] = [];
  const ends = ({ toMs = Number.POSITIVE_INFINITY }: TimedOutage): number => toMs;
  for (const next of all.flatMap(({ outages = [] }) => outages).sort((a, b) => a.fromMs - b.fromMs)) {
    const at = merged.findIndex((known) => known.ip === next.ip && ends(known) >= next.fromMs);
    if (at < 0) merged.push(next);
    else if (ends(next) > ends(merged[at])) {
      const { toMs: _, ...known } = merged[at];
      merged[at] = { ...known, ...(next.toMs === undefined ? {} : { toMs: next.toMs }) };
    }
  }
  return told(
    Array.from(limited, ([ip, perSecond]) => ({ ip, perSecond })),
    merged,
    meanOf(all.flatMap(({ bursts }) => (bursts === undefined ? [] : [bursts]))),
  );
}

function meanOf(all: readonly LossBurstFindings[]): LossBurstFindings | undefined {
  if (all.length === 0) return undefined;
  const mean = (of: (bursts: LossBurstFindings) => number): number =>
    all.reduce((sum, bursts) => sum + of(bursts), 0) / all.length;
  return { share: mean(({ share }) => share), meanMs: mean(({ meanMs }) => meanMs) };
}
