/**
 * Scouting: when a pilot is due and whom it goes to, which host is asked for ports that nobody serves, and what the fate of such a
 * probe says: of the path, or of the host. The probes themselves are pilots.ts's, the verdicts that wait for them suspects.ts's.
 *
 * Not here: how they leave (sending.ts) and how their answers are proved (receiving.ts).
 */
import { ADDRESS_WORDS } from "../socket/table.ts";
import { MARKS } from "./hosts.ts";
import type { PathWatch } from "./path-watch.ts";
import { createPilots, type Pilots } from "./pilots.ts";
import type { Probes } from "./probes.ts";
import { createSuspects, type HostKey } from "./suspects.ts";
import type { Verdict, VerdictSlot } from "./verdict.ts";

export interface Scouting {
  /** Undefined where none can be sent. */
  readonly pilots: Pilots | undefined;
  /** A canary, or a pilot when it is time for one; -1 when it is not. */
  next(nowUs: number): number;
  /** The probe in `slot` leaves. */
  sent(slot: number, nowUs: number, iss: number): void;
  /** It has left, at its `sentUs`. */
  departed(slot: number): void;
  /** It was answered `atUs`. */
  answered(slot: number, kind: "syn-ack" | "reset", atUs: number): void;
  /** It could not leave. */
  refused(slot: number): void;
  /** Ends those whose time is over. */
  expire(nowUs: number): void;
  /** The row's pair has answered: somebody to ask again, perhaps. */
  remember(row: number, host: number, isOpen: boolean): void;
  /**
   * A port of the host is open. A host with open ports and none closed is asked for ports that nobody serves; until it has answered,
   * its open ports wait. @returns whether this verdict does: a copy of it comes out of `release`
   */
  suspect(host: number, row: number, slot: VerdictSlot): boolean;
  /** The next verdict that has waited long enough. */
  release(): Verdict | undefined;
  /** Whether any still wait, or their hosts are being asked. */
  isPending(): boolean;
  /** When `expire` next has something to do that somebody waits for; Infinity when never. */
  nextExpiry(): number;
  /** The lowest position of a verdict that waits; Infinity when none does. */
  lowestPosition(): number;
  /** Nobody waits any more. */
  giveUp(): void;
}

export interface ScoutingOptions {
  /** Source ports of pilots and canaries; without them there are none. */
  readonly ports: { readonly first: number; readonly last: number } | undefined;
  /** Integers from 0 to `below - 1`. */
  readonly random: (below: number) => number;
  /** Pairs that the run will probe. */
  readonly total: number;
  readonly probes: Probes;
  readonly watch: PathWatch;
}

/** So many open ports, and no closed one, make a host one that may answer anything; so many other ports are then asked. */
const SUSPICIOUS = 3;
const CANARIES = 3;
/** Below the ports of clients, above those of most services. */
const CANARY_PORTS = { first: 20_000, last: 32_767 } as const;
/** One probe in so many is a pilot, on average, but no more than one in so many seconds. */
const PROBES_PER_PILOT = 16;
const PILOT_EVERY_S = 0.0006;
/** In runs of fewer pairs it is over before pilots could tell. */
const FEWEST_FOR_PILOTS = 1000;
/** Of those who answered, one in so many is remembered as somebody to ask again, once there are some. */
const REMEMBER_EVERY = 8;

export function createScouting({ ports, random, total, probes, watch }: ScoutingOptions): Scouting {
  const { table } = probes;
  const { hosts } = watch;
  const pilots = ports === undefined ? undefined : createPilots(ports, random);
  /** Hosts whose canaries are under way, and their open ports. */
  const suspects = createSuspects();
  const sendsPilots = watch.adaptive && total >= FEWEST_FOR_PILOTS;
  /** Pilots under way whose departure has been told. */
  const isCounted = new Uint8Array(pilots?.isCanary.length ?? 0);
  /** Probes until the next pilot. */
  let untilPilot = 1;
  let sinceRemembered = 0;

  function end(slot: number, kind: "syn-ack" | "reset" | undefined): void {
    if (pilots === undefined) return;
    const host = pilots.host[slot];
    const isCanary = pilots.isCanary[slot] === 1;
    pilots.release(slot);
    if (!isCanary) return;
    const judged = suspects.hear(keyOf(pilots.words, slot * ADDRESS_WORDS), kind === "syn-ack");
    // Its entry may have changed hands meanwhile.
    if (judged === undefined || !hosts.holds(host, pilots.words, slot * ADDRESS_WORDS)) return;
    hosts.marks[host] |= judged.tarpit ? MARKS.tarpit : MARKS.honest;
  }

  return {
    pilots,
    next: (nowUs) => {
      if (pilots === undefined) return -1;
      const canary = pilots.pickCanary();
      if (canary >= 0 || !sendsPilots) return canary;
      if (--untilPilot > 0) return -1;
      // At no fixed place: not always the first of those that leave together, which a queue has room for.
      const every = Math.max(PROBES_PER_PILOT, watch.rate() * PILOT_EVERY_S) | 0;
      untilPilot = 1 + random(2 * every);
      return pilots.pickPilot(watch.isRested, nowUs);
    },
    sent: (slot, nowUs, iss) => {
      if (pilots === undefined) return;
      const host = pilots.host[slot];
      pilots.sent(slot, nowUs, watch.pilotWaitUs(host), iss);
      watch.sent(host, nowUs);
      isCounted[slot] = 0;
    },
    departed: (slot) => {
      if (pilots === undefined) return;
      watch.departed(pilots.sentUs, slot, false);
      if (pilots.isCanary[slot] === 1 || isCounted[slot] === 1) return;
      isCounted[slot] = 1;
      watch.pilotDeparted(pilots.sentUs, slot);
    },
    answered: (slot, kind, atUs) => {
      if (pilots?.isCanary[slot] === 0) watch.pilotAnswered(pilots.host[slot], pilots.sentUs, slot, atUs);
      end(slot, kind);
    },
    refused: (slot) => {
      // It left nobody waiting: a canary that cannot be sent says as little as one that is not answered.
      if (pilots !== undefined && isCounted[slot] === 1) watch.pilotUnknown(pilots.sentUs, slot);
      end(slot, undefined);
    },
    expire: (nowUs) => {
      if (pilots === undefined) return;
      for (let slot = pilots.expired(nowUs); slot >= 0; slot = pilots.expired(nowUs)) {
        if (pilots.isCanary[slot] === 0) watch.pilotLost(pilots.sentUs, slot);
        end(slot, undefined);
      }
    },
    remember: (row, host, isOpen) => {
      if (pilots === undefined) return;
      if (pilots.known() >= REMEMBER_EVERY * 4 && ++sinceRemembered < REMEMBER_EVERY) return;
      sinceRemembered = 0;
      if ((hosts.marks[host] & MARKS.paced) !== 0) return;
      const { peer, peerPort, path } = table;
      pilots.remember(peer, row * ADDRESS_WORDS, peerPort[row], path[row], host, isOpen);
    },
    suspect: (host, row, slot) => {
      const marks = hosts.marks[host];
      if ((marks & MARKS.tarpit) !== 0) slot.answersAll = true;
      if (pilots === undefined || (marks & (MARKS.tarpit | MARKS.honest)) !== 0) return false;
      const at = row * ADDRESS_WORDS;
      const asked = (marks & MARKS.canaries) !== 0;
      if (!asked && (hosts.open[host] < SUSPICIOUS || hosts.closed[host] > 0)) return false;
      const key = keyOf(table.peer, at);
      if (!asked) {
        hosts.marks[host] |= MARKS.canaries;
        for (let i = 0; i < CANARIES; i++) {
          const port = CANARY_PORTS.first + random(CANARY_PORTS.last - CANARY_PORTS.first + 1);
          if (pilots.askCanary(table.peer, at, port, table.path[row], host)) suspects.ask(key);
        }
      }
      return suspects.hold(key, slot);
    },
    release: suspects.release,
    isPending: () => suspects.pending() > 0,
    nextExpiry: () =>
      pilots === undefined || suspects.pending() === 0 ? Number.POSITIVE_INFINITY : pilots.nextExpiry(),
    lowestPosition: suspects.lowestPosition,
    giveUp: suspects.giveUp,
  };
}

const keyOf = (words: Uint32Array, at: number): HostKey => words.subarray(at, at + ADDRESS_WORDS).join(":");
