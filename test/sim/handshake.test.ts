/** Both sides of the handshake: our client's control block against the lab's hosts, packet by packet, through bad networks. */
import { expect, describe as group, it } from "vitest";
import type { PathDescription, Service } from "../../src/lab/description.ts";
import { createNetwork, type LabNetwork } from "../../src/lab/network.ts";
import { createBufferPool } from "../../src/socket/buffers.ts";
import type { ConnectionEvent, ControlBlock } from "../../src/socket/connection.ts";
import { createControlBlock } from "../../src/socket/control-block.ts";
import { type Ends, writePacket } from "../../src/socket/segment.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { everyday } from "../everyday.ts";
import { describe, labOf, PROBER_4, PROBER_6, SECOND, segmentIn } from "./lab.ts";
import { createSeededRandom } from "./random.ts";
import { address } from "./run.ts";

interface Client {
  readonly block: ControlBlock;
  readonly ends: Ends;
  readonly events: ConnectionEvent[];
  readonly received: number[];
}

/** Clients that share a network and a clock. */
function createWorld(network: LabNetwork, random: (below: number) => number) {
  const pool = createBufferPool(1 << 24);
  const clients: Client[] = [];
  const log: string[] = [];
  const out = new Uint8Array(1600);
  let now = 0;

  function connect(host: string, port: number, localPort: number, iss = random(2 ** 32)): Client {
    const peer = address(host);
    const local = peer.length === 4 ? PROBER_4 : PROBER_6;
    const block = createControlBlock({
      iss,
      mss: 1000,
      pool,
      bufferLength: 2048,
      synRetries: 12,
      retries: 15,
      mslUs: SECOND,
    });
    const client = {
      block,
      ends: { local, peer, localPort, peerPort: port, ttl: 64 },
      events: [],
      received: [],
    };
    clients.push(client);
    block.open(now);
    return client;
  }

  function flush({ block, ends, events, received }: Client): void {
    received.push(...block.read(5000));
    for (let s = block.pollSegment(now); s !== undefined; s = block.pollSegment(now)) {
      const length = writePacket(out, 0, ends, s);
      log.push(`> ${describe(out)}`);
      network.handlePacket(out, 0, length, now);
    }
    for (let event = block.pollEvent(); event !== undefined; event = block.pollEvent()) events.push(event);
  }

  /** Lets everything happen; `act` is called for each client after each event. @returns when nothing is left to happen */
  function run(act: (client: Client, nowUs: number) => void, limitUs = Number.MAX_VALUE): void {
    for (;;) {
      for (const client of clients) {
        flush(client);
        act(client, now);
        flush(client);
      }
      const next = Math.min(network.pollTimeout(), ...clients.map(({ block }) => block.pollTimeout()));
      if (next > limitUs || next === Number.POSITIVE_INFINITY) return;
      now = Math.max(now, next);
      for (
        let length = network.pollTransmit(now, out, 0);
        length > 0;
        length = network.pollTransmit(now, out, 0)
      ) {
        log.push(`< ${describe(out)}`);
        const packet = out.slice(0, length);
        const at = packet[0] >> 4 === 4 ? 20 : 40;
        const [port, localPort] = [tcp.sourcePort(packet, at), tcp.destinationPort(packet, at)];
        const client = clients.find(({ ends }) => ends.localPort === localPort && ends.peerPort === port);
        client?.block.handleSegment(segmentIn(packet), now);
        if (client !== undefined) flush(client);
      }
      for (const { block } of clients) block.handleTimeout(now);
    }
  }
  return { connect, run, pool, log, now: () => now };
}

const text = (bytes: number[]): string => Buffer.from(bytes).toString();

/** One connection through a perfect network. */
function perfect(service: Service, act: (client: Client, nowUs: number) => void) {
  const network = labOf({ ports: [{ ports: "80", is: "open", service }] }, { path: { latencyMs: 10 } });
  const world = createWorld(network, createSeededRandom(1));
  const client = world.connect("198.18.0.1", 80, 61_000);
  world.run(act);
  const log = world.log.map((line) => `${line[0]} ${line.split(" ")[2]}`);
  return { network, client, world, log };
}

group("a connection through a perfect network", () => {
  it("echoes, and closes from our side first", () => {
    let said = false;
    const { network, client, world, log } = perfect("echo", ({ block, received }) => {
      if (block.state === "ESTABLISHED" && !said) {
        said = true;
        block.write(new TextEncoder().encode("ping"));
      }
      if (received.length === 4) block.close();
    });
    expect(text(client.received)).toBe("ping");
    expect(client.events).toEqual(["established", "peer-closed", "closed"]);
    expect(log.slice(0, 5)).toEqual(["> SYN", "< SYN,ACK", "> ACK", "> PSH,ACK", "< PSH,ACK"]);
    expect(log.filter((line) => /FIN/.test(line))).toEqual(["> FIN,ACK", "< FIN,ACK"]);
    expect(network.counts).toMatchObject({ accepted: 1, abandoned: 0, synAckRepeats: 0 });
    expect(network.held).toEqual({ halfOpen: 0, connected: 0, reserved: 0 });
    expect(world.pool.reserved).toBe(0);
  });

  it("is closed from the server's side first", () => {
    const { network, client, log } = perfect("close", ({ block }) => {
      if (block.state === "CLOSE-WAIT") block.close();
    });
    expect(client.events).toEqual(["established", "peer-closed", "closed"]);
    expect(log).toEqual(["> SYN", "< SYN,ACK", "> ACK", "< FIN,ACK", "> ACK", "> FIN,ACK", "< ACK"]);
    // TIME-WAIT is over on the server's side.
    expect(network.held.connected).toBe(0);
  });

  it("is closed from both sides at once", () => {
    const { client, network } = perfect("close", ({ block }) => {
      if (block.state === "ESTABLISHED") block.close();
    });
    expect(client.events).toContain("closed");
    expect(client.block.state).toBe("CLOSED");
    expect(network.held.connected).toBe(0);
  });

  it("says its banner first", () => {
    const { client } = perfect("banner", ({ block, received }) => {
      if (received.length > 0) block.close();
    });
    expect(text(client.received)).toBe("220 lab ready\r\n");
    expect(client.events).toEqual(["established", "peer-closed", "closed"]);
  });

  it("answers an HTTP request, however it is cut, and closes", () => {
    const parts = ["GET / HT", "TP/1.1\r\nHost: x\r\n", "\r", "\n"];
    const { client } = perfect("http", ({ block }) => {
      if (block.state === "ESTABLISHED" && block.view().unacknowledged === 0) {
        block.write(new TextEncoder().encode(parts.shift() ?? ""));
      }
      if (block.state === "CLOSE-WAIT") block.close();
    });
    const [head, body] = text(client.received).split("\r\n\r\n");
    expect(head).toMatch(/^HTTP\/1\.0 200 OK\r\n/);
    expect(head).toContain(`Content-Length: ${body.length}`);
    expect(parts).toEqual([]);
    expect(client.events).toEqual(["established", "peer-closed", "closed"]);
  });

  it("is reset by the server", () => {
    const { client, network } = perfect("reset", () => undefined);
    expect(client.events).toEqual(["established", "reset"]);
    expect(network.held).toEqual({ halfOpen: 0, connected: 0, reserved: 0 });
  });

  it("is aborted by us", () => {
    const { client, network, log } = perfect("discard", ({ block }) => {
      if (block.state === "ESTABLISHED") block.abort();
    });
    expect(client.events).toEqual(["established", "closed"]);
    expect(log.at(-1)).toBe("> RST,ACK");
    expect(network.held).toEqual({ halfOpen: 0, connected: 0, reserved: 0 });
  });

  it("is refused where nothing listens", () => {
    const world = createWorld(labOf({}), createSeededRandom(1));
    const client = world.connect("198.18.0.1", 80, 61_000);
    world.run(() => undefined);
    expect(client.events).toEqual(["refused"]);
  });

  it("wraps around at 2^32", () => {
    const network = labOf({ rest: "open", ports: [{ is: "open", service: "echo" }] });
    const world = createWorld(network, createSeededRandom(1));
    const sent = "x".repeat(1500);
    const clients = [0xffff_ffff, 0xffff_fffe, 0xffff_fc00].map((iss, i) =>
      world.connect("198.18.0.1", 80 + i, 61_000 + i, iss),
    );
    const said = new Set<Client>();
    world.run((client) => {
      if (client.block.state === "ESTABLISHED" && !said.has(client)) {
        said.add(client);
        client.block.write(new TextEncoder().encode(sent));
      }
      if (client.received.length === sent.length) client.block.close();
    });
    for (const { received, events } of clients) {
      expect(text(received)).toBe(sent);
      expect(events).toEqual(["established", "peer-closed", "closed"]);
    }
  });

  it("is one of many at once, each with its own bytes", () => {
    const CLIENTS = everyday(60, 200);
    const network = labOf(
      { ports: [{ is: "open", service: "echo" }] },
      { path: { latencyMs: 20, jitterMs: 10, loss: 0.02 } },
    );
    const world = createWorld(network, createSeededRandom(2));
    const clients = Array.from({ length: CLIENTS }, (_, i) => world.connect(`198.18.0.${i}`, 80, 61_000 + i));
    const said = new Set<Client>();
    let most = 0;
    world.run((client) => {
      most = Math.max(most, network.held.connected);
      const wanted = `I am ${client.ends.localPort}`;
      if (client.block.state === "ESTABLISHED" && !said.has(client)) {
        said.add(client);
        client.block.write(new TextEncoder().encode(wanted));
      }
      // Held until all are there.
      if (text(client.received) === wanted && network.counts.accepted === CLIENTS) client.block.close();
    });
    expect(most).toBe(CLIENTS);
    for (const { received, ends, events } of clients) {
      expect(text(received)).toBe(`I am ${ends.localPort}`);
      expect(events).toEqual(["established", "peer-closed", "closed"]);
    }
    expect(network.held).toEqual({ halfOpen: 0, connected: 0, reserved: 0 });
    expect(world.pool.reserved).toBe(0);
  });
});

group("through a bad network", () => {
  const SEEDS = everyday(250, 3000);
  const SERVICES: Service[] = ["echo", "banner", "http", "close", "reset", "discard"];
  const GREETING = "hello there, and welcome to a very bad network\r\n";

  it(`${SEEDS} handshakes end in the right state, with every byte, and return every buffer`, () => {
    let orderlyEnds = 0;
    const otherEnds: string[] = [];
    for (let seed = 1; seed <= SEEDS; seed++) {
      const random = createSeededRandom(seed);
      const latencyMs = random(300);
      const path: PathDescription = {
        latencyMs,
        jitterMs: random(latencyMs + 1),
        loss: random(25) / 100,
        duplication: random(20) / 100,
        reordering: random(20) / 100,
        reorderingMs: random(300),
      };
      const service = SERVICES[random(SERVICES.length)];
      const v6 = random(2) === 0;
      const banner = service === "banner" ? { banner: GREETING } : {};
      const host = { ports: [{ is: "open" as const, service, ...banner }] };
      const network = createNetwork(
        {
          seed,
          path,
          hosts: [
            { range: "198.18.0.0/24", ...host },
            { range: "2001:db8::/64", ...host },
          ],
        },
        { startUs: 0 },
      );
      const world = createWorld(network, random);
      const client = world.connect(v6 ? "2001:db8::7" : "198.18.0.7", 80, 61_000);
      const { block, events, received } = client;
      const request =
        service === "http"
          ? Buffer.from("GET / HTTP/1.0\r\n\r\n")
          : Buffer.from(Array.from({ length: random(6000) }, () => random(256)));
      const aborts = random(5) === 0;
      /** Whether we close as soon as all is said, or hear everything first. */
      const eager = random(2) === 0;
      let written = 0;
      const act = (_: Client): void => {
        if (block.state !== "ESTABLISHED" && block.state !== "CLOSE-WAIT") return;
        if (aborts && random(4) === 0) block.abort();
        written += block.write(request.subarray(written));
        const all = written === request.length;
        const heard =
          service === "echo"
            ? received.length === request.length
            : service === "banner"
              ? received.length === GREETING.length
              : service === "discard";
        if (all && (eager || heard || block.state === "CLOSE-WAIT")) block.close();
      };
      world.run(act, 3600 * SECOND);
      // A peer that gave up the handshake leaves a client that only waits: no TCP tells it before it speaks.
      if (block.state !== "CLOSED") {
        expect(network.held.connected, `seed ${seed}`).toBe(0);
        block.close();
        world.run(() => undefined, 7200 * SECOND);
      }
      const label = `seed ${seed}: ${service}${aborts ? " aborts" : ""}${eager ? " eager" : ""} ${JSON.stringify(events)} ${JSON.stringify(path)}`;
      expect(block.state, label).toBe("CLOSED");
      expect(world.pool.reserved, label).toBe(0);
      const end = events.at(-1) ?? "nothing";
      expect(["closed", "reset", "timed-out", "refused"], label).toContain(end);
      if (aborts || service === "reset") {
        expect(events, label).toContain("established");
        // When the one RST is lost, the far side waits for a peer that is gone.
        expect(network.held, label).toMatchObject({ halfOpen: 0 });
        expect(network.held.reserved, label).toBe(network.held.connected * 16_384);
        continue;
      }
      expect(network.held, label).toEqual({ halfOpen: 0, connected: 0, reserved: 0 });
      const orderly = events.join() === "established,peer-closed,closed";
      if (!orderly) {
        otherEnds.push(label);
        continue;
      }
      orderlyEnds++;
      if (service === "echo" && written === request.length)
        expect(Buffer.compare(Buffer.from(received), request), label).toBe(0);
      if (service === "banner") expect(text(received), label).toBe(GREETING);
      if (service === "http") expect(text(received), label).toMatch(/^HTTP\/1\.0 200 OK\r\n[\s\S]*host\.\n$/);
    }
    // The others met a peer that had given up its half of the handshake after a minute of bad luck.
    expect(otherEnds.length / orderlyEnds, otherEnds.join("\n")).toBeLessThan(0.01);
  });
});
