/**
 * No packet leaves that the user's words do not cover: over random targets, exclusions, limits and networks, with tarpits,
 * silence and loss. Every packet goes to a named host; never to an excluded port or host; to a port that nobody named only as
 * a control SYN, two ports a host at most; and no host gets more SYNs a second than it may.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createHandshakes } from "../../src/scan/engine/handshakes.ts";
import { canaryPorts } from "../../src/scan/hosts/canary-ports.ts";
import { createOrder } from "../../src/scan/targets/permutation.ts";
import { createSource } from "../../src/scan/targets/source.ts";
import { createSpaceBuilder } from "../../src/scan/targets/space-builder.ts";
import { createSourcePorts } from "../../src/socket/ports.ts";
import { loadAddress } from "../../src/socket/table.ts";
import { u32 } from "../../src/wire/bytes.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { everyday } from "../everyday.ts";
import { type Behaviour, createNetwork } from "./network.ts";
import { createSeededRandom } from "./random.ts";
import { address, engineFor, LOCAL_4, runToEnd } from "./run.ts";

const HOSTS = 64;
const NETWORK = 0xc612_0100;
/** What the help says: at most two ports of a host that nobody named. */
const MOST_UNNAMED = 2;
const PILOTS = { first: 63_001, last: 63_064 } as const;
const hostAddress = (host: number) => address(`198.18.1.${host}`);

const runs = fc.record({
  seed: fc.nat(1 << 20),
  ports: fc.uniqueArray(fc.integer({ min: 1, max: 65_535 }), { minLength: 4, maxLength: 24 }),
  excludedPorts: fc.array(fc.tuple(fc.integer({ min: 1, max: 65_535 }), fc.nat(60_000)), { maxLength: 2 }),
  excludedHosts: fc.uniqueArray(fc.nat(HOSTS - 1), { maxLength: 8 }),
  shard: fc.constantFrom({ index: 0, count: 1 }, { index: 1, count: 3 }),
  retries: fc.constantFrom(0, 1, 3),
  ratePerHost: fc.constantFrom(undefined, 3, 50),
  complete: fc.boolean(),
  loss: fc.constantFrom(0, 0.1),
});

/** Tried each time: one that is held back by a limit, and one that sends control SYNs. */
type Run = typeof runs extends fc.Arbitrary<infer R> ? R : never;
const LIMITED: Run = {
  seed: 1,
  ports: Array.from({ length: 12 }, (_, i) => 20 + i),
  excludedPorts: [],
  excludedHosts: [],
  shard: { index: 0, count: 1 },
  retries: 1,
  ratePerHost: 3,
  complete: false,
  loss: 0,
};
const FREE: Run = { ...LIMITED, ratePerHost: undefined };

describe("what leaves", () => {
  it("is what was asked for, whatever the options and whatever answers", () => {
    let controls = 0;
    let heldBack = 0;
    fc.assert(
      fc.property(runs, (run) => {
        const excluded = new Set(
          run.excludedPorts.flatMap(([first, length]) =>
            Array.from({ length: Math.min(length, 65_535 - first) + 1 }, (_, i) => first + i),
          ),
        );
        const builder = createSpaceBuilder();
        builder.add(hostAddress(0), hostAddress(HOSTS - 1), Uint16Array.from(run.ports).sort());
        builder.excludePorts(Uint16Array.from(excluded));
        for (const host of run.excludedHosts) builder.exclude(hostAddress(host), hostAddress(host));
        const space = builder.build();
        const worker = { index: 0, count: 1 };
        const paths = { first: new Uint32Array(4), last: new Uint32Array(4), path: Uint16Array.of(0) };
        loadAddress(paths.first, 0, hostAddress(0), 0, 4);
        loadAddress(paths.last, 0, hostAddress(HOSTS - 1), 0, 4);
        const order = createOrder(space.total, { seed: BigInt(run.seed), shard: run.shard, worker });
        const engine = engineFor(createSource({ space, order, worker, paths }), {
          ports: createSourcePorts(61_000, 63_000, run.seed),
          controlPorts: PILOTS,
          canaryPorts: canaryPorts(space.ports(), excluded),
          seed: run.seed,
          retries: run.retries,
          rate: { minimum: 10, maximum: 20_000 },
          timeoutUs: 200_000,
          keepHandshakes: run.complete,
          ...(run.ratePerHost === undefined ? {} : { ratePerHost: run.ratePerHost }),
        });
        // A third of the hosts are tarpits, a third mixed, a third silent.
        const behaviour = (host: number, port: number): Behaviour =>
          host % 3 === 0 ? "open" : host % 3 === 1 ? (port % 2 === 0 ? "open" : "closed") : "silent";
        const network = createNetwork({
          random: createSeededRandom(run.seed + 1),
          latencyUs: 10_000,
          loss: run.loss,
          behaviour: (b, at, port) => behaviour(b[at + 19], port),
        });
        const unnamed = new Map<number, Set<number>>();
        const lastSyns = new Map<number, number[]>();
        const wanted = new Set(run.ports);
        const sent = network.send;
        const watched = {
          ...network,
          send: (b: Uint8Array, at: number, length: number, nowUs: number) => {
            const host = (u32(b, at + 16) >>> 0) - NETWORK;
            const port = tcp.destinationPort(b, at + 20);
            if (host < 0 || host >= HOSTS || run.excludedHosts.includes(host))
              throw new Error(`host ${host}`);
            if (excluded.has(port)) throw new Error(`excluded port ${port}`);
            const isSyn = (tcp.flags(b, at + 20) & (tcp.FLAGS.SYN | tcp.FLAGS.ACK)) === tcp.FLAGS.SYN;
            if (!wanted.has(port)) {
              controls++;
              const ports = unnamed.get(host) ?? new Set();
              unnamed.set(host, ports.add(port));
              if (ports.size > MOST_UNNAMED) throw new Error(`${ports.size} unnamed ports of host ${host}`);
            }
            const from = tcp.sourcePort(b, at + 20);
            const isControl = !wanted.has(port) || (from >= PILOTS.first && from <= PILOTS.last);
            if (isControl && run.ratePerHost !== undefined) throw new Error("a control SYN beside a limit");
            if (isSyn && run.ratePerHost !== undefined) {
              const times = lastSyns.get(host) ?? [];
              lastSyns.set(host, [...times.filter((us) => us > nowUs - 1e6), nowUs]);
              const lately = times.filter((us) => us > nowUs - 1e6).length;
              if (lately > run.ratePerHost) throw new Error("too fast");
              if (lately === run.ratePerHost) heldBack++;
            }
            // What is no SYN needs no answer here.
            if (isSyn) sent(b, at, length, nowUs);
          },
        };
        const whole = run.complete
          ? createHandshakes(engine, { paths: [{ local: LOCAL_4, ttl: 64 }], bannerUs: 0, closeUs: 200_000 })
          : engine;
        runToEnd(whole, watched, () => {});
      }),
      { numRuns: everyday(15, 25), examples: [[LIMITED], [FREE]] },
    );
    // Else nothing was tested.
    expect(controls).toBeGreaterThan(10);
    expect(heldBack).toBeGreaterThan(10);
  });
});
