/**
 * One established connection of a simulated host: the control block, and the application behind it.
 *
 * `serve` is the whole application: it is called after every event, and does what its service does next.
 */
import type { ControlBlock } from "../socket/connection.ts";
import type { Ends } from "../socket/segment.ts";
import type { Service } from "./description.ts";
import type { PortKind } from "./population.ts";

export interface Connection {
  readonly block: ControlBlock;
  readonly ends: Ends;
  serve(): void;
}

const NOTHING: Uint8Array = new Uint8Array(0);
/** Bytes read at once; also the longest HTTP request head that is waited for. */
const CHUNK = 4096;

const PAGE = "<!doctype html><title>synprobe lab</title><p>A simulated host.\n";
const HTTP_REPLY = new TextEncoder().encode(
  `HTTP/1.0 200 OK\r\nServer: synprobe-lab\r\nContent-Type: text/html\r\nContent-Length: ${PAGE.length}\r\n\r\n${PAGE}`,
);

/** What an application does with its connection. */
interface Application {
  /** The connection is established. */
  opened?(): Uint8Array;
  /** Data has arrived. */
  heard?(bytes: Uint8Array): Uint8Array;
  /** Whether it closes by itself once everything is sent. */
  readonly finished: boolean;
}

export function createConnection(block: ControlBlock, ends: Ends, { service, banner }: PortKind): Connection {
  const application = applicationOf(service, banner);
  let opened = false;
  let peerClosed = false;
  let unsaid = NOTHING;

  /** @returns whether everything is sent */
  const say = (): boolean => {
    if (unsaid.length > 0) unsaid = unsaid.subarray(block.write(unsaid));
    return unsaid.length === 0;
  };

  function serve(): void {
    for (let event = block.pollEvent(); event !== undefined; event = block.pollEvent()) {
      if (event === "established") opened = true;
      if (event === "peer-closed") peerClosed = true;
      if (event !== "established") continue;
      if (service === "reset") {
        block.abort();
        return;
      }
      unsaid = application.opened?.() ?? NOTHING;
    }
    if (!opened) return;
    // Nothing is read while output waits: the window then holds the peer back.
    while (say()) {
      const bytes = block.read(CHUNK);
      if (bytes.length === 0) break;
      unsaid = application.heard?.(bytes) ?? NOTHING;
    }
    if (unsaid.length === 0 && (peerClosed || application.finished)) block.close();
  }

  return { block, ends, serve };
}

function applicationOf(service: Service | undefined, banner: Uint8Array): Application {
  switch (service) {
    case "echo":
      return { heard: (bytes) => bytes, finished: false };
    case "banner":
      return { opened: () => banner, finished: false };
    case "close":
      return { finished: true };
    case "http":
      return createHttp();
    default:
      return { finished: false };
  }
}

/** One request of any kind, one page. */
function createHttp(): Application {
  let head = "";
  let finished = false;
  return {
    get finished() {
      return finished;
    },
    heard: (bytes) => {
      if (finished) return NOTHING;
      head += String.fromCharCode(...bytes);
      if (!/\r?\n\r?\n/.test(head) && head.length < CHUNK) return NOTHING;
      finished = true;
      return HTTP_REPLY;
    },
  };
}
