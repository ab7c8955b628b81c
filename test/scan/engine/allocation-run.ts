/**
 * What allocation.test.ts starts: an engine whose every probe is answered in memory, under V8's sampling heap profiler, which
 * here also counts what has been collected again. A process of its own, so that the code runs as users run it, and nothing
 * else allocates beside it. Prints one Profile as JSON.
 */
import { type HeapProfiler, Session } from "node:inspector/promises";
import { createEngine, type Engine } from "../../../src/scan/engine/engine.ts";
import { createOrder } from "../../../src/scan/targets/permutation.ts";
import { createSource } from "../../../src/scan/targets/source.ts";
import { createSpaceBuilder } from "../../../src/scan/targets/space-builder.ts";
import { createSourcePorts } from "../../../src/socket/ports.ts";
import { ADDRESS_WORDS, loadAddress } from "../../../src/socket/table.ts";
import { i32, putU16, putU32 } from "../../../src/wire/bytes.ts";
import { checksum, pseudoSum4 } from "../../../src/wire/checksum.ts";
import * as ipv4 from "../../../src/wire/ipv4.ts";
import { PROTOCOL } from "../../../src/wire/protocol.ts";
import * as tcp from "../../../src/wire/tcp.ts";

export interface Profile {
  readonly inFlight: number;
  readonly open: number;
  readonly closed: number;
  readonly filtered: number;
  /** Bytes allocated in the JavaScript heap, by the function that did, most first. */
  readonly sites: readonly (readonly [site: string, bytes: number])[];
}

/** Probes before the profile starts: by then V8 has compiled what runs often. */
const WARM_UP = 1_000_000;
const PROFILED = 500_000;
const PORTS = 64;
const SLOTS = 256;
const SLOT_LENGTH = 64;
const LOCAL = Uint8Array.of(192, 0, 2, 1);
const FIRST = Uint8Array.of(198, 18, 0, 0);
const LAST = Uint8Array.of(198, 18, 255, 255);

const engine = createTestEngine();
const packets = new Uint8Array(SLOTS * SLOT_LENGTH);
const answer = new Uint8Array(ipv4.HEADER_LENGTH + tcp.HEADER_LENGTH);
ipv4.emit(answer, 0, {
  tos: 0,
  identification: 0,
  dontFragment: true,
  moreFragments: false,
  fragmentOffset: 0,
  ttl: 64,
  protocol: PROTOCOL.TCP,
  source: LAST,
  destination: LOCAL,
  options: new Uint8Array(0),
  totalLength: answer.length,
});

function createTestEngine(): Engine {
  const builder = createSpaceBuilder();
  builder.add(
    FIRST,
    LAST,
    Uint16Array.from({ length: PORTS }, (_, i) => i + 1),
  );
  const space = builder.build();
  const worker = { index: 0, count: 1 };
  const words = (address: Uint8Array): Uint32Array => {
    const loaded = new Uint32Array(ADDRESS_WORDS);
    loadAddress(loaded, 0, address, 0, address.length);
    return loaded;
  };
  return createEngine({
    paths: [{ local: LOCAL, ttl: 64 }],
    source: createSource({
      space,
      order: createOrder(space.total, { seed: 7n, worker }),
      worker,
      paths: { first: words(FIRST), last: words(LAST), path: Uint16Array.of(0) },
    }),
    ports: createSourcePorts(61_000, 65_534, 7),
    isnKey: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
    seed: 7,
    retries: 2,
    wait: { initialUs: 50_000, minUs: 50_000, maxUs: 50_000 },
    // Adaptive, and never so slow that a batch is one packet.
    rate: { minimum: 2e6, maximum: 4e6 },
    pilotPorts: { first: 60_900, last: 60_963 },
    capacity: 1 << 16,
    startUs: 0.5,
  });
}

tcp.emit(answer, ipv4.HEADER_LENGTH, {
  sourcePort: 0,
  destinationPort: 0,
  sequence: 0,
  acknowledgement: 0,
  dataOffset: tcp.HEADER_LENGTH,
  flags: 0,
  window: 0,
  checksum: 0,
  urgentPointer: 0,
  options: new Uint8Array(0),
});

/** Turns `answer` into what answers the SYN at `at`: one port in eight is open. */
function answerTo(at: number): void {
  const syn = at + ipv4.HEADER_LENGTH;
  for (let i = 0; i < 4; i++) answer[ipv4.SOURCE + i] = packets[at + ipv4.DESTINATION + i];
  putU16(answer, ipv4.CHECKSUM, 0);
  putU16(answer, ipv4.CHECKSUM, checksum(answer, 0, ipv4.HEADER_LENGTH));
  const segment = ipv4.HEADER_LENGTH;
  for (let i = 0; i < 2; i++) {
    answer[segment + tcp.SOURCE_PORT + i] = packets[syn + tcp.DESTINATION_PORT + i];
    answer[segment + tcp.DESTINATION_PORT + i] = packets[syn + tcp.SOURCE_PORT + i];
  }
  putU32(answer, segment + tcp.ACKNOWLEDGEMENT, i32(packets, syn + tcp.SEQUENCE) + 1);
  const isOpen = (packets[syn + tcp.DESTINATION_PORT + 1] & 7) === 0;
  answer[segment + tcp.DATA_OFFSET + 1] = tcp.FLAGS.ACK | (isOpen ? tcp.FLAGS.SYN : tcp.FLAGS.RST);
  tcp.fillChecksum(answer, segment, answer.length, pseudo());
}

const pseudo = (): number =>
  pseudoSum4(answer, ipv4.SOURCE, ipv4.DESTINATION, PROTOCOL.TCP, tcp.HEADER_LENGTH);

/** Engine time in microseconds, with a fraction, as a real clock's. */
let nowUs = 0.5;

/** Probes until `decided` pairs have their verdicts: every third try is lost, the others are answered. */
function probe(decided: number): void {
  const { pollTransmit, handleDeparture, handlePacket, handleTimeout, pollVerdict, counts } = engine;
  while (counts.decided < decided) {
    let count = 0;
    while (count < SLOTS && pollTransmit(nowUs, packets, count * SLOT_LENGTH, count) > 0) count++;
    if (count > 0) handleDeparture(0, count, nowUs, nowUs + 100.25);
    nowUs += 300.125;
    for (let slot = 0; slot < count; slot++) {
      if (slot % 3 === 0) continue;
      answerTo(slot * SLOT_LENGTH);
      handlePacket(answer, 0, answer.length, nowUs, slot);
    }
    handleTimeout(nowUs);
    while (pollVerdict() !== undefined);
  }
}

const session = new Session();
session.connect();
probe(WARM_UP);
await session.post("HeapProfiler.startSampling", {
  samplingInterval: 1024,
  includeObjectsCollectedByMajorGC: true,
  includeObjectsCollectedByMinorGC: true,
});
const before = { ...engine.counts.states };
probe(WARM_UP + PROFILED);
const after = engine.counts.states;
const { profile } = await session.post("HeapProfiler.stopSampling");

const bytes = new Map<string, number>();
function add({ callFrame, selfSize, children }: HeapProfiler.SamplingHeapProfileNode): void {
  const site = `${callFrame.functionName} (${callFrame.url.split("/").at(-1)}:${callFrame.lineNumber + 1})`;
  bytes.set(site, (bytes.get(site) ?? 0) + selfSize);
  for (const child of children) add(child);
}
add(profile.head);
const sites = [...bytes].sort(([, a], [, b]) => b - a);
console.log(
  JSON.stringify({
    inFlight: PROFILED,
    open: after.open - before.open,
    closed: after.closed - before.closed,
    filtered: after.filtered - before.filtered,
    sites,
  } satisfies Profile),
);
