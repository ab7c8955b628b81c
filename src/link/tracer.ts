/**
 * A Link decorator that shows every packet sent and received to an observer: `--packet-trace`. It changes nothing.
 * Decoding a packet is the observer's business (wire/describe.ts).
 */
import type { Link } from "./link.ts";

/** A packet that was sent, one whose sending the kernel refused, or one that came in. */
export type PacketEvent = "sent" | "refused" | "received";

/** Sees one packet, `bytes[at, end)`, valid only until it returns; `ageUs` as in PacketHandler, 0 for packets going out. */
export type PacketObserver = (
  event: PacketEvent,
  bytes: Uint8Array,
  at: number,
  end: number,
  ageUs: number,
) => void;

export function traceLink(link: Link, observe: PacketObserver): Link {
  const { batch } = link;
  return {
    name: link.name,
    batch,
    receiveBuffer: link.receiveBuffer,
    get preparedUs() {
      return link.preparedUs;
    },
    get sendError() {
      return link.sendError;
    },
    send: (first) => {
      // One at a time: what becomes of each is known, and told, before its answer is read.
      const at = first * batch.slotLength + batch.offset;
      const taken = link.send(first, 1);
      observe(taken === 0 ? "refused" : "sent", batch.data, at, at + batch.lengths[first], 0);
      return taken;
    },
    listen: (handler, onReadable, onError) =>
      link.listen(
        (bytes, at, end, ageUs) => {
          observe("received", bytes, at, end, ageUs);
          handler(bytes, at, end, ageUs);
        },
        onReadable,
        onError,
      ),
    drain: () => link.drain(),
    receiveDrops: () => link.receiveDrops(),
    close: () => link.close(),
  };
}
