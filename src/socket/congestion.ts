/**
 * The congestion window of one connection (RFC 5681, RFC 6582; RFC 9293 §3.8.2, MUST-19): slow start, congestion
 * avoidance, and what a loss costs. All in bytes.
 *
 * It keeps the window and nothing else. What counts as a loss, and which segment goes again, is sender.ts.
 * Tested by test/socket/control-block.test.ts and test/socket/segment-scripts.test.ts.
 */

export interface CongestionWindow {
  /** Bytes that may be in flight. */
  readonly bytes: number;
  /** The handshake is over. @param slow whether the SYN had to be sent again (RFC 5681 §3.1: one segment then) */
  start(segmentSize: number, slow: boolean): void;
  /** New text was acknowledged, outside of a recovery. */
  acknowledged(count: number): void;
  /** A duplicate acknowledgement during a recovery: one more segment has left the network. */
  duplicate(): void;
  /** Three duplicate acknowledgements. @param flight bytes sent and not acknowledged */
  enterRecovery(flight: number): void;
  /** An acknowledgement during a recovery that does not end it (RFC 6582 §3.2, step 3). */
  partial(count: number): void;
  leaveRecovery(flight: number): void;
  /** The retransmission timer ran out, for the first time since an acknowledgement. */
  timedOut(flight: number): void;
}

export function createCongestionWindow(): CongestionWindow {
  let size = 0;
  let bytes = Number.POSITIVE_INFINITY;
  let threshold = Number.POSITIVE_INFINITY;

  /** RFC 5681 §3.1, equation 4. */
  const reduced = (flight: number): number => Math.max(flight / 2, 2 * size);

  return {
    get bytes() {
      return bytes;
    },
    start: (segmentSize, slow) => {
      size = segmentSize;
      const segments = size > 2190 ? 2 : size > 1095 ? 3 : 4;
      bytes = slow ? size : segments * size;
    },
    acknowledged: (count) => {
      bytes += bytes < threshold ? Math.min(count, size) : (size * size) / bytes;
    },
    duplicate: () => {
      bytes += size;
    },
    enterRecovery: (flight) => {
      threshold = reduced(flight);
      bytes = threshold + 3 * size;
    },
    partial: (count) => {
      bytes = Math.max(size, bytes - count + (count >= size ? size : 0));
    },
    leaveRecovery: (flight) => {
      bytes = Math.min(threshold, Math.max(flight, size) + size);
    },
    timedOut: (flight) => {
      threshold = reduced(flight);
      bytes = size;
    },
  };
}
