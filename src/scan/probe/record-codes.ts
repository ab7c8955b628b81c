/**
 * Codes for states and reasons in a record. Journals on users' disks hold them.
 *
 * Not here: where in the record (result-columns.ts), what states and reasons mean (result.ts).
 * Tested by test/scan/probe/result-record.test.ts.
 */
import { PORT_STATES, type PortState, type Reason } from "./result.ts";

/** A new reason gets the next code, and none ever changes. */
const REASON_CODES = {
  "syn-ack": 0,
  "split-handshake-syn": 1,
  reset: 2,
  "no-response": 3,
  "net-unreach": 4,
  "host-unreach": 5,
  "proto-unreach": 6,
  "port-unreach": 7,
  "net-prohibited": 8,
  "host-prohibited": 9,
  "admin-prohibited": 10,
  "time-exceeded": 11,
  "no-route": 12,
  "beyond-scope": 13,
  "addr-unreach": 14,
  "policy-fail": 15,
  "reject-route": 16,
  "param-problem": 17,
  "host-timeout": 18,
  "unproved-reset": 19,
  "unproved-syn": 20,
  "conn-refused": 21,
} as const satisfies Record<Exclude<Reason, `send-${string}`>, number>;
const CODE_OF: ReadonlyMap<string, number> = new Map(Object.entries(REASON_CODES));
/** Every reason but `send-*`, by code. */
export const REASONS = Object.keys(REASON_CODES) as readonly (keyof typeof REASON_CODES)[];
const SEND = "send-";
const SEND_CODE = 255;
/** Room for an errno name; the longest that Linux has, ENOTRECOVERABLE, is 15 characters. */
const ERRNO_LENGTH = 16;

/**
 * Writes a reason: its code at `at`, and for `send-*` the errno name at `errnoAt`, in ASCII.
 * @param reason of `send-*` at most 16 characters are kept
 */
export function putReason(b: Uint8Array, at: number, errnoAt: number, reason: Reason): void {
  const code = CODE_OF.get(reason);
  b[at] = code ?? SEND_CODE;
  if (code !== undefined) return;
  const end = Math.min(reason.length - SEND.length, ERRNO_LENGTH);
  for (let i = 0; i < end; i++) b[errnoAt + i] = reason.charCodeAt(SEND.length + i);
}

/** @throws {RangeError} for a reason that this version does not know */
export function reasonAt(b: Uint8Array, at: number, errnoAt: number): Reason {
  const code = b[at];
  if (code !== SEND_CODE) return REASONS[code] ?? unreadable("reason", code);
  let errno = "";
  for (let i = 0; i < ERRNO_LENGTH && b[errnoAt + i] !== 0; i++) errno += String.fromCharCode(b[errnoAt + i]);
  return `${SEND}${errno}`;
}

const ERRNO = /^send-[a-z0-9]+$/;

/** Whether this version can have written the reason, so that anybody may print it. */
export const isReasonAt = (b: Uint8Array, at: number, errnoAt: number): boolean =>
  b[at] < REASONS.length || (b[at] === SEND_CODE && ERRNO.test(reasonAt(b, at, errnoAt)));

/** 1 open, 2 closed, 3 filtered. */
export const stateCode = (state: PortState): number => (state === "open" ? 1 : state === "closed" ? 2 : 3);

/** The state of a code from 0 to 3; null for 0, which stands for none. */
export const stateOf = (code: number): PortState | null => (code === 0 ? null : PORT_STATES[code - 1]);

/** For a record that is damaged, or from a version that knows more. */
export function unreadable(field: string, code: number): never {
  throw new RangeError(`a record with ${field} ${code}`);
}
