/**
 * Two control blocks and a bad network between them, under a virtual clock: for the state machine's tests.
 */

import { type BufferPool, createBufferPool } from "../../src/socket/buffers.ts";
import type { ConnectionEvent, ControlBlock, ControlBlockOptions } from "../../src/socket/connection.ts";
import { createControlBlock } from "../../src/socket/control-block.ts";
import { describeSegment, type Segment } from "../../src/socket/segment.ts";

export interface Wire {
  /** Chance of loss and of duplication, 0 to 1; delays in microseconds. */
  readonly loss: number;
  readonly duplication: number;
  readonly delayUs: number;
  readonly jitterUs: number;
}

export interface Pair {
  readonly client: ControlBlock;
  readonly server: ControlBlock;
  readonly pool: BufferPool;
  readonly events: { client: ConnectionEvent[]; server: ConnectionEvent[] };
  /** Everything that was sent: "c> SYN seq=…". */
  readonly log: string[];
  readonly now: () => number;
  /** Lets everything happen until `until` holds or nothing is left to happen. @returns whether `until` held */
  run(until?: () => boolean, limitUs?: number): boolean;
}

export const PERFECT: Wire = { loss: 0, duplication: 0, delayUs: 10_000, jitterUs: 0 };

export function createPair(
  wire: Wire,
  random: (below: number) => number,
  overrides: Partial<ControlBlockOptions> = {},
): Pair {
  const pool = createBufferPool(1 << 20);
  const make = (): ControlBlock =>
    createControlBlock({
      iss: random(2 ** 32),
      mss: 1000,
      pool,
      bufferLength: 4096,
      synRetries: 12,
      retries: 15,
      mslUs: 1_000_000,
      ...overrides,
    });
  const client = make();
  const server = make();
  const events = { client: [] as ConnectionEvent[], server: [] as ConnectionEvent[] };
  const log: string[] = [];
  let flying: { at: number; to: "client" | "server"; segment: Segment }[] = [];
  let now = 0;
  const chance = (p: number): boolean => random(1_000_000) < p * 1_000_000;

  function emit(from: "client" | "server"): void {
    const block = from === "client" ? client : server;
    for (let segment = block.pollSegment(now); segment !== undefined; segment = block.pollSegment(now)) {
      log.push(`${from[0]}> ${describeSegment(segment)}`);
      for (let copy = chance(wire.duplication) ? 2 : 1; copy > 0; copy--) {
        if (chance(wire.loss)) continue;
        const at = now + wire.delayUs + (wire.jitterUs > 0 ? random(wire.jitterUs) : 0);
        flying.push({ at, to: from === "client" ? "server" : "client", segment });
      }
    }
    for (let e = block.pollEvent(); e !== undefined; e = block.pollEvent()) events[from].push(e);
  }

  function deliver(to: "client" | "server", segment: Segment): void {
    const block = to === "client" ? client : server;
    // A listening socket (unless it has opened itself): a SYN makes the connection.
    if (
      to === "server" &&
      block.state === "CLOSED" &&
      events.server.length === 0 &&
      (segment.flags & 0x16) === 0x02
    ) {
      block.accept(segment, now);
    } else block.handleSegment(segment, now);
  }

  function run(until: () => boolean = () => false, limitUs = Number.POSITIVE_INFINITY): boolean {
    for (;;) {
      emit("client");
      emit("server");
      if (until()) return true;
      // `until` may have read, written or closed.
      emit("client");
      emit("server");
      const next = Math.min(client.pollTimeout(), server.pollTimeout(), ...flying.map(({ at }) => at));
      if (next === Number.POSITIVE_INFINITY || next > limitUs) return false;
      now = Math.max(now, next);
      const due = flying.filter(({ at }) => at <= now).sort((a, b) => a.at - b.at);
      flying = flying.filter(({ at }) => at > now);
      for (const { to, segment } of due) {
        deliver(to, segment);
        emit("client");
        emit("server");
      }
      client.handleTimeout(now);
      server.handleTimeout(now);
    }
  }

  return { client, server, pool, events, log, now: () => now, run };
}
