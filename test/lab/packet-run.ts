/**
 * What packet.test.ts starts inside a namespace: a packet link moved by lines of JSON, in this thread or in a worker that
 * has no privilege, or two Ethernet links at the ends of one veth pair.
 */
import { createInterface } from "node:readline";
import {
  MessageChannel,
  type MessagePort,
  parentPort,
  receiveMessageOnPort,
  Worker,
  workerData,
} from "node:worker_threads";
import { openEthernet, type PacketLink } from "../../src/link/ethernet.ts";
import { attachPacket, openPacketSockets, type PacketHandles } from "../../src/link/packet.ts";
import { dropCapabilities } from "../../src/link/sys/capabilities.ts";
import { monotonicUs } from "../../src/link/sys/libc.ts";
import { parseAddress } from "../../src/wire/address.ts";

/** The command line's only argument, as JSON. */
export interface Setting {
  readonly mode: "main" | "worker" | "frames";
  readonly device: string;
  readonly ports: readonly [first: number, last: number];
  readonly routes: readonly (readonly [first: string, last: string, gateway?: string])[];
}

/** Lines in: packets in hex, which are sent as one batch. */
export type Command = readonly string[];

/** Lines out. */
export type Line =
  | { readonly ready: true }
  | { readonly received: string; readonly ageUs: number }
  /** For each packet of a command: "" when it was sent, or the errno name. */
  | { readonly sent: readonly string[] }
  | { readonly frames: FramesReport };

export interface FramesReport {
  /** Frames handed over by each drain of the first flood, and whether it said that nothing was left. */
  readonly turns: readonly (readonly [frames: number, empty: boolean])[];
  readonly inOrder: boolean;
  readonly longestAgeUs: number;
  /** Of a flood that nobody read in time. */
  readonly overrun: { readonly sent: number; readonly heard: number; readonly drops: number };
  /** What the sending end heard. */
  readonly echoes: number;
  /** A frame that was sent with an 802.1Q tag, as it was heard. */
  readonly tagged: string;
}

const hex = (bytes: Uint8Array, at: number, end: number): string =>
  Buffer.from(bytes.subarray(at, end)).toString("hex");

function sendAll(link: PacketLink, packets: Command): string[] {
  const { batch } = link;
  packets.forEach((packet, slot) => {
    batch.lengths[slot] = Buffer.from(packet, "hex").copy(batch.data, slot * batch.slotLength + batch.offset);
  });
  const told: string[] = [];
  while (told.length < packets.length) {
    const sent = link.send(told.length, packets.length - told.length);
    for (let i = 0; i < sent; i++) told.push("");
    if (sent === 0) told.push(link.sendError);
  }
  return told;
}

function tell(line: Line): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** A worker thread does not inherit what makes Node read TypeScript. */
const LOADER = `import("tsx/esm/api").then(({ register }) => {
  register();
  return import(${JSON.stringify(import.meta.url)});
});`;

/** A worker has no turn of an event loop: it waits in the link, and looks for commands between. */
function runInWorker({ handles, port }: { handles: PacketHandles; port: MessagePort }): void {
  const link = attachPacket(handles);
  const say = (line: Line): void => parentPort?.postMessage(line);
  link.listen(
    (bytes, at, end, ageUs) => say({ received: hex(bytes, at, end), ageUs }),
    () => {},
    () => {},
  );
  say({ ready: true });
  for (;;) {
    link.wait(20_000);
    link.drain();
    const message = receiveMessageOnPort(port);
    if (message === undefined) continue;
    if (message.message === null) break;
    say({ sent: sendAll(link, message.message as Command) });
  }
  link.close();
}

async function run({ mode, device, ports, routes }: Setting): Promise<void> {
  const address = (text: string): Uint8Array => {
    const parsed = parseAddress(text);
    if (parsed === undefined) throw new Error(`not an address: ${text}`);
    return parsed;
  };
  const handles = await openPacketSockets({
    interfaceName: device,
    ports: { first: ports[0], last: ports[1] },
    routes: routes.map(([first, last, gateway]) => ({
      first: address(first),
      last: address(last),
      ...(gateway === undefined ? {} : { gateway: address(gateway) }),
    })),
  });
  dropCapabilities();
  const lines = createInterface({ input: process.stdin });
  if (mode === "worker") {
    const { port1, port2 } = new MessageChannel();
    const worker = new Worker(LOADER, {
      eval: true,
      workerData: { handles, port: port2 },
      transferList: [port2],
    });
    worker.on("message", tell);
    worker.on("error", (error) => {
      throw error;
    });
    lines.on("line", (line) => port1.postMessage(JSON.parse(line)));
    lines.on("close", () => port1.postMessage(null));
    worker.on("exit", () => port1.close());
    return;
  }
  const link = attachPacket(handles);
  let due: NodeJS.Timeout | undefined;
  const drain = (): void => {
    link.drain();
    clearTimeout(due);
    const dueMs = Math.ceil((link.dueIn?.() ?? Number.POSITIVE_INFINITY) / 1000);
    if (dueMs < Number.POSITIVE_INFINITY) due = setTimeout(drain, dueMs);
  };
  link.listen(
    (bytes, at, end, ageUs) => tell({ received: hex(bytes, at, end), ageUs }),
    drain,
    (error) => {
      throw error;
    },
  );
  lines.on("line", (line) => {
    tell({ sent: sendAll(link, JSON.parse(line)) });
    drain();
  });
  // Nothing may keep the process alive once the link is closed.
  lines.on("close", () => {
    link.close();
    clearTimeout(due);
  });
  tell({ ready: true });
}

const FRAME_LENGTH = 60;
/** An EtherType for experiments (IEEE 802 10.2.4), which no kernel answers. */
const ETHERTYPE = [0x88, 0xb5] as const;
const ONLY_OURS = [
  [0x28, 0, 0, 12],
  [0x15, 0, 1, 0x88b5],
  [0x06, 0, 0, 0xffff],
  [0x06, 0, 0, 0],
] as const;
/** First byte of the tagged frame's payload. */
const TAGGED = 0xff;

/** From one end of a veth pair (its name and `p`) to the other. */
async function runFrames({ device }: Setting): Promise<void> {
  const near = await openEthernet({ interfaceName: device, filter: ONLY_OURS });
  const far = await openEthernet({ interfaceName: `${device}p`, filter: ONLY_OURS, ringSize: 4 << 20 });
  const { batch } = near;
  let number = 0;
  const flood = (frames: number): void => {
    for (let left = frames; left > 0; ) {
      const count = Math.min(left, batch.slots);
      for (let slot = 0; slot < count; slot++) {
        const at = slot * batch.slotLength;
        batch.data.fill(0xff, at, at + 6);
        batch.data.set(ETHERTYPE, at + 12);
        new DataView(batch.data.buffer, batch.data.byteOffset).setUint32(at + 14, number++);
        batch.lengths[slot] = FRAME_LENGTH;
      }
      for (let done = 0; done < count; ) done += near.send(done, count - done);
      left -= count;
    }
  };
  let heard = 0;
  let inOrder = true;
  let longestAgeUs = 0;
  let echoes = 0;
  let tagged = "";
  far.listen(
    (bytes, at, end, ageUs) => {
      if (bytes[at + 14] === TAGGED) {
        tagged = hex(bytes, at, end);
        return;
      }
      inOrder &&= end - at === FRAME_LENGTH && new DataView(bytes.buffer).getUint32(at + 14) === heard;
      longestAgeUs = Math.max(longestAgeUs, ageUs);
      heard++;
    },
    () => {},
    () => {},
  );
  near.listen(
    () => {
      echoes++;
    },
    () => {},
    () => {},
  );
  const drainUntil = (wanted: number): (readonly [number, boolean])[] => {
    const turns: (readonly [number, boolean])[] = [];
    const end = monotonicUs() + 5e6;
    while (heard < wanted && monotonicUs() < end) {
      far.wait(10_000);
      const before = heard;
      const empty = far.drain();
      turns.push([heard - before, empty]);
    }
    return turns;
  };
  flood(5000);
  // The block that is not full comes a millisecond later: it is to be there as well.
  far.wait(10_000);
  const until = monotonicUs() + 20_000;
  while (monotonicUs() < until);
  const turns = drainUntil(5000);
  // Many times around the ring.
  for (let round = 1; round <= 20; round++) {
    flood(2000);
    drainUntil(5000 + round * 2000);
  }
  const before = heard;
  const order = inOrder;
  const sent = 60_000;
  flood(sent);
  while (far.receiveDrops() === 0 && monotonicUs() < until + 5e6);
  let quiet = 0;
  while (quiet < 3) {
    const count = heard;
    far.wait(10_000);
    far.drain();
    quiet = heard === count ? quiet + 1 : 0;
  }
  near.drain();
  batch.data.fill(0xff, 0, FRAME_LENGTH);
  batch.data.set([0x81, 0x00, 0x00, 0x05, ...ETHERTYPE], 12);
  near.send(0, 1);
  while (tagged === "" && monotonicUs() < until + 10e6) {
    far.wait(10_000);
    far.drain();
  }
  const overrun = { sent, heard: heard - before, drops: far.receiveDrops() };
  near.close();
  far.close();
  tell({ frames: { turns, inOrder: order, longestAgeUs, overrun, echoes, tagged } });
}

if (parentPort !== null) {
  runInWorker(workerData);
} else if (process.argv[2] !== undefined) {
  const setting: Setting = JSON.parse(process.argv[2]);
  await (setting.mode === "frames" ? runFrames(setting) : run(setting));
}
