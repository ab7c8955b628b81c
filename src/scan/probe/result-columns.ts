/**
 * The columns of a result, in one table. Made from it: records (result-record.ts), NDJSON, its schema and CSV
 * (report/formats/), and the NDJSON reader (report/read/).
 *
 * To add a column: a row here and a property of PortResult (result.ts). If the engine measures it, a property of Verdict
 * (verdict.ts) and a line of runtime/results/to-result.ts too. Not here: how a value is computed.
 * Tested by test/scan/probe/result-record.test.ts.
 */
import { ADDRESS_WORDS } from "../../socket/table.ts";
import { putU16, putU32, u16, u32 } from "../../wire/bytes.ts";
import { isoTime } from "./iso-time.ts";
import { ALIASES, FROM, type PlaceLine, toThousandths } from "./list-columns.ts";
import { putReason, reasonAt, stateCode, stateOf, unreadable } from "./record-codes.ts";
import { ENDINGS, type PortResult } from "./result.ts";
import type { Verdict, VerdictDraft } from "./verdict.ts";

/** What a line of output can say. */
export type Value = string | number | true | null | undefined | readonly PlaceLine[] | readonly string[];

/** A column's place in a record of 64 bytes, all zero before; see result-record.ts for the whole. */
export interface RecordPlace {
  /** Its bytes: the first, and how many. */
  readonly bytes?: readonly [at: number, length: number];
  /** Its bits in the marks, two bytes. */
  readonly marks?: number;
  put(b: Uint8Array, at: number, verdict: Verdict): void;
  take(b: Uint8Array, at: number, verdict: VerdictDraft): void;
}

export interface Column {
  /** Its name in NDJSON and CSV. */
  readonly key: string;
  /** Its values as JSON Schema, with a description. A `$ref` is to the definitions of ndjson.schema.json. */
  readonly schema: Readonly<Record<string, unknown>>;
  /** In every line; other columns are only where they are known. */
  readonly required?: true;
  /** The value in a line of output; undefined to leave it out. */
  readonly line: (result: PortResult) => Value;
  readonly record?: RecordPlace;
  /** How the NDJSON reader checks it: the bounds of a number, or a kind. Without it, the reader does so by hand or skips the column. */
  readonly read?: "text" | "texts" | "flag" | "time" | readonly [low: number, high: number];
}

/** By name in a PortResult; the properties of `established` are columns of their own. */
type Columns = Readonly<
  Record<
    keyof Omit<Required<PortResult>, "established"> | "proto" | "establishedMs" | "ending" | "banner",
    Column
  >
>;

/** Where the marks are in a record. */
export const MARKS = 54;
const RESPONDER = 32;
export const STATE_BITS = 0x0003;
export const WAS_SHIFT = 2;
const IPV6 = 0x0010;
const LATE = 0x0020;
const RESPONDED = 0x0040;
const HAS_TTL = 0x0080;
const ANSWERS_ALL = 0x0100;
const CONNECT = 0x0200;
const DOUBTFUL = 0x0400;
const OFFERED = 0x0800;

const mark = (b: Uint8Array, at: number, bits: number): void =>
  putU16(b, at + MARKS, u16(b, at + MARKS) | bits);
const isMarked = (b: Uint8Array, at: number, bit: number): boolean => (u16(b, at + MARKS) & bit) !== 0;

function putWords(b: Uint8Array, at: number, words: Uint32Array): void {
  for (let i = 0; i < ADDRESS_WORDS; i++) putU32(b, at + 4 * i, words[i]);
}

function takeWords(b: Uint8Array, at: number, words: Uint32Array): void {
  for (let i = 0; i < ADDRESS_WORDS; i++) words[i] = u32(b, at + 4 * i);
}

const BINARY32 = new Float32Array(1);
const BITS = new Uint32Array(BINARY32.buffer);
const SMALLEST_32 = 2 ** -149;

export const COLUMNS = {
  ip: {
    key: "ip",
    schema: { type: "string", description: "The address probed: IPv4, or IPv6 as RFC 5952 writes it." },
    required: true,
    line: ({ ip }) => ip,
    record: {
      bytes: [16, 16],
      marks: IPV6,
      put: (b, at, { peer, family }) => {
        putWords(b, at + 16, peer);
        if (family === 6) mark(b, at, IPV6);
      },
      take: (b, at, verdict) => {
        takeWords(b, at + 16, verdict.peer);
        verdict.family = isMarked(b, at, IPV6) ? 6 : 4;
      },
    },
  },
  port: {
    key: "port",
    schema: { type: "integer", minimum: 1, maximum: 65_535 },
    required: true,
    line: ({ port }) => port,
    record: {
      bytes: [52, 2],
      put: (b, at, { port }) => putU16(b, at + 52, port),
      take: (b, at, verdict) => {
        verdict.port = u16(b, at + 52);
      },
    },
  },
  proto: {
    key: "proto",
    schema: { const: "tcp" },
    required: true,
    line: () => "tcp",
  },
  state: {
    key: "state",
    schema: { $ref: "#/$defs/state" },
    required: true,
    line: ({ state }) => state,
    record: {
      marks: STATE_BITS,
      put: (b, at, { state }) => mark(b, at, stateCode(state)),
      take: (b, at, verdict) => {
        verdict.state = stateOf(u16(b, at + MARKS) & STATE_BITS) ?? unreadable("state", 0);
      },
    },
  },
  reason: {
    key: "reason",
    schema: { $ref: "#/$defs/reason" },
    required: true,
    line: ({ reason }) => reason,
    record: {
      // A probe that could not be sent has no responder: the errno name takes its bytes.
      bytes: [57, 1],
      put: (b, at, { reason }) => putReason(b, at + 57, at + RESPONDER, reason),
      take: (b, at, verdict) => {
        verdict.reason = reasonAt(b, at + 57, at + RESPONDER);
      },
    },
  },
  rttMs: {
    key: "rtt_ms",
    schema: {
      type: ["number", "null"],
      exclusiveMinimum: 0,
      description:
        "Round trip of the try that was answered, in milliseconds; null when none was, or nobody can tell which.",
    },
    required: true,
    line: ({ rttMs }) => (rttMs === null ? null : toThousandths(rttMs)),
    record: {
      // Whole microseconds, 1 or more; 0 for none.
      bytes: [48, 4],
      put: (b, at, { rttUs }) => {
        if (rttUs > 0) putU32(b, at + 48, Math.min(Math.max(1, Math.round(rttUs)), 0xffff_ffff));
      },
      take: (b, at, verdict) => {
        verdict.rttUs = u32(b, at + 48) || Number.NaN;
      },
    },
    read: [0, Number.MAX_VALUE],
  },
  ttl: {
    key: "ttl",
    schema: {
      type: ["integer", "null"],
      minimum: 1,
      maximum: 255,
      description: "TTL or hop limit of the answer.",
    },
    required: true,
    line: ({ ttl }) => ttl,
    record: {
      bytes: [58, 1],
      marks: HAS_TTL,
      put: (b, at, { ttl }) => {
        b[at + 58] = ttl;
        if (ttl > 0) mark(b, at, HAS_TTL);
      },
      take: (b, at, verdict) => {
        verdict.ttl = b[at + 58];
      },
    },
    read: [0, 255],
  },
  tries: {
    key: "tries",
    schema: {
      type: "integer",
      minimum: 0,
      maximum: 31,
      description: "SYNs sent; 0 when not even the first could be.",
    },
    required: true,
    line: ({ tries }) => tries,
    record: {
      bytes: [59, 1],
      put: (b, at, { tries }) => {
        b[at + 59] = tries;
      },
      take: (b, at, verdict) => {
        verdict.tries = b[at + 59];
      },
    },
    read: [0, Number.MAX_VALUE],
  },
  answered: {
    key: "answered",
    schema: {
      type: "integer",
      minimum: 1,
      maximum: 31,
      description: "Which of them was answered, from 1.",
    },
    line: ({ answered }) => answered,
    record: {
      bytes: [56, 1],
      put: (b, at, { answered }) => {
        b[at + 56] = answered;
      },
      take: (b, at, verdict) => {
        verdict.answered = b[at + 56];
      },
    },
  },
  doubt: {
    key: "doubt",
    schema: {
      $ref: "#/$defs/chance",
      description:
        "For no-response: the chance that the port did answer, and every SYN or every answer was lost.",
    },
    line: ({ doubt }) => (doubt === undefined ? undefined : Number(doubt.toPrecision(3))),
    record: {
      // Binary32; 0 for none.
      bytes: [60, 4],
      put: (b, at, { doubt }) => {
        if (!(doubt > 0)) return;
        // Not 0, which would mean none.
        BINARY32[0] = Math.max(doubt, SMALLEST_32);
        putU32(b, at + 60, BITS[0]);
      },
      take: (b, at, verdict) => {
        BITS[0] = u32(b, at + 60);
        verdict.doubt = BITS[0] === 0 ? Number.NaN : BINARY32[0];
      },
    },
    read: [0, 1],
  },
  answersAll: {
    key: "answers_all",
    schema: {
      const: true,
      description: "The host answers SYN-ACK on every port: a tarpit or a middlebox.",
    },
    line: ({ answersAll }) => answersAll,
    record: {
      marks: ANSWERS_ALL,
      put: (b, at, { answersAll }) => {
        if (answersAll) mark(b, at, ANSWERS_ALL);
      },
      take: (b, at, verdict) => {
        verdict.answersAll = isMarked(b, at, ANSWERS_ALL);
      },
    },
    read: "flag",
  },
  host: {
    key: "host",
    schema: { type: "string", description: "The name that the user gave." },
    line: ({ host }) => host,
    read: "text",
  },
  responder: {
    key: "responder",
    schema: {
      type: "string",
      description: "Sender of the ICMP message that decided, if not the target; 0.0.0.0 or :: if unknown.",
    },
    line: ({ responder }) => responder,
    record: {
      bytes: [RESPONDER, 16],
      marks: RESPONDED,
      put: (b, at, { responder, hasResponder }) => {
        if (!hasResponder) return;
        putWords(b, at + RESPONDER, responder);
        mark(b, at, RESPONDED);
      },
      take: (b, at, verdict) => {
        verdict.hasResponder = isMarked(b, at, RESPONDED);
        if (verdict.hasResponder) takeWords(b, at + RESPONDER, verdict.responder);
      },
    },
    read: "text",
  },
  service: {
    key: "service",
    schema: { type: "string", description: "The port's name in the system's services database." },
    line: ({ service }) => service,
    read: "text",
  },
  late: {
    key: "late",
    schema: { const: true, description: "The answer came after the deadline of its try." },
    line: ({ late }) => late,
    record: {
      marks: LATE,
      put: (b, at, { late }) => {
        if (late) mark(b, at, LATE);
      },
      take: (b, at, verdict) => {
        verdict.late = isMarked(b, at, LATE);
      },
    },
    read: "flag",
  },
  was: {
    key: "was",
    schema: { $ref: "#/$defs/state", description: "The state that this line corrects." },
    line: ({ was }) => was,
    record: {
      marks: STATE_BITS << WAS_SHIFT,
      put: (b, at, { was }) => {
        if (was !== null) mark(b, at, stateCode(was) << WAS_SHIFT);
      },
      take: (b, at, verdict) => {
        verdict.was = stateOf((u16(b, at + MARKS) >> WAS_SHIFT) & STATE_BITS);
      },
    },
    read: "text",
  },
  establishedMs: {
    key: "established_ms",
    schema: {
      $ref: "#/$defs/milliseconds",
      description: "From SYN to ESTABLISHED, of a handshake that was completed.",
    },
    line: ({ established }) => (established === undefined ? undefined : toThousandths(established.ms)),
  },
  ending: {
    key: "ending",
    schema: {
      enum: ENDINGS,
      description: "How the completed connection ended.",
    },
    line: ({ established }) => established?.ending,
    read: "text",
  },
  banner: {
    key: "banner",
    schema: {
      type: "string",
      pattern: "^[\\x20-\\x7e]*$",
      description: "What the peer said first, escaped to printable ASCII.",
    },
    line: ({ established }) => established?.banner,
    read: "text",
  },
  timeMs: {
    key: "ts",
    schema: { $ref: "#/$defs/time", description: "When the verdict fell." },
    required: true,
    line: ({ timeMs }) => isoTime(timeMs),
    read: "time",
  },
  method: {
    key: "method",
    schema: {
      const: "connect",
      description:
        "The kernel did the handshake (--link connect): the round trip is connect's, and there is no TTL.",
    },
    line: ({ method }) => method,
    record: {
      marks: CONNECT,
      put: (b, at, { connect }) => {
        if (connect) mark(b, at, CONNECT);
      },
      take: (b, at, verdict) => {
        verdict.connect = isMarked(b, at, CONNECT);
      },
    },
    read: "text",
  },
  doubtful: {
    key: "doubtful",
    schema: {
      const: "zero-window",
      description:
        "Why an open port may be none: its SYN-ACK had window 0 and no options, as forged ones do, and no handshake was completed.",
    },
    line: ({ doubtful }) => doubtful,
    record: {
      marks: DOUBTFUL,
      put: (b, at, { doubtful }) => {
        if (doubtful) mark(b, at, DOUBTFUL);
      },
      take: (b, at, verdict) => {
        verdict.doubtful = isMarked(b, at, DOUBTFUL);
      },
    },
    read: "text",
  },
  window: {
    key: "window",
    schema: {
      type: "integer",
      minimum: 0,
      maximum: 65_535,
      description: "Of an open port, the window of its SYN-ACK, unscaled. Not there under --link connect.",
    },
    line: ({ window }) => window,
    record: {
      // Nobody else sent what decided: the offer takes the responder's bytes.
      marks: OFFERED,
      put: (b, at, { responder, hasOffer }) => {
        if (!hasOffer) return;
        putWords(b, at + RESPONDER, responder);
        mark(b, at, OFFERED);
      },
      take: (b, at, verdict) => {
        verdict.hasOffer = isMarked(b, at, OFFERED);
        if (verdict.hasOffer) takeWords(b, at + RESPONDER, verdict.responder);
      },
    },
  },
  options: {
    key: "options",
    schema: {
      type: "string",
      description:
        "The options of the same SYN-ACK in their order, as tcpdump writes them, without what differs from connection to connection.",
    },
    line: ({ options }) => options,
  },
  from: FROM,
  aliases: ALIASES,
} satisfies Columns;

/** The columns in their order in a line, each with its name in a PortResult. */
export const COLUMN_LIST: readonly (Column & { readonly name: keyof typeof COLUMNS })[] = (
  Object.entries(COLUMNS) as [keyof typeof COLUMNS, Column][]
).map(([name, column]) => ({ ...column, name }));
