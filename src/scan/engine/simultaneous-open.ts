/**
 * Rows that received a bare SYN, as in a simultaneous open (RFC 9293 §3.5), kept in case nothing better comes. Such a SYN
 * acknowledges nothing, so it proves only that its sender knows the source port of a try. It is believed once a second try, from
 * another port, is answered in the same way. Pure.
 *
 * Not here: whether the SYN is one of ours that came back (receive.ts), when a row's tries have ended (timeouts.ts).
 */

export interface SimultaneousOpen {
  readonly attempt: number;
  readonly atUs: number;
  readonly ttl: number;
  believed: boolean;
}

export interface SimultaneousOpens {
  /** A bare SYN came for a try. @returns false when that try has had one already */
  hold(row: number, attempt: number, atUs: number, ttl: number): boolean;
  /** The row's SYN, if it is believed. */
  believed(row: number): SimultaneousOpen | undefined;
  forget(row: number): void;
}

/**
 * @param provable each try has its own source port
 * @param maxTries when 1, no second try can confirm, so the first SYN is believed
 */
export function createSimultaneousOpens(provable: boolean, maxTries: number): SimultaneousOpens {
  const held = new Map<number, SimultaneousOpen>();
  return {
    hold: (row, attempt, atUs, ttl) => {
      const known = held.get(row);
      if (known?.attempt === attempt) return false;
      if (known !== undefined) known.believed = provable;
      else held.set(row, { attempt, atUs, ttl, believed: maxTries === 1 && provable });
      return true;
    },
    believed: (row) => {
      const known = held.get(row);
      return known?.believed === true ? known : undefined;
    },
    forget: (row) => {
      if (held.size > 0) held.delete(row);
    },
  };
}
