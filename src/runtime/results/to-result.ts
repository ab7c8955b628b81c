/**
 * Turns verdicts, which are numbers, into results for people and formats: with names, text, milliseconds. Every result of a run
 * passes here.
 */

import { localAddresses } from "../../link/route.ts";
import { offerIn } from "../../scan/probe/offer.ts";
import type {
  Established,
  PlaceVerdict,
  PortResult,
  RateChange,
  RateDecision,
} from "../../scan/probe/result.ts";
import type { Completion, Verdict } from "../../scan/probe/verdict.ts";
import type { Services } from "../../scan/targets/services.ts";
import { sameWords, storeAddress } from "../../socket/table.ts";
import { formatAddress, ipv4Text } from "../../wire/address.ts";
import { wallMs } from "../system/clock.ts";

export interface Naming {
  readonly services: Services;
  /** The names that the user gave to an address and port. */
  namesOf(address: string, port: number): readonly string[];
}

/** What one place has found of a pair. */
export interface SeenFrom {
  readonly place: string;
  readonly verdict: Verdict;
}

/**
 * Takes a pair that several places have told.
 * @param verdict that of the place that got furthest. All are valid until it returns
 */
export type Tell = (
  verdict: Verdict,
  established: Established | undefined,
  from: readonly SeenFrom[],
) => void;

/**
 * @param timeUs when the verdict fell, in microseconds since the Unix epoch
 * @param from of a run from several places: what each has found
 */
export type ToResult = (
  verdict: Verdict,
  timeUs: number,
  established?: Established,
  from?: readonly SeenFrom[],
) => PortResult;

const textOf = (words: Uint32Array, family: 4 | 6): string =>
  family === 4 ? ipv4Text(words[3]) : formatAddress(storeAddress(words, 0, 16));

/** All but the first, the same list for the same names: they may be hundreds, of each port of a host. */
const others = new WeakMap<readonly string[], readonly string[]>();

function othersOf(names: readonly string[]): readonly string[] {
  const known = others.get(names) ?? names.slice(1);
  others.set(names, known);
  return known;
}

/** Turns the verdicts of one run into results. */
export function createNaming({ services, namesOf }: Naming): ToResult {
  const isOwn = createOwnCheck();
  const name: ToResult = (verdict, timeUs, established, from) => {
    const { peer, family, port, state, reason, rttUs, ttl, tries, answered, doubt, was } = verdict;
    const ip = textOf(peer, family);
    const names = namesOf(ip, port);
    const service = services.nameOf(port);
    const responder =
      verdict.hasResponder && !sameWords(verdict.responder, 0, peer, 0)
        ? textOf(verdict.responder, family)
        : undefined;
    // An ICMP error from this machine: its kernel gave up on finding the neighbour. No packet travelled, so there is no round
    // trip and no TTL.
    const isHere = responder !== undefined && isOwn(responder);
    // One by one: spreading takes longer than all of this.
    const result: { -readonly [K in keyof PortResult]: PortResult[K] } = {
      ip,
      port,
      state,
      reason,
      rttMs: isHere || Number.isNaN(rttUs) ? null : Math.max(1, Math.round(rttUs)) / 1000,
      ttl: isHere || ttl === 0 ? null : ttl,
      tries,
      timeMs: Math.floor(timeUs / 1000),
    };
    if (answered !== 0) result.answered = answered;
    if (!Number.isNaN(doubt)) result.doubt = Math.fround(doubt);
    if (verdict.answersAll) result.answersAll = true;
    if (names.length > 0) result.host = names[0];
    if (names.length > 1) result.aliases = othersOf(names);
    if (responder !== undefined) result.responder = responder;
    if (service !== undefined) result.service = service;
    if (verdict.late && !isHere) result.late = true;
    if (was !== null) result.was = was;
    if (established !== undefined) result.established = established;
    if (verdict.connect) result.method = "connect";
    if (verdict.hasOffer) {
      const { window, options } = offerIn(verdict.responder);
      result.window = window;
      if (options !== "") result.options = options;
    }
    // Whose handshake could be completed is there, whatever its SYN+ACK looked like.
    if (verdict.doubtful && (established === undefined || established.ending === "silent"))
      result.doubtful = "zero-window";
    if (from !== undefined) result.from = from.map(fromPlace);
    return result;
  };
  const fromPlace = ({ place, verdict }: SeenFrom): PlaceVerdict => {
    const { state, reason, rttMs, ttl, tries, doubt } = name(verdict, verdict.atUs);
    return { place, state, reason, rttMs, ttl, tries, ...(doubt === undefined ? {} : { doubt }) };
  };
  return name;
}

/** A change of worker `index`'s rate, with its time in wall time: clocks of threads begin at different times. */
export function toDecision({ atUs, ...change }: RateChange, index: number): RateDecision {
  return { ...change, worker: index + 1, timeMs: wallMs(atUs) };
}

export function toEstablished({ establishedUs, ending, banner }: Completion): Established {
  return {
    ms: Math.round(establishedUs) / 1000,
    ending,
    ...(banner === undefined ? {} : { banner: escapeBytes(banner) }),
  };
}

/** Whether an address is this machine's. They are looked up once, at the first call. */
export function createOwnCheck(): (address: string) => boolean {
  let own: Set<string> | undefined;
  return (address) => {
    own ??= new Set([...localAddresses(4), ...localAddresses(6)].map((each) => formatAddress(each.address)));
    return own.has(address);
  };
}

/** Printable ASCII as it is, the usual escapes for line ends and tabs, `\\xNN` for everything else. */
function escapeBytes(bytes: Uint8Array): string {
  const escapes: Readonly<Record<number, string>> = { 9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\" };
  return Array.from(bytes, (byte) => {
    if (byte in escapes) return escapes[byte];
    return byte >= 0x20 && byte < 0x7f
      ? String.fromCharCode(byte)
      : `\\x${byte.toString(16).padStart(2, "0")}`;
  }).join("");
}
