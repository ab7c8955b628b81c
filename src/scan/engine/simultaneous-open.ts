/**
 * Simultaneous opens (RFC 9293 §3.5, figure 7): a bare SYN that came to the port of a try. It acknowledges nothing, so anybody
 * may have sent it. Our SYN-ACK to it asks for proof: only an acknowledgement of our ISN makes the port open. Until then, and if
 * none comes, the SYN is told of and decides nothing. Pure; times in microseconds.
 *
 * Not here: whether the SYN is one of ours that came back (receive.ts), the packet itself (transmit.ts), when a row's tries
 * have ended (timeouts.ts).
 */

export interface SimultaneousOpen {
  readonly attempt: number;
  /** The peer's initial sequence number. */
  readonly irs: number;
  /** When our SYN-ACK left; NaN until then. */
  askedUs: number;
}

export interface SimultaneousOpens {
  /** A bare SYN came for a try. Each try of a row gets one SYN-ACK. @returns false when that try has had one */
  heard(row: number, attempt: number, irs: number): boolean;
  /** The next row to which a SYN-ACK is to be sent; -1 when there is none. */
  next(): number;
  /** The last one of the row. */
  of(row: number): SimultaneousOpen | undefined;
  /** Whether a SYN-ACK waits to be sent. */
  any(): boolean;
  forget(row: number): void;
}

/** Rows with one at once: further ones are as silent as before. */
const MOST = 4096;

/** @param answers whether SYN-ACKs may be sent: not where each host may get no more than a rate of SYNs */
export function createSimultaneousOpens(answers: boolean): SimultaneousOpens {
  const held = new Map<number, SimultaneousOpen>();
  const waiting = new Set<number>();
  return {
    heard: (row, attempt, irs) => {
      const known = held.get(row);
      if (known !== undefined ? known.attempt >= attempt : held.size >= MOST) return false;
      held.set(row, { attempt, irs, askedUs: Number.NaN });
      if (answers) waiting.add(row);
      return true;
    },
    next: () => {
      for (const row of waiting) {
        waiting.delete(row);
        return row;
      }
      return -1;
    },
    of: (row) => (held.size === 0 ? undefined : held.get(row)),
    any: () => waiting.size > 0,
    forget: (row) => {
      if (held.size === 0) return;
      held.delete(row);
      waiting.delete(row);
    },
  };
}
