/**
 * An engine over a link that has room for few SYNs at once (link/connect/): it is asked for no more SYNs than there is room for, is
 * looked at again when there is, and tells the link which pairs are decided. Its verdicts say by whom the handshake was done.
 *
 * Tested by test/runtime/run/undecided.test.ts.
 */
import type { Undecided } from "../../link/link.ts";
import type { EngineCounters } from "../../scan/engine/counters.ts";
import type { Engine } from "../../scan/engine/engine.ts";
import type { Verdict, VerdictDraft } from "../../scan/probe/verdict.ts";

/** With no room, it is looked again after this long if nothing makes some before, in microseconds. */
const LOOK_AGAIN_US = 10_000;

/**
 * @param isControl whether a local port is a control SYN's, which goes on when its pair is decided
 * @returns the engine, for a link without `behind`: its tokens count from 0 in each round
 */
export function limitUndecided(
  engine: Engine,
  undecided: Undecided,
  isControl: (localPort: number) => boolean,
): Engine {
  const { pollTransmit, pollTimeout, pollVerdict } = engine;
  const limited: Pick<Engine, "pollTransmit" | "pollTimeout" | "pollVerdict"> = {
    pollTransmit: (nowUs, out, at, token) =>
      token < undecided.room() ? pollTransmit(nowUs, out, at, token) : 0,
    pollTimeout: (nowUs) => {
      const next = pollTimeout(nowUs);
      const waits = undecided.room() === 0 ? Math.max(next, nowUs + LOOK_AGAIN_US) : next;
      return Math.min(waits, nowUs + undecided.nextInUs());
    },
    pollVerdict: () => {
      const verdict = pollVerdict();
      if (verdict === undefined) return undefined;
      undecided.decided(verdict.peer, verdict.family, verdict.port, isControl);
      return byConnect(verdict);
    },
  };
  return Object.setPrototypeOf(limited, engine);
}

/** The engine's counts, with its reasons as in the verdicts. */
export function countsByConnect(counts: Readonly<EngineCounters>): Readonly<EngineCounters> {
  const { reset, ...closed } = counts.reasons.closed;
  if (reset === undefined) return counts;
  return { ...counts, reasons: { ...counts.reasons, closed: { ...closed, "conn-refused": reset } } };
}

/** The verdict, as nmap's connect scan words it. Its memory is the engine's, which fills it in anew each time. */
function byConnect(verdict: Verdict): Verdict {
  const draft: VerdictDraft = verdict;
  draft.connect = true;
  // Its SYN+ACK was never seen.
  draft.hasOffer = false;
  if (draft.reason === "reset") draft.reason = "conn-refused";
  return draft;
}
