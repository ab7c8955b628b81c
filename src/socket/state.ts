/**
 * The states of a probe and every transition between them, in one place.
 *
 * A probe is the start of an active open (RFC 9293 §3.5): CLOSED until its SYN is sent, SYN-SENT until something decides.
 * The table below alone says what decides, and what may overturn a decision: open never changes, closed never becomes
 * filtered, filtered may still become open or closed.
 */

export const PROBE_STATES = {
  /** No probe: the row is free. */
  empty: 0,
  /** SYN sent, no decision. */
  synSent: 1,
  /** SYN+ACK, or in a simultaneous open the ACK of our own SYN+ACK. */
  open: 2,
  /** RST. */
  closed: 3,
  /** ICMP says that something on the way refuses. */
  rejected: 4,
  /** Every try ran out of time. */
  silent: 5,
  /** This machine could not send. */
  unsent: 6,
} as const;
export type ProbeState = (typeof PROBE_STATES)[keyof typeof PROBE_STATES];

export const PROBE_EVENTS = {
  /** SYN+ACK that proves our ISN, or an ACK of our SYN+ACK to a bare SYN (simultaneous open). */
  accepted: 0,
  /** RST that proves our ISN. */
  refused: 1,
  /** ICMP error that quotes our probe, with a code that means "filtered". */
  rejected: 2,
  /** The deadline of the last try passed. */
  exhausted: 3,
  /** The kernel refused to send, for good. */
  unsendable: 4,
} as const;
export type ProbeEvent = (typeof PROBE_EVENTS)[keyof typeof PROBE_EVENTS];

const S = PROBE_STATES;
/** Rows: states. Columns: events accepted, refused, rejected, exhausted, unsendable. */
const TRANSITIONS: readonly (readonly ProbeState[])[] = [
  /* empty    */ [S.empty, S.empty, S.empty, S.empty, S.empty],
  /* synSent  */ [S.open, S.closed, S.rejected, S.silent, S.unsent],
  /* open     */ [S.open, S.open, S.open, S.open, S.open],
  /* closed   */ [S.closed, S.closed, S.closed, S.closed, S.closed],
  /* rejected */ [S.open, S.closed, S.rejected, S.rejected, S.rejected],
  /* silent   */ [S.open, S.closed, S.silent, S.silent, S.silent],
  /* unsent   */ [S.open, S.closed, S.unsent, S.unsent, S.unsent],
];

/** The state after `event`; the same state when the event changes nothing. */
export const nextState = (state: ProbeState, event: ProbeEvent): ProbeState => TRANSITIONS[state][event];
