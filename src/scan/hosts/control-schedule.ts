/**
 * Scouting: when a pilot is due and whom it goes to, which host is asked for ports that nobody serves, behind which SYN a control
 * goes, and what the fate of such a probe says: of the path, or of the host. The probes themselves are control-probes.ts's, the verdicts
 * that wait for canaries tarpits.ts's.
 *
 * Not here: how they leave (engine/transmit.ts) and how their answers are proved (engine/receive.ts).
 * Tested by test/scan/engine/engine.test.ts and test/sim/path-knowledge.test.ts.
 */
import { ADDRESS_WORDS } from "../../socket/table.ts";
import type { PathState } from "../congestion/path-state.ts";
import {
  CLOSED_PORT,
  ENTRY_WORDS,
  MARKS,
  MAX_SILENT_TRIES,
  MAX_UNANSWERED,
  SILENT_TRIES,
  UNANSWERED,
} from "../measure/host-cache.ts";
import type { InFlight } from "../probe/in-flight.ts";
import type { Verdict, VerdictDraft } from "../probe/verdict.ts";
import { type ControlProbes, createControlProbes, KINDS, SLOTS } from "./control-probes.ts";
import type { RstLimited } from "./rst-limited.ts";
import { createTarpits, type HostKey } from "./tarpits.ts";

export interface ControlSchedule {
  /** Undefined where none can be sent. */
  readonly controlProbes: ControlProbes | undefined;
  /**
   * A canary or a control, or a pilot when it is time for one; -1 when it is not.
   * @param behind no SYN waits that a control would have to stand behind
   */
  next(nowUs: number, behind: boolean): number;
  /** A try of the row leaves: if it stays without an answer, could its host have given one? A control right behind it will say. */
  watchSilence(row: number, attempt: number, nowUs: number): void;
  /** A try of the row's has stayed without an answer, and another follows. */
  noteSilence(row: number): void;
  /** What the control behind the row's last try has said. */
  silenceOf(row: number): Silence;
  /** The chance that the host limits its resets, going by controls of late that were not answered. */
  withheld(host: number): number;
  /** Sends a control to the row's host at once. @returns false when none can be sent */
  control(row: number): boolean;
  /** The probe in `slot` leaves. */
  sent(slot: number, nowUs: number, iss: number): void;
  /** It has left, at its `sentUs`. */
  departed(slot: number): void;
  /** It was answered `ageUs` before `nowUs`. */
  answered(slot: number, kind: "syn-ack" | "reset", nowUs: number, ageUs: number): void;
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
  suspect(host: number, row: number, slot: VerdictDraft): boolean;
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

export interface ControlScheduleOptions {
  /** Source ports of pilots and canaries; without them there are none. */
  readonly ports: { readonly first: number; readonly last: number } | undefined;
  /** Ports that canaries may go to: neither excluded nor, as far as there are others, named by the user. Without any there are none. */
  readonly canaryPorts: Uint16Array;
  /** Integers from 0 to `below - 1`. */
  readonly random: (below: number) => number;
  /** Pairs that the run will probe. */
  readonly total: number;
  readonly inFlight: InFlight;
  readonly pathState: PathState;
  readonly rstLimited: Pick<RstLimited, "told">;
}

/**
 * Silence of which nothing is to be feared; of which there is much, and no control told; of which one will tell, that has not left
 * or that has; that is the port's own; that may be the host's.
 */
export const SILENCE = { plain: 0, unwatched: 1, unasked: 2, untold: 3, own: 4, withheld: 5 } as const;
export type Silence = (typeof SILENCE)[keyof typeof SILENCE];

/** Open ports of a host without a closed one before it may be a tarpit. */
const SUSPICIOUS = 3;
/** Ports of such a host that are then probed although nobody named them. */
export const CANARIES = 2;
/** One probe in so many is a pilot, on average, but no more than one in so many seconds. */
const PROBES_PER_PILOT = 8;
const PILOT_EVERY_S = 0.0006;
/** In runs of fewer pairs it is over before pilots could tell. */
const FEWEST_FOR_PILOTS = 1000;
/** Of those who answered, one in so many is remembered as somebody to ask again, once there are some. */
const REMEMBER_EVERY = 8;
/** A host that has had no SYN for so long can reset again, unless it does so less than once in that time. */
const REST_MS = 500;
/** A control stands behind all the SYNs to its host that leave within so long. */
const BEHIND_US = 5000;
/** Twice the silent first tries, less the resets, of late: with so many there is something to find out, or with fewer where resets are few. */
const MANY_SILENCES = 6;
const FEW_SILENCES = 2;
/** Controls that were lost on their way are no sign of a limit: so little is the chance of it when they are taken for one. */
const CHANCE = 3e-4;
/** One host in so many limits its resets so that it shows, one thinks before one asks. */
const LIMITED = 1 / 2000;
/** Controls whose fate is remembered; a power of two. */
const REMEMBERED = 1 << 14;

export function createControlSchedule({
  ports,
  canaryPorts,
  random,
  total,
  inFlight,
  pathState,
  rstLimited,
}: ControlScheduleOptions): ControlSchedule {
  const { table, hostOf } = inFlight;
  const { hosts } = pathState;
  const controlProbes = ports === undefined ? undefined : createControlProbes(ports, random);
  /** Hosts whose canaries are under way, and their open ports. */
  const tarpits = createTarpits();
  const sendsPilots = pathState.adaptive && total >= FEWEST_FOR_PILOTS;
  /** Pilots under way whose departure has been told. */
  const isCounted = new Uint8Array(SLOTS);
  /** Probes until the next pilot. */
  let untilPilot = 1;
  let sinceRemembered = 0;
  /** Controls have numbers, from 1: per row the one behind its last try, 0 when there is none; per slot its own; what each has said. */
  const controlOf = new Int32Array(table.capacity);
  const numberOf = new Int32Array(SLOTS);
  const silences = new Uint8Array(REMEMBERED);
  let controls = 0;
  /** Per host: the last one. */
  const lastOf = new Int32Array(hosts.end / ENTRY_WORDS);
  /** Those that have not left, and when they must. */
  let waiting = 0;
  let leaveBy = 0;

  const isSuspicious = (host: number): boolean =>
    (hosts.marks[host] & MAX_SILENT_TRIES) >=
    SILENT_TRIES * Math.min(MANY_SILENCES, FEW_SILENCES + hosts.closed[host]);

  function askControl(host: number, row: number): number {
    const port = hosts.marks[host] >>> CLOSED_PORT;
    if (controlProbes === undefined || port === 0) return -1;
    const slot = controlProbes.ask(
      table.peer,
      row * ADDRESS_WORDS,
      port,
      table.path[row],
      host,
      KINDS.control,
    );
    if (slot < 0) return -1;
    numberOf[slot] = 0;
    waiting++;
    return slot;
  }

  const silenceBy = (number: number): Silence =>
    // Long ago: another has taken its place.
    number === 0 || number + REMEMBERED <= controls
      ? SILENCE.plain
      : (silences[number & (REMEMBERED - 1)] as Silence);

  function note(slot: number, silence: Silence): void {
    if (numberOf[slot] > 0) silences[numberOf[slot] & (REMEMBERED - 1)] = silence;
  }

  function endControl(slot: number, isAnswered: boolean, nowUs: number): void {
    if (controlProbes === undefined) return;
    note(slot, isAnswered ? SILENCE.own : SILENCE.withheld);
    const host = controlProbes.host[slot];
    const at = slot * ADDRESS_WORDS;
    if (!hosts.holds(host, controlProbes.words, at)) return;
    if ((hosts.marks[host] & MARKS.limited) !== 0) {
      rstLimited.told(host, controlProbes.words, at, isAnswered, controlProbes.sentUs[slot], nowUs);
    } else if (isAnswered) {
      // One token may have come at the right moment: after one that was not answered it takes two that are.
      if ((hosts.marks[host] & MAX_UNANSWERED) === 0) hosts.marks[host] &= ~MAX_SILENT_TRIES;
      else {
        hosts.marks[host] -= UNANSWERED;
        note(slot, SILENCE.withheld);
      }
    } else {
      if ((hosts.marks[host] & MAX_UNANSWERED) < MAX_UNANSWERED) hosts.marks[host] += UNANSWERED;
      const unanswered = (hosts.marks[host] & MAX_UNANSWERED) / UNANSWERED;
      if (pathState.loss() ** unanswered < CHANCE) hosts.marks[host] |= MARKS.limited;
    }
  }

  function end(slot: number, kind: "syn-ack" | "reset" | undefined): void {
    if (controlProbes === undefined) return;
    const host = controlProbes.host[slot];
    const isCanary = controlProbes.kind[slot] === KINDS.canary;
    controlProbes.release(slot);
    if (!isCanary) return;
    const judged = tarpits.hear(keyOf(controlProbes.words, slot * ADDRESS_WORDS), kind);
    // Its entry may have changed hands meanwhile.
    if (judged === undefined || !hosts.holds(host, controlProbes.words, slot * ADDRESS_WORDS)) return;
    hosts.marks[host] |= judged.tarpit ? MARKS.tarpit : MARKS.honest;
  }

  return {
    controlProbes,
    next: (nowUs, behind) => {
      if (controlProbes === undefined) return -1;
      if (controlProbes.waiting()) {
        const slot = controlProbes.pickAsked(behind || nowUs >= leaveBy ? KINDS.control : KINDS.canary);
        if (slot >= 0) {
          if (controlProbes.kind[slot] === KINDS.control) {
            waiting--;
            note(slot, SILENCE.untold);
          }
          return slot;
        }
      }
      if (!sendsPilots || --untilPilot > 0) return -1;
      // At no fixed place: not always the first of those that leave together, which a queue has room for.
      const every = Math.max(PROBES_PER_PILOT, pathState.rate() * PILOT_EVERY_S) | 0;
      untilPilot = 1 + random(2 * every);
      return controlProbes.pickPilot(pathState.isRested, nowUs);
    },
    sent: (slot, nowUs, iss) => {
      if (controlProbes === undefined) return;
      const host = controlProbes.host[slot];
      controlProbes.sent(slot, nowUs, pathState.pilotWaitUs(host), iss);
      pathState.sent(host, nowUs);
      isCounted[slot] = 0;
    },
    departed: (slot) => {
      if (controlProbes === undefined) return;
      pathState.departed(controlProbes.sentUs, slot, false);
      if (controlProbes.kind[slot] !== KINDS.pilot || isCounted[slot] === 1) return;
      isCounted[slot] = 1;
      pathState.pilotDeparted(controlProbes.sentUs, slot);
    },
    watchSilence: (row, attempt, nowUs) => {
      if (attempt === 0 || controlProbes === undefined) return;
      controlOf[row] = 0;
      const host = hostOf[row];
      const marks = hosts.marks[host];
      if (!isSuspicious(host) || (marks & MARKS.limited) !== 0) return;
      if (nowUs / 1000 - hosts.sentMs[host] >= REST_MS) return;
      if (!hosts.holds(host, table.peer, row * ADDRESS_WORDS)) return;
      const last = lastOf[host / ENTRY_WORDS];
      if (silenceBy(last) === SILENCE.unasked) {
        controlOf[row] = last;
        return;
      }
      const slot = askControl(host, row);
      if (slot < 0) return;
      if (waiting === 1) leaveBy = nowUs + BEHIND_US;
      numberOf[slot] = ++controls;
      note(slot, SILENCE.unasked);
      lastOf[host / ENTRY_WORDS] = controls;
      controlOf[row] = controls;
    },
    noteSilence: (row) => {
      const host = hostOf[row];
      const marks = hosts.marks[host];
      if (marks >>> CLOSED_PORT === 0 || (marks & MAX_SILENT_TRIES) >= MAX_SILENT_TRIES - SILENT_TRIES)
        return;
      hosts.marks[host] = marks + 2 * SILENT_TRIES;
    },
    silenceOf: (row) => {
      const silence = silenceBy(controlOf[row]);
      return silence === SILENCE.plain && isSuspicious(hostOf[row]) ? SILENCE.unwatched : silence;
    },
    withheld: (host) => {
      const unanswered = (hosts.marks[host] & MAX_UNANSWERED) / UNANSWERED;
      if (unanswered === 0) return 0;
      return LIMITED / (LIMITED + (1 - LIMITED) * pathState.loss() ** unanswered);
    },
    control: (row) => {
      const slot = askControl(hostOf[row], row);
      if (slot >= 0) leaveBy = 0;
      return slot >= 0;
    },
    answered: (slot, kind, nowUs, ageUs) => {
      if (controlProbes === undefined) return;
      const what = controlProbes.kind[slot];
      if (what === KINDS.control) endControl(slot, true, nowUs);
      else if (what === KINDS.pilot) {
        pathState.pilotAnswered(controlProbes.host[slot], controlProbes.sentUs, slot, nowUs - ageUs);
      }
      end(slot, kind);
    },
    refused: (slot) => {
      // It left nobody waiting: a canary that cannot be sent says as little as one that is not answered.
      if (controlProbes === undefined) return;
      if (controlProbes.kind[slot] === KINDS.control) note(slot, SILENCE.plain);
      else if (isCounted[slot] === 1) pathState.pilotUnknown(controlProbes.sentUs, slot);
      end(slot, undefined);
    },
    expire: (nowUs) => {
      if (controlProbes === undefined) return;
      for (let slot = controlProbes.expired(nowUs); slot >= 0; slot = controlProbes.expired(nowUs)) {
        const what = controlProbes.kind[slot];
        if (what === KINDS.control) endControl(slot, false, nowUs);
        else if (what === KINDS.pilot) pathState.pilotLost(controlProbes.sentUs, slot);
        end(slot, undefined);
      }
    },
    remember: (row, host, isOpen) => {
      if (controlProbes === undefined) return;
      if (controlProbes.known() >= REMEMBER_EVERY * 4 && ++sinceRemembered < REMEMBER_EVERY) return;
      sinceRemembered = 0;
      if ((hosts.marks[host] & MARKS.limited) !== 0) return;
      const { peer, peerPort, path } = table;
      controlProbes.remember(peer, row * ADDRESS_WORDS, peerPort[row], path[row], host, isOpen);
    },
    suspect: (host, row, slot) => {
      const marks = hosts.marks[host];
      if ((marks & MARKS.tarpit) !== 0) slot.answersAll = true;
      if (controlProbes === undefined || (marks & (MARKS.tarpit | MARKS.honest)) !== 0) return false;
      const at = row * ADDRESS_WORDS;
      const asked = (marks & MARKS.canaries) !== 0;
      if (!asked && (hosts.open[host] < SUSPICIOUS || hosts.closed[host] > 0)) return false;
      const key = keyOf(table.peer, at);
      if (!asked) {
        hosts.marks[host] |= MARKS.canaries;
        const first = random(canaryPorts.length);
        for (let i = 0; i < Math.min(CANARIES, canaryPorts.length); i++) {
          const port = canaryPorts[(first + i * CANARY_STEP) % canaryPorts.length];
          if (controlProbes.ask(table.peer, at, port, table.path[row], host, KINDS.canary) >= 0)
            tarpits.ask(key);
        }
      }
      return tarpits.hold(key, slot);
    },
    release: tarpits.release,
    isPending: () => tarpits.pending() > 0,
    nextExpiry: () =>
      controlProbes === undefined || tarpits.pending() === 0
        ? Number.POSITIVE_INFINITY
        : controlProbes.nextExpiry(),
    lowestPosition: tarpits.lowestPosition,
    giveUp: tarpits.giveUp,
  };
}

/** Between the ports of one host's canaries: a service on many ports in a row must not look like a tarpit. */
const CANARY_STEP = 1009;

const keyOf = (words: Uint32Array, at: number): HostKey => words.subarray(at, at + ADDRESS_WORDS).join(":");
