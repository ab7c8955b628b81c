/**
 * Hosts that may answer SYN-ACK on any port, tarpits and middleboxes: who is being asked for ports that nobody serves, and the
 * verdicts that wait for the outcome.
 *
 * Not here: when a host becomes a suspect, and the canaries themselves (control-schedule.ts, control-probes.ts).
 */
import { keepVerdict, type Verdict } from "../probe/verdict.ts";

/** Names a host, whatever becomes of what else is known of it. */
export type HostKey = number | string;

export interface Tarpits {
  /** One more canary is under way to the host. */
  ask(host: HostKey): void;
  /** Keeps a copy of the verdict until the host is judged. @returns false when none of its canaries is under way */
  hold(host: HostKey, verdict: Verdict): boolean;
  /**
   * The fate of one canary. @returns the judgement when it was the last of its host's; the verdicts held come out of `release`
   */
  hear(host: HostKey, answer: "syn-ack" | "reset" | undefined): { readonly tarpit: boolean } | undefined;
  /** The next verdict that no longer waits. */
  release(): Verdict | undefined;
  /** Hosts not judged, and verdicts not released. */
  pending(): number;
  /** The lowest position of a verdict that is kept or to be released; Infinity when there is none. */
  lowestPosition(): number;
  /** Nobody is judged any more: all verdicts are released as they are. */
  giveUp(): void;
}

interface Case {
  underWay: number;
  accepted: number;
  refused: number;
  readonly verdictQueue: Verdict[];
}

export function createTarpits(): Tarpits {
  const cases = new Map<HostKey, Case>();
  let released: Verdict[] = [];
  let next = 0;
  return {
    ask: (host) => {
      const known = cases.get(host);
      if (known === undefined) cases.set(host, { underWay: 1, accepted: 0, refused: 0, verdictQueue: [] });
      else known.underWay++;
    },
    hold: (host, verdict) => {
      const known = cases.get(host);
      if (known === undefined) return false;
      known.verdictQueue.push(keepVerdict(verdict));
      return true;
    },
    hear: (host, answer) => {
      const known = cases.get(host);
      if (known === undefined) return undefined;
      known.underWay--;
      if (answer === "syn-ack") known.accepted++;
      else if (answer === "reset") known.refused++;
      if (known.underWay > 0) return undefined;
      cases.delete(host);
      // One that is accepted may have met a service; one that is lost says nothing.
      const tarpit = known.accepted > 0 && known.refused === 0;
      for (const verdict of known.verdictQueue) released.push({ ...verdict, answersAll: tarpit });
      return { tarpit };
    },
    release: () => {
      if (next < released.length) return released[next++];
      if (next > 0) {
        released = [];
        next = 0;
      }
      return undefined;
    },
    pending: () => cases.size + released.length - next,
    lowestPosition: () => {
      let lowest = Number.POSITIVE_INFINITY;
      for (const { verdictQueue } of cases.values()) {
        for (const { position } of verdictQueue) lowest = Math.min(lowest, position);
      }
      for (let i = next; i < released.length; i++) lowest = Math.min(lowest, released[i].position);
      return lowest;
    },
    giveUp: () => {
      for (const { verdictQueue } of cases.values()) released.push(...verdictQueue);
      cases.clear();
    },
  };
}
