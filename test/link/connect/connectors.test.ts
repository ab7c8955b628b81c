/**
 * Both connectors, the kernel's calls and node:net, with this machine's own listeners on loopback: the same outcomes, the same
 * bytes, and never a connection with themselves. The kernel's with other machines: test/lab/connect-link.test.ts.
 */
import { readdirSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ConnectLink, createConnectLink } from "../../../src/link/connect/connect-link.ts";
import type { Connector } from "../../../src/link/connect/connector.ts";
import { openKernelConnector } from "../../../src/link/connect/kernel-connector.ts";
import { createNodeConnector } from "../../../src/link/connect/node-connector.ts";
import { kernelPorts } from "../../../src/runtime/system/system.ts";
import { createReplyDecoder } from "../../../src/scan/probe/reply-decoder.ts";
import { createSynTemplate } from "../../../src/scan/probe/syn-template.ts";
import { type Ends, writePacket } from "../../../src/socket/segment.ts";
import { ADDRESS_WORDS, loadAddress } from "../../../src/socket/table.ts";
import { parseAddress } from "../../../src/wire/address.ts";
import { FLAGS } from "../../../src/wire/tcp.ts";
import { everyday } from "../../everyday.ts";

const SLOTS = 48;
const ISS = 1000;
const LOCAL_PORT = 61_000;
const KERNEL = { ttl: 64, family: 4, kernelPorts: kernelPorts() } as const;
const CONNECTORS: readonly [string, () => Connector | undefined][] = [
  ["the kernel's calls", () => openKernelConnector({ slots: SLOTS, ...KERNEL })],
  ["node:net", () => createNodeConnector({ slots: SLOTS })],
];

it("the kernel's connector leaves no descriptor behind when its source is not this machine's", () => {
  const descriptors = (): number => readdirSync("/proc/self/fd").length;
  const source = parseAddress("192.0.2.77");
  const open = () =>
    openKernelConnector({ slots: 1, ...KERNEL, ...(source === undefined ? {} : { source }) });
  expect(open).toThrow(/192\.0\.2\.77/);
  const before = descriptors();
  for (let i = 0; i < 5; i++) expect(open).toThrow();
  expect(descriptors()).toBe(before);
});

interface Heard {
  readonly flags: number;
  readonly port: number;
  readonly text: string;
  readonly sequence: number;
  readonly acknowledgement: number;
}

function addressOf(text: string): Uint8Array {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(text);
  return address;
}

/** Listens on a port of the system's choice. */
function listen(host: string, on: (socket: Socket) => void): Promise<{ server: Server; port: number }> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    on(socket);
  });
  return new Promise((resolve) => {
    server.listen(0, host, () => {
      const address = server.address();
      resolve({ server, port: typeof address === "object" ? (address?.port ?? 0) : 0 });
    });
  });
}

describe.each(CONNECTORS)("%s", (_, open) => {
  const servers: Server[] = [];
  let open4: number;
  let open6: number;
  let speaks: number;
  let resets: number;

  beforeAll(async () => {
    const started = await Promise.all([
      listen("127.0.0.1", () => {}),
      listen("::1", () => {}),
      listen("127.0.0.1", (socket) => {
        socket.write("hello");
        socket.on("data", () => {});
        socket.on("end", () => socket.end());
      }),
      listen("127.0.0.1", (socket) => socket.resetAndDestroy()),
    ]);
    servers.push(...started.map(({ server }) => server));
    [open4, open6, speaks, resets] = started.map(({ port }) => port);
  });
  afterAll(() => {
    for (const server of servers) server.close();
  });

  /** Runs `work` with a link, of which every packet goes to `heard`. */
  async function withLink(
    stayUs: number,
    work: (link: ConnectLink, heard: Heard[]) => Promise<void>,
  ): Promise<void> {
    const connector = open();
    if (connector === undefined) throw new Error("no connector");
    const nowUs = (): number => performance.now() * 1000;
    const link = createConnectLink({ connector, slots: SLOTS, holdUs: 5e6, stayUs, nowUs, idleUs: () => 0 });
    const { decode, reply } = createReplyDecoder();
    const heard: Heard[] = [];
    link.listen(
      (bytes, at, end) => {
        expect(decode(bytes, at, end)).toBe("segment");
        const { flags, peerPort: port, sequence, acknowledgement } = reply;
        const text = Buffer.from(bytes.slice(reply.segmentAt + 20, reply.segmentEnd)).toString("latin1");
        heard.push({ flags, port, text, sequence, acknowledgement });
      },
      () => {
        link.drain();
      },
      (error) => {
        throw error;
      },
    );
    try {
      await work(link, heard);
    } finally {
      link.close();
    }
  }

  function syn(link: ConnectLink, ip: string, port: number): void {
    const address = addressOf(ip);
    const peer = new Uint32Array(ADDRESS_WORDS);
    loadAddress(peer, 0, address, 0, address.length);
    const template = createSynTemplate(address, 64);
    template.write(link.batch.data, 0, peer, 0, LOCAL_PORT, port, ISS, 0);
    link.batch.lengths[0] = template.length;
    expect(link.send(0, 1)).toBe(1);
  }

  const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1));
  async function hear(heard: readonly Heard[], count: number, link: ConnectLink): Promise<void> {
    while (heard.length < count) {
      await turn();
      link.drain();
    }
  }

  it("tells open from closed, over IPv4 and IPv6, and has room again", async () => {
    await withLink(0, async (link, heard) => {
      syn(link, "127.0.0.1", open4);
      syn(link, "::1", open6);
      syn(link, "127.0.0.1", 1);
      syn(link, "::1", 1);
      await hear(heard, 4, link);
      const flags = (port: number): number[] =>
        heard.filter((each) => each.port === port).map((each) => each.flags);
      expect([flags(open4), flags(open6)]).toEqual([[FLAGS.SYN | FLAGS.ACK], [FLAGS.SYN | FLAGS.ACK]]);
      expect(flags(1)).toEqual([FLAGS.RST | FLAGS.ACK, FLAGS.RST | FLAGS.ACK]);
      expect(heard.map(({ acknowledgement }) => acknowledgement)).toEqual([1001, 1001, 1001, 1001]);
      expect(link.undecided.room()).toBe(SLOTS);
    });
  });

  it("is open, too, where the server resets at once", async () => {
    await withLink(0, async (link, heard) => {
      syn(link, "127.0.0.1", resets);
      await hear(heard, 1, link);
      expect(heard[0]?.flags).toBe(FLAGS.SYN | FLAGS.ACK);
    });
  });

  it.each(["127.0.0.1", "::1"])(
    "is connected to a port of the kernel's own at this machine's address (%s) when it is so twice, as it may have met another connect",
    async (host) => {
      const { server, port } = await listen(host, () => server.close());
      await withLink(0, async (link, heard) => {
        syn(link, host, port);
        await hear(heard, 1, link);
        expect(heard[0]?.flags).toBe(FLAGS.RST | FLAGS.ACK);
      });
    },
  );

  it("is never connected with itself, nor with another of its own", { timeout: 60_000 }, async () => {
    await withLink(0, async (link, heard) => {
      const [first, last] = everyday([40_000, 40_400], [32_768, 60_999]);
      const listening = new Set([open4, speaks, resets]);
      let wanted = 0;
      for (let port = first; port <= last; port++) {
        if (listening.has(port)) continue;
        while (link.undecided.room() === 0) {
          await turn();
          link.drain();
        }
        syn(link, "127.0.0.1", port);
        wanted++;
      }
      await hear(heard, wanted, link);
      // Whatever else of this machine listens meanwhile is open, and stays so when asked again.
      const open = heard.filter(({ flags }) => (flags & FLAGS.SYN) !== 0).map(({ port }) => port);
      heard.length = 0;
      for (const port of open) syn(link, "127.0.0.1", port);
      await hear(heard, open.length, link);
      expect(heard.filter(({ flags }) => (flags & FLAGS.RST) !== 0)).toEqual([]);
    });
  });

  it("goes on with a connection: the peer's text, our FIN, and its", async () => {
    await withLink(60e6, async (link, heard) => {
      const address = addressOf("127.0.0.1");
      const ends: Ends = { local: address, peer: address, localPort: LOCAL_PORT, peerPort: speaks, ttl: 64 };
      const say = (flags: number, sequence: number, acknowledgement: number): void => {
        const segment = { flags, sequence, acknowledgement, window: 1024, text: new Uint8Array(0) };
        link.batch.lengths[0] = writePacket(link.batch.data, 0, ends, segment);
        expect(link.send(0, 1)).toBe(1);
      };
      syn(link, "127.0.0.1", speaks);
      await hear(heard, 1, link);
      say(FLAGS.ACK, ISS + 1, 1);
      await hear(heard, 2, link);
      expect(heard[1]).toMatchObject({ flags: FLAGS.PSH | FLAGS.ACK, text: "hello", sequence: 1 });
      say(FLAGS.FIN | FLAGS.ACK, ISS + 1, 6);
      await hear(heard, 4, link);
      expect(heard[2]).toMatchObject({ flags: FLAGS.ACK, acknowledgement: ISS + 2, sequence: 6 });
      expect(heard[3]).toMatchObject({ flags: FLAGS.FIN | FLAGS.ACK, acknowledgement: ISS + 2, sequence: 6 });
      expect(link.undecided.room()).toBe(SLOTS - 1);
      say(FLAGS.ACK, ISS + 2, 7);
      expect(link.undecided.room()).toBe(SLOTS);
    });
  });
});
