/**
 * Rows to which a bare SYN came, a simultaneous open's: what each will have shown if nothing better comes. Such a SYN acknowledges
 * nothing, so it proves nothing but that somebody knows the try's port: it is believed only when a second try, from a port of its
 * own, was answered likewise. Pure.
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
  /** Such a SYN came for a try. @returns false when that try has had one */
  hold(row: number, attempt: number, atUs: number, ttl: number): boolean;
  /** What has come to the row and is believed. */
  believed(row: number): SimultaneousOpen | undefined;
  forget(row: number): void;
}

/** @param provable each try has a source port of its own  @param maxTries with one try there is no second to ask for */
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
