/** `connect` without a kernel: what it refuses, and the stack over a link of our own making, under a virtual clock. */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type ConnectOptions, connect, ERROR_CODES, type SynprobeError } from "../../../src/index.ts";
import type { Link, PacketHandler } from "../../../src/link/link.ts";
import type { Connection } from "../../../src/runtime/connect/connection.ts";
import type { FailedAttempt, Wanted } from "../../../src/runtime/connect/handshake.ts";
import { createStack, type Stack } from "../../../src/runtime/connect/user-space-tcp.ts";
import { createBufferPool } from "../../../src/socket/buffers.ts";
import type { ControlBlock, ControlBlockOptions } from "../../../src/socket/connection.ts";
import { createControlBlock } from "../../../src/socket/control-block.ts";
import {
  describeSegment,
  type Ends,
  hasFlag,
  readSegment,
  type Segment,
  writePacket,
} from "../../../src/socket/segment.ts";
import { formatAddress } from "../../../src/wire/address.ts";
import * as ipv4 from "../../../src/wire/ipv4.ts";
import * as tcp from "../../../src/wire/tcp.ts";
import { everyday } from "../../everyday.ts";
import { createSeededRandom } from "../../sim/random.ts";

vi.mock("../../../src/runtime/system/clock.ts", () => ({
  nowUs: () => Date.now() * 1000,
  wallMs: (us: number) => us,
}));

const NEAR = Uint8Array.of(192, 0, 2, 1);
const FAR = Uint8Array.of(192, 0, 2, 10);
const PEER_PORT = 80;
const FIRST_PORT = 61_000;
const { SYN, ACK, RST, FIN } = tcp.FLAGS;
const NO_TEXT = new Uint8Array(0);

interface BenchOptions {
  readonly latencyMs?: number;
  /** Chance that a packet is lost, each way. */
  readonly loss?: number;
  readonly seed?: number;
  readonly ports?: number;
  readonly peer?: Partial<ControlBlockOptions>;
  /** What the peer does: a TCP that listens, or nothing at all. */
  readonly silent?: boolean;
  /** errno with which the kernel refuses to send; undefined when it does not. */
  readonly refuse?: () => string | undefined;
}

interface Bench {
  readonly stack: Stack;
  /** The peer's ends, by our local port. */
  readonly peers: Map<number, ControlBlock>;
  /** Everything sent and received: "> SYN seq=…" */
  readonly log: string[];
  idle: number;
  closed: number;
  open(wanted?: Partial<Wanted>): Promise<Connection>;
  /** Lets the peer send what it has. */
  serve(localPort: number): void;
  /** A packet from the peer that no TCP of its own has made. */
  inject(segment: Partial<Segment>, ends?: Partial<Ends>): void;
  fail(error: Error): void;
}

function createBench(options: BenchOptions = {}): Bench {
  const { latencyMs = 5, loss = 0, seed = 1, ports = 16 } = options;
  const random = createSeededRandom(seed);
  const pool = createBufferPool(Number.POSITIVE_INFINITY);
  const peers = new Map<number, ControlBlock>();
  const timers = new Map<number, NodeJS.Timeout>();
  const log: string[] = [];
  const inbox: { packet: Uint8Array; us: number }[] = [];
  let handler: PacketHandler = () => {};
  let onReadable = (): void => {};
  let onError = (_: Error): void => {};
  const us = (): number => Date.now() * 1000;
  const lost = (): boolean => random(1_000_000) < loss * 1_000_000;

  function arrive(segment: Segment, ends: Ends): void {
    const packet = new Uint8Array(2048);
    const length = writePacket(packet, 0, ends, segment);
    inbox.push({ packet: packet.subarray(0, length), us: us() });
    log.push(`< ${describeSegment(segment)}`);
    onReadable();
  }

  function serve(localPort: number): void {
    const block = peers.get(localPort);
    if (block === undefined) return;
    const ends: Ends = { local: FAR, peer: NEAR, localPort: PEER_PORT, peerPort: localPort, ttl: 61 };
    for (let next = block.pollSegment(us()); next !== undefined; next = block.pollSegment(us())) {
      const segment = next;
      if (!lost()) setTimeout(() => arrive(segment, ends), latencyMs);
    }
    clearTimeout(timers.get(localPort));
    const deadline = block.pollTimeout();
    if (deadline === Number.POSITIVE_INFINITY) return;
    const timer = setTimeout(
      () => {
        block.handleTimeout(us());
        serve(localPort);
      },
      Math.max(0, Math.ceil(deadline / 1000 - Date.now())),
    );
    timers.set(localPort, timer);
  }

  function take(packet: Uint8Array): void {
    const at = ipv4.HEADER_LENGTH;
    const segment = readSegment(packet, at, packet.length);
    if (segment === undefined) throw new Error("a packet of ours is malformed");
    log.push(`> ${describeSegment(segment)}`);
    if (options.silent || lost()) return;
    const localPort = tcp.sourcePort(packet, at);
    setTimeout(() => {
      let block = peers.get(localPort);
      if (block === undefined || (block.state === "CLOSED" && hasFlag(segment, SYN))) {
        block = createControlBlock({
          iss: random(2 ** 32),
          mss: 1000,
          pool,
          bufferLength: 4096,
          synRetries: 8,
          retries: 12,
          mslUs: 1000,
          ...options.peer,
        });
        peers.set(localPort, block);
        block.accept(segment, us());
      } else block.handleSegment(segment, us());
      serve(localPort);
    }, latencyMs);
  }

  const slotLength = 1500;
  const batch = {
    data: new Uint8Array(8 * slotLength),
    lengths: new Uint16Array(8),
    slots: 8,
    slotLength,
    offset: 0,
  };
  let sendError = "";
  const link: Link = {
    name: "fake",
    batch,
    receiveBuffer: 0,
    receiveDrops: () => 0,
    get sendError() {
      return sendError;
    },
    send: (first) => {
      sendError = options.refuse?.() ?? "";
      if (sendError !== "") return 0;
      take(batch.data.slice(first * slotLength, first * slotLength + batch.lengths[first]));
      return 1;
    },
    listen: (...given) => {
      [handler, onReadable, onError] = given;
    },
    drain: () => {
      for (const { packet, us: came } of inbox.splice(0)) handler(packet, 0, packet.length, us() - came);
      return true;
    },
    close: () => {
      bench.closed++;
    },
  };
  const stack = createStack({
    ports: { first: FIRST_PORT, last: FIRST_PORT + ports - 1 },
    random,
    openLink: () => link,
    onIdle: () => {
      bench.idle++;
    },
  });
  const bench: Bench = {
    stack,
    peers,
    log,
    idle: 0,
    closed: 0,
    serve,
    fail: (error) => onError(error),
    inject: (segment, ends) =>
      arrive(
        { sequence: 0, acknowledgement: 0, flags: ACK, window: 0, text: NO_TEXT, ...segment },
        { local: FAR, peer: NEAR, localPort: PEER_PORT, peerPort: FIRST_PORT, ttl: 61, ...ends },
      ),
    open: (wanted) =>
      stack.open(
        { family: 4 },
        {
          label: "peer",
          local: NEAR,
          peer: FAR,
          peerPort: PEER_PORT,
          ttl: 64,
          mss: 1400,
          bufferLength: 8192,
          timeoutMs: 10_000,
          ...wanted,
        },
      ),
  };
  return bench;
}

/** What a promise has come to, whenever it is asked: "pending", its value, or its error. */
function watch(promise: Promise<unknown>): () => unknown {
  let outcome: unknown = "pending";
  const settle = (value: unknown): void => {
    outcome = value;
  };
  promise.then(settle, settle);
  return () => outcome;
}
const coded = (code: string) => expect.objectContaining({ code });
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

/** Opens a connection to a peer that answers. */
async function established(bench: Bench, wanted?: Partial<Wanted>): Promise<[Connection, ControlBlock]> {
  const opening = bench.open(wanted);
  await pass(30);
  const connection = await opening;
  const peer = bench.peers.get(connection.opened.local.port);
  if (peer === undefined) throw new Error("no peer");
  return [connection, peer];
}

describe("connect refuses", () => {
  const host = "192.0.2.1";
  it.each([
    [{ host, port: 0 }, ERROR_CODES.port],
    [{ host, port: 65_536 }, ERROR_CODES.port],
    [{ host, port: 80.5 }, ERROR_CODES.port],
    [{ host: "", port: 80 }, ERROR_CODES.targetSyntax],
    [{ host: "192.0.2.0/24", port: 80 }, ERROR_CODES.targetSyntax],
    [{ host: "a:22", port: 80 }, ERROR_CODES.targetSyntax],
    [{ host, port: 80, timeoutMs: 0 }, ERROR_CODES.usage],
    [{ host, port: 80, timeoutMs: Number.NaN }, ERROR_CODES.usage],
    [{ host, port: 80, ttl: 256 }, ERROR_CODES.usage],
    [{ host, port: 80, bufferLength: 65_536 }, ERROR_CODES.usage],
    [{ host, port: 80, bufferLength: 100 }, ERROR_CODES.usage],
    [{ host: "224.0.0.1", port: 80 }, ERROR_CODES.notUnicast],
    [{ host: "127.0.0.1", port: 80 }, ERROR_CODES.ownAddress],
    [{ host: "127.0.0.1", port: 80, family: 6 as const }, ERROR_CODES.noAddress],
    [{ host: "127.0.0.1", port: 80, interface: "nosuch0" }, ERROR_CODES.noInterface],
  ])("%j: %s", async (options, code) => {
    await expect(connect(options)).rejects.toEqual(coded(code));
  });

  it.each([undefined, null, "192.0.2.1:80"])("%j in place of an object: ERR_USAGE", async (options) => {
    await expect(connect(options as unknown as ConnectOptions)).rejects.toEqual(coded(ERROR_CODES.usage));
  });

  it.each([
    ["timeout", 5],
    ["signal", {}],
    ["family", 5],
    ["sourceIp", 5],
    ["interface", 5],
    ["interface", null],
  ])("the option %s: %j", async (name, value) => {
    const wrong = { host, port: 80, [name]: value } as ConnectOptions;
    const message = expect.stringContaining(name);
    await expect(connect(wrong)).rejects.toMatchObject({ code: ERROR_CODES.usage, message });
  });

  it("what is aborted already, with the signal's reason", async () => {
    const signal = AbortSignal.abort("no more");
    await expect(connect({ host, port: 80, signal })).rejects.toBe("no more");
  });
});

describe("the stack", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setImmediate", "Date"], now: 1_000_000 });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  describe("a handshake", () => {
    it("gives the evidence", async () => {
      const bench = createBench();
      const [{ opened, state }, peer] = await established(bench);
      expect(state).toBe("ESTABLISHED");
      expect(peer.state).toBe("ESTABLISHED");
      expect(opened).toEqual({
        local: { ip: formatAddress(NEAR), port: expect.any(Number) },
        remote: { ip: formatAddress(FAR), port: PEER_PORT },
        rttMs: 10,
        attempts: 1,
        mss: 1000,
        window: 4096,
        options: [{ kind: "mss", value: 1000 }],
        ttl: 61,
        iss: peer.view().irs,
        irs: peer.view().iss,
      });
    });

    it("without an answer: SYNs at 0, 1, 3 and 7 s, and ERR_TIMED_OUT in time", async () => {
      const bench = createBench({ silent: true });
      const opening = watch(bench.open());
      const counts: number[] = [];
      for (const ms of [500, 1000, 2000, 4000, 2400]) {
        await pass(ms);
        counts.push(bench.log.length);
      }
      expect(counts).toEqual([1, 2, 3, 4, 4]);
      expect(opening()).toBe("pending");
      await pass(200);
      const error = opening();
      expect(error).toEqual(coded("ERR_TIMED_OUT"));
      expect((error as SynprobeError).cause).toEqual({
        reason: "no-response",
        attempts: 4,
        elapsedMs: 10_000,
      } satisfies FailedAttempt);
      expect([bench.stack.live, bench.idle]).toEqual([0, 1]);
    });

    it("that took two SYNs has no round trip to tell", async () => {
      let sent = 0;
      const bench = createBench({ refuse: () => (sent++ === 0 ? "ENOBUFS" : undefined) });
      const opening = bench.open();
      await pass(1100);
      expect((await opening).opened).toMatchObject({ attempts: 2, rttMs: null });
    });

    it("is refused by RST", async () => {
      const bench = createBench({ silent: true, ports: 1 });
      const opening = watch(bench.open());
      await pass(20);
      const [, sequence = "0"] = /seq=(\d+)/.exec(bench.log[0]) ?? [];
      // A RST that does not prove our ISN is nobody's.
      bench.inject({ flags: RST | ACK, acknowledgement: Number(sequence) });
      await pass(20);
      expect(bench.stack.live).toBe(1);
      bench.inject({ flags: RST | ACK, acknowledgement: (Number(sequence) + 1) % 2 ** 32 });
      await pass(20);
      const error = opening();
      expect(error).toEqual(coded("ERR_REFUSED"));
      expect((error as SynprobeError).cause).toEqual({
        reason: "reset",
        attempts: 1,
        elapsedMs: 40,
        ttl: 61,
      });
    });

    it("fails at once when the kernel never sends, and in time when it may yet", async () => {
      const never = watch(createBench({ refuse: () => "EACCES" }).open());
      await pass(1);
      expect(never()).toMatchObject({ code: "ERR_UNREACHABLE", cause: { reason: "send-eacces" } });
      // A firewall's rule is known by the second SYN.
      const forbidden = watch(createBench({ refuse: () => "EPERM" }).open());
      await pass(900);
      expect(forbidden()).toBe("pending");
      await pass(200);
      expect(forbidden()).toMatchObject({ code: "ERR_UNREACHABLE", cause: { reason: "send-eperm" } });
      // One that left between two says that there is none.
      let syns = 0;
      const limited = watch(
        createBench({ silent: true, refuse: () => (syns++ === 1 ? undefined : "EPERM") }).open(),
      );
      await pass(3500);
      expect([syns, limited()]).toEqual([3, "pending"]);
      const later = watch(createBench({ refuse: () => "ENETDOWN" }).open());
      await pass(9000);
      expect(later()).toBe("pending");
      await pass(1000);
      expect(later()).toMatchObject({
        code: "ERR_UNREACHABLE",
        cause: { reason: "send-enetdown", attempts: 0 },
      });
    });

    it("ends with the signal's reason, and no longer heeds it once it is done", async () => {
      const bench = createBench({ silent: true });
      const controller = new AbortController();
      const opening = watch(bench.open({ signal: controller.signal }));
      await pass(10);
      controller.abort("enough");
      await pass(1);
      expect(opening()).toBe("enough");
      expect(bench.stack.live).toBe(0);

      const other = createBench();
      const late = new AbortController();
      const [connection] = await established(other, { signal: late.signal });
      late.abort();
      await pass(10);
      expect(connection.state).toBe("ESTABLISHED");
    });

    it("has a port that no other connection has, as many as there are", async () => {
      const bench = createBench({ ports: 16 });
      const opening = Promise.all(Array.from({ length: 16 }, () => bench.open()));
      await pass(50);
      const connections = await opening;
      expect(new Set(connections.map(({ opened }) => opened.local.port)).size).toBe(16);
      await expect(bench.open()).rejects.toEqual(coded("ERR_NO_SOURCE"));
      // One in TIME-WAIT gives way.
      const closing = connections[3].close();
      bench.peers.get(connections[3].opened.local.port)?.close();
      await pass(20);
      bench.serve(connections[3].opened.local.port);
      await pass(300);
      await closing;
      expect(connections[3].state).toBe("TIME-WAIT");
      const next = bench.open();
      await pass(50);
      expect((await next).opened.local.port).toBe(connections[3].opened.local.port);
    });
  });

  describe("data", () => {
    interface Exchange {
      readonly seed: number;
      readonly loss: number;
      readonly up: number;
      readonly down: number;
      readonly chunk: number;
      readonly max: number;
    }

    /** Sends `up` bytes in writes of `chunk`, reads `down` bytes by at most `max`, and closes. */
    async function exchange({ seed, loss, up, down, chunk, max }: Exchange): Promise<void> {
      const bench = createBench({ seed, loss });
      const random = createSeededRandom(seed);
      const bytes = (length: number) => Uint8Array.from({ length }, () => random(256));
      const sent = bytes(up);
      const theirs = bytes(down);
      const opening = bench.open({ timeoutMs: 600_000 });
      const opened = watch(opening);
      for (let i = 0; i < 600 && opened() === "pending"; i++) await pass(1000);
      const connection = await opening;
      const { port } = connection.opened.local;
      const heard: number[] = [];
      let written = 0;
      // The peer echoes nothing: it sends its own, takes ours, and closes when both are done.
      const pump = (): void => {
        const peer = bench.peers.get(port);
        if (peer === undefined) return;
        heard.push(...peer.read(100_000));
        written += peer.write(theirs.subarray(written));
        if (written === down && heard.length === up) peer.close();
        bench.serve(port);
      };
      const reading = (async () => {
        const got: Uint8Array[] = [];
        for (;;) {
          const piece = await connection.read(max);
          if (piece === undefined) return Buffer.concat(got);
          expect(piece.length).toBeLessThanOrEqual(max);
          got.push(piece);
        }
      })();
      const writing = (async () => {
        for (let at = 0; at < up; at += chunk) await connection.write(sent.subarray(at, at + chunk));
      })();
      const done = Promise.all([reading, writing]).then(() => connection.close());
      const finished = watch(done);
      for (let i = 0; i < 20_000 && finished() === "pending"; i++) {
        await pass(50);
        pump();
      }
      await done;
      expect(Buffer.from(heard).equals(Buffer.from(sent))).toBe(true);
      expect((await reading).equals(Buffer.from(theirs))).toBe(true);
      await pass(120_000);
      expect(bench.stack.live).toBe(0);
    }

    it("goes both ways, every byte, through loss", async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.record({
            seed: fc.nat(),
            loss: fc.constantFrom(0, 0.02, 0.15),
            up: fc.nat(40_000),
            down: fc.nat(40_000),
            chunk: fc.integer({ min: 1, max: 9000 }),
            max: fc.integer({ min: 1, max: 5000 }),
          }),
          exchange,
        ),
        { numRuns: everyday(15, 50) },
      );
    });

    // Each ended with a FIN that was lost, and was to go again only after the 60 s that a close had then.
    it.each([
      { seed: 25, loss: 0.15, up: 39_673, down: 10_193, chunk: 1, max: 1 },
      { seed: 1_370_262_401, loss: 0.2, up: 4001, down: 32_481, chunk: 1, max: 1 },
    ])("goes through loss to the end: %j", exchange);

    it("that nobody reads shuts the window, and reading opens it wide, and says so", async () => {
      const bench = createBench();
      const [connection, peer] = await established(bench, { bufferLength: 8192 });
      const { port } = connection.opened.local;
      const theirs = Uint8Array.from({ length: 20_000 }, (_, i) => i * 7);
      let written = 0;
      const pump = (): void => {
        written += peer.write(theirs.subarray(written));
        bench.serve(port);
      };
      // The last bytes of room are fewer than a segment: the peer holds text back for them for half a second.
      for (let i = 0; i < 60; i++) {
        pump();
        await pass(20);
      }
      expect(bench.log.filter((line) => line.startsWith("> ")).at(-1)).toMatch(/win=0$/);
      const before = bench.log.length;
      // One byte wanted: the peer hears of the whole buffer, not of one byte of room.
      expect(await connection.read(1)).toEqual(theirs.subarray(0, 1));
      await pass(1);
      expect(bench.log.slice(before).find((line) => line.startsWith("> "))).toMatch(/^> ACK .* win=8192$/);
      const got = [theirs[0]];
      while (got.length < theirs.length) {
        const reading = connection.read(3000);
        pump();
        await pass(20);
        got.push(...((await reading) ?? []));
      }
      expect(Uint8Array.from(got)).toEqual(theirs);
    });

    it("read late is followed by the news of room, before the window was shut", async () => {
      const bench = createBench();
      const [connection, peer] = await established(bench, { bufferLength: 8192 });
      const { port } = connection.opened.local;
      peer.write(new Uint8Array(4096));
      bench.serve(port);
      await pass(20);
      peer.write(new Uint8Array(2000));
      bench.serve(port);
      await pass(20);
      const before = bench.log.length;
      expect(await connection.read()).toHaveLength(6096);
      await pass(1);
      expect(bench.log.slice(before)).toEqual([expect.stringMatching(/^> ACK .* win=8192$/)]);
      // No news when there is little to tell.
      peer.write(new Uint8Array(100));
      bench.serve(port);
      await pass(20);
      const again = bench.log.length;
      expect(await connection.read()).toHaveLength(100);
      await pass(1);
      expect(bench.log.slice(again)).toEqual([]);
    });

    it("is written only as far as there is room, in the order of the calls", async () => {
      const bench = createBench({ peer: { bufferLength: 1000 } });
      const [connection, peer] = await established(bench, { bufferLength: 2000 });
      const first = watch(connection.write(new Uint8Array(2500).fill(1)));
      const second = watch(connection.write(new Uint8Array(500).fill(2)));
      await pass(100);
      // 2,000 in the buffer, 1,000 acknowledged: all of both, less what the peer has no room for.
      expect([first(), second()]).toEqual([undefined, undefined]);
      const third = watch(connection.write(Uint8Array.of(3)));
      await pass(1);
      expect(third()).toBe("pending");
      const heard: number[] = [];
      for (let i = 0; i < 20; i++) {
        heard.push(...peer.read(1000));
        bench.serve(connection.opened.local.port);
        await pass(300);
      }
      expect(third()).toBeUndefined();
      expect(heard).toEqual([...Array(2500).fill(1), ...Array(500).fill(2), 3]);
    });

    it("is neither asked for in amounts that are none, nor written unless it is bytes", async () => {
      const [connection] = await established(createBench());
      await expect(connection.read(0)).rejects.toEqual(coded("ERR_USAGE"));
      await expect(connection.read(Number.NaN)).rejects.toEqual(coded("ERR_USAGE"));
      await expect(connection.write("text" as unknown as Uint8Array)).rejects.toEqual(coded("ERR_USAGE"));
      await connection.write(Uint8Array.of(1));
    });
  });

  describe("the end", () => {
    /** The peer's FIN, after its user has closed. */
    const peerCloses = async (bench: Bench, connection: Connection): Promise<void> => {
      bench.peers.get(connection.opened.local.port)?.close();
      bench.serve(connection.opened.local.port);
      await pass(30);
    };

    it("by our FIN first: TIME-WAIT, 2 s, then gone", async () => {
      const bench = createBench();
      const [connection] = await established(bench);
      const closing = watch(connection.close());
      await pass(30);
      expect([connection.state, closing()]).toEqual(["FIN-WAIT-2", "pending"]);
      await peerCloses(bench, connection);
      expect([connection.state, closing()]).toEqual(["TIME-WAIT", undefined]);
      // Nobody has to wait for TIME-WAIT.
      expect([bench.stack.live, bench.idle]).toEqual([0, 1]);
      await pass(2000);
      expect(connection.state).toBe("CLOSED");
      await expect(connection.write(Uint8Array.of(1))).rejects.toEqual(coded("ERR_CLOSED"));
      expect(await connection.read()).toBeUndefined();
      await connection[Symbol.asyncDispose]();
    });

    it("by the peer's FIN first: reads end, writes still go", async () => {
      const bench = createBench();
      const [connection, peer] = await established(bench);
      peer.write(Uint8Array.of(1, 2, 3));
      await peerCloses(bench, connection);
      expect(connection.state).toBe("CLOSE-WAIT");
      expect(await connection.read(2)).toEqual(Uint8Array.of(1, 2));
      expect(await connection.read()).toEqual(Uint8Array.of(3));
      expect(await connection.read()).toBeUndefined();
      await connection.write(Uint8Array.of(4, 5));
      await pass(30);
      expect([...peer.read(10)]).toEqual([4, 5]);
      const closing = connection.close();
      await pass(30);
      await closing;
      expect([connection.state, peer.state, bench.stack.live]).toEqual(["CLOSED", "CLOSED", 0]);
    });

    it("FIN comes after everything that was written", async () => {
      const bench = createBench();
      const [connection, peer] = await established(bench, { bufferLength: 2048 });
      const writing = connection.write(new Uint8Array(9000));
      const closing = connection.close();
      await expect(connection.write(Uint8Array.of(1))).rejects.toEqual(coded("ERR_CLOSED"));
      let heard = 0;
      for (let i = 0; i < 40 && peer.state !== "CLOSE-WAIT"; i++) {
        heard += peer.read(10_000).length;
        bench.serve(connection.opened.local.port);
        await pass(50);
      }
      heard += peer.read(10_000).length;
      await writing;
      expect([heard, peer.state]).toEqual([9000, "CLOSE-WAIT"]);
      await peerCloses(bench, connection);
      await closing;
    });

    it("is waited for 60 s, then the connection is reset, and that is said", async () => {
      const bench = createBench();
      const [connection, peer] = await established(bench);
      const closing = watch(connection.close());
      const reading = watch(connection.read());
      await pass(59_900);
      expect([connection.state, closing()]).toEqual(["FIN-WAIT-2", "pending"]);
      await pass(300);
      expect(closing()).toEqual(coded("ERR_TIMED_OUT"));
      expect(reading()).toEqual(coded("ERR_TIMED_OUT"));
      expect([connection.state, peer.state, bench.stack.live]).toEqual(["CLOSED", "CLOSED", 0]);
      expect(bench.log.at(-1)).toMatch(/^> RST,ACK/);
    });

    it("is waited for longer while something is read", async () => {
      const bench = createBench();
      const [connection, peer] = await established(bench);
      const closing = watch(connection.close());
      for (let i = 0; i < 5; i++) {
        await pass(40_000);
        peer.write(Uint8Array.of(i));
        bench.serve(connection.opened.local.port);
        await pass(100);
        expect(await connection.read()).toEqual(Uint8Array.of(i));
      }
      await peerCloses(bench, connection);
      expect(closing()).toBeUndefined();
    });

    it("by disposal while something is unread: RST (RFC 9293 §3.6.1, SHLD-3)", async () => {
      for (const read of [false, true]) {
        const bench = createBench();
        const [connection, peer] = await established(bench);
        peer.write(Uint8Array.of(1, 2, 3));
        bench.serve(connection.opened.local.port);
        await pass(30);
        // Out of the control block, or not even that.
        if (read) expect(await connection.read(1)).toEqual(Uint8Array.of(1));
        const disposing = watch(connection[Symbol.asyncDispose]());
        await pass(30);
        expect([disposing(), connection.state, peer.state]).toEqual([undefined, "CLOSED", "CLOSED"]);
        expect(bench.log.at(-1)).toMatch(/^> RST,ACK/);
      }
    });

    it("by disposal: RST for a peer that goes on talking, FIN for one that does not", async () => {
      const bench = createBench();
      const [connection, peer] = await established(bench);
      const disposing = watch(connection[Symbol.asyncDispose]());
      await pass(30);
      expect([connection.state, disposing()]).toEqual(["FIN-WAIT-2", "pending"]);
      peer.write(Uint8Array.of(1));
      bench.serve(connection.opened.local.port);
      await pass(30);
      expect([disposing(), connection.state, peer.state]).toEqual([undefined, "CLOSED", "CLOSED"]);

      const quiet = createBench();
      const [other] = await established(quiet);
      const closing = watch(other[Symbol.asyncDispose]());
      await pass(30);
      await peerCloses(quiet, other);
      expect([closing(), other.state]).toEqual([undefined, "TIME-WAIT"]);
      expect(quiet.log.filter((line) => line.includes("RST"))).toEqual([]);
    });

    it("by abort: RST, and nothing is left to read", async () => {
      const bench = createBench();
      const [connection, peer] = await established(bench);
      peer.write(Uint8Array.of(1, 2, 3));
      bench.serve(connection.opened.local.port);
      await pass(30);
      const stuck = watch(connection.write(new Uint8Array(100_000)));
      connection.abort();
      connection.abort();
      await pass(30);
      expect(stuck()).toEqual(coded("ERR_CLOSED"));
      await expect(connection.read()).rejects.toEqual(coded("ERR_CLOSED"));
      await expect(connection.write(Uint8Array.of(1))).rejects.toEqual(coded("ERR_CLOSED"));
      await connection.close();
      expect([connection.state, peer.state, bench.stack.live]).toEqual(["CLOSED", "CLOSED", 0]);
      expect(bench.log.filter((line) => line.includes("RST"))).toHaveLength(1);
    });

    it("by the peer's RST: what had come can be read, then it is told, once", async () => {
      const bench = createBench();
      const [connection, peer] = await established(bench);
      peer.write(Uint8Array.of(1, 2, 3));
      bench.serve(connection.opened.local.port);
      await pass(30);
      peer.abort();
      bench.serve(connection.opened.local.port);
      await pass(30);
      expect([connection.state, bench.stack.live]).toEqual(["CLOSED", 0]);
      expect(await connection.read()).toEqual(Uint8Array.of(1, 2, 3));
      await expect(connection.read()).rejects.toEqual(coded("ERR_CONNECTION_RESET"));
      await expect(connection.write(Uint8Array.of(1))).rejects.toEqual(coded("ERR_CONNECTION_RESET"));
      await connection.close();
    });

    it("that nobody has heard of is told by close", async () => {
      const bench = createBench();
      const [connection, peer] = await established(bench);
      await connection.write(Uint8Array.of(1));
      peer.abort();
      bench.serve(connection.opened.local.port);
      await pass(30);
      const closing = watch(connection.close());
      await pass(1);
      expect(closing()).toEqual(coded("ERR_CONNECTION_RESET"));
    });

    it("by silence: ERR_TIMED_OUT after minutes, but not while there is nothing to say", async () => {
      let away = false;
      const bench = createBench({ refuse: () => (away ? "ENETDOWN" : undefined) });
      const [connection] = await established(bench);
      away = true;
      await pass(3_600_000);
      expect(connection.state).toBe("ESTABLISHED");
      const reading = watch(connection.read());
      await connection.write(Uint8Array.of(1));
      await pass(100_000);
      expect(reading()).toBe("pending");
      await pass(900_000);
      expect(reading()).toEqual(coded("ERR_TIMED_OUT"));
      expect(bench.stack.live).toBe(0);
    });

    it("of the link is the end of all", async () => {
      const bench = createBench();
      const [connection] = await established(bench);
      const reading = watch(connection.read());
      const opening = watch(bench.open());
      bench.fail(new Error("poll: EBADF"));
      await pass(1);
      expect(reading()).toEqual(coded("ERR_SYSTEM"));
      expect(opening()).toEqual(coded("ERR_SYSTEM"));
      expect([bench.closed, bench.stack.live, bench.idle]).toEqual([1, 0, 1]);
    });

    it("of the stack resets what is open, at once", async () => {
      const bench = createBench();
      const [, peer] = await established(bench);
      bench.stack.close();
      expect(bench.log.at(-1)).toMatch(/^> RST,ACK/);
      expect([bench.closed, bench.stack.live]).toEqual([1, 0]);
      await pass(30);
      expect(peer.state).toBe("CLOSED");
    });
  });

  it("answers what belongs to no connection with RST, but only at addresses that it has used", async () => {
    const bench = createBench({ ports: 4 });
    const [connection] = await established(bench);
    const port = connection.opened.local.port === FIRST_PORT ? FIRST_PORT + 1 : FIRST_PORT;
    const before = bench.log.length;
    bench.inject({ flags: FIN | ACK, sequence: 5, acknowledgement: 77 }, { peerPort: port });
    bench.inject({ flags: RST }, { peerPort: port });
    bench.inject({ flags: ACK, acknowledgement: 9 }, { peerPort: port, peer: Uint8Array.of(192, 0, 2, 255) });
    // The port of a connection, but another peer's.
    const other = { peerPort: connection.opened.local.port, localPort: 81 };
    bench.inject({ flags: SYN | ACK, sequence: 5, acknowledgement: 78 }, other);
    await pass(1);
    expect(bench.log.slice(before).filter((line) => line.startsWith("> "))).toEqual([
      "> RST seq=77 win=0",
      "> RST seq=78 win=0",
    ]);
    expect(connection.state).toBe("ESTABLISHED");
  });
});
