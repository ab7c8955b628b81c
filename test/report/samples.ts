/** Results, a run and a summary that the format tests share, and a sink that keeps the text. */

import { MOST_HELD, type Spill } from "../../src/report/formats/host-order.ts";
import type { Reporter, RunInfo, RunSummary, Sink } from "../../src/report/reporter.ts";
import type { PlaceVerdict, PortResult, ScanProgress, ScanSummary } from "../../src/scan/probe/result.ts";

/** 2026-11-20 23:09:54.250 UTC */
export const STARTED_MS = Date.UTC(2026, 10, 20, 23, 9, 54, 250);

export const run: RunInfo = {
  args: ["-p", "22,80,443", "scanme.example", "192.0.2.20", "2001:db8::10"],
  version: "0.1.0",
  startedMs: STARTED_MS,
  pairs: 6,
  hosts: 3,
  ports: [22, 80, 81, 82, 443],
};

export const open: PortResult = {
  host: "scanme.example",
  ip: "192.0.2.10",
  port: 22,
  state: "open",
  reason: "syn-ack",
  rttMs: 0.2134,
  ttl: 64,
  tries: 1,
  service: "ssh",
  timeMs: STARTED_MS + 20,
};

const fromFra: PlaceVerdict = {
  place: "fra",
  state: "open",
  reason: "syn-ack",
  rttMs: 0.2134,
  ttl: 64,
  tries: 1,
};
/** Open from fra, filtered from lon. */
export const differing: PortResult = {
  ...open,
  from: [
    fromFra,
    { place: "lon", state: "filtered", reason: "no-response", rttMs: null, ttl: null, tries: 3, doubt: 0.01 },
  ],
};
/** The same from both. */
export const agreeing: PortResult = { ...open, from: [fromFra, { ...fromFra, place: "lon", rttMs: 12.5 }] };

export const closed: PortResult = {
  ip: "2001:db8::10",
  port: 443,
  state: "closed",
  reason: "reset",
  rttMs: 187.45249,
  ttl: 255,
  tries: 2,
  service: "https",
  timeMs: STARTED_MS + 40,
};

export const prohibited: PortResult = {
  ip: "192.0.2.20",
  port: 80,
  state: "filtered",
  reason: "host-unreach",
  rttMs: 1203.512,
  ttl: 61,
  tries: 1,
  responder: "192.0.2.254",
  service: "http",
  timeMs: STARTED_MS + 50,
};

export const silent: PortResult = {
  host: "scanme.example",
  ip: "192.0.2.10",
  port: 8081,
  state: "filtered",
  reason: "no-response",
  rttMs: null,
  ttl: null,
  tries: 3,
  timeMs: STARTED_MS + 90,
};

/** `silent`, corrected by an answer that came late. */
export const corrected: PortResult = {
  ...silent,
  state: "open",
  reason: "syn-ack",
  rttMs: 3120.5,
  ttl: 52,
  late: true,
  was: "filtered",
  timeMs: STARTED_MS + 110,
};

export const summary: ScanSummary = {
  hosts: 3,
  open: 2,
  closed: 1,
  filtered: 1,
  reasons: { open: { "syn-ack": 2 }, closed: { reset: 1 }, filtered: { "host-unreach": 1 } },
  unfinished: 0,
  sent: 1234,
  controls: 3,
  retransmitted: 2,
  received: 5,
  late: 1,
  ignored: {
    malformed: 0,
    badChecksum: 1,
    wrongAck: 0,
    oddFlags: 0,
    foreign: 12,
    fragment: 0,
    icmpNoVerdict: 0,
    duplicate: 0,
  },
  receiveDrops: 0,
  sendErrors: {},
  faults: [],
  interrupted: false,
  elapsedMs: 120.4567,
  startedMs: STARTED_MS,
};

/** Of a host that answers on every port. */
export const tarpit: PortResult = {
  ip: "192.0.2.30",
  port: 81,
  state: "open",
  reason: "syn-ack",
  rttMs: 10.5,
  ttl: 64,
  tries: 1,
  answered: 1,
  answersAll: true,
  timeMs: STARTED_MS + 60,
};

/** Everything that a result can have. */
export const full: PortResult = {
  ...corrected,
  ip: "2001:db8::10",
  answered: 2,
  doubt: 0.0123456,
  responder: "2001:db8::1",
  service: "x",
  window: 64_240,
  options: "mss 1460,sackOK,TS,nop,wscale 7",
  aliases: ["www.example", "mail.example"],
  established: { ms: 1.23456, ending: "fin", banner: '=hi, "you"\\r\\n' },
};

export const progress: ScanProgress = {
  elapsedMs: 1000.0404,
  total: 6,
  decided: 4,
  open: 2,
  closed: 1,
  filtered: 1,
  sent: 12,
  retransmitted: 2,
  received: 5,
  receiveDrops: 0,
  sendErrors: 0,
  inFlight: 2,
  rate: 10_000,
  loss: 0.012345,
  workers: 1,
};

/** A summary with everything that one can have. */
/** Everything that a summary can have. */
export const fullSummary: Required<RunSummary> = {
  ...summary,
  interrupted: true,
  unfinished: 2,
  excluded: 7,
  sendErrors: { EPERM: 3 },
  controls: 3,
  rstLimited: [{ ip: "198.18.0.7", perSecond: 9.2345 }],
  outages: [
    { fromMs: STARTED_MS + 2000, toMs: STARTED_MS + 12_500 },
    { ip: "198.18.0.7", fromMs: STARTED_MS + 61_000 },
  ],
  bursts: { share: 0.0312345, meanMs: 1600.1234 },
  silence: [{ code: "all-silent", text: "nothing came back" }],
  where: [
    {
      ip: "192.0.2.10",
      port: 8081,
      kind: "rejected",
      from: 6,
      to: 7,
      by: "203.0.113.7",
      doubt: 0.00212345,
      text: "8081 is filtered: hop 7 (203.0.113.7) rejects its SYNs",
    },
  ],
  ways: [{ ip: "192.0.2.10", hops: ["203.0.113.1", null] }],
  path: {
    rate: 20_000,
    loss: { round: 0.0123456, out: 0.01, back: 0.0023456 },
    missedOpen: { expected: 0.25, low: 0, high: 2.5 },
    missed: { expected: 2.5, low: 1, high: 25 },
    unseen: 20,
    verified: { asked: 1234, open: 1, closed: 20 },
  },
  faults: [
    {
      target: "nosuch.example",
      code: "ERR_UNKNOWN_HOST",
      message: "nosuch.example: no such host; check the spelling",
    },
  ],
};

export const interrupted: ScanSummary = { ...summary, interrupted: true, unfinished: 2 };

export const fault = {
  target: "nosuch.example",
  code: "ERR_UNKNOWN_HOST",
  message: "nosuch.example: no such host; check the spelling",
};

/** Names that try to break out of a line, a column, an attribute, a comment or a terminal's patience. */
export const hostileNames: readonly string[] = [
  "a\nb",
  "a\r\nHost: 203.0.113.9 ()\tStatus: Up",
  "\x1b[31mred\x1b[0m\x07",
  "nul\0nul",
  "c1\x9b31m\x7f",
  "\u202egpj.exe\u2066",
  "lone\ud800surrogate\udfff",
  "\ufffe\uffff\ufeff",
  "]]><!-- --> &lt; & \"double\" 'single' <b>",
  "-->",
  "two words  open  syn-ack",
  "a/b, 23/open/tcp//telnet///",
  "line\u2028separator\u2029paragraph\u0085next",
  "__proto__",
  "true",
  "x".repeat(5000),
];

/** A run too large for its results to be held, and results of it, three ports of each of 834 hosts. */
export const largeRun: RunInfo = { ...run, pairs: MOST_HELD + 1, hosts: 100_000 };
export const manyResults: readonly PortResult[] = Array.from({ length: 2500 }, (_, i) => {
  const { service: _service, ...rest } = i % 2 === 0 ? closed : open;
  const host = i % 834;
  return { ...rest, ip: `198.18.${host >> 8}.${host & 255}`, port: i + 1 };
});

/** A spill in memory. @param most bytes that it has room for */
export function memorySpill(most = Number.POSITIVE_INFINITY): Spill & { size(): number } {
  let kept = Buffer.alloc(1 << 16);
  let size = 0;
  return {
    write(bytes, at) {
      const end = at + bytes.length;
      while (end > kept.length) kept = Buffer.concat([kept, Buffer.alloc(kept.length)]);
      kept.set(bytes, at);
      size = Math.max(size, Math.min(end, most));
      return end <= most;
    },
    read: (into, at) => kept.copy(into, 0, at, Math.min(size, at + into.length)),
    size: () => size,
  };
}

/** What a reporter writes, in one text, for a run of `results` that is over within a second, or looked at after them. */
export function written(
  create: (sink: Sink) => Reporter,
  results: readonly PortResult[],
  ending: RunSummary = summary,
  info: RunInfo = run,
  look?: ScanProgress,
): string {
  const texts: string[] = [];
  const reporter = create((text) => texts.push(text));
  reporter.start(info);
  for (const result of results) reporter.result(result);
  if (look !== undefined) {
    reporter.progress?.(look);
    reporter.tick?.();
  }
  for (const each of ending.faults) reporter.fault(each);
  reporter.finish(ending);
  return texts.join("");
}
