/**
 * Lines of NDJSON as bytes, without a result made first: of what most of a large run's are, IPv4 ports that answered and of which
 * nothing else is known. The bytes are those of ndjson.ts, which writes all other results.
 *
 * Neither a result nor a string is made on the way. To make them takes longer than all of this, and what they leave behind pushes the
 * engine's rows out of the processor's caches.
 */
import { printableJson } from "../escape.ts";
import type { PackedResult } from "../reporter.ts";

/** Bytes of a line, at most. */
export const LONGEST_LINE = 512;
export const LONGEST_SERVICE = 200;
/** Microseconds: a whole number of 32 bits, with which V8 is fast. */
const LONGEST_RTT = 2 ** 31 - 1;

export const ascii = (text: string): Uint8Array => Buffer.from(text, "latin1");
const HEAD = ascii('{"type":"result","ip":"');
const PORT = ascii('","port":');

const ZERO = 0x30;
export const DOT = 0x2e;

/** For a part of a few bytes: longer ones are copied faster by `putLong`. */
export function put(part: Uint8Array, b: Uint8Array, at: number): number {
  for (let i = 0; i < part.length; i++) b[at + i] = part[i];
  return at + part.length;
}

function putLong(part: Uint8Array, b: Uint8Array, at: number): number {
  b.set(part, at);
  return at + part.length;
}

/** The three digits of each number below 1,000, one number after the other: to divide takes longer than to look up. */
const THREE_DIGITS = ascii(Array.from({ length: 1000 }, (_, n) => String(n).padStart(3, "0")).join(""));

/** @param n a whole number of 31 bits */
export function digitsOf(n: number): number {
  let digits = 1;
  for (let rest = n; rest >= 10; rest = (rest / 10) | 0) digits++;
  return digits;
}

/** @param n a whole number of 31 bits */
export function putNumber(n: number, b: Uint8Array, start: number): number {
  if (n >= 1000) {
    const thousands = (n / 1000) | 0;
    return putThree(n - thousands * 1000, b, putNumber(thousands, b, start));
  }
  let at = start;
  const from = 3 * n;
  if (n >= 100) b[at++] = THREE_DIGITS[from];
  if (n >= 10) b[at++] = THREE_DIGITS[from + 1];
  b[at] = THREE_DIGITS[from + 2];
  return at + 1;
}

/** Three digits of a number below 1,000. */
function putThree(n: number, b: Uint8Array, at: number): number {
  const from = 3 * n;
  b[at] = THREE_DIGITS[from];
  b[at + 1] = THREE_DIGITS[from + 1];
  b[at + 2] = THREE_DIGITS[from + 2];
  return at + 3;
}

/** An IPv4 address as dotted quad. */
export function putAddress(address: number, b: Uint8Array, start: number): number {
  let at = start;
  for (let shift = 24; shift > 0; shift -= 8) {
    at = putNumber((address >>> shift) & 0xff, b, at);
    b[at++] = DOT;
  }
  return putNumber(address & 0xff, b, at);
}

/** The round trip as results have it, in whole microseconds. */
export const wholeUs = (rttUs: number): number => Math.max(1, Math.round(rttUs));

/** An IPv4 port that answered, once, and of which nothing else is known. */
export const isPlain = (p: PackedResult): boolean =>
  p.answered > 0 &&
  p.ttl > 0 &&
  p.rttUs <= LONGEST_RTT &&
  p.family === 4 &&
  p.state !== "filtered" &&
  p.was === null &&
  !(p.hasResponder || p.hasOffer || p.late || p.doubtful || p.connect || p.answersAll) &&
  Number.isNaN(p.doubt);

/** As JSON has thousandths of it: `12`, `0.17`. */
function putThousandths(n: number, b: Uint8Array, start: number): number {
  const whole = (n / 1000) | 0;
  const at = putNumber(whole, b, start);
  if (n === whole * 1000) return at;
  b[at] = DOT;
  let end = putThree(n - whole * 1000, b, at + 1);
  while (b[end - 1] === ZERO) end--;
  return end;
}

export interface PackedLines {
  /** Whether it is one of those. Its port must have no name from the user. */
  takes(packed: PackedResult): boolean;
  /**
   * Puts its line at `at`, where there is room for LONGEST_LINE bytes.
   * @param timeUs when the verdict fell, in microseconds since the Unix epoch
   * @returns where the line ends
   */
  put(b: Uint8Array, at: number, packed: PackedResult, timeUs: number): number;
}

/** @param serviceOf the system's name of a port */
export function createPackedLines(serviceOf: (port: number) => string | undefined): PackedLines {
  /** From the protocol to the round trip, by reason: an answer has one of a few, and each is of one state. */
  const byReason = new Map<string, Uint8Array>();
  /** TTL and tries, by what they are: there are few. */
  const byTries = new Map<number, Uint8Array>();
  /** By port, what is said of its service. */
  const services: Uint8Array[] = [];
  /** From the time on; of `timeMs`. */
  let end: Uint8Array = new Uint8Array(0);
  let timeMs = Number.NaN;

  function partOf(state: string, reason: string): Uint8Array {
    let part = byReason.get(reason);
    if (part === undefined) {
      part = ascii(`,"proto":"tcp","state":"${state}","reason":"${reason}","rtt_ms":`);
      byReason.set(reason, part);
    }
    return part;
  }

  /** @param ttl of 8 bits, as are both others */
  function triesPart(ttl: number, tries: number, answered: number): Uint8Array {
    const key = (ttl << 16) | (tries << 8) | answered;
    let part = byTries.get(key);
    if (part === undefined) {
      part = ascii(`,"ttl":${ttl},"tries":${tries},"answered":${answered}`);
      byTries.set(key, part);
    }
    return part;
  }

  function servicePart(port: number): Uint8Array {
    services[port] ??= Buffer.from(ofService(serviceOf(port)));
    return services[port];
  }

  const ofService = (name: string | undefined): string =>
    name === undefined ? "" : `,"service":${printableJson(name)}`;

  function endAt(timeUs: number): Uint8Array {
    const ms = Math.floor(timeUs / 1000);
    if (ms !== timeMs) {
      end = ascii(`,"ts":"${new Date(ms).toISOString()}"}\n`);
      timeMs = ms;
    }
    return end;
  }

  return {
    takes: (packed) => isPlain(packed) && servicePart(packed.port).length <= LONGEST_SERVICE,
    put: (b, start, { peer, port, state, reason, rttUs, ttl, tries, answered }, timeUs) => {
      let at = putAddress(peer[3], b, putLong(HEAD, b, start));
      at = putNumber(port, b, put(PORT, b, at));
      at = putThousandths(wholeUs(rttUs), b, putLong(partOf(state, reason), b, at));
      at = putLong(triesPart(ttl, tries, answered), b, at);
      return putLong(endAt(timeUs), b, put(servicePart(port), b, at));
    },
  };
}
