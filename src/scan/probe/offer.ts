/**
 * What a SYN+ACK offers, in the 16 bytes that a verdict has for it: window, MSS and window scale, and the kinds of its options in
 * their order, by which TCPs are told apart. Values that change from one connection to the next, as time stamps, are not kept.
 *
 *      0        2        4      5                                16
 *      +--------+--------+------+--------------------------------+
 *      | window |  MSS   | shift|  kinds, a byte each, then zeros |
 *      +--------+--------+------+--------------------------------+
 *
 * Reading options as they are: wire/tcp-options.ts.
 */
import { u16 } from "../../wire/bytes.ts";
import * as tcp from "../../wire/tcp.ts";
import { KIND } from "../../wire/tcp-options.ts";

/** Where the first kind is, and where the last may be: further ones are dropped, which no usual TCP sends. */
const FIRST = 5;
const LAST = 15;

/** Names as tcpdump(8) has them; another kind is its number. */
const NAMES: Readonly<Record<number, string>> = {
  [KIND.NOP]: "nop",
  [KIND.MSS]: "mss",
  [KIND.WINDOW_SCALE]: "wscale",
  [KIND.SACK_PERMITTED]: "sackOK",
  [KIND.SACK]: "sack",
  [KIND.TIMESTAMPS]: "TS",
};

/** Takes the offer of the segment at `b[at]`, whose header is whole. An option that is cut off ends the list. Allocates nothing. */
export function takeOffer(b: Uint8Array, at: number, words: Uint32Array): void {
  const end = at + tcp.headerLength(b, at);
  let mss = 0;
  let shift = 0;
  words[1] = 0;
  words[2] = 0;
  words[3] = 0;
  for (
    let i = at + tcp.OPTIONS, place = FIRST;
    i < end && b[i] !== KIND.END_OF_LIST && place <= LAST;
    place++
  ) {
    const kind = b[i];
    const length = kind === KIND.NOP ? 1 : i + 1 < end ? b[i + 1] : 0;
    if (i + length > end || (length < 2 && kind !== KIND.NOP)) break;
    if (kind === KIND.MSS && length === 4) mss = u16(b, i + 2);
    if (kind === KIND.WINDOW_SCALE && length === 3) shift = b[i + 2];
    words[place >> 2] |= kind << (24 - 8 * (place & 3));
    i += length;
  }
  words[0] = (tcp.window(b, at) << 16) | mss;
  words[1] |= shift << 24;
}

export interface Offer {
  /** As it stands in the header: a SYN's is not scaled. */
  readonly window: number;
  /** `mss 1460,sackOK,TS,nop,wscale 7`; empty for none. */
  readonly options: string;
}

export function offerIn(words: Uint32Array): Offer {
  const options: string[] = [];
  for (let place = FIRST; place <= LAST; place++) {
    const kind = byteAt(words, place);
    if (kind === KIND.END_OF_LIST) break;
    const name = NAMES[kind] ?? String(kind);
    if (kind === KIND.MSS) options.push(`${name} ${words[0] & 0xffff}`);
    else if (kind === KIND.WINDOW_SCALE) options.push(`${name} ${byteAt(words, 4)}`);
    else options.push(name);
  }
  return { window: words[0] >>> 16, options: options.join(",") };
}

const byteAt = (words: Uint32Array, place: number): number =>
  (words[place >> 2] >>> (24 - 8 * (place & 3))) & 0xff;
