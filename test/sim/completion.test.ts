/** Completed handshakes: the engine with completion against servers of our own, under a virtual clock. */
import { describe, expect, it } from "vitest";
import type { Engine } from "../../src/scan/engine/engine.ts";
import { createHandshakes, type HandshakeOptions } from "../../src/scan/engine/handshakes.ts";
import type { Verdict } from "../../src/scan/probe/verdict.ts";
import { createBufferPool } from "../../src/socket/buffers.ts";
import type { ControlBlock } from "../../src/socket/connection.ts";
import { createControlBlock } from "../../src/socket/control-block.ts";
import { type Ends, readSegment, type Segment, writePacket } from "../../src/socket/segment.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { everyday } from "../everyday.ts";
import { segmentTo } from "./network.ts";
import { createSeededRandom } from "./random.ts";
import { engineFor, LOCAL_4, LOCAL_6, target, transmit } from "./run.ts";

const SECOND = 1_000_000;
const PATHS = [
  { local: LOCAL_4, ttl: 64 },
  { local: LOCAL_6, ttl: 64 },
];

type Service = "closes" | "speaks" | "speaks-late" | "never-closes" | "proxy" | "resets";

/** A server with a TCP of its own for each connection, behind a network that delays and loses. */
function serve(
  engine: Engine,
  service: (port: number) => Service,
  options: { delayUs: number; loss: number; seed: number },
) {
  const random = createSeededRandom(options.seed);
  const pool = createBufferPool(1 << 24);
  const blocks = new Map<string, { block: ControlBlock; ends: Ends; spoke: boolean; born: number }>();
  let flying: { at: number; packet: Uint8Array; toServer: boolean }[] = [];
  const log: string[] = [];
  let now = 0;
  const lost = (): boolean => random(1000) < options.loss * 1000;
  const fly = (packet: Uint8Array, toServer: boolean): void => {
    if (!lost()) flying.push({ at: now + options.delayUs, packet, toServer });
  };

  function pump(entry: { block: ControlBlock; ends: Ends }): void {
    for (let s = entry.block.pollSegment(now); s !== undefined; s = entry.block.pollSegment(now)) {
      if (service(entry.ends.localPort) === "proxy" && (s.flags & tcp.FLAGS.SYN) === 0) continue;
      const out = new Uint8Array(2000);
      fly(out.subarray(0, writePacket(out, 0, entry.ends, s)), false);
    }
    while (entry.block.pollEvent() !== undefined);
  }

  function arrive(packet: Uint8Array): void {
    const v4 = packet[0] >> 4 === 4;
    const at = v4 ? 20 : 40;
    const segment = readSegment(packet, at, packet.length) as Segment;
    const ends: Ends = {
      local: v4 ? packet.slice(16, 20) : packet.slice(24, 40),
      peer: v4 ? packet.slice(12, 16) : packet.slice(8, 24),
      localPort: tcp.destinationPort(packet, at),
      peerPort: tcp.sourcePort(packet, at),
      ttl: 57,
    };
    log.push(`${tcp.flagNames(segment.flags)}${segment.text.length > 0 ? ` ${segment.text.length}` : ""}`);
    const key = `${ends.peer}:${ends.peerPort} ${ends.local}:${ends.localPort}`;
    let entry = blocks.get(key);
    if (entry === undefined) {
      if ((segment.flags & tcp.FLAGS.SYN) === 0) return;
      const block = createControlBlock({
        iss: random(2 ** 32),
        mss: 1460,
        pool,
        bufferLength: 4096,
        synRetries: 5,
        retries: 5,
        mslUs: SECOND,
      });
      entry = { block, ends, spoke: false, born: now };
      blocks.set(key, entry);
      block.accept(segment, now);
    } else entry.block.handleSegment(segment, now);
    act(entry);
  }

  function act(entry: { block: ControlBlock; ends: Ends; spoke: boolean; born: number }): void {
    const { block } = entry;
    const does = service(entry.ends.localPort);
    if (block.state === "ESTABLISHED" || block.state === "CLOSE-WAIT") {
      const speaks = does === "speaks" || (does === "speaks-late" && now - entry.born > SECOND / 2);
      if (speaks && !entry.spoke) {
        entry.spoke = true;
        block.write(new TextEncoder().encode("220 hello\r\n"));
      }
      if (does === "resets") block.abort();
    }
    if (block.state === "CLOSE-WAIT" && does !== "never-closes") block.close();
    pump(entry);
  }

  function run(onVerdict: (v: Verdict) => void, until = Number.POSITIVE_INFINITY): void {
    const out = new Uint8Array(2000);
    while (now < until) {
      engine.handleTimeout(now);
      for (let n = engine.pollTransmit(now, out, 0, 0); n > 0; n = engine.pollTransmit(now, out, 0, 0)) {
        engine.handleDeparture(0, 1, now, now);
        fly(out.slice(0, n), true);
      }
      for (let v = engine.pollVerdict(); v !== undefined; v = engine.pollVerdict()) onVerdict(v);
      if (engine.done) return;
      for (const entry of blocks.values()) {
        entry.block.handleTimeout(now);
        act(entry);
      }
      const tick = Math.min(
        engine.pollTimeout(now),
        ...flying.map(({ at }) => at),
        ...[...blocks.values()].map(({ block }) => block.pollTimeout()),
        now + 50_000,
      );
      now = Math.max(now + 1, tick);
      const due = flying.filter(({ at }) => at <= now);
      flying = flying.filter(({ at }) => at > now);
      for (const { packet, toServer } of due) {
        if (toServer) arrive(packet);
        else engine.handlePacket(packet, 0, packet.length, now);
      }
    }
  }
  return { run, log, blocks, pool };
}

function complete(
  services: Record<number, Service>,
  overrides: Partial<HandshakeOptions> = {},
  bad = { delayUs: 10_000, loss: 0, seed: 1 },
) {
  const ports = Object.keys(services).map(Number);
  const inner = engineFor([target("198.18.0.2", ...ports), target("2001:db8::2", ...ports)], {
    keepHandshakes: true,
    retries: 8,
  });
  const engine = createHandshakes(inner, {
    paths: PATHS,
    bannerUs: 0,
    closeUs: 3 * SECOND,
    ...overrides,
  });
  const network = serve(engine, (port) => services[port], bad);
  return { engine, network };
}

describe("completion", () => {
  it("finishes each handshake and closes in an orderly way, over IPv4 and IPv6", () => {
    const { engine, network } = complete({ 22: "closes" });
    const verdicts: Verdict[] = [];
    network.run((v) => verdicts.push(v));
    expect(verdicts).toHaveLength(2);
    for (const { state, completion } of verdicts) {
      expect(state).toBe("open");
      expect(completion).toEqual({ establishedUs: 20_000, ending: "fin" });
    }
    expect(network.log.filter((line) => line.includes("RST"))).toEqual([]);
    expect(network.log.slice().sort()).toEqual([
      // (The acknowledgements of the servers' FINs are still under way when the scan is done.)
      ...Array(2).fill("ACK"),
      ...Array(2).fill("FIN,ACK"),
      ...Array(2).fill("SYN"),
    ]);
    expect(engine.counts.states.open).toBe(2);
  });

  it("hears what the server says first, and tells a service from a proxy", () => {
    const { network } = complete(
      { 21: "speaks", 22: "speaks-late", 23: "closes", 24: "proxy", 25: "never-closes", 26: "resets" },
      { bannerUs: 2 * SECOND },
    );
    const found = new Map<number, [string | undefined, string | undefined]>();
    network.run(({ port, completion }) =>
      found.set(port, [
        completion?.ending,
        completion?.banner && new TextDecoder().decode(completion.banner),
      ]),
    );
    expect(Object.fromEntries(found)).toEqual({
      21: ["fin", "220 hello\r\n"],
      22: ["fin", "220 hello\r\n"],
      23: ["fin", undefined],
      24: ["silent", undefined],
      25: ["no-fin", undefined],
      26: ["reset", undefined],
    });
  });

  it("waits no longer for a banner than until it has heard one", () => {
    const { network } = complete({ 21: "speaks" }, { bannerUs: 60 * SECOND });
    const endings: unknown[] = [];
    network.run(({ completion }) => endings.push(completion?.ending), 5 * SECOND);
    expect(endings).toEqual(["fin", "fin"]);
  });

  it("leaves alone what may not be completed", () => {
    const { network } = complete({ 22: "closes" }, { paths: [{ ...PATHS[0], toSelf: true }, PATHS[1]] });
    const verdicts: Verdict[] = [];
    network.run((v) => verdicts.push(v));
    expect(verdicts.find((v) => v.family === 4)?.completion).toBeUndefined();
    expect(verdicts.find((v) => v.family === 6)?.completion?.ending).toBe("fin");
  });

  it("resets a SYN+ACK that no connection takes, as the kernel would if it were not held back", () => {
    const inner = engineFor([target("198.18.0.2", 22)], { keepHandshakes: true });
    const engine = createHandshakes(inner, {
      paths: PATHS,
      bannerUs: 0,
      closeUs: SECOND,
    });
    const probe = transmit(engine, 0) as Uint8Array;
    const stray = segmentTo(probe, {
      flags: tcp.FLAGS.SYN | tcp.FLAGS.ACK,
      sequence: 5,
      acknowledgement: 77,
    });
    engine.handlePacket(stray, 0, stray.length, 1000);
    const reset = transmit(engine, 1000) as Uint8Array;
    expect(tcp.flagNames(tcp.flags(reset, 20))).toBe("RST");
    expect(tcp.sequence(reset, 20)).toBe(77);
    expect(tcp.destinationPort(reset, 20)).toBe(22);
    expect(engine.pollVerdict()).toBeUndefined();
  });

  it("loses nothing that was found when the run is given up", () => {
    const { engine, network } = complete({ 22: "never-closes", 23: "closes" }, { bannerUs: 60 * SECOND });
    const verdicts: Verdict[] = [];
    network.run((v) => verdicts.push(v), SECOND);
    expect(verdicts).toEqual([]);
    engine.abandon(SECOND);
    for (let v = engine.pollVerdict(); v !== undefined; v = engine.pollVerdict()) verdicts.push(v);
    expect(verdicts.map(({ state }) => state)).toEqual(["open", "open", "open", "open"]);
    // Each peer is told with a reset; no probe leaves any more.
    const out = new Uint8Array(2000);
    const flags: string[] = [];
    for (let n = engine.pollTransmit(SECOND, out, 0, 0); n > 0; n = engine.pollTransmit(SECOND, out, 0, 0)) {
      flags.push(tcp.flagNames(tcp.flags(out, out[0] >> 4 === 4 ? 20 : 40)));
    }
    expect(flags).toEqual(["RST,ACK", "RST,ACK", "RST,ACK", "RST,ACK"]);
  });

  it("keeps what a server has said when the run is given up before the connection is closed", () => {
    const away = { delayUs: 20_000, loss: 0, seed: 1 };
    const { engine, network } = complete({ 22: "speaks" }, { bannerUs: 60 * SECOND }, away);
    const verdicts: Verdict[] = [];
    network.run((v) => verdicts.push(v), 100_000);
    expect(verdicts).toEqual([]);
    expect(network.log).toContain("FIN,ACK");
    engine.abandon(100_000);
    for (let v = engine.pollVerdict(); v !== undefined; v = engine.pollVerdict()) verdicts.push(v);
    const banner = new TextEncoder().encode("220 hello\r\n");
    const completion = { establishedUs: 40_000, ending: "no-fin", banner };
    expect(verdicts).toMatchObject([{ completion }, { completion }]);
  });

  it("ends well through loss, for hundreds of seeds, and no connection is left", () => {
    for (let seed = 1; seed <= everyday(60, 200); seed++) {
      const { engine, network } = complete(
        { 21: "speaks", 23: "closes" },
        // Time for five tries, where a repeated SYN-ACK made the round trip seem long.
        { bannerUs: 2 * SECOND, closeUs: 60 * SECOND },
        { delayUs: 1000 + seed * 500, loss: (seed % 20) / 100, seed },
      );
      const verdicts: Verdict[] = [];
      network.run((v) => verdicts.push(v), 300 * SECOND);
      expect(engine.done, `seed ${seed}`).toBe(true);
      expect(verdicts, `seed ${seed}`).toHaveLength(4);
      for (const { state, completion, port } of verdicts) {
        expect(state, `seed ${seed}`).toBe("open");
        expect(["fin", "no-fin", "reset"], `seed ${seed} port ${port}`).toContain(completion?.ending);
      }
    }
  });
});
