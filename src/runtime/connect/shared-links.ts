/**
 * The links that connections share: one for each way in which sockets are bound. Segments go out in batches, as packets; what
 * comes in waits in the kernel until it is asked for.
 *
 * Not here: whose a packet is, and what follows from it (user-space-tcp.ts).
 */
import type { Link } from "../../link/link.ts";
import { type SendErrorVerdict, sendErrorVerdict } from "../../scan/probe/classify.ts";
import { type Ends, type Segment, writePacket } from "../../socket/segment.ts";
import { type Address, formatAddress } from "../../wire/address.ts";
import { nowUs } from "../system/clock.ts";

/** What the sockets of a link are bound to. */
export interface Binding {
  readonly family: 4 | 6;
  readonly interfaceName?: string;
  /** Index of the interface on which link-local addresses are meant. */
  readonly scope?: number;
  /** The source address that the user chose. */
  readonly source?: Address;
  /** Index of the interface through which packets leave, where the routes have several; they may come through another. */
  readonly through?: number;
}

/** A link, and the packets that wait to go out through it. */
export interface SharedLink {
  readonly link: Link;
  readonly family: 4 | 6;
  /** Who hears of each slot of the batch. */
  readonly senders: (Sender | undefined)[];
  /** Slots filled. */
  filled: number;
}

/** Hears what became of a packet. */
export interface Sender {
  /** It left, at this time. */
  sent(us: number): void;
  /** The kernel refused to send it, for one reason or another. */
  refused(errno: string, verdict: Exclude<SendErrorVerdict, "again">): void;
}

export interface SharedLinksOptions {
  /** @throws {SynprobeError} as openRawIp does */
  openLink(binding: Binding): Link;
  onPacket(shared: SharedLink, b: Uint8Array, at: number, end: number, us: number): void;
  /** Something waits: `drain` is due. */
  onReadable(): void;
  onError(error: unknown): void;
}

export interface SharedLinks {
  /** @throws {SynprobeError} as openLink */
  linkFor(binding: Binding): SharedLink;
  put(shared: SharedLink, ends: Ends, segment: Segment, sender?: Sender): void;
  /** Sends everything put. */
  flush(): void;
  /** Every link is to be read, whether it has said so or not. */
  suspectAll(): void;
  /** Reads some of what waits. @returns true when nothing waits any more */
  drain(): boolean;
  /** Sends everything put, and closes. */
  close(): void;
}

export function createSharedLinks(options: SharedLinksOptions): SharedLinks {
  const links = new Map<string, SharedLink>();
  const readable = new Set<SharedLink>();

  function linkFor(binding: Binding): SharedLink {
    const { family, interfaceName, scope, source, through } = binding;
    const key = [family, interfaceName, scope, source && formatAddress(source), through].join(" ");
    const known = links.get(key);
    if (known !== undefined) return known;
    const link = options.openLink(binding);
    const shared: SharedLink = { link, family, senders: [], filled: 0 };
    links.set(key, shared);
    link.listen(
      (b, at, end, ageUs) => options.onPacket(shared, b, at, end, nowUs() - ageUs),
      () => {
        readable.add(shared);
        options.onReadable();
      },
      options.onError,
    );
    return shared;
  }

  function put(shared: SharedLink, ends: Ends, segment: Segment, sender?: Sender): void {
    const { batch } = shared.link;
    const slot = shared.filled++;
    shared.senders[slot] = sender;
    batch.lengths[slot] = writePacket(batch.data, slot * batch.slotLength + batch.offset, ends, segment);
    if (shared.filled === batch.slots) sendBatch(shared);
  }

  function sendBatch(shared: SharedLink): void {
    const { link, family, senders, filled } = shared;
    shared.filled = 0;
    for (let done = 0; done < filled; ) {
      const us = nowUs();
      const taken = link.send(done, filled - done);
      for (let slot = done; slot < done + taken; slot++) senders[slot]?.sent(us);
      done += taken;
      if (taken > 0) continue;
      const verdict = sendErrorVerdict(link.sendError, family);
      // As good as lost: timers send again. Where there is no room for one there is none for the rest.
      if (verdict === "again") return;
      senders[done++]?.refused(link.sendError, verdict);
    }
  }

  const flush = (): void => {
    for (const shared of links.values()) sendBatch(shared);
  };

  return {
    linkFor,
    put,
    flush,
    suspectAll: () => {
      for (const shared of links.values()) readable.add(shared);
    },
    drain: () => {
      for (const shared of readable) {
        if (shared.link.drain()) readable.delete(shared);
      }
      return readable.size === 0;
    },
    close: () => {
      flush();
      for (const { link } of links.values()) link.close();
      links.clear();
      readable.clear();
    },
  };
}
