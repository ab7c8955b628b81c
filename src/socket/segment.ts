/**
 * A TCP segment as the state machine sees it: sequence space, control bits, window and text. Ports and addresses are its
 * socket's, bytes on the wire are wire/tcp.ts's.
 */
import { FLAGS } from "../wire/tcp.ts";

export interface Segment {
  /** SEG.SEQ */
  readonly sequence: number;
  /** SEG.ACK; meaningful with the ACK bit. */
  readonly acknowledgement: number;
  /** Control bits, as wire/tcp.ts's FLAGS. */
  readonly flags: number;
  /** SEG.WND, in bytes. */
  readonly window: number;
  /** MSS option, in bytes, on a segment with SYN that has one. */
  readonly mss?: number;
  /** The segment's text. */
  readonly text: Uint8Array;
}

export const hasFlag = (segment: Segment, flag: number): boolean => (segment.flags & flag) !== 0;

/** SEG.LEN: text, plus one each for SYN and FIN (RFC 9293 §3.4). */
export const segmentLength = ({ flags, text }: Segment): number =>
  text.length + ((flags & FLAGS.SYN) !== 0 ? 1 : 0) + ((flags & FLAGS.FIN) !== 0 ? 1 : 0);

/** "SYN,ACK seq=1 ack=2 win=3 len=4", for messages and tests. */
export function describeSegment(segment: Segment): string {
  const names = (["SYN", "FIN", "RST", "PSH", "ACK"] as const).filter((name) =>
    hasFlag(segment, FLAGS[name]),
  );
  const ack = hasFlag(segment, FLAGS.ACK) ? ` ack=${segment.acknowledgement}` : "";
  const text = segment.text.length > 0 ? ` len=${segment.text.length}` : "";
  return `${names.join(",") || "none"} seq=${segment.sequence}${ack} win=${segment.window}${text}`;
}
