/**
 * Tarpits and middleboxes, which answer SYN-ACK on any port: the hosts that are being checked with canaries, and the verdicts
 * that wait for the outcome.
 *
 * Not here: when a host is checked, and the canaries themselves (control-schedule.ts, control-probes.ts).
 */
import { keepVerdict, type Verdict } from "../probe/verdict.ts";

/** Names a host for as long as it is checked, even if its cache entry changes hands. */
export type HostKey = number | string;

export interface Tarpits {
  /** One more canary is under way to the host. */
  ask(host: HostKey): void;
  /** Keeps a copy of the verdict until the host is judged. @returns false when no canary is under way to it */
  hold(host: HostKey, verdict: Verdict): boolean;
  /**
   * The fate of one canary.
   * @returns the judgement with the host's last canary; the verdicts held then come out of `release`
   */
  hear(host: HostKey, answer: "syn-ack" | "reset" | undefined): { readonly tarpit: boolean } | undefined;
  /** The next verdict that no longer waits. */
  release(): Verdict | undefined;
  /** Hosts not judged plus verdicts not released. */
  pending(): number;
  /** The lowest position of a verdict that is held or to be released; Infinity when there is none. */
  lowestPosition(): number;
  /** No further host is judged: all verdicts are released as they are. */
  giveUp(): void;
}

interface Check {
  underWay: number;
  accepted: number;
  refused: number;
  readonly verdicts: Verdict[];
}

export function createTarpits(): Tarpits {
  const checks = new Map<HostKey, Check>();
  let released: Verdict[] = [];
  let next = 0;
  return {
    ask: (host) => {
      const check = checks.get(host);
      if (check === undefined) checks.set(host, { underWay: 1, accepted: 0, refused: 0, verdicts: [] });
      else check.underWay++;
    },
    hold: (host, verdict) => {
      const check = checks.get(host);
      if (check === undefined) return false;
      check.verdicts.push(keepVerdict(verdict));
      return true;
    },
    hear: (host, answer) => {
      const check = checks.get(host);
      if (check === undefined) return undefined;
      check.underWay--;
      if (answer === "syn-ack") check.accepted++;
      else if (answer === "reset") check.refused++;
      if (check.underWay > 0) return undefined;
      checks.delete(host);
      // A refused canary shows that the host does refuse; a lost one tells nothing.
      const tarpit = check.accepted > 0 && check.refused === 0;
      for (const verdict of check.verdicts) released.push({ ...verdict, answersAll: tarpit });
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
    pending: () => checks.size + released.length - next,
    lowestPosition: () => {
      let lowest = Number.POSITIVE_INFINITY;
      for (const { verdicts } of checks.values()) {
        for (const { position } of verdicts) lowest = Math.min(lowest, position);
      }
      for (let i = next; i < released.length; i++) lowest = Math.min(lowest, released[i].position);
      return lowest;
    },
    giveUp: () => {
      for (const { verdicts } of checks.values()) released.push(...verdicts);
      checks.clear();
    },
  };
}
