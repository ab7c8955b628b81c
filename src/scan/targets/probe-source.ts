/**
 * Where an engine gets its pairs from, one at a time, and the paths that lead to them. Types only: source.ts walks a space,
 * tests have sources of their own. Tested by test/scan/targets/source.test.ts.
 */
import type { Address } from "../../wire/address.ts";

/** A local end: where probes leave from. */
export interface Path {
  readonly local: Address;
  /** TTL or hop limit of the probes, 1 to 255. */
  readonly ttl: number;
  /** The MSS that SYNs announce, in bytes; MSS (probe/syn-template.ts) when left out. */
  readonly mss?: number;
  /** It leads to this machine itself: the own kernel answers. */
  readonly toSelf?: boolean;
}

/** One pair to probe; reused from call to call. */
export interface Probe {
  /** The peer's address as four words (loadAddress). */
  readonly words: Uint32Array;
  port: number;
  /** Index into the engine's paths. */
  path: number;
  /** The pair's place in the run's order, handed back with the verdict. Only the source interprets it. */
  position: number;
}

/** Pairs to probe, in order, each once. */
export interface ProbeSource {
  /** Most pairs that `next` will give. */
  readonly total: number;
  /** Fills `probe` with the next pair; false when there is none. */
  next(probe: Probe): boolean;
}
