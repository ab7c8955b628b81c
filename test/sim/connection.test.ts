/** Client and server control blocks against each other, through loss, reordering and duplication. */
import { describe, expect, it } from "vitest";
import { everyday } from "../everyday.ts";
import { createPair, PERFECT, type Wire } from "./connection.ts";
import { createSeededRandom } from "./random.ts";

const SECOND = 1_000_000;

describe("a connection through a perfect network", () => {
  it("opens, carries data both ways, closes, and returns its buffers", () => {
    const pair = createPair(PERFECT, createSeededRandom(1));
    const { client, server, pool, events, log } = pair;
    expect(client.open(0)).toBe(true);
    expect(pool.reserved).toBe(8192);
    expect(pair.run(() => server.state === "ESTABLISHED")).toBe(true);
    expect(client.state).toBe("ESTABLISHED");
    client.write(new TextEncoder().encode("ping"));
    expect(pair.run(() => server.view().readable === 4)).toBe(true);
    expect(new TextDecoder().decode(server.read(100))).toBe("ping");
    server.write(new TextEncoder().encode("pong!"));
    expect(pair.run(() => client.view().readable === 5)).toBe(true);
    client.close();
    expect(pair.run(() => server.state === "CLOSE-WAIT")).toBe(true);
    server.close();
    pair.run();
    expect(new TextDecoder().decode(client.read(100))).toBe("pong!");
    expect([client.state, server.state]).toEqual(["CLOSED", "CLOSED"]);
    expect(events).toEqual({
      client: ["established", "peer-closed", "closed"],
      server: ["established", "peer-closed", "closed"],
    });
    expect(pool.reserved).toBe(0);
    expect(log.map((line) => line.replace(/ seq.*/, ""))).toEqual([
      "c> SYN",
      "s> SYN,ACK",
      "c> ACK",
      "c> PSH,ACK",
      "s> ACK",
      "s> PSH,ACK",
      "c> ACK",
      "c> FIN,ACK",
      "s> ACK",
      "s> FIN,ACK",
      "c> ACK",
    ]);
  });
});

describe("simultaneous open", () => {
  const opened = (wire: Wire, seed: number) => {
    const pair = createPair(wire, createSeededRandom(seed));
    const { client, server } = pair;
    client.open(0);
    server.open(0);
    expect(
      pair.run(() => client.state === "ESTABLISHED" && server.state === "ESTABLISHED", 600 * SECOND),
      `seed ${seed}: ${client.state}/${server.state}`,
    ).toBe(true);
    return pair;
  };

  it("is over after figure 7 of RFC 9293, and its last acknowledgements", () => {
    const pair = opened(PERFECT, 1);
    pair.run(undefined, SECOND);
    expect(pair.log.map((line) => line.replace(/ seq.*/, ""))).toEqual([
      ...["c> SYN", "s> SYN", "s> SYN,ACK", "c> SYN,ACK", "c> ACK", "s> ACK"],
    ]);
    expect(pair.events).toEqual({ client: ["established"], server: ["established"] });
  });

  it("gets through a bad network, and carries text", () => {
    for (let seed = 1; seed <= 500; seed++) {
      const pair = opened({ loss: 0.3, duplication: 0.1, delayUs: 10_000, jitterUs: 100_000 }, seed);
      pair.client.write(Uint8Array.of(seed));
      expect(
        pair.run(() => pair.server.view().readable === 1, pair.now() + 600 * SECOND),
        `${seed}`,
      ).toBe(true);
    }
  });
});

/** True when nothing at all has changed since the last call. */
let last = "";
function stuck(...progress: number[]): boolean {
  const before = last;
  last = progress.join();
  return before === last;
}

describe("through a bad network", () => {
  const SEEDS = everyday(400, 2000);
  it(`${SEEDS} connections end in the right state, with every byte, and return every buffer`, () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const random = createSeededRandom(seed);
      const wire: Wire = {
        loss: random(25) / 100,
        duplication: random(20) / 100,
        delayUs: 1 + random(100_000),
        jitterUs: random(200_000),
      };
      const pair = createPair(wire, random, { bufferLength: 512 + random(4096) });
      const { client, server } = pair;
      const sent = {
        client: Uint8Array.from({ length: random(9000) }, () => random(256)),
        server: Uint8Array.from({ length: random(9000) }, () => random(256)),
      };
      const got = { client: [] as number[], server: [] as number[] };
      const written = { client: 0, server: 0 };
      client.open(0);
      const closeEarly = random(2) === 0;
      const pump = (): boolean => {
        for (const [name, block, peer] of [
          ["client", client, "server"],
          ["server", server, "client"],
        ] as const) {
          got[name].push(...block.read(1 + random(2000)));
          if (block.state !== "CLOSED" && block.state !== "SYN-SENT") {
            written[name] += block.write(sent[name].subarray(written[name]));
            const all = written[name] === sent[name].length;
            if (all && (closeEarly || got[name].length === sent[peer].length)) block.close();
          }
        }
        return false;
      };
      // When the network has nothing left to do, a slow reader may still have.
      const idle = (): boolean => client.view().readable + server.view().readable === 0;
      do pair.run(pump, 3600 * SECOND);
      while (
        !(idle() && [client, server].every(({ state }) => state === "CLOSED")) &&
        !stuck(pair.log.length, got.client.length + got.server.length)
      );
      const label = `seed ${seed}: ${client.state}/${server.state} ${JSON.stringify(pair.events)} loss ${wire.loss}`;
      expect([client.state, server.state], label).toEqual(["CLOSED", "CLOSED"]);
      expect(Buffer.from(got.server).equals(Buffer.from(sent.client)), label).toBe(true);
      expect(Buffer.from(got.client).equals(Buffer.from(sent.server)), label).toBe(true);
      expect(pair.pool.reserved, label).toBe(0);
      for (const name of ["client", "server"] as const) {
        expect(pair.events[name].slice().sort(), label).toEqual(["closed", "established", "peer-closed"]);
      }
    }
  });

  it("waits for a reader for as long as it answers the probes of its window, and not when it falls silent", () => {
    const HOUR = 3_600_000_000;
    const pair = createPair(PERFECT, createSeededRandom(3), { retries: 5 });
    pair.client.open(0);
    const sent = Uint8Array.from({ length: 6000 }, (_, i) => i);
    expect(pair.run(() => pair.client.state === "ESTABLISHED" && pair.server.state === "ESTABLISHED")).toBe(
      true,
    );
    // Two kilobytes more than the server's buffer, which nobody reads for an hour.
    let written = pair.client.write(sent);
    pair.run(() => {
      written += pair.client.write(sent.subarray(written));
      return pair.now() > HOUR;
    });
    expect(written).toBe(6000);
    expect(pair.client.state).toBe("ESTABLISHED");
    expect(pair.client.view()).toMatchObject({ sndWnd: 0 });
    const heard: number[] = [];
    pair.run(() => {
      heard.push(...pair.server.read(4096));
      return heard.length === 6000;
    });
    expect(heard).toEqual([...sent]);

    // The same window shut by a peer that is gone.
    const lone = createPair(PERFECT, createSeededRandom(4), { retries: 5 });
    lone.client.open(0);
    lone.run(() => lone.client.state === "ESTABLISHED" && lone.server.state === "ESTABLISHED");
    let more = lone.client.write(sent);
    lone.run(() => {
      more += lone.client.write(sent.subarray(more));
      return lone.client.view().sndWnd === 0;
    });
    lone.server.abort();
    while (lone.server.pollSegment(lone.now()) !== undefined);
    while (lone.client.pollSegment(lone.now()) !== undefined);
    for (let at = lone.client.pollTimeout(); at < Number.POSITIVE_INFINITY; at = lone.client.pollTimeout()) {
      lone.client.handleTimeout(at);
      while (lone.client.pollSegment(at) !== undefined);
    }
    expect(lone.client.state).toBe("CLOSED");
    expect(lone.client.pollEvent()).toBe("timed-out");
  });
});
