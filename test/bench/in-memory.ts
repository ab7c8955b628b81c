/**
 * An engine without a network: every SYN is answered in memory, or none is. For
 * `npm run bench:engine`, the test of allocations and test/sim/digest.ts.
 */
import { createEngine, type Engine, type EngineOptions } from "../../src/scan/engine/engine.ts";
import { canaryPorts } from "../../src/scan/hosts/canary-ports.ts";
import { createOrder } from "../../src/scan/targets/permutation.ts";
import { createSource } from "../../src/scan/targets/source.ts";
import { createSpaceBuilder } from "../../src/scan/targets/space-builder.ts";
import { createSourcePorts } from "../../src/socket/ports.ts";
import { ADDRESS_WORDS, loadAddress } from "../../src/socket/table.ts";
import { parseAddress } from "../../src/wire/address.ts";
import { i32, putU16, putU32, u16 } from "../../src/wire/bytes.ts";
import { checksum, sum } from "../../src/wire/checksum.ts";

/** SYNs that are sent at once, and the room for each. */
export const SLOTS = 256;
export const SLOT_LENGTH = 128;
/** Hosts, and ports of each. */
export const HOSTS = 65_536;
export const PORTS = 64;

const NETWORKS = {
  4: { local: "192.0.2.1", first: "198.18.0.0", last: "198.18.255.255" },
  6: { local: "2001:db8::1", first: "2001:db8:1::", last: "2001:db8:1::ffff" },
} as const;
export type Family = keyof typeof NETWORKS;

/** Adapts its rate, sends pilots, and looks for tarpits, as a run does when nothing is said; but is never so slow that a batch is one packet. */
export function createEngineInMemory(family: Family, options: Partial<EngineOptions> = {}): Engine {
  const [local, first, last] = (["local", "first", "last"] as const).map((name) => {
    const address = parseAddress(NETWORKS[family][name]);
    if (address === undefined) throw new Error(`not an address: ${NETWORKS[family][name]}`);
    return address;
  });
  const words = (address: Uint8Array): Uint32Array => {
    const loaded = new Uint32Array(ADDRESS_WORDS);
    loadAddress(loaded, 0, address, 0, address.length);
    return loaded;
  };
  const builder = createSpaceBuilder();
  builder.add(
    first,
    last,
    Uint16Array.from({ length: PORTS }, (_, i) => i + 1),
  );
  const space = builder.build();
  const worker = { index: 0, count: 1 };
  return createEngine({
    paths: [{ local, ttl: 64 }],
    source: createSource({
      space,
      order: createOrder(space.total, { seed: 7n, worker }),
      worker,
      paths: { first: words(first), last: words(last), path: Uint16Array.of(0) },
    }),
    ports: createSourcePorts(61_000, 65_534, 7),
    isnKey: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
    seed: 7,
    retries: 2,
    wait: { initialUs: 50_000, minUs: 50_000, maxUs: 50_000 },
    rate: { minimum: 2e6, maximum: 4e6 },
    controlPorts: { first: 60_900, last: 60_963 },
    canaryPorts: canaryPorts([]),
    hosts: space.hosts,
    capacity: 1 << 16,
    startUs: 0.5,
    ...options,
  });
}

/** Which hosts answer: all, none, or every second one. */
export type Share = "answered" | "half" | "silent";
export const isAnswered = (packets: Uint8Array, at: number, family: Family, share: Share): boolean =>
  share === "answered" || (share === "half" && (packets[at + (family === 4 ? 19 : 39)] & 1) === 0);

/** @returns a packet, and what makes it the answer to the SYN at `packets[at]`: one port in eight is open */
export function createAnswers(family: Family): {
  readonly answer: Uint8Array;
  answerTo(packets: Uint8Array, at: number): void;
} {
  const header = family === 4 ? 20 : 40;
  const source = family === 4 ? 12 : 8;
  const length = family === 4 ? 4 : 16;
  const answer = new Uint8Array(header + 20);
  if (family === 4) answer.set([0x45, 0, 0, answer.length, 0, 0, 0x40, 0, 64, 6]);
  else answer.set([0x60, 0, 0, 0, 0, 20, 6, 64]);
  answer[header + 12] = 0x50;
  return {
    answer,
    answerTo: (packets, at) => {
      const syn = at + header;
      // Addresses and ports change places.
      for (let i = 0; i < length; i++) {
        answer[source + i] = packets[at + source + length + i];
        answer[source + length + i] = packets[at + source + i];
      }
      putU16(answer, header, u16(packets, syn + 2));
      putU16(answer, header + 2, u16(packets, syn));
      putU32(answer, header + 8, i32(packets, syn + 4) + 1);
      // SYN-ACK or RST-ACK.
      answer[header + 13] = (packets[syn + 3] & 7) === 0 ? 0x12 : 0x14;
      putU16(answer, header + 16, 0);
      const pseudo = sum(answer, source, source + 2 * length, 6 + 20);
      putU16(answer, header + 16, checksum(answer, header, header + 20, pseudo));
      if (family === 6) return;
      putU16(answer, 10, 0);
      putU16(answer, 10, checksum(answer, 0, header));
    },
  };
}
