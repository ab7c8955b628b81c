/**
 * The retransmission timeout of one connection (RFC 6298): smoothed round trip, its variation, and exponential back-off. The
 * estimate itself works on arrays, so that a table of hosts (scan/measure) uses the same arithmetic without an object per host.
 * Times in microseconds. Karn's rule (no samples from retransmitted segments) is the caller's to keep.
 */

type Estimates = Float32Array | Float64Array;

/**
 * Takes a sample into `srtt[i]` and `rttvar[i]` (§2.2, §2.3); 0 in `srtt[i]` means that there is none yet.
 * @param gain of the mean, alpha: 1/8 for one peer, less for a group of them; the variation's, beta, is twice as much
 */
export function sampleRtt(srtt: Estimates, rttvar: Estimates, i: number, rttUs: number, gain = 1 / 8): void {
  if (srtt[i] === 0) {
    srtt[i] = rttUs;
    rttvar[i] = rttUs / 2;
    return;
  }
  rttvar[i] += 2 * gain * (Math.abs(srtt[i] - rttUs) - rttvar[i]);
  srtt[i] += gain * (rttUs - srtt[i]);
}

/** SRTT + max(G, 4 RTTVAR), before any limit (§2.3). @param granularityUs the clock's, G */
export const timeoutOf = (srtt: Estimates, rttvar: Estimates, i: number, granularityUs = 0): number =>
  srtt[i] + Math.max(granularityUs, 4 * rttvar[i]);

export interface RetransmissionTimeout {
  /** The timeout to use now, back-off included, in microseconds. */
  readonly rtoUs: number;
  /** Smoothed round trip; 0 before the first sample. */
  readonly srttUs: number;
  /** Takes the round trip of a segment that was sent once; ends any back-off. */
  sample(rttUs: number): void;
  /** The timer ran out: doubles the timeout (§5.5). */
  backOff(): void;
  /** The handshake needed a retransmitted SYN: data starts with three seconds (§5.7). Ends any back-off. */
  afterSlowHandshake(): void;
}

export interface RtoOptions {
  /** Before the first sample (§2.1: one second). */
  readonly initialUs: number;
  /** Never less than this, whatever the round trip (§2.4: one second). */
  readonly minUs: number;
  /** Never more (§2.5: 60 s at least). */
  readonly maxUs: number;
}

/** RFC 6298 §2.1, §2.4, §2.5. */
export const RTO_DEFAULTS: RtoOptions = { initialUs: 1_000_000, minUs: 1_000_000, maxUs: 60_000_000 };
/**
 * Linux's least RTO in place of RFC 6298's second. For simulated hosts, which are to behave like real ones, and for
 * connections that live no longer than a few seconds.
 */
export const RTO_OF_LINUX: RtoOptions = { ...RTO_DEFAULTS, minUs: 200_000 };

/** Clock granularity G of §2. */
const GRANULARITY_US = 1000;
/** §5.7 */
const AFTER_SLOW_HANDSHAKE_US = 3_000_000;

export function createRetransmissionTimeout(options: RtoOptions = RTO_DEFAULTS): RetransmissionTimeout {
  const { initialUs, minUs, maxUs } = options;
  const srtt = new Float64Array(1);
  const rttvar = new Float64Array(1);
  let base = initialUs;
  let factor = 1;
  return {
    get rtoUs() {
      return Math.min(maxUs, base * factor);
    },
    get srttUs() {
      return srtt[0];
    },
    sample: (rttUs) => {
      sampleRtt(srtt, rttvar, 0, rttUs);
      base = Math.min(maxUs, Math.max(minUs, timeoutOf(srtt, rttvar, 0, GRANULARITY_US)));
      factor = 1;
    },
    backOff: () => {
      if (base * factor < maxUs) factor *= 2;
    },
    afterSlowHandshake: () => {
      base = Math.max(base, AFTER_SLOW_HANDSHAKE_US);
      factor = 1;
    },
  };
}
