/** A cell's results are taken whole and once: what is missing, changed, doubled or of another cell is noticed before any is handed on. */
import { createHash } from "node:crypto";
import { deflateRawSync } from "node:zlib";
import type { Redis } from "ioredis";
import { beforeEach, describe, expect, it } from "vitest";
import { packChunk } from "../../../src/runtime/fleet/chunk.ts";
import { createLedger } from "../../../src/runtime/fleet/ledger.ts";
import { foundKey, type Manifest, readManifest, signManifest } from "../../../src/runtime/fleet/registry.ts";
import { fetchResults, type ResultsOf, takeResults } from "../../../src/runtime/fleet/take.ts";
import type { Established } from "../../../src/scan/probe/result.ts";
import { RECORD_LENGTH, readRecord, writeRecord } from "../../../src/scan/probe/result-record.ts";
import { newVerdict } from "../../../src/scan/probe/verdict.ts";
import { cutByPrefix } from "../../../src/scan/targets/prefixes.ts";
import { createSpaceBuilder } from "../../../src/scan/targets/space-builder.ts";
import { address } from "../../sim/run.ts";

const builder = createSpaceBuilder();
builder.add(address("198.18.0.0"), address("198.18.0.3"), Uint16Array.of(22, 80));
builder.add(address("198.18.9.0"), address("198.18.9.3"), Uint16Array.of(22, 80));
const space = builder.build();
const ledger = createLedger({ space, prefixes: cutByPrefix(space, { seed: 1n, most: 8 }) });
const cell = ledger.cut({ pairs: 4 }) ?? { from: 0, to: 0, pairs: 0 };
const job = "cell-0-1";
const KEY = "the key";

/** A record of the pair with a number, counted as a worker counts. */
function record(index: number, was: "filtered" | null = null): Uint8Array {
  const bytes = new Uint8Array(RECORD_LENGTH);
  const pair = { words: new Uint32Array(4), port: 0 };
  space.pairAt(index, pair);
  const seen = { peer: pair.words, port: pair.port, state: "open", reason: "syn-ack", was } as const;
  writeRecord(bytes, 0, { ...newVerdict(), position: 1000 + index, ...seen }, 1e15);
  return bytes;
}
const ofCell = ledger
  .numbers(cell)
  .flatMap(([from, to]) => Array.from({ length: to - from }, (_, i) => from + i));
const others = Array.from({ length: space.total }, (_, i) => i).filter((i) => !ofCell.includes(i));

let stored: Buffer[] = [];
let given: { position: number; established: Established | undefined }[] = [];
let results: number[] = [];
const of: ResultsOf = {
  redis: {
    hgetBuffer: (key: string, number: string) =>
      Promise.resolve(key === foundKey("run", job, "token") ? (stored[Number(number)] ?? null) : null),
  } as unknown as Redis,
  space,
  ledger,
  first: 0,
  hooks: {
    keepsRecords: true,
    wants: ["open"],
    onRecords: (bytes, count, established) => {
      for (let i = 0; i < count; i++)
        given.push({ position: readRecord(bytes, i * RECORD_LENGTH).position, established });
    },
    onResult: ({ position }) => results.push(position),
    onCapture: () => {},
    onRateChanges: () => {},
    onReport: () => {},
    room: () => undefined,
  },
};

/** Stores pieces of so many records each. */
function store(records: readonly Uint8Array[], each = 3, extras = new Map<number, Established>()): Manifest {
  stored = [];
  for (let i = 0; i < records.length; i += each) {
    const some = records.slice(i, i + each);
    stored.push(packChunk({ records: Buffer.concat(some), count: some.length, extras }));
  }
  const digest = createHash("sha256").update(Buffer.concat(stored)).digest("hex");
  const said = { token: "token", worker: "w", pairs: cell.pairs, elapsedMs: 1, totals: {} };
  return signManifest(KEY, "run", job, { ...said, chunks: stored.length, digest });
}
const fetched = (said: Manifest) => fetchResults(of, "run", job, cell, said);

beforeEach(() => {
  given = [];
  results = [];
});

describe("results of a cell", () => {
  it("are handed on in order, each at its pair's position in the run", async () => {
    expect(ofCell).toHaveLength(8);
    const established: Established = { ms: 1, ending: "fin" };
    const said = store(
      ofCell.map((i) => record(i)),
      8,
      new Map([[2, established]]),
    );
    const pieces = await fetched(said);
    expect(pieces).toHaveLength(1);
    expect(given).toEqual([]);
    await takeResults(of, pieces as Buffer[]);
    expect(given).toEqual(
      ofCell.map((position, i) => ({ position, established: i === 2 ? established : undefined })),
    );
    expect(results).toEqual(ofCell);
  });

  it("may correct each other", async () => {
    const [first, ...rest] = ofCell.map((i) => record(i));
    expect(await fetched(store([first, ...rest, record(ofCell[0], "filtered")]))).toHaveLength(3);
    expect(await fetched(store([record(ofCell[0], "filtered"), first, ...rest]))).toMatch(/stand twice/);
    // What it corrects has to be there.
    expect(await fetched(store([record(ofCell[0], "filtered"), ...rest]))).toMatch(/stand twice/);
  });

  it("are refused when one is missing, stands twice, or is another cell's", async () => {
    const all = ofCell.map((i) => record(i));
    expect(await fetched(store(all.slice(1)))).toBe("7 results for 8 pairs");
    expect(await fetched(store([...all, all[3]]))).toMatch(/stand twice/);
    expect(await fetched(store([...all.slice(1), record(others[0])]))).toMatch(/not in its cell/);
    expect(given).toEqual([]);
  });

  it("are refused when they changed on the way, and lost when Redis has lost some", async () => {
    const said = store(ofCell.map((i) => record(i)));
    stored.reverse();
    expect(await fetched(said)).toMatch(/changed on the way/);
    stored.pop();
    expect(await fetched(said)).toBeUndefined();
  });

  it("are refused when another version has packed them", async () => {
    const said = store(ofCell.map((i) => record(i)));
    const ofOther = [
      Buffer.from("no DEFLATE"),
      deflateRawSync("abc"),
      deflateRawSync(Buffer.alloc(5 + RECORD_LENGTH)),
      // What is beside the records is no list.
      deflateRawSync(Buffer.concat([Buffer.from([0, 0, 0, 4]), Buffer.from("1234"), record(ofCell[0])])),
    ];
    for (const packed of ofOther) {
      stored = [packed];
      const digest = createHash("sha256").update(packed).digest("hex");
      expect(await fetched({ ...said, chunks: 1, digest })).toMatch(/packed as this version does not read/);
    }
  });

  it("count only with their worker's signature", () => {
    const said = store(ofCell.map((i) => record(i)));
    expect(readManifest(JSON.parse(JSON.stringify(said)), KEY, "run", job)).toEqual(said);
    expect(readManifest(said, "another", "run", job)).toBeUndefined();
    expect(readManifest(said, KEY, "run", "cell-1-2")).toBeUndefined();
    const changes = {
      token: "t",
      worker: "v",
      chunks: 9,
      pairs: 9,
      elapsedMs: 9,
      totals: { sent: 9 },
      digest: "",
    };
    for (const [name, value] of Object.entries(changes))
      expect(readManifest({ ...said, [name]: value }, KEY, "run", job), name).toBeUndefined();
    expect(Object.keys({ ...changes, signature: "" }).sort()).toEqual(Object.keys(said).sort());
    expect(readManifest(null, KEY, "run", job)).toBeUndefined();
  });
});
