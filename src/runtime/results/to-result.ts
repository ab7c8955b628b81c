/**
 * Turns verdicts, which are numbers, into results for people and formats: with names, text, milliseconds.
 *
 * Not here: how each column follows from the verdict (scan/probe/result-columns.ts).
 */
import { localAddresses } from "../../link/route.ts";
import type { Established, PortResult, RateChange, RateDecision } from "../../scan/probe/result.ts";
import { COLUMN_LIST } from "../../scan/probe/result-columns.ts";
import type { Completion, Verdict } from "../../scan/probe/verdict.ts";
import type { Services } from "../../scan/targets/services.ts";
import { formatAddress } from "../../wire/address.ts";
import { wallMs } from "../system/clock.ts";

export interface Naming {
  readonly services: Services;
  /** The name that the user gave to an address. */
  nameOf(address: string, port: number): string | undefined;
}

/** @param timeUs when the verdict fell, in microseconds since the Unix epoch */
export type ToResult = (verdict: Verdict, timeUs: number, established?: Established) => PortResult;

const MEASURED = COLUMN_LIST.flatMap(({ name, result }) => (result === undefined ? [] : { name, result }));

/** Turns the verdicts of one run into results. */
export function createNaming({ services, nameOf }: Naming): ToResult {
  const isOwn = createOwnCheck();
  return (verdict, timeUs, established) => {
    const measured: { -readonly [K in keyof PortResult]?: unknown } = {};
    for (const { name, result } of MEASURED) {
      const value = result(verdict);
      if (value !== undefined) measured[name as keyof PortResult] = value;
    }
    const { ip, responder } = measured as PortResult;
    if (responder !== undefined && isOwn(responder)) {
      // An ICMP error from this machine: its kernel gave up on finding the neighbour. No packet travelled, so there is no round
      // trip and no TTL.
      measured.rttMs = null;
      measured.ttl = null;
      delete measured.late;
    }
    const host = nameOf(ip, verdict.port);
    const service = services.nameOf(verdict.port);
    return {
      ...(host === undefined ? {} : { host }),
      ...(measured as PortResult),
      ...(service === undefined ? {} : { service }),
      ...(established === undefined ? {} : { established }),
      timeMs: Math.floor(timeUs / 1000),
    };
  };
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
function createOwnCheck(): (address: string) => boolean {
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
