/**
 * A verdict as 64 bytes: how results travel from worker threads in batches, and how the journal keeps them.
 *
 *      0        4        8       12       16
 *      +--------+--------+--------+--------+
 *    0 |    position     |    time, µs     |   whole numbers below 2^53; time since the Unix epoch
 *      +--------+--------+--------+--------+
 *   16 |               peer                |   IPv6, or IPv4 as ::ffff:a.b.c.d
 *      +--------+--------+--------+--------+
 *   32 |     responder, or errno name      |   zeros when there is none
 *      +--------+--------+--------+--------+
 *   48 | rtt,µs |port| M |A|R|T|S |  doubt |   rtt: 0 for none; doubt: binary32, 0 for none
 *      +--------+--------+--------+--------+
 *
 *   M  marks, 2 bytes   0x0003 state: 1 open, 2 closed, 3 filtered     0x0010 the peer is IPv6
 *                       0x000c the state before: the same, 0 none      0x0020 a late answer
 *                                                                      0x0040 there is a responder
 *                                                                      0x0080 there is a TTL
 *                                                                      0x0100 the host answers SYN-ACK on any port
 *   A  the try that was answered, from 1; 0 when none was, or nobody can tell
 *   R  reason: see REASON_CODES; 255 for send-*, whose errno name stands in ASCII where nobody's address is
 *   T  TTL             S  tries
 *
 * Big-endian throughout. The put… functions write fields in place and allocate nothing; `putVerdict` comes first, as it
 * clears the rest. Nothing here checks a bound: the caller has room for RECORD_LENGTH bytes at `at`.
 */

import type { Address } from "../../wire/address.ts";
import { putU16, putU32, u16, u32 } from "../../wire/bytes.ts";
import { PORT_STATES, type PortState, type Reason } from "./result.ts";

/** Bytes of one record. */
export const RECORD_LENGTH = 64;

/** A record, read back. */
export interface ResultRecord {
  /** The pair's place in the run's order. */
  readonly position: number;
  /** When the verdict fell: microseconds since the Unix epoch. */
  readonly timeUs: number;
  readonly peer: Address;
  readonly port: number;
  readonly state: PortState;
  readonly reason: Reason;
  /** Whole microseconds, 1 or more. */
  readonly rttUs: number | null;
  readonly ttl: number | null;
  readonly tries: number;
  /** The try that was answered, from 1; 0 when none was, or nobody can tell. */
  readonly answered: number;
  readonly late: boolean;
  /** For silence: the chance that it is none (verdict.ts). */
  readonly doubt: number | null;
  readonly answersAll: boolean;
  /** The state that this one replaces. */
  readonly was: PortState | null;
  /** Sender of the deciding ICMP message; of the peer's family. */
  readonly responder: Address | null;
}

const POSITION = 0;
const TIME = 8;
const PEER = 16;
const RESPONDER = 32;
const RTT = 48;
const PORT = 52;
const MARKS = 54;
const ANSWERED = 56;
const REASON = 57;
const TTL = 58;
const TRIES = 59;
const DOUBT = 60;

const STATE = 0x0003;
const WAS_SHIFT = 2;
const IPV6 = 0x0010;
const LATE = 0x0020;
const RESPONDED = 0x0040;
const HAS_TTL = 0x0080;
/** In the first byte of the marks. */
const ANSWERS_ALL = 0x01;

/** Journals hold these codes: a new reason gets the next one, and none ever changes. */
const REASON_CODES = {
  "syn-ack": 0,
  "split-handshake-syn": 1,
  reset: 2,
  "no-response": 3,
  "net-unreach": 4,
  "host-unreach": 5,
  "proto-unreach": 6,
  "port-unreach": 7,
  "net-prohibited": 8,
  "host-prohibited": 9,
  "admin-prohibited": 10,
  "time-exceeded": 11,
  "no-route": 12,
  "beyond-scope": 13,
  "addr-unreach": 14,
  "policy-fail": 15,
  "reject-route": 16,
  "param-problem": 17,
  "host-timeout": 18,
  "unproved-reset": 19,
  "unproved-syn": 20,
} as const satisfies Record<Exclude<Reason, `send-${string}`>, number>;
const CODE_OF: ReadonlyMap<string, number> = new Map(Object.entries(REASON_CODES));
/** Every reason but `send-*`, by code. */
export const REASONS = Object.keys(REASON_CODES) as readonly (keyof typeof REASON_CODES)[];
const SEND = "send-";
const SEND_CODE = 255;
/** Room for an errno name; the longest that Linux has, ENOTRECOVERABLE, is 15 characters. */
const ERRNO_LENGTH = 16;

const stateCode = (state: PortState): number => (state === "open" ? 1 : state === "closed" ? 2 : 3);

/**
 * Writes what every verdict has, and clears what only some have.
 * @param position a whole number below 2^53
 * @param timeUs microseconds since the Unix epoch; a fraction is dropped
 * @param tries 0 to 255
 * @param reason `send-` with at most 16 ASCII characters, or one of the fixed ones; more characters are cut off
 */
export function putVerdict(
  b: Uint8Array,
  at: number,
  position: number,
  timeUs: number,
  state: PortState,
  reason: Reason,
  tries: number,
): void {
  putU64(b, at + POSITION, position);
  putU64(b, at + TIME, timeUs);
  for (let i = RESPONDER; i < RECORD_LENGTH; i += 4) putU32(b, at + i, 0);
  putU16(b, at + MARKS, stateCode(state));
  b[at + TRIES] = tries;
  const code = CODE_OF.get(reason);
  if (code === undefined) putErrno(b, at, reason);
  else b[at + REASON] = code;
}

/** A probe that could not be sent has no responder: the errno name takes its place. */
function putErrno(b: Uint8Array, at: number, reason: Reason): void {
  b[at + REASON] = SEND_CODE;
  const end = Math.min(reason.length - SEND.length, ERRNO_LENGTH);
  for (let i = 0; i < end; i++) b[at + RESPONDER + i] = reason.charCodeAt(SEND.length + i);
}

/** Writes who was probed; `words[wordsAt]` as `loadAddress` (socket/table.ts) left it. */
export function putPeer(
  b: Uint8Array,
  at: number,
  family: 4 | 6,
  words: Uint32Array,
  wordsAt: number,
  port: number,
): void {
  putWords(b, at + PEER, words, wordsAt);
  putU16(b, at + PORT, port);
  if (family === 6) b[at + MARKS + 1] |= IPV6;
}

/**
 * Writes what is known of the reply.
 * @param answered the try that it answers, from 1; 0 when nobody can tell
 * @param rttUs the round trip in microseconds, rounded to 1 or more, below 2^32; 0 for none
 * @param ttl negative for none
 */
export function putAnswer(
  b: Uint8Array,
  at: number,
  answered: number,
  rttUs: number,
  ttl: number,
  late: boolean,
): void {
  b[at + ANSWERED] = answered;
  if (rttUs > 0) putU32(b, at + RTT, Math.min(Math.max(1, Math.round(rttUs)), 0xffff_ffff));
  if (ttl >= 0) {
    b[at + TTL] = ttl;
    b[at + MARKS + 1] |= HAS_TTL;
  }
  if (late) b[at + MARKS + 1] |= LATE;
}

/** Writes the sender of the deciding ICMP message: an address of the peer's family. */
export function putResponder(b: Uint8Array, at: number, words: Uint32Array, wordsAt: number): void {
  putWords(b, at + RESPONDER, words, wordsAt);
  b[at + MARKS + 1] |= RESPONDED;
}

/** Writes the state that this verdict replaces. */
export function putWas(b: Uint8Array, at: number, was: PortState): void {
  b[at + MARKS + 1] |= stateCode(was) << WAS_SHIFT;
}

/** Writes the chance that a silent port is not silent, above 0. */
export function putDoubt(b: Uint8Array, at: number, doubt: number): void {
  // A difference too small for binary32 is still one.
  BINARY32[0] = Math.max(doubt, SMALLEST_32);
  putU32(b, at + DOUBT, BITS[0]);
}

/** Marks the host as one that answers SYN-ACK on any port. */
export function putAnswersAll(b: Uint8Array, at: number): void {
  b[at + MARKS] |= ANSWERS_ALL;
}

const BINARY32 = new Float32Array(1);
const BITS = new Uint32Array(BINARY32.buffer);
const SMALLEST_32 = 2 ** -149;

function doubtAt(b: Uint8Array, at: number): number | null {
  BITS[0] = u32(b, at + DOUBT);
  return BITS[0] === 0 ? null : BINARY32[0];
}

export const recordPosition = (b: Uint8Array, at: number): number => u64(b, at + POSITION);

export const recordState = (b: Uint8Array, at: number): PortState =>
  stateOf(b[at + MARKS + 1] & STATE) ?? unreadable("state", 0);

/** The state that this one replaces; null when it is the position's first. */
export const recordWas = (b: Uint8Array, at: number): PortState | null =>
  stateOf((b[at + MARKS + 1] >> WAS_SHIFT) & STATE);

/** Whether this version can have written the record, so that `readRecord` can read it and anybody may print what it says. */
export function isRecord(b: Uint8Array, at: number): boolean {
  const doubt = doubtAt(b, at) ?? 0;
  return (
    stateOf(b[at + MARKS + 1] & STATE) != null &&
    (b[at + REASON] === SEND_CODE ? isErrno(b, at + RESPONDER) : b[at + REASON] in REASONS) &&
    Number.isSafeInteger(recordPosition(b, at)) &&
    Number.isSafeInteger(u64(b, at + TIME)) &&
    u16(b, at + PORT) > 0 &&
    doubt >= 0 &&
    doubt <= 1
  );
}

/** Lower-case letters and digits, then zeros. */
function isErrno(b: Uint8Array, at: number): boolean {
  let length = 0;
  const isLetter = (byte: number): boolean =>
    (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x30 && byte <= 0x39);
  while (length < ERRNO_LENGTH && isLetter(b[at + length])) length++;
  return length > 0 && b.subarray(at + length, at + ERRNO_LENGTH).every((byte) => byte === 0);
}

/** @throws {RangeError} for a state or reason that this version does not know */
export function readRecord(b: Uint8Array, at: number): ResultRecord {
  const marks = u16(b, at + MARKS);
  const length = (marks & IPV6) === 0 ? 4 : 16;
  const rtt = u32(b, at + RTT);
  return {
    position: recordPosition(b, at),
    timeUs: u64(b, at + TIME),
    peer: addressAt(b, at + PEER, length),
    port: u16(b, at + PORT),
    state: recordState(b, at),
    reason: reasonAt(b, at),
    rttUs: rtt === 0 ? null : rtt,
    ttl: (marks & HAS_TTL) === 0 ? null : b[at + TTL],
    tries: b[at + TRIES],
    answered: b[at + ANSWERED],
    late: (marks & LATE) !== 0,
    doubt: doubtAt(b, at),
    answersAll: (b[at + MARKS] & ANSWERS_ALL) !== 0,
    was: recordWas(b, at),
    responder: (marks & RESPONDED) === 0 ? null : addressAt(b, at + RESPONDER, length),
  };
}

const stateOf = (code: number): PortState | null => (code === 0 ? null : PORT_STATES[code - 1]);

function reasonAt(b: Uint8Array, at: number): Reason {
  const code = b[at + REASON];
  if (code !== SEND_CODE) return REASONS[code] ?? unreadable("reason", code);
  let errno = "";
  for (let i = 0; i < ERRNO_LENGTH && b[at + RESPONDER + i] !== 0; i++) {
    errno += String.fromCharCode(b[at + RESPONDER + i]);
  }
  return `${SEND}${errno}`;
}

function unreadable(field: string, code: number): never {
  throw new RangeError(`a record with ${field} ${code}`);
}

/** The last `length` bytes of the 16 at `at`, in memory of their own. */
const addressAt = (b: Uint8Array, at: number, length: number): Address =>
  new Uint8Array(b.subarray(at + 16 - length, at + 16));

function putWords(b: Uint8Array, at: number, words: Uint32Array, from: number): void {
  for (let i = 0; i < 4; i++) putU32(b, at + 4 * i, words[from + i]);
}

/** A whole number below 2^53 as eight bytes; a fraction is dropped. */
function putU64(b: Uint8Array, at: number, v: number): void {
  putU32(b, at, Math.floor(v / 2 ** 32));
  // ToUint32 (ECMA-262 §7.1.7) takes a number of any size modulo 2^32.
  putU32(b, at + 4, v >>> 0);
}

const u64 = (b: Uint8Array, at: number): number => u32(b, at) * 2 ** 32 + u32(b, at + 4);
