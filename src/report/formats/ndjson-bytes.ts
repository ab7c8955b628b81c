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
const TTL = ascii(',"ttl":');
const TRIES = ascii(',"tries":');
const ANSWERED = ascii(',"answered":');
const TIME = ascii(',"ts":"');
const END = ascii('"}\n');

const ZERO = 0x30;
export const DOT = 0x2e;

export function put(part: Uint8Array, b: Uint8Array, at: number): number {
  for (let i = 0; i < part.length; i++) b[at + i] = part[i];
  return at + part.length;
}

/** @param n a whole number of 31 bits */
export function digitsOf(n: number): number {
  let digits = 1;
  for (let rest = n; rest >= 10; rest = (rest / 10) | 0) digits++;
  return digits;
}

/** @param n a whole number of 31 bits */
export function putNumber(n: number, b: Uint8Array, at: number): number {
  const end = at + digitsOf(n);
  let rest = n;
  for (let i = end - 1; i >= at; i--) {
    b[i] = ZERO + (rest % 10);
    rest = (rest / 10) | 0;
  }
  return end;
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
function putThousandths(n: number, b: Uint8Array, at: number): number {
  const whole = (n / 1000) | 0;
  let end = putNumber(whole, b, at);
  let decimals = n - whole * 1000;
  if (decimals === 0) return end;
  b[end++] = DOT;
  for (let unit = 100; decimals > 0; unit /= 10) {
    const digit = (decimals / unit) | 0;
    b[end++] = ZERO + digit;
    decimals -= digit * unit;
  }
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
  /** By port, what is said of its service. */
  const services: Uint8Array[] = [];
  const time = new Uint8Array("2026-11-29T12:00:00.000Z".length);
  let timeMs = Number.NaN;

  function partOf(state: string, reason: string): Uint8Array {
    let part = byReason.get(reason);
    if (part === undefined) {
      part = ascii(`,"proto":"tcp","state":"${state}","reason":"${reason}","rtt_ms":`);
      byReason.set(reason, part);
    }
    return part;
  }

  function servicePart(port: number): Uint8Array {
    services[port] ??= Buffer.from(ofService(serviceOf(port)));
    return services[port];
  }

  const ofService = (name: string | undefined): string =>
    name === undefined ? "" : `,"service":${printableJson(name)}`;

  return {
    takes: (packed) => isPlain(packed) && servicePart(packed.port).length <= LONGEST_SERVICE,
    put: (b, start, { peer, port, state, reason, rttUs, ttl, tries, answered }, timeUs) => {
      let at = putAddress(peer[3], b, put(HEAD, b, start));
      at = putNumber(port, b, put(PORT, b, at));
      at = putThousandths(wholeUs(rttUs), b, put(partOf(state, reason), b, at));
      at = putNumber(ttl, b, put(TTL, b, at));
      at = putNumber(tries, b, put(TRIES, b, at));
      at = putNumber(answered, b, put(ANSWERED, b, at));
      at = put(servicePart(port), b, at);
      const ms = Math.floor(timeUs / 1000);
      if (ms !== timeMs) {
        const text = new Date(ms).toISOString();
        for (let i = 0; i < time.length; i++) time[i] = text.charCodeAt(i);
        timeMs = ms;
      }
      return put(END, b, put(time, b, put(TIME, b, at)));
    },
  };
}
