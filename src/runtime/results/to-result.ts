/**
 * From records and verdicts, numbers all, to results as people and formats want them: names, text, milliseconds.
 */
import { localAddresses } from "../../link/route.ts";
import type { Established, PortResult, RateChange, RateDecision } from "../../scan/probe/result.ts";
import type { ResultRecord } from "../../scan/probe/result-record.ts";
import type { Completion, Verdict } from "../../scan/probe/verdict.ts";
import type { Services } from "../../scan/targets/services.ts";
import { storeAddress } from "../../socket/table.ts";
import { type Address, formatAddress, sameAddress } from "../../wire/address.ts";
import { wallMs } from "../system/clock.ts";

export interface Naming {
  readonly services: Services;
  /** The name that the user gave to an address. */
  nameOf(address: string, port: number): string | undefined;
}

/** Puts records of one run into results. */
export function createNaming({ services, nameOf }: Naming) {
  const isOwn = createOwnCheck();
  return (record: ResultRecord, established?: Established): PortResult => {
    const { peer, port, responder } = record;
    const ip = formatAddress(peer);
    const host = nameOf(ip, port);
    const service = services.nameOf(port);
    const foreign =
      responder !== null &&
      !(responder.length === peer.length && sameAddress(responder, 0, peer, 0, peer.length));
    // An ICMP error of this machine's own: its kernel gave up finding the neighbour. Nothing has travelled, so there is no
    // round trip to tell, and no TTL.
    const ownWords = foreign && isOwn(responder);
    return {
      ...(host === undefined ? {} : { host }),
      ip,
      port,
      state: record.state,
      reason: record.reason,
      rttMs: record.rttUs === null || ownWords ? null : record.rttUs / 1000,
      ttl: ownWords ? null : record.ttl,
      tries: record.tries,
      ...(record.answered === 0 ? {} : { answered: record.answered }),
      ...(record.doubt === null ? {} : { doubt: record.doubt }),
      ...(record.answersAll ? { answersAll: true } : {}),
      ...(foreign ? { responder: formatAddress(responder) } : {}),
      ...(service === undefined ? {} : { service }),
      ...(record.late && !ownWords ? { late: true } : {}),
      ...(record.was === null ? {} : { was: record.was }),
      ...(established === undefined ? {} : { established }),
      timeMs: Math.floor(record.timeUs / 1000),
    };
  };
}

/** A change of worker `index`'s rate, with its time in wall time: clocks of threads begin at different times. */
export function toDecision({ atUs, ...change }: RateChange, index: number): RateDecision {
  return { ...change, worker: index + 1, timeMs: wallMs(atUs) };
}

/** A verdict as the record it would be read back from. */
export function toRecord(verdict: Verdict): ResultRecord {
  const { peer, family, rttUs, ttl } = verdict;
  return {
    ...verdict,
    timeUs: Math.floor(wallMs(verdict.atUs) * 1000),
    peer: storeAddress(peer, 0, family === 4 ? 4 : 16),
    rttUs: Number.isNaN(rttUs) ? null : Math.max(1, Math.round(rttUs)),
    ttl: ttl === 0 ? null : ttl,
    doubt: Number.isNaN(verdict.doubt) ? null : Math.fround(verdict.doubt),
  };
}

export function toEstablished({ establishedUs, ending, banner }: Completion): Established {
  return {
    ms: Math.round(establishedUs) / 1000,
    ending,
    ...(banner === undefined ? {} : { banner: escapeBytes(banner) }),
  };
}

/** Tells this machine's addresses, as they are when it is first asked. */
function createOwnCheck(): (address: Address) => boolean {
  let own: Set<string> | undefined;
  return (address) => {
    own ??= new Set([...localAddresses(4), ...localAddresses(6)].map((each) => formatAddress(each.address)));
    return own.has(formatAddress(address));
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
