/**
 * Round trips: RFC 6298's estimate for one peer, kept in the caller's arrays, and the spread of a whole run's round trips,
 * which says how long to wait for a host of which nothing is known.
 *
 * Pure, all times in microseconds. Who is waited for, and what follows when the time is over, is engine/timeouts.ts's business.
 */

/** How long one try may wait for its answer. All three equal: always so long. */
export interface TimeoutLimits {
  /** Before anything is known (RFC 6298 §2.1). */
  readonly initialUs: number;
  readonly minUs: number;
  readonly maxUs: number;
}

/** Longer round trips are somebody's mistake (nmap drops them too). */
export const LONGEST_SAMPLE_US = 8_000_000;

/**
 * Takes a sample, whole microseconds, into `srtt[i]` and `rttvar[i]` (RFC 6298 §2.2, §2.3).
 * @param gain of the mean: 1/8 for one host, less for a group; the variation's is twice as much
 */
export function sampleRtt(
  srtt: Float32Array,
  rttvar: Float32Array,
  i: number,
  rttUs: number,
  gain = 1 / 8,
): void {
  if (srtt[i] === 0) {
    srtt[i] = rttUs;
    rttvar[i] = rttUs / 2;
    return;
  }
  rttvar[i] += 2 * gain * (Math.abs(srtt[i] - rttUs) - rttvar[i]);
  srtt[i] += gain * (rttUs - srtt[i]);
}

/** RTO = SRTT + 4 RTTVAR, before any limit (RFC 6298 §2.3). */
export const timeoutOf = (srtt: Float32Array, rttvar: Float32Array, i: number): number =>
  srtt[i] + 4 * rttvar[i];

export interface Spread {
  sample(rttUs: number): void;
  readonly samples: () => number;
  /** The round trip that a share `q` of the samples did not exceed; NaN without samples. */
  quantile(q: number): number;
}

/** Buckets of a sixteenth of an octave, from 16 µs on. */
const PER_OCTAVE = 16;
const FIRST_OCTAVE = 4;
const BUCKETS = PER_OCTAVE * 20;
const FORGET_AT = 8192;

/** @param forgetAt with so many samples the old ones count half */
export function createSpread(forgetAt = FORGET_AT): Spread {
  const counts = new Uint32Array(BUCKETS);
  let total = 0;
  let ever = 0;
  return {
    samples: () => ever,
    sample: (rttUs) => {
      const bucket = Math.floor((Math.log2(rttUs) - FIRST_OCTAVE) * PER_OCTAVE);
      counts[bucket < 0 ? 0 : bucket >= BUCKETS ? BUCKETS - 1 : bucket]++;
      ever++;
      if (++total < forgetAt) return;
      total = 0;
      for (let i = 0; i < BUCKETS; i++) {
        counts[i] = counts[i] >> 1;
        total += counts[i];
      }
    },
    quantile: (q) => {
      if (total === 0) return Number.NaN;
      let left = q * total;
      let bucket = 0;
      while (bucket < BUCKETS - 1 && left > counts[bucket]) left -= counts[bucket++];
      return 2 ** (FIRST_OCTAVE + (bucket + 1) / PER_OCTAVE);
    },
  };
}
