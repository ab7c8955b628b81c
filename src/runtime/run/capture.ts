/**
 * `--pcap`: packets into blocks of a pcapng file, in the thread that sees them; the main thread writes the blocks. Two decorators:
 *
 * - of an engine: for each verdict, the SYN and the packet that answered it. The SYN is rebuilt byte for byte from its addresses,
 *   its ports and the run's keys (socket/isn.ts, scan/probe/syn-template.ts), so unanswered SYNs need not be kept.
 * - of a link, for `--pcap-all`: every packet sent and received, those that decided with their verdict.
 *
 * A verdict may fall after its packet came (control probes): the latest undecided packets are kept for it. Verdicts without a
 * packet, such as silence, are not captured. Time stamps are the kernel's for received packets, the send call's for sent ones.
 */
import type { Link } from "../../link/link.ts";
import type { Engine, EngineOptions } from "../../scan/engine/engine.ts";
import { createReplyDecoder, type Decoded } from "../../scan/probe/reply-decoder.ts";
import { createSynTemplate, identificationOf } from "../../scan/probe/syn-template.ts";
import { keepVerdict, type Verdict } from "../../scan/probe/verdict.ts";
import { createIsnHash } from "../../socket/isn.ts";
import { sameWords, storeAddress } from "../../socket/table.ts";
import { formatAddress, formatEndpoint } from "../../wire/address.ts";
import { packetBlockLength, putPacketBlock } from "../../wire/pcapng.ts";
import { nowUs, wallMs } from "../system/clock.ts";

/** `evidence`: the packets that decided; `all`: every one. */
export type CaptureKind = "evidence" | "all";

/** From these a probe follows to the byte. */
type CapturedOptions = Pick<EngineOptions, "paths" | "seed" | "isnKey" | "synTimestamp">;

export interface Capture {
  /** Sees which packets decide. */
  engine(engine: Engine, options: CapturedOptions): Engine;
  /** Sees every packet. */
  link<L extends Link>(link: L): L;
  /** Hands over what has been gathered. */
  flush(): void;
}

const BUFFER = 1 << 16;
/** Undecided packets kept for a later verdict, about 300 bytes each. */
const MOST_KEPT = 1 << 15;
const NS_PER_US = 1000;

/**
 * @param onBlocks takes whole blocks, as bytes of their own
 */
export function createCapture(
  kind: CaptureKind,
  onBlocks: (bytes: Uint8Array<ArrayBuffer>) => void,
): Capture {
  let buffer = new Uint8Array(BUFFER);
  let used = 0;
  const epochNs = BigInt(Math.round(wallMs(0) * 1000)) * 1000n;
  const epochHigh = Number(epochNs >> 32n);
  const epochLow = Number(epochNs & 0xffff_ffffn);
  /** The verdict of the packet that is being handled. */
  let verdictText = "";

  function flush(): void {
    if (used === 0) return;
    onBlocks(buffer.slice(0, used));
    used = 0;
  }

  /** Makes the next `length` bytes go out in one piece: no other worker's packets come in between. */
  function makeRoom(length: number): void {
    if (used + length > buffer.length) flush();
    if (length > buffer.length) buffer = new Uint8Array(length);
  }

  function put(bytes: Uint8Array, at: number, end: number, atUs: number, comment: string): void {
    const length = packetBlockLength(end - at, comment);
    makeRoom(length);
    // 64 bits of nanoseconds as two numbers: a BigInt would be allocated for each packet.
    const low = epochLow + Math.round(atUs * NS_PER_US);
    putPacketBlock(
      buffer,
      used,
      bytes,
      at,
      end,
      epochHigh + Math.floor(low / 2 ** 32),
      low % 2 ** 32,
      comment,
    );
    used += length;
  }

  function captureEngine(engine: Engine, { paths, seed, isnKey, synTimestamp }: CapturedOptions): Engine {
    const isn = createIsnHash(isnKey);
    const { handlePacket, pollVerdict } = engine;
    const templates = paths.map(({ local, ttl, mss }) =>
      createSynTemplate(local, ttl, { timestamp: synTimestamp, mss }),
    );
    const decoder = createReplyDecoder();
    const { reply } = decoder;
    let decoded: Decoded = "foreign";
    const syn = new Uint8Array(Math.max(...templates.map(({ length }) => length)));
    /** Verdicts taken from the engine and not yet handed on. */
    const waiting: Verdict[] = [];
    let handedOn = 0;
    /** Packets that brought no verdict when they came, by time and pair. */
    const undecided = new Map<string, Uint8Array>();

    function handOn(): Verdict | undefined {
      if (handedOn < waiting.length) return waiting[handedOn++];
      waiting.length = 0;
      handedOn = 0;
      const verdict = pollVerdict();
      if (verdict !== undefined) lookBack(verdict);
      return verdict;
    }

    function takeAll(look: (verdict: Verdict) => void): void {
      for (let verdict = pollVerdict(); verdict !== undefined; verdict = pollVerdict()) {
        look(verdict);
        waiting.push(keepVerdict(verdict));
      }
    }

    /** Captures an earlier packet when its verdict falls. */
    function lookBack(verdict: Verdict): void {
      if (verdict.ttl === 0 || undecided.size === 0) return;
      const key = keyOf(verdict.atUs, verdict.peer, verdict.port);
      const bytes = undecided.get(key);
      if (bytes === undefined) return;
      undecided.delete(key);
      decoded = decoder.decode(bytes, 0, bytes.length);
      putEvidence(verdict, bytes, 0, bytes.length);
    }

    function keep(bytes: Uint8Array, at: number, end: number, atUs: number): void {
      if (decoded !== "segment" && decoded !== "icmp-error") return;
      const [oldest] = undecided.keys();
      if (undecided.size === MOST_KEPT && oldest !== undefined) undecided.delete(oldest);
      undecided.set(keyOf(atUs, reply.peer, reply.peerPort), bytes.slice(at, end));
    }

    /** Captures the packet that was decoded last, and the SYN that it answers. */
    function putEvidence(verdict: Verdict, bytes: Uint8Array, at: number, end: number): void {
      const text = describeVerdict(verdict);
      if (kind === "all") {
        verdictText = text;
        return;
      }
      const sequence = isn(reply.local, 0, verdict.peer, 0, reply.localPort, verdict.port) >>> 0;
      const template = templates[verdict.path];
      const id = identificationOf(sequence, seed);
      template.write(syn, 0, verdict.peer, 0, reply.localPort, verdict.port, sequence, id);
      const known = !Number.isNaN(verdict.rttUs);
      const sentUs = known ? verdict.atUs - verdict.rttUs : verdict.atUs;
      const which = known
        ? `SYN ${verdict.answered} of ${verdict.tries}`
        : `one of ${verdict.tries} equal SYNs, the time is its answer's`;
      const synText = `${text}, ${which}`;
      makeRoom(packetBlockLength(template.length, synText) + packetBlockLength(end - at, text));
      put(syn, 0, template.length, sentUs, synText);
      put(bytes, at, end, verdict.atUs, text);
    }

    const watched: Pick<Engine, "handlePacket" | "pollVerdict"> = {
      handlePacket: (bytes, at, end, now, ageUs = 0) => {
        takeAll(lookBack);
        handlePacket(bytes, at, end, now, ageUs);
        decoded = decoder.decode(bytes, at, end);
        let decides = false;
        const others: Verdict[] = [];
        takeAll((verdict) => {
          // One packet may end other probes too; it is evidence for its own alone.
          if (reply.peerPort === verdict.port && sameWords(reply.peer, 0, verdict.peer, 0)) {
            decides = true;
            putEvidence(verdict, bytes, at, end);
          } else others.push(keepVerdict(verdict));
        });
        if (!decides && kind === "evidence") keep(bytes, at, end, now - ageUs);
        for (const verdict of others) lookBack(verdict);
      },
      pollVerdict: handOn,
    };
    return Object.setPrototypeOf(watched, engine);
  }

  function captureLink<L extends Link>(link: L): L {
    if (kind === "evidence") return link;
    const { data, lengths, slotLength, offset } = link.batch;
    let drainedUs = nowUs();
    const watched: Pick<Link, "send" | "listen" | "drain" | "behind"> = {
      // Packets that the sender thread sends would not be seen here.
      behind: undefined,
      send: (first, count) => {
        const fromUs = nowUs();
        const taken = link.send(first, count);
        const eachUs = (nowUs() - fromUs) / Math.max(1, taken);
        for (let slot = first; slot < first + taken; slot++) {
          const at = slot * slotLength + offset;
          put(data, at, at + lengths[slot], fromUs + (slot - first) * eachUs, "");
        }
        return taken;
      },
      listen: (handler, onReadable, onError) =>
        link.listen(
          (bytes, at, end, ageUs) => {
            verdictText = "";
            handler(bytes, at, end, ageUs);
            put(bytes, at, end, drainedUs - ageUs, verdictText);
          },
          onReadable,
          onError,
        ),
      drain: () => {
        drainedUs = nowUs();
        return link.drain();
      },
    };
    return Object.setPrototypeOf(watched, link);
  }

  return { engine: captureEngine, link: captureLink, flush };
}

const keyOf = (atUs: number, peer: Uint32Array, port: number): string =>
  `${atUs} ${port} ${peer[0]} ${peer[1]} ${peer[2]} ${peer[3]}`;

/** `198.18.0.1:22 open (syn-ack)`, in ASCII. */
function describeVerdict({ peer, family, port, state, reason, was, late }: Verdict): string {
  const ip = formatAddress(storeAddress(peer, 0, family === 4 ? 4 : 16));
  return `${formatEndpoint(ip, port)} ${state} (${reason})${late ? ", late" : ""}${was === null ? "" : `, was ${was}`}`;
}
