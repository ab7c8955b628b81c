/**
 * A handshake under way, as its user will hear of it: what is wanted, the evidence when it succeeds, the reason when it does not.
 *
 * Not here: the segments (socket/control-block.ts), and when a handshake is over (user-space-tcp.ts).
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { Reason } from "../../scan/probe/result.ts";
import type { ControlBlockView } from "../../socket/connection.ts";
import type { Ends, Segment } from "../../socket/segment.ts";
import { type Address, formatAddress } from "../../wire/address.ts";
import type { TcpOption } from "../../wire/tcp-options.ts";
import type { Connection, Opened } from "./connection.ts";

/** A connection that is wanted. */
export interface Wanted {
  /** Names the peer in messages. */
  readonly label: string;
  readonly local: Address;
  readonly peer: Address;
  readonly peerPort: number;
  readonly ttl: number;
  /** MSS to announce and to keep to, in bytes. */
  readonly mss: number;
  /** Bytes of each buffer, at most 65,535. */
  readonly bufferLength: number;
  /** How long the handshake may take, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** What is known of an attempt that failed: the `cause` of its error. */
export interface FailedAttempt {
  /** `send-*` when this machine's kernel did not send. */
  readonly reason: Reason;
  /** SYNs sent. */
  readonly attempts: number;
  /** From connect to the end, in milliseconds. */
  readonly elapsedMs: number;
  /** TTL or hop limit of a RST. */
  readonly ttl?: number;
  /** Sender of an ICMP error. */
  readonly responder?: string;
}

/** A handshake under way. */
export interface Opening {
  readonly wanted: Wanted;
  readonly startedUs: number;
  readonly deadlineUs: number;
  attempts: number;
  /** When the last SYN left. */
  sentUs: number;
  /** errno of those that did not since. */
  refusal: string;
  /** The peer's last segment. */
  answer: { atUs: number; ttl: number; window: number; options: readonly TcpOption[] };
  resolve(connection: Connection): void;
  reject(reason: unknown): void;
}

/** @param decided is called once, before either of the others */
export function createOpening(
  wanted: Wanted,
  startedUs: number,
  { resolve, reject }: Pick<Opening, "resolve" | "reject">,
  decided: () => void,
): Opening {
  return {
    wanted,
    startedUs,
    deadlineUs: startedUs + wanted.timeoutMs * 1000,
    attempts: 0,
    sentUs: startedUs,
    refusal: "",
    answer: { atUs: startedUs, ttl: 0, window: 0, options: [] },
    resolve: (connection) => {
      decided();
      resolve(connection);
    },
    reject: (reason) => {
      decided();
      reject(reason);
    },
  };
}

/** @param options those of a segment with SYN */
export function takeAnswer(
  opening: Opening,
  { window }: Segment,
  atUs: number,
  ttl: number,
  options: readonly TcpOption[] | undefined,
): void {
  opening.answer = { atUs, ttl, window, options: options ?? opening.answer.options };
}

/** The evidence. */
export function openedBy({ attempts, sentUs, answer }: Opening, ends: Ends, view: ControlBlockView): Opened {
  return {
    local: { ip: formatAddress(ends.local), port: ends.localPort },
    remote: { ip: formatAddress(ends.peer), port: ends.peerPort },
    rttMs: attempts === 1 ? Math.max(0, answer.atUs - sentUs) / 1000 : null,
    attempts,
    mss: view.peerMss,
    window: answer.window,
    options: answer.options,
    ttl: answer.ttl,
    iss: view.iss,
    irs: view.irs,
  };
}

/** What its user is told. */
export function failureOf(
  opening: Opening,
  reason: Reason,
  nowUs: number,
  responder?: string,
): SynprobeError {
  const { wanted, attempts, answer } = opening;
  const cause: FailedAttempt = {
    reason,
    attempts,
    elapsedMs: (nowUs - opening.startedUs) / 1000,
    ...(reason === "reset" ? { ttl: answer.ttl } : {}),
    ...(responder === undefined ? {} : { responder }),
  };
  const { code, message } = explain(wanted, cause);
  return new SynprobeError(code, `${wanted.label} ${message}`, { cause });
}

/** An attempt's failure, for a person. */
function explain(
  { local, timeoutMs }: Wanted,
  { reason, attempts, elapsedMs, responder }: FailedAttempt,
): Pick<SynprobeError, "code" | "message"> {
  const tries = attempts === 1 ? "1 SYN" : `${attempts} SYNs`;
  if (reason === "reset") {
    return {
      code: ERROR_CODES.refused,
      message: `refused the connection: RST after ${elapsedMs.toFixed(1)} ms, ${tries} sent`,
    };
  }
  if (reason === "no-response") {
    return {
      code: ERROR_CODES.timedOut,
      message: `did not answer within ${timeoutMs / 1000} s, ${tries} sent: it is down, or something on the way drops them`,
    };
  }
  const who = responder === formatAddress(local) ? "this machine's own kernel" : responder;
  return {
    code: ERROR_CODES.unreachable,
    message:
      who === undefined
        ? `cannot be reached: this machine refuses to send to it (${reason.slice("send-".length).toUpperCase()})`
        : `cannot be reached: ${reason}, says ${who}`,
  };
}
