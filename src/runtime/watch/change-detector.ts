/**
 * Decides which ports have changed. Pure: time is passed in, probing is somebody else's business.
 *
 * A round is one scan, and further probes of what it found different. A difference counts when it is seen again after a while,
 * from other source ports: an answer once more, silence four times, as silence may be loss and losses come in bursts. What is not
 * settled then stays as it was, and the next round asks again. So a change that lasts two rounds is told once, loss is not. Silence
 * of a port that is seen for the first time has to be confirmed, too: otherwise the next answer would pass for a change.
 *
 * A port that changes again and again is held down as a flapping route is (RFC 2439): every change adds a penalty that decays
 * by half in some rounds' time. Above one limit it is told as flapping, once, and nothing more until the penalty is below
 * another; then it is told as settled, with its state.
 */

export interface Verdict {
  readonly state: string;
  readonly reason: string;
  /** The chance that an answer was lost, 0 to 1; absent unless there was none. */
  readonly doubt?: number;
}

/** What a port is held to be. */
export type Known = Pick<Verdict, "state" | "reason">;

export interface ChangeEvent {
  readonly kind: "changed" | "flapping" | "settled";
  /** Which port, as the caller names it. */
  readonly key: string;
  /** The state that was told last. */
  readonly old: string;
  readonly verdict: Verdict;
  /** Chance that the change is none: every silence of it was loss; 0 when it rests on answers. */
  readonly doubt: number;
}

/** How often a port has changed lately. */
export interface Flaps {
  /** As of `atMs`. */
  readonly penalty: number;
  readonly atMs: number;
  /** Held down, with this state told last. */
  readonly told?: string;
}

export interface DetectorOptions {
  /** Milliseconds from a scan to the first confirmation, and from each to the next: longer than bursts of loss last. */
  readonly confirmMs: number;
  /** Milliseconds in which a penalty decays by half. */
  readonly halfLifeMs: number;
}

export interface ChangeDetector {
  /** What was known when the last watch ended. @param names as `seen` has them: those that were seen here last */
  restore(key: string, known: Known, flaps?: Flaps, names?: readonly string[]): void;
  /** Begins a round; what one that failed has left is forgotten. */
  begin(): void;
  /**
   * A result of this round's scan; a later one on the same port replaces it.
   * @param names what the port is called, whatever its address. A port of which nothing is known is held to be as the one that had one
   * of its names was, where that has it no longer: a name that moves to an address where nothing answers has changed
   */
  seen(key: string, verdict: Verdict, names?: readonly string[]): void;
  /** A port of this round's scan that could not be probed: it stays as it was, and its names are still there. */
  missed(key: string, names?: readonly string[]): void;
  /** What to probe again after `waitMs`; empty when the round is settled, or has asked often enough. */
  suspects(): { readonly keys: readonly string[]; readonly waitMs: number };
  /** A result of probing a suspect again. A suspect that got none stays as it was. */
  again(key: string, verdict: Verdict): void;
  /** Ends the round. */
  end(nowMs: number): Round;
  /** Ports that have changed lately, to be restored. */
  flaps(): Iterable<readonly [key: string, flaps: Flaps]>;
}

export interface Round {
  readonly events: readonly ChangeEvent[];
  /** Every port of the scan, as it is held to be after all probes, with the doubt of all. Those that could not be settled are left out. */
  readonly verdicts: ReadonlyMap<string, Verdict>;
  /** Those that stay as they were, as they could not be settled or probed, if anything is known of them. */
  readonly held: ReadonlyMap<string, Known>;
  /** Differences that were none, and those that could not be settled. */
  readonly transient: number;
  readonly unsettled: number;
}

/**
 * Times that one verdict must be seen, the scan included: with an answer, without, and without where nothing was known. Where 5 %
 * of the time is lost in bursts, three silences were loss 23 times in a million results of scans that did not verify them (test/sim/watch.test.ts).
 */
const ANSWERS = 2;
const SILENCES = 5;
const FIRST_SILENCES = 3;
/** Confirmations in a round: states that contradict each other so often settle nothing more. */
const MOST_CONFIRMATIONS = 6;
/** RFC 2439 §4.2, in its units: what a change costs, where it is held down, where it is let go, and the most there can be. */
const PENALTY = 1000;
const SUPPRESS = 2500;
const REUSE = 750;
const MOST_PENALTY = 6000;

interface Suspicion {
  readonly verdict: Verdict;
  readonly times: number;
  /** Of all looks together. */
  readonly doubt: number;
}

const CONFIRM_MS = 30_000;
/** Of which a silence needs four, beside the time that they take. */
const LOOKS_BETWEEN_SCANS = 6;

/** How long to wait before a change is looked at again, where nothing is asked for: so that it is settled before the next scan. */
export const confirmAfterMs = (periodMs: number): number =>
  Math.min(CONFIRM_MS, periodMs / LOOKS_BETWEEN_SCANS);

export function createChangeDetector({ confirmMs, halfLifeMs }: DetectorOptions): ChangeDetector {
  const known = new Map<string, Known>();
  const flapping = new Map<string, Flaps>();
  let verdicts = new Map<string, Verdict>();
  let suspicions = new Map<string, Suspicion>();
  let settled = new Set<string>();
  /** Of this round, by key; and the port that had a name last. */
  let names = new Map<string, readonly string[]>();
  const lastOf = new Map<string, string>();
  const unprobed = new Set<string>();
  /** Ports of this round that are held to be as another was, until they are settled. */
  const following = new Set<string>();
  let transient = 0;
  /** Confirmations of this round that were asked for, whatever came of them. */
  let confirmations = 0;

  function begin(): void {
    verdicts = new Map();
    suspicions = new Map();
    settled = new Set();
    names = new Map();
    unprobed.clear();
    for (const key of following) known.delete(key);
    following.clear();
    transient = 0;
    confirmations = 0;
  }
  const suspect = (verdict: Verdict): Suspicion => ({ verdict, times: 1, doubt: verdict.doubt ?? 0 });
  const isSettled = (key: string, { verdict, times }: Suspicion): boolean =>
    times >= (verdict.doubt === undefined ? ANSWERS : known.has(key) ? SILENCES : FIRST_SILENCES);

  function see(key: string, verdict: Verdict): void {
    verdicts.set(key, verdict);
    const old = known.get(key);
    const isCertain = old === undefined ? verdict.doubt === undefined : old.state === verdict.state;
    if (isCertain) suspicions.delete(key);
    else suspicions.set(key, suspect(verdict));
  }

  /** Ports whose names were another's before, all of the round having been seen. */
  function followNames(): void {
    for (const [key, given] of names) {
      const verdict = verdicts.get(key);
      if (known.has(key) || verdict === undefined) continue;
      const moved = given.map((name) => knownBefore(name)).find((each) => each !== undefined);
      if (moved === undefined) continue;
      known.set(key, moved);
      following.add(key);
      see(key, verdict);
    }
  }

  /** What a name's port was where the name is no longer: an address that it shares may still be there. */
  function knownBefore(name: string): Known | undefined {
    const before = lastOf.get(name);
    return before === undefined || names.get(before)?.includes(name) === true ? undefined : known.get(before);
  }

  const penaltyAt = ({ penalty, atMs }: Flaps, nowMs: number): number =>
    penalty * 0.5 ** (Math.max(0, nowMs - atMs) / halfLifeMs);

  /** A confirmed change, or that of a port that is held down. */
  function changed(
    key: string,
    old: string,
    { verdict, doubt }: Suspicion,
    nowMs: number,
  ): ChangeEvent | undefined {
    const before = flapping.get(key) ?? { penalty: 0, atMs: nowMs };
    const penalty = Math.min(MOST_PENALTY, penaltyAt(before, nowMs) + PENALTY);
    const isHeld = before.told !== undefined;
    const told = before.told ?? (penalty > SUPPRESS ? old : undefined);
    flapping.set(key, { penalty, atMs: nowMs, ...(told === undefined ? {} : { told }) });
    if (isHeld) return undefined;
    return { kind: told === undefined ? "changed" : "flapping", key, old, verdict, doubt };
  }

  return {
    flaps: () => flapping,
    restore(key, { state, reason }, flaps, given = []) {
      known.set(key, { state, reason });
      for (const name of given) lastOf.set(name, key);
      if (flaps !== undefined) flapping.set(key, flaps);
    },
    begin,
    seen(key, verdict, given = []) {
      if (given.length > 0) names.set(key, given);
      see(key, verdict);
    },
    missed(key, given = []) {
      unprobed.add(key);
      if (given.length > 0) names.set(key, given);
    },
    suspects() {
      if (confirmations === 0) followNames();
      const isOver = confirmations++ >= MOST_CONFIRMATIONS;
      const keys = isOver ? [] : [...suspicions.keys()].filter((key) => !settled.has(key));
      return { keys, waitMs: confirmMs };
    },
    again(key, verdict) {
      const before = suspicions.get(key);
      if (before === undefined || settled.has(key)) return;
      const old = known.get(key);
      if (old === undefined ? verdict.doubt === undefined : verdict.state === old.state) {
        // The newest verdict is of the old state, or the first answer of all: it was loss, or has passed.
        verdicts.set(key, verdict);
        suspicions.delete(key);
        transient++;
        return;
      }
      const next =
        verdict.state === before.verdict.state
          ? {
              verdict,
              times: before.times + 1,
              doubt: before.doubt * (verdict.doubt ?? 0),
            }
          : suspect(verdict);
      suspicions.set(key, next);
      if (isSettled(key, next)) settled.add(key);
    },
    end(nowMs) {
      const events: ChangeEvent[] = [];
      const held = new Map<string, Known>();
      const hold = (key: string): void => {
        const old = known.get(key);
        if (old !== undefined) held.set(key, old);
      };
      let unsettled = 0;
      // A round that was cut short is not to put in what has become of a name: nobody would be told of it any more.
      if (confirmations === 0) followNames();
      for (const [key, each] of suspicions) {
        if (!settled.has(key)) {
          unsettled++;
          verdicts.delete(key);
          hold(key);
          continue;
        }
        const { verdict, doubt } = each;
        verdicts.set(key, verdict.doubt === undefined ? verdict : { ...verdict, doubt });
        const old = known.get(key);
        if (old === undefined) continue;
        const event = changed(key, old.state, each, nowMs);
        if (event !== undefined) events.push(event);
      }
      for (const key of unprobed) if (!verdicts.has(key)) hold(key);
      for (const [key, verdict] of verdicts) {
        known.set(key, verdict);
        following.delete(key);
      }
      for (const [key, given] of names)
        if (verdicts.has(key)) for (const name of given) lastOf.set(name, key);
      for (const [key, flaps] of flapping) {
        if (penaltyAt(flaps, nowMs) >= REUSE) continue;
        const verdict = verdicts.get(key);
        // Told when it is seen: not in a round that could not settle it.
        if (flaps.told !== undefined && verdict === undefined) continue;
        flapping.delete(key);
        if (flaps.told !== undefined && verdict !== undefined)
          events.push({ kind: "settled", key, old: flaps.told, verdict, doubt: verdict.doubt ?? 0 });
      }
      const round: Round = { events, verdicts, held, transient, unsettled };
      begin();
      return round;
    },
  };
}
