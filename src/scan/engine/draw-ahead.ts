/**
 * Pairs drawn ahead of the source, a batch at a time: the draws of a batch overlap in the processor, and so do the looks into memory
 * that no probe has used lately, which each pair would otherwise wait for alone. Pairs come out in the source's order.
 *
 * Not here: when a pair is started (row-lifecycle.ts).
 * Tested by test/scan/engine/draw-ahead.test.ts.
 */
import { ADDRESS_WORDS, copyWords, type SocketTable } from "../../socket/table.ts";
import { type HostFetch, MOST_TOUCHED } from "../measure/host-cache.ts";
import type { Probe, ProbeSource } from "../targets/probe-source.ts";

export interface DrawAhead {
  /** Draws the next pair. @returns its place in the columns below, which hold it until the next call; -1 when there is none */
  next(): number;
  /** Per place: the peer's address, ADDRESS_WORDS each; its port, path and position in the run's order. */
  readonly words: Uint32Array;
  readonly ports: Uint16Array;
  readonly paths: Uint16Array;
  readonly positions: Float64Array;
  /** Per place: the peer's hash in the table; and where its host's entry in the host cache is likely to be, below 0 for nowhere. */
  readonly hashes: Int32Array;
  readonly likelyHosts: Int32Array;
  /** The lowest position of a pair that has been drawn and not come out; Infinity when there is none. */
  lowestPosition(): number;
}

const BATCH = MOST_TOUCHED;

export function createDrawAhead(
  source: ProbeSource,
  fetchHosts: HostFetch,
  table: Pick<SocketTable, "touch">,
): DrawAhead {
  const words = new Uint32Array(BATCH * ADDRESS_WORDS);
  const ports = new Uint16Array(BATCH);
  const paths = new Uint16Array(BATCH);
  const positions = new Float64Array(BATCH);
  const hashes = new Int32Array(BATCH);
  const likelyHosts = new Int32Array(BATCH);
  const drawn: Probe = { words: new Uint32Array(ADDRESS_WORDS), port: 0, path: 0, position: 0 };
  let head = 0;
  let end = 0;

  function draw(): void {
    head = 0;
    end = 0;
    while (end < BATCH && source.next(drawn)) {
      copyWords(words, end * ADDRESS_WORDS, drawn.words, 0);
      ports[end] = drawn.port;
      paths[end] = drawn.path;
      positions[end] = drawn.position;
      end++;
    }
    fetchHosts(words, end, likelyHosts);
    table.touch(words, ports, end, hashes);
  }

  return {
    next: () => {
      if (head === end) draw();
      return head === end ? -1 : head++;
    },
    words,
    ports,
    paths,
    positions,
    hashes,
    likelyHosts,
    lowestPosition: () => {
      let lowest = Number.POSITIVE_INFINITY;
      for (let i = head; i < end; i++) lowest = Math.min(lowest, positions[i]);
      return lowest;
    },
  };
}
