/**
 * The retransmission timeout of one connection (RFC 6298): smoothed round trip, its variation, and exponential back-off.
 * Times in microseconds. Karn's rule (no samples from retransmitted segments) is the caller's to keep.
 */

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
  readonly minUs: number;
  readonly maxUs: number;
}

export const RTO_DEFAULTS: RtoOptions = { initialUs: 1_000_000, minUs: 200_000, maxUs: 60_000_000 };

/** Clock granularity G of §2. */
const GRANULARITY_US = 1000;
/** §5.7 */
const AFTER_SLOW_HANDSHAKE_US = 3_000_000;

export function createRetransmissionTimeout(options: RtoOptions = RTO_DEFAULTS): RetransmissionTimeout {
  const { initialUs, minUs, maxUs } = options;
  let srtt = 0;
  let rttvar = 0;
  let base = initialUs;
  let factor = 1;
  return {
    get rtoUs() {
      return Math.min(maxUs, base * factor);
    },
    get srttUs() {
      return srtt;
    },
    sample: (rttUs) => {
      if (srtt === 0) {
        srtt = rttUs;
        rttvar = rttUs / 2;
      } else {
        rttvar = 0.75 * rttvar + 0.25 * Math.abs(srtt - rttUs);
        srtt = 0.875 * srtt + 0.125 * rttUs;
      }
      base = Math.min(maxUs, Math.max(minUs, srtt + Math.max(GRANULARITY_US, 4 * rttvar)));
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
