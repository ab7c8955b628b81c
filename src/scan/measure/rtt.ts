/**
 * Round trips: the limits of a probe's timeout, and the histogram of a run's round trips, which tells how long to wait for an
 * unknown host.
 *
 * Pure: times in microseconds. Not here: RFC 6298's estimate for one peer (socket/rto.ts), which host is waited for how long
 * (probe-timeout.ts).
 */

/** How long one try may wait for its answer. All three equal: always that long. */
export interface TimeoutLimits {
  /** Before anything is known (RFC 6298 §2.1). */
  readonly initialUs: number;
  readonly minUs: number;
  readonly maxUs: number;
}

/** Longer round trips are measurement errors, in microseconds (nmap drops them too). */
export const MAX_RTT_US = 8_000_000;

export interface RttHistogram {
  sample(rttUs: number): void;
  /** Samples ever taken. */
  readonly samples: () => number;
  /** The round trip that a share `q` of the samples did not exceed; NaN without samples. */
  quantile(q: number): number;
}

/** Buckets of a sixteenth of an octave, from 2^4 = 16 µs on. */
const PER_OCTAVE = 16;
const FIRST_OCTAVE = 4;
const BUCKETS = PER_OCTAVE * 20;
/** Default number of samples after which older ones count half. */
const HALVE_AT = 8192;

/** @param halveAt each time this many samples are held, all of them count half from then on */
export function createRttHistogram(halveAt = HALVE_AT): RttHistogram {
  const counts = new Uint32Array(BUCKETS);
  let total = 0;
  let ever = 0;
  return {
    samples: () => ever,
    sample: (rttUs) => {
      const bucket = Math.floor((Math.log2(rttUs) - FIRST_OCTAVE) * PER_OCTAVE);
      counts[bucket < 0 ? 0 : bucket >= BUCKETS ? BUCKETS - 1 : bucket]++;
      ever++;
      if (++total < halveAt) return;
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
