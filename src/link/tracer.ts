/**
 * A Link decorator that shows every packet sent and received to an observer: `--packet-trace`. It changes nothing.
 * Decoding a packet is the observer's business (wire/describe.ts).
 */
import type { Link } from "./link.ts";

/** A packet sent, one that the kernel then refused to send, or one received. */
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
    get sendError() {
      return link.sendError;
    },
    send: (first) => {
      // One at a time, so that each is seen before its answer can be.
      const at = first * batch.slotLength + batch.offset;
      const end = at + batch.lengths[first];
      observe("sent", batch.data, at, end, 0);
      const taken = link.send(first, 1);
      if (taken === 0) observe("refused", batch.data, at, end, 0);
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
