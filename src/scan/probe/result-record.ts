/**
 * A verdict as 64 bytes: the form in which results leave worker threads and are kept in journals. Each column has its place in
 * result-columns.ts. The whole record:
 *
 *      0        4        8       12       16
 *      +--------+--------+--------+--------+
 *    0 |    position     |    time, µs     |   whole numbers below 2^53; time since the Unix epoch
 *      +--------+--------+--------+--------+
 *   16 |               peer                |   IPv6, or IPv4 as ::ffff:a.b.c.d
 *      +--------+--------+--------+--------+
 *   32 |  responder, errno name, or offer  |   zeros when there is none
 *      +--------+--------+--------+--------+
 *   48 | rtt,µs |port| M |A|R|T|S |  doubt |   rtt: 0 for none; doubt: binary32, 0 for none
 *      +--------+--------+--------+--------+
 *
 *   M  marks, 2 bytes   0x0003 state: 1 open, 2 closed, 3 filtered     0x0010 the peer is IPv6
 *                       0x000c the state before: the same, 0 none      0x0020 a late answer
 *                                                                      0x0040 there is a responder
 *                                                                      0x0080 there is a TTL
 *                                                                      0x0100 the host answers SYN-ACK on any port
 *                                                                      0x0200 the kernel did the handshake
 *                                                                      0x0400 a SYN+ACK that may be forged
 *                                                                      0x0800 there is a SYN+ACK's offer (offer.ts)
 *   A  the try that was answered, from 1; 0 when none was, or it is ambiguous
 *   R  reason: see record-codes.ts; 255 for send-*, with the errno name in ASCII in the responder's place
 *   T  TTL             S  tries
 *
 * Big-endian throughout. Nothing here checks a bound: the caller has room for RECORD_LENGTH bytes at `at`.
 */
import { ADDRESS_WORDS } from "../../socket/table.ts";
import { putU32, u16, u32 } from "../../wire/bytes.ts";
import { isReasonAt, stateOf, unreadable } from "./record-codes.ts";
import type { PortState } from "./result.ts";
import { COLUMN_LIST, COLUMNS, MARKS, STATE_BITS, WAS_SHIFT } from "./result-columns.ts";
import { newVerdict, type Verdict, type VerdictDraft } from "./verdict.ts";

/** Bytes of one record. */
export const RECORD_LENGTH = 64;

const POSITION = 0;
const TIME = 8;
const PLACES = COLUMN_LIST.flatMap(({ record }) => record ?? []);
const [PEER, PORT, REASON, RESPONDER, DOUBT] = (["ip", "port", "reason", "responder", "doubt"] as const).map(
  (name) => COLUMNS[name].record.bytes[0],
);
/** The highest word of a whole number below 2^53 is below this. */
const UNSAFE = 2 ** 21;
/** 1 as binary32. */
const CERTAIN = 0x3f80_0000;

/**
 * Writes a verdict, and allocates nothing.
 * @param timeUs when it fell, in microseconds since the Unix epoch; a fraction is dropped
 */
export function writeRecord(b: Uint8Array, at: number, verdict: Verdict, timeUs: number): void {
  putU64(b, at + POSITION, verdict.position);
  putU64(b, at + TIME, timeUs);
  for (let i = TIME + 8; i < RECORD_LENGTH; i += 4) putU32(b, at + i, 0);
  for (const place of PLACES) place.put(b, at, verdict);
}

/**
 * Reads a record into `verdict`, whose `atUs` is then counted from the Unix epoch. What a record has no room for stays as it is.
 * @throws {RangeError} for a state or reason that this version does not know
 */
export function readRecord(b: Uint8Array, at: number, verdict: VerdictDraft = newVerdict()): Verdict {
  verdict.position = recordPosition(b, at);
  verdict.atUs = u64(b, at + TIME);
  for (const place of PLACES) place.take(b, at, verdict);
  return verdict;
}

export const recordPosition = (b: Uint8Array, at: number): number => u64(b, at + POSITION);

/** Moves a record to another position: that of the same pair in another order. */
export const putPosition = (b: Uint8Array, at: number, position: number): void =>
  putU64(b, at + POSITION, position);

export const recordState = (b: Uint8Array, at: number): PortState =>
  stateOf(b[at + MARKS + 1] & STATE_BITS) ?? unreadable("state", 0);

/** The state that this one replaces; null when it is the position's first. */
export const recordWas = (b: Uint8Array, at: number): PortState | null =>
  stateOf((b[at + MARKS + 1] >> WAS_SHIFT) & STATE_BITS);

/** Writes the address that was probed as loadAddress does. */
export function loadPeer(b: Uint8Array, at: number, words: Uint32Array): void {
  for (let i = 0; i < ADDRESS_WORDS; i++) words[i] = u32(b, at + PEER + 4 * i);
}

export const recordPort = (b: Uint8Array, at: number): number => u16(b, at + PORT);

/** Whether this version can have written the record, so that `readRecord` can read it and anybody may print what it says. */
export const isRecord = (b: Uint8Array, at: number): boolean =>
  u32(b, at + POSITION) < UNSAFE &&
  u32(b, at + TIME) < UNSAFE &&
  recordPort(b, at) > 0 &&
  (b[at + MARKS + 1] & STATE_BITS) > 0 &&
  u32(b, at + DOUBT) <= CERTAIN &&
  isReasonAt(b, at + REASON, at + RESPONDER);

/** A whole number below 2^53 as eight bytes; a fraction is dropped. */
function putU64(b: Uint8Array, at: number, v: number): void {
  putU32(b, at, Math.floor(v / 2 ** 32));
  // ToUint32 (ECMA-262 §7.1.7) takes a number of any size modulo 2^32.
  putU32(b, at + 4, v >>> 0);
}

const u64 = (b: Uint8Array, at: number): number => u32(b, at) * 2 ** 32 + u32(b, at + 4);
