/**
 * The schedule of control probes: when a pilot is due and where it goes, which host gets canaries, behind which SYN a control goes;
 * and what the fate of each tells of the path or of the host.
 *
 * Not here: the probes themselves (control-probes.ts), verdicts that wait for canaries (tarpits.ts), how probes leave
 * (engine/transmit.ts), how answers are proved (engine/receive.ts).
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
import { createFollowUps, TRIES } from "./follow-ups.ts";
import type { RstLimited } from "./rst-limited.ts";
import { createTarpits, type HostKey } from "./tarpits.ts";

export interface ControlSchedule {
  /** Undefined where none can be sent. */
  readonly controlProbes: ControlProbes | undefined;
  /**
   * The slot of the next control probe to send: a canary or a control that waits, or a pilot if one is due; -1 for none.
   * @param behind no retransmission waits that a control would have to follow
   */
  next(nowUs: number, behind: boolean): number;
  /** A try of the row leaves. If its host may rate-limit its RSTs, a control is queued right behind it. */
  watchSilence(row: number, attempt: number, nowUs: number): void;
  /** The row's first try was not answered, and another follows. */
  noteSilence(row: number): void;
  /** What is known of the silence after the row's last try. */
  silenceOf(row: number): Silence;
  /** Probability that the host rate-limits its RSTs, from the recent controls that were not answered. */
  withheld(host: number): number;
  /** Queues a control to the row's host, to be sent at once. @returns false when none can be sent */
  control(row: number): boolean;
  /** The probe in `slot` is handed to the link. */
  sent(slot: number, nowUs: number, iss: number): void;
  /** It has left, at its `sentUs`. */
  departed(slot: number): void;
  /** It was answered `ageUs` before `nowUs`. */
  answered(slot: number, kind: "syn-ack" | "reset", nowUs: number, ageUs: number): void;
  /** It could not leave. */
  refused(slot: number): void;
  /** Ends the probes whose time is over. */
  expire(nowUs: number): void;
  /** The row's pair has answered: a target of pilots, perhaps. */
  remember(row: number, host: number, isOpen: boolean): void;
  /**
   * A port of the host is open. A host with several open ports and no closed one may be a tarpit: it gets canaries, and the verdicts on its
   * open ports wait for them.
   * @returns whether this verdict waits: a copy of it comes out of `release`
   */
  checkTarpit(host: number, row: number, slot: VerdictDraft): boolean;
  /** The next verdict that no longer waits. */
  release(): Verdict | undefined;
  /** Whether the first tries of lost pilots' follow-ups are under way, which may tell whether losses cluster. */
  isFollowingUp(): boolean;
  /** Whether any verdict still waits, or any host is being checked. */
  isPending(): boolean;
  /** When `expire` next ends a probe that a verdict waits for; Infinity when never. */
  nextExpiry(): number;
  /** The lowest position of a verdict that waits; Infinity when none does. */
  lowestPosition(): number;
  /** No verdict waits any more. */
  giveUp(): void;
}

export interface ControlScheduleOptions {
  /** Source ports of control probes; undefined for none. */
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

/** What is known of the silence after a try: why no answer came. */
export const SILENCE = {
  /** Nothing speaks for a limit of the host's. */
  plain: 0,
  /** The host has been silent often, but no control followed this try. */
  unchecked: 1,
  /** A control follows, which has not left yet; one whose fate is open. */
  controlWaits: 2,
  controlUnderWay: 3,
  /** The control was answered: the silence is the port's. */
  ofPort: 4,
  /** The control was not answered: the host may withhold RSTs. */
  ofHost: 5,
} as const;
export type Silence = (typeof SILENCE)[keyof typeof SILENCE];

/** A host with this many open ports and no closed one may be a tarpit. */
const MIN_OPEN = 3;
/** Ports of such a host that are then probed although nobody named them. */
export const CANARIES = 2;
/** On average one probe in this many is a pilot, and at most one per this many seconds. */
const PROBES_PER_PILOT = 8;
const MIN_PILOT_INTERVAL_S = 0.0006;
/** Runs of fewer pairs are over before pilots could tell anything. */
const FEWEST_FOR_PILOTS = 1000;
/** Once some are known, one in this many ports that answer becomes a target of pilots. */
const REMEMBER_EVERY = 8;
/** After this long without a SYN, in milliseconds, a host can send an RST again, unless its limit is below one per this time. */
const REST_MS = 500;
/** One control serves all SYNs to its host within this time, in microseconds. */
const BEHIND_US = 5000;
/**
 * A host's recent silence, twice its first tries without an answer minus its RSTs, from which controls are sent; less is enough while
 * it has sent few RSTs.
 */
const MUCH_SILENCE = 6;
const SOME_SILENCE = 2;
/**
 * A host counts as limited when loss alone would explain its unanswered controls with a lower probability than this, and so many that
 * of all hosts that were sent controls hardly one does by mistake: it would be asked a few times a second.
 */
const BY_CHANCE = 3e-4;
const MISTAKES = 0.02;
/** Prior probability that a host rate-limits RSTs. */
const PRIOR_LIMITED = 1 / 2000;
/** Controls whose findings are remembered; a power of two. */
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
  /** Hosts with canaries under way, and the verdicts on their open ports. */
  const tarpits = createTarpits();
  const sendsPilots = pathState.adaptive && total >= FEWEST_FOR_PILOTS;
  const followUps = createFollowUps();
  /** Per slot: the follow-up that it serves. */
  const followUpOf = new Uint8Array(SLOTS);
  /** Per slot: its pilot's departure has been counted. */
  const isCounted = new Uint8Array(SLOTS);
  /** Probes until the next pilot. */
  let untilPilot = 1;
  let sinceRemembered = 0;
  /** Controls are numbered from 1: per row the one behind its last try, 0 for none; per slot its own; and by number, its finding. */
  const controlOf = new Int32Array(table.capacity);
  const numberOf = new Int32Array(SLOTS);
  const silences = new Uint8Array(REMEMBERED);
  let controls = 0;
  /** Hosts that were sent any. */
  let asked = 0;
  /** Per host: its last control. */
  const lastOf = new Int32Array(hosts.end / ENTRY_WORDS);
  /** Controls that have not left, and when they must. */
  let waiting = 0;
  let leaveBy = 0;

  const isOftenSilent = (host: number): boolean =>
    (hosts.marks[host] & MAX_SILENT_TRIES) >=
    SILENT_TRIES * Math.min(MUCH_SILENCE, SOME_SILENCE + hosts.closed[host]);

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
    // Long ago: another control has its place.
    number === 0 || number + REMEMBERED <= controls
      ? SILENCE.plain
      : (silences[number & (REMEMBERED - 1)] as Silence);

  function note(slot: number, silence: Silence): void {
    if (numberOf[slot] > 0) silences[numberOf[slot] & (REMEMBERED - 1)] = silence;
  }

  function endControl(slot: number, isAnswered: boolean, nowUs: number): void {
    if (controlProbes === undefined) return;
    note(slot, isAnswered ? SILENCE.ofPort : SILENCE.ofHost);
    const host = controlProbes.host[slot];
    const at = slot * ADDRESS_WORDS;
    if (!hosts.holds(host, controlProbes.words, at)) return;
    if ((hosts.marks[host] & MARKS.limited) !== 0) {
      rstLimited.told(host, controlProbes.words, at, isAnswered, controlProbes.sentUs[slot], nowUs);
    } else if (isAnswered) {
      // A token may have been free just then: after an unanswered control it takes two answered ones.
      if ((hosts.marks[host] & MAX_UNANSWERED) === 0) hosts.marks[host] &= ~MAX_SILENT_TRIES;
      else {
        hosts.marks[host] -= UNANSWERED;
        note(slot, SILENCE.ofHost);
      }
    } else {
      if ((hosts.marks[host] & MAX_UNANSWERED) < MAX_UNANSWERED) hosts.marks[host] += UNANSWERED;
      const unanswered = (hosts.marks[host] & MAX_UNANSWERED) / UNANSWERED;
      if (pathState.loss() ** unanswered < Math.min(BY_CHANCE, MISTAKES / asked))
        hosts.marks[host] |= MARKS.limited;
    }
  }

  /** Asks for the next try of a follow-up that is due. */
  function followUp(nowUs: number): void {
    if (controlProbes === undefined) return;
    const index = followUps.due(nowUs);
    if (index < 0) return;
    const { words, port, path, host } = followUps;
    const slot = controlProbes.ask(
      words,
      index * ADDRESS_WORDS,
      port[index],
      path[index],
      host[index],
      KINDS.followUp,
    );
    if (slot < 0) followUps.end(index);
    else {
      followUpOf[slot] = index;
      followUps.sent(index, nowUs);
    }
  }

  /** A pilot to an open port was lost, so that no limit of the host's is why: it is followed up. */
  function beginFollowUp(slot: number, nowUs: number): void {
    if (controlProbes === undefined) return;
    const host = controlProbes.host[slot];
    const at = slot * ADDRESS_WORDS;
    if (!hosts.holds(host, controlProbes.words, at) || (hosts.marks[host] & MARKS.limited) !== 0) return;
    const { words, port, path, sentUs, knownUs } = controlProbes;
    pathState.openPilotLost(sentUs, knownUs, slot);
    followUps.begin(words, at, port[slot], path[slot], host, knownUs[slot], sentUs[slot], nowUs);
  }

  function endFollowUp(slot: number, isAnswered: boolean, nowUs: number): void {
    if (controlProbes === undefined) return;
    const index = followUpOf[slot];
    const count = followUps.tries[index];
    followUps.sentUs[index * TRIES + count - 1] = controlProbes.sentUs[slot];
    pathState.followedUp(followUps.sentUs, index * TRIES, 1, count, followUps.knownUs[index], isAnswered);
    if (isAnswered) followUps.end(index);
    else followUps.lost(index, nowUs);
  }

  function end(slot: number, kind: "syn-ack" | "reset" | undefined): void {
    if (controlProbes === undefined) return;
    const host = controlProbes.host[slot];
    const isCanary = controlProbes.kind[slot] === KINDS.canary;
    controlProbes.release(slot);
    if (!isCanary) return;
    const judged = tarpits.hear(keyOf(controlProbes.words, slot * ADDRESS_WORDS), kind);
    // The entry may have changed hands meanwhile.
    if (judged === undefined || !hosts.holds(host, controlProbes.words, slot * ADDRESS_WORDS)) return;
    hosts.marks[host] |= judged.tarpit ? MARKS.tarpit : MARKS.honest;
  }

  return {
    controlProbes,
    next: (nowUs, behind) => {
      if (controlProbes === undefined) return -1;
      followUp(nowUs);
      if (controlProbes.waiting()) {
        const slot = controlProbes.pickAsked(behind || nowUs >= leaveBy ? KINDS.control : KINDS.canary);
        if (slot >= 0) {
          if (controlProbes.kind[slot] === KINDS.control) {
            waiting--;
            note(slot, SILENCE.controlUnderWay);
          }
          return slot;
        }
      }
      if (!sendsPilots || --untilPilot > 0) return -1;
      // At a random position in a batch: the first SYN of each would always find room in a queue.
      const every = Math.max(PROBES_PER_PILOT, pathState.rate() * MIN_PILOT_INTERVAL_S) | 0;
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
      if (!isOftenSilent(host) || (marks & MARKS.limited) !== 0) return;
      if (nowUs / 1000 - hosts.sentMs[host] >= REST_MS) return;
      if (!hosts.holds(host, table.peer, row * ADDRESS_WORDS)) return;
      const last = lastOf[host / ENTRY_WORDS];
      if (silenceBy(last) === SILENCE.controlWaits) {
        controlOf[row] = last;
        return;
      }
      const slot = askControl(host, row);
      if (slot < 0) return;
      if (waiting === 1) leaveBy = nowUs + BEHIND_US;
      numberOf[slot] = ++controls;
      note(slot, SILENCE.controlWaits);
      if (last === 0) asked++;
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
      return silence === SILENCE.plain && isOftenSilent(hostOf[row]) ? SILENCE.unchecked : silence;
    },
    withheld: (host) => {
      const unanswered = (hosts.marks[host] & MAX_UNANSWERED) / UNANSWERED;
      if (unanswered === 0) return 0;
      return PRIOR_LIMITED / (PRIOR_LIMITED + (1 - PRIOR_LIMITED) * pathState.loss() ** unanswered);
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
      else if (what === KINDS.followUp) endFollowUp(slot, true, nowUs);
      else if (what === KINDS.pilot) {
        const { host, sentUs, knownUs, isOpen } = controlProbes;
        pathState.pilotAnswered(host[slot], sentUs, slot, nowUs - ageUs);
        if (isOpen[slot] === 1) pathState.openPilotAnswered(sentUs, knownUs, slot);
        controlProbes.answered(slot);
      }
      end(slot, kind);
    },
    refused: (slot) => {
      // A canary that cannot be sent tells as little as one that is not answered.
      if (controlProbes === undefined) return;
      if (controlProbes.kind[slot] === KINDS.control) note(slot, SILENCE.plain);
      else if (controlProbes.kind[slot] === KINDS.followUp) followUps.refused(followUpOf[slot]);
      else if (isCounted[slot] === 1) pathState.pilotUnknown(controlProbes.sentUs, slot);
      end(slot, undefined);
    },
    expire: (nowUs) => {
      if (controlProbes === undefined) return;
      for (let slot = controlProbes.expired(nowUs); slot >= 0; slot = controlProbes.expired(nowUs)) {
        const what = controlProbes.kind[slot];
        if (what === KINDS.control) endControl(slot, false, nowUs);
        else if (what === KINDS.followUp) endFollowUp(slot, false, nowUs);
        else if (what === KINDS.pilot) {
          pathState.pilotLost(controlProbes.sentUs, slot);
          if (controlProbes.isOpen[slot] === 1) beginFollowUp(slot, nowUs);
        }
        end(slot, undefined);
      }
    },
    remember: (row, host, isOpen) => {
      if (controlProbes === undefined) return;
      // Open ports tell more: no host limits its SYN-ACKs.
      const isEnough = !isOpen && controlProbes.known() >= REMEMBER_EVERY * 4;
      if (isEnough && ++sinceRemembered < REMEMBER_EVERY) return;
      sinceRemembered = 0;
      if ((hosts.marks[host] & MARKS.limited) !== 0) return;
      const { peer, peerPort, path, sentAt } = table;
      const last = inFlight.columnOf(row, table.tries[row] - 1);
      controlProbes.remember(peer, row * ADDRESS_WORDS, peerPort[row], path[row], host, isOpen, sentAt, last);
    },
    checkTarpit: (host, row, slot) => {
      const marks = hosts.marks[host];
      if ((marks & MARKS.tarpit) !== 0) slot.answersAll = true;
      if (controlProbes === undefined || (marks & (MARKS.tarpit | MARKS.honest)) !== 0) return false;
      const at = row * ADDRESS_WORDS;
      const isChecked = (marks & MARKS.canaries) !== 0;
      if (!isChecked && (hosts.open[host] < MIN_OPEN || hosts.closed[host] > 0)) return false;
      const key = keyOf(table.peer, at);
      if (!isChecked) {
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
    isFollowingUp: () => followUps.areFirstOut(),
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
