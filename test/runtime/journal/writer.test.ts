/**
 * Journals: what was appended comes back, after any crash, torn block or flipped bit, once; and what cannot be read is
 * refused.
 */
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { BLOCKS, sealBlock } from "../../../src/runtime/journal/blocks.ts";
import { openJournal, type Past } from "../../../src/runtime/journal/reader.ts";
import { createJournal, type Journal, type JournalHeader } from "../../../src/runtime/journal/writer.ts";
import { RECORD_LENGTH, readRecord } from "../../../src/scan/probe/result-record.ts";
import { ROOT, run, start } from "../../cli/process.ts";
import { everyday } from "../../everyday.ts";
import { skipping } from "../../lab/netns.ts";
import { createSeededRandom } from "../../sim/random.ts";
import { HEADER, putSample, sampleRecords } from "./journal-samples.ts";

/** A disk that counts its syncs, and can fail in one. They cost nothing: real ones are left to the processes below. */
const disk = vi.hoisted(() => ({ syncs: 0, fails: false }));
vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>();
  const EIO = Object.assign(new Error("i/o error"), { code: "EIO" });
  return {
    ...fs,
    fdatasync: (_fd: number, done: (error: Error | null) => void) => {
      disk.syncs++;
      setImmediate(() => done(disk.fails ? EIO : null));
    },
    fdatasyncSync: () => {
      disk.syncs++;
      if (disk.fails) throw EIO;
    },
  };
});

const HEAD = 20;
/** What a result replays as: its position, which version of it, its extra. */
type Result = readonly [position: number, version: number, extra?: object];

let folder = "";
let files = 0;
const opened: { close(): unknown }[] = [];
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "synprobe-journal-"));
});
afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
});
afterAll(() => rmSync(folder, { recursive: true }));

const newPath = (): string => join(folder, `journal-${files++}`);

async function create(path: string, header: JournalHeader = HEADER): Promise<Journal> {
  const journal = await createJournal(path, header);
  opened.push(journal);
  return journal;
}

const oneWorker = (): number => 0;

async function resume(path: string, workerOf: (position: number) => number = oneWorker): Promise<Past> {
  const past = await (await openJournal(path)).resume(HEADER, workerOf);
  opened.push(past.journal);
  return past;
}

/** Opens, reads, closes. */
async function readBack(path: string): Promise<Past & { results: Result[] }> {
  const past = await resume(path);
  const results = replayed(past);
  await past.journal.close();
  return { ...past, results };
}

function replayed(past: Past): Result[] {
  return Array.from(past.replay(), ({ bytes, at, extra }) => {
    const { position, port } = readRecord(bytes, at);
    return extra === undefined ? ([position, port] as const) : ([position, port, extra] as const);
  });
}

const positionsOf = (past: Past): number[] => replayed(past).map(([position]) => position);

function members(past: Past): number[] {
  const all: number[] = [];
  past.above.forEach((position) => void all.push(position));
  return all.sort((a, b) => a - b);
}

/** Appends one result. */
function one(journal: Journal, position: number, version = 1, extra?: object): void {
  const b = new Uint8Array(RECORD_LENGTH);
  putSample(b, 0, position, version);
  journal.results(b, 1, extra && new Map([[0, extra]]));
}

/** Where the blocks of a journal begin, and where the last one ends; by the heads alone. */
function boundaries(path: string): number[] {
  const bytes = readFileSync(path);
  const at = [0];
  for (let end = 0; end < bytes.length; at.push(end)) end += HEAD + bytes.readUIntBE(end + 9, 3);
  return at;
}

const range = (end: number): number[] => Array.from({ length: end }, (_, i) => i);

const journalError = (message: RegExp): object =>
  expect.objectContaining({ code: "ERR_JOURNAL", message: expect.stringMatching(message) });

describe("a journal", () => {
  it("that was killed before it said anything is not complete", async () => {
    const path = newPath();
    await (await create(path)).close();
    expect(await readBack(path)).toMatchObject({ decided: 0, complete: false, cut: 0, results: [] });
  });

  it("gives back what was appended, and goes on", async () => {
    const path = newPath();
    const journal = await create(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    journal.results(sampleRecords(0, 3000), 3000);
    one(journal, 3000, 1, { established: { ms: 1.5 } });
    journal.checkpoint({ marks: [2900], totals: { sent: 3100, ignored: { foreign: 2 } } });
    one(journal, 3002);
    await journal.flush();
    await journal.close();

    const stored = await openJournal(path);
    expect(stored.header).toEqual(HEADER);
    const past = await stored.resume(HEADER, oneWorker);
    opened.push(past.journal);
    expect(past).toMatchObject({ decided: 3002, complete: false, cut: 0 });
    expect(past.checkpoint).toEqual({ marks: [2900], totals: { sent: 3100, ignored: { foreign: 2 } } });
    expect(members(past)).toEqual([...range(100).map((i) => 2900 + i), 3000, 3002]);
    const all: Result[] = [
      ...range(3000).map((i): Result => [i, 1]),
      [3000, 1, { established: { ms: 1.5 } }],
      [3002, 1],
    ];
    expect(replayed(past)).toEqual(all);

    one(past.journal, 3001);
    // What is appended meanwhile is not the past's.
    expect(replayed(past)).toEqual(all);
    await past.journal.finish({ marks: [3003], totals: { sent: 3200 } });
    await past.journal.close();

    const end = await readBack(path);
    expect(end).toMatchObject({ decided: 3003, complete: true, cut: 0 });
    expect(end.checkpoint).toEqual({ marks: [3003], totals: { sent: 3200 } });
    expect(end.above.size).toBe(0);
    expect(end.results).toEqual([...all, [3001, 1]]);
  });

  it("keeps the highest mark of each worker, whatever later checkpoints say", async () => {
    const path = newPath();
    const journal = await create(path);
    journal.results(sampleRecords(0, 10), 10);
    journal.checkpoint({ marks: [6, 3], totals: { sent: 10 } });
    // A run that goes on, one of whose workers has not begun when another reports.
    journal.checkpoint({ marks: [0, 5], totals: { sent: 11 } });
    journal.flushSync();
    await journal.close();
    const past = await resume(path, (position) => position % 2);
    expect(past.checkpoint).toEqual({ marks: [6, 5], totals: { sent: 11 } });
    expect(members(past)).toEqual([5, 6, 7, 8, 9]);
  });

  it("keeps the extras of a batch beside their records", async () => {
    const path = newPath();
    const journal = await create(path);
    const extras = new Map([9, 0, 4, 5].map((i) => [i, { banner: `of ${i}` }]));
    journal.results(sampleRecords(0, 10), 10, extras);
    journal.results(sampleRecords(10, 1), 1, new Map());
    journal.flushSync();
    await journal.close();
    expect((await readBack(path)).results).toEqual(
      range(11).map((i) => (extras.has(i) ? [i, 1, extras.get(i)] : [i, 1])),
    );
  });

  it("is the same after any number of crashes, as a plain list of it says", async () => {
    const step = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({ kind: fc.constant("results"), count: fc.integer({ min: 1, max: 40 }) }),
      },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant("again"), count: fc.nat(1000) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("checkpoint"), count: fc.nat(100) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("crash"), count: fc.constant(0) }) },
    );
    const workers = 3;
    const workerOf = (position: number): number => position % workers;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.nat(2 ** 30), async (steps, seed) => {
        const random = createSeededRandom(seed);
        const path = newPath();
        let journal = await createJournal(path, HEADER);
        /** Last version by position, in the order of the last records; the highest position that may be decided. */
        const oracle = new Map<number, number>();
        const extras = new Map<number, object>();
        let started = 0;
        let marks = Array.from({ length: workers }, () => 0);
        const append = (position: number, version: number): void => {
          oracle.delete(position);
          oracle.set(position, version);
          extras.delete(position);
          const extra = random(4) === 0 ? { banner: `${position} ${version}` } : undefined;
          if (extra !== undefined) extras.set(position, extra);
          one(journal, position, version, extra);
        };
        for (const { kind, count } of [...steps, { kind: "crash", count: 0 }]) {
          if (kind === "results") {
            // Out of order, and some are not decided yet.
            started += count;
            for (let i = 0; i < count; i++) {
              const position = random(started);
              if (!oracle.has(position)) append(position, 1);
            }
          } else if (kind === "again" && oracle.size > 0) {
            const position = [...oracle.keys()][count % oracle.size];
            append(position, (oracle.get(position) ?? 0) + 1);
          } else if (kind === "checkpoint") {
            marks = marks.map((mark, worker) => {
              let next = mark;
              while (next < started && (workerOf(next) !== worker || oracle.has(next))) next++;
              return next;
            });
            journal.checkpoint({ marks, totals: { count } });
          } else if (kind === "crash") {
            await journal.flush();
            await journal.close();
            const past = await (await openJournal(path)).resume(HEADER, workerOf);
            journal = past.journal;
            expect(past.decided).toBe(oracle.size);
            expect(replayed(past)).toEqual(
              [...oracle].map(([position, version]) =>
                extras.has(position) ? [position, version, extras.get(position)] : [position, version],
              ),
            );
            const covered = past.checkpoint?.marks ?? marks.map(() => 0);
            expect(covered).toEqual(marks);
            const above = [...oracle.keys()].filter((position) => position >= covered[workerOf(position)]);
            expect(members(past)).toEqual(above.sort((a, b) => a - b));
          }
        }
        await journal.close();
        rmSync(path);
      }),
      { numRuns: everyday(12, 60) },
    );
  });

  it("has room for headers and extras of any size that a command line or a banner may have", async () => {
    const path = newPath();
    const header = { ...HEADER, command: "x".repeat(3 << 20) };
    const journal = await create(path, header);
    one(journal, 0);
    one(journal, 1, 1, { banner: "y".repeat(2 << 20) });
    await journal.flush();
    await journal.close();
    const stored = await openJournal(path);
    opened.push(stored);
    expect(stored.header).toEqual(header);
    const past = await stored.resume(HEADER, oneWorker);
    expect(replayed(past).map(([position, , extra]) => [position, JSON.stringify(extra)?.length])).toEqual([
      [0, undefined],
      [1, (2 << 20) + '{"banner":""}'.length],
    ]);
    expect(() => one(past.journal, 2, 1, { banner: "z".repeat(1 << 24) })).toThrow(RangeError);
  });

  it("remembers only what is above the marks, however many results there are", async () => {
    const path = newPath();
    const journal = await create(path);
    const batch = 50_000;
    const batches = everyday(8, 30);
    for (let i = 0; i < batches; i++) {
      journal.results(sampleRecords(i * batch, batch), batch);
      // Of every batch but the last, one result comes twice: once above, once below the mark.
      if (i > 0) one(journal, i * batch - 1, 2);
      journal.checkpoint({ marks: [(i + 1) * batch - 2], totals: {} });
      if (i > 0) one(journal, i * batch - 2, 2);
    }
    journal.flushSync();
    await journal.close();
    const past = await resume(path);
    expect(past).toMatchObject({ decided: batches * batch, cut: 0 });
    expect(members(past)).toEqual([batches * batch - 2, batches * batch - 1]);
    const seen = new Uint8Array(batches * batch);
    let wrong = 0;
    for (const { bytes, at } of past.replay()) {
      const { position, port } = readRecord(bytes, at);
      const twice = position < (batches - 1) * batch && (position + 2) % batch < 2;
      if (seen[position]++ > 0 || port !== (twice ? 2 : 1)) wrong++;
    }
    expect([wrong, seen.indexOf(0)]).toEqual([0, -1]);
  });
});

describe("after a crash", () => {
  /** A journal of a few blocks of each kind, each synced before the next was made, and what it holds up to each block's end. */
  async function sample(): Promise<{ path: string; ends: { at: number; results: Result[] }[] }> {
    const path = newPath();
    const journal = await create(path);
    const results: Result[] = [];
    const ends = [{ at: statSync(path).size, results: [] as Result[] }];
    const block = (append: () => void, ...added: Result[]): void => {
      append();
      journal.flushSync();
      results.push(...added);
      ends.push({ at: statSync(path).size, results: [...results] });
    };
    block(() => journal.results(sampleRecords(0, 2), 2), [0, 1], [1, 1]);
    block(() => journal.checkpoint({ marks: [2], totals: {} }));
    block(() => one(journal, 2, 1, { ending: "fin" }), [2, 1, { ending: "fin" }]);
    block(() => journal.results(sampleRecords(3, 3), 3), [3, 1], [4, 1], [5, 1]);
    await journal.finish({ marks: [6], totals: {} });
    ends.push({ at: statSync(path).size, results });
    await journal.close();
    expect(boundaries(path)).toEqual([0, ...ends.map(({ at }) => at)]);
    return { path, ends };
  }

  it("loses a torn block and nothing else, wherever it is torn, and goes on after it", async () => {
    const { path, ends } = await sample();
    const torn = newPath();
    for (let length = ends[ends.length - 1].at; length >= ends[0].at; length -= everyday(3, 1)) {
      copyFileSync(path, torn);
      truncateSync(torn, length);
      const whole = ends.filter(({ at }) => at <= length).slice(-1)[0];
      const past = await resume(torn);
      expect([past.cut, replayed(past)]).toEqual([length - whole.at, whole.results]);
      expect(past.complete).toBe(length === ends[ends.length - 1].at);
      expect(statSync(torn).size).toBe(whole.at);
      one(past.journal, 99);
      past.journal.flushSync();
      await past.journal.close();
      expect((await readBack(torn)).results).toEqual([...whole.results, [99, 1]]);
    }
  });

  it("a file that ends within its header has nothing to go on with", async () => {
    const { path, ends } = await sample();
    const torn = newPath();
    for (let length = 0; length < ends[0].at; length++) {
      copyFileSync(path, torn);
      truncateSync(torn, length);
      const what = length === 0 ? "is empty" : "breaks off within its first block";
      await expect(openJournal(torn)).rejects.toEqual(
        journalError(new RegExp(`${what}: .* remove it and start again`)),
      );
    }
  });

  it("any flipped bit is found: in the last block it is a torn end, before it damage", async () => {
    const { path, ends } = await sample();
    const bytes = readFileSync(path);
    const flipped = newPath();
    const last = ends[ends.length - 2];
    for (let bit = 0; bit < 8 * bytes.length; bit += everyday(13, 1)) {
      const at = bit >> 3;
      const bad = Buffer.from(bytes);
      bad[at] ^= 1 << (bit & 7);
      writeFileSync(flipped, bad);
      if (at >= last.at) {
        expect(await readBack(flipped)).toMatchObject({
          results: last.results,
          complete: false,
          cut: bytes.length - last.at,
        });
        continue;
      }
      const error: unknown = await readBack(flipped).catch((caught: unknown) => caught);
      const block = ends.filter((end) => end.at <= at).slice(-1)[0]?.at ?? 0;
      if (at < 3) expect(error).toEqual(journalError(/is not a synprobe journal/));
      else if (at === 3)
        expect(error).toEqual(journalError(/has format (.|\\x..), and this synprobe reads format 1/));
      else
        expect(error).toEqual(
          journalError(
            new RegExp(
              `is damaged at byte ${block}, .*${block === 0 ? "or remove it and start" : `truncate -s ${block} `}`,
            ),
          ),
        );
      expect(statSync(flipped).size).toBe(bytes.length);
    }
  });

  it("damage is known by good blocks however far behind it they are", async () => {
    const path = newPath();
    const journal = await create(path);
    await journal.close();
    const begin = statSync(path).size;
    const far = Buffer.alloc(HEAD + 2);
    far.write("{}", HEAD);
    sealBlock(far, 0, BLOCKS.checkpoint, 2, begin + 1);
    // The file is read a megabyte at a time: the far block begins at every place around the end of the first.
    for (let gap = 2 ** 20 - begin - 4; gap <= 2 ** 20 - begin + 4; gap++) {
      truncateSync(path, begin);
      appendFileSync(path, Buffer.concat([Buffer.alloc(gap, "SPJ"), far]));
      await expect(readBack(path)).rejects.toEqual(journalError(new RegExp(`is damaged at byte ${begin},`)));
    }
  });

  it("damage can be cut off as the message says", async () => {
    const { path, ends } = await sample();
    const bytes = readFileSync(path);
    bytes[ends[1].at + 3] ^= 4;
    writeFileSync(path, bytes);
    const error: unknown = await readBack(path).catch((caught: unknown) => caught);
    const [command] = /truncate -s \d+ \S+(?=")/.exec(String(error)) ?? [""];
    execFileSync(command, { shell: true });
    expect((await readBack(path)).results).toEqual(ends[1].results);
  });

  it("pages that the power failure kept from the disk are a torn end, whatever stands after them", async () => {
    const path = newPath();
    const journal = await create(path);
    one(journal, 0);
    journal.flushSync();
    const synced = statSync(path).size;
    // Written in one go and not synced: the kernel may write these pages in any order.
    for (let i = 1; i <= 200; i++) {
      one(journal, i);
      journal.checkpoint({ marks: [i + 1], totals: {} });
    }
    journal.flushSync();
    await journal.close();
    const bytes = readFileSync(path);
    for (let from = Math.ceil(synced / 4096) * 4096; from < bytes.length; from += 4096) {
      const missing = Buffer.from(bytes);
      missing.fill(0, from, Math.min(from + 4096, bytes.length));
      const hole = newPath();
      writeFileSync(hole, missing);
      const { results, cut } = await readBack(hole);
      const end = boundaries(path)
        .filter((at) => at <= from)
        .slice(-1)[0];
      expect(cut).toBe(bytes.length - end);
      expect(results).toEqual(range(results.length).map((i) => [i, 1]));
      expect(results.length).toBeGreaterThan(10);
    }
    // With one more flush after them, the same pages had been on the disk.
    const past = await resume(path);
    one(past.journal, 201);
    past.journal.flushSync();
    await past.journal.close();
    const failing = readFileSync(path).fill(0, 8192, 8192 + 4096);
    writeFileSync(path, failing);
    await expect(readBack(path)).rejects.toEqual(journalError(/is damaged at byte/));
  });

  it("zeros, or the beginning of another block, at the end are cut off", async () => {
    const { path, ends } = await sample();
    const end = ends[ends.length - 1];
    for (const tail of [
      Buffer.alloc(5000),
      Buffer.from("SPJ1"),
      Buffer.from("SPJ1SPJ1\x02\xff\xff\xff", "latin1"),
    ]) {
      appendFileSync(path, tail);
      const { results, cut, complete } = await readBack(path);
      expect({ results, cut, complete }).toEqual({ results: end.results, cut: tail.length, complete: true });
    }
  });
});

describe("a journal is refused", () => {
  it("when the file exists, and it is left as it was", async () => {
    const path = newPath();
    writeFileSync(path, "precious");
    await expect(createJournal(path, HEADER)).rejects.toEqual(
      journalError(new RegExp(`^${path} exists already and is no journal: it is left alone, `)),
    );
    expect(readFileSync(path, "utf8")).toBe("precious");
    const other = newPath();
    await (await createJournal(other, HEADER)).close();
    const whole = readFileSync(other);
    await expect(createJournal(other, HEADER)).rejects.toEqual(
      journalError(new RegExp(`^journal ${other} exists already: --resume ${other} continues its run; `)),
    );
    expect(readFileSync(other)).toEqual(whole);
    const link = newPath();
    symlinkSync(join(folder, "elsewhere"), link);
    await expect(createJournal(link, HEADER)).rejects.toEqual(journalError(/exists already/));
    expect(existsSync(join(folder, "elsewhere"))).toBe(false);
  });

  it.each([
    [
      "its directory does not exist",
      "nowhere/journal",
      /^cannot create journal .*: its directory does not exist$/,
    ],
    ["its directory is a file", "file/journal", /^cannot create journal .*: ENOTDIR$/],
  ])("when %s", async (_what, name, message) => {
    writeFileSync(join(folder, "file"), "");
    await expect(createJournal(join(folder, name), HEADER)).rejects.toEqual(journalError(message));
  });

  it("when there is none, or something else", async () => {
    const path = newPath();
    await expect(openJournal(path)).rejects.toEqual(
      journalError(/^there is no journal .*: --journal .* starts one$/),
    );
    await expect(openJournal(folder)).rejects.toEqual(
      journalError(/^cannot open journal .*: it is a directory$/),
    );
    await expect(openJournal("/dev/null")).rejects.toEqual(
      journalError(/^\/dev\/null is not a synprobe journal$/),
    );
    for (const text of ["x", "synprobe's table\n".repeat(1000), "SP!", "\0\0\0\0"]) {
      writeFileSync(path, text);
      await expect(openJournal(path)).rejects.toEqual(journalError(/is not a synprobe journal$/));
      expect(readFileSync(path, "utf8")).toBe(text);
    }
    writeFileSync(path, `SPJ9${"\0".repeat(100)}`);
    await expect(openJournal(path)).rejects.toEqual(
      journalError(
        /has format 9, and this synprobe reads format 1: resume it with the version that made it$/,
      ),
    );
  });

  it.each([[[-1]], [[1.5]], [["1"]], [{}]])(
    "when a checkpoint has marks that cannot be: %j",
    async (marks) => {
      const path = newPath();
      const journal = await create(path);
      journal.checkpoint({ marks, totals: {} } as unknown as Parameters<Journal["checkpoint"]>[0]);
      await journal.flush();
      await journal.close();
      await expect(resume(path)).rejects.toEqual(journalError(/has no meaning$/));
    },
  );

  it("when what it says of excludes has no meaning; else it is told before the run is judged", async () => {
    const path = newPath();
    const journal = await create(path);
    const at = { marks: [0], totals: {} };
    const excluded = { hosts: ["198.18.0.0/24"], ports: [22] };
    journal.checkpoint({ ...at, excluded });
    one(journal, 0);
    journal.checkpoint(at);
    journal.checkpoint({ ...at, excluded: { hosts: ["2001:db8::1"], ports: [] } });
    await journal.flush();
    await journal.close();
    const both = { hosts: ["198.18.0.0/24", "2001:db8::1"], ports: [22] };
    const stored = await openJournal(path);
    expect(await stored.excluded(oneWorker)).toEqual(both);
    const past = await stored.resume(HEADER, oneWorker);
    opened.push(past.journal);
    expect(past).toMatchObject({ excluded: both, decided: 1, checkpoint: { marks: [0] } });
    past.journal.checkpoint({ ...at, excluded: { hosts: [7], ports: [] } } as unknown as Parameters<
      Journal["checkpoint"]
    >[0]);
    await past.journal.flush();
    await past.journal.close();
    await expect((await openJournal(path)).excluded(oneWorker)).rejects.toEqual(
      journalError(/has no meaning$/),
    );
    // It was closed with that.
    (await openJournal(path)).close();
  });

  it("when it is of other options or targets, and says which", async () => {
    const path = newPath();
    await (await create(path)).close();
    const refusal = async (run: Partial<JournalHeader>): Promise<unknown> =>
      (await openJournal(path)).resume({ ...HEADER, ...run }, oneWorker).catch((error: unknown) => error);
    const options = {
      ...HEADER.options,
      "--seed": 8,
      "--max-retries": null,
      "--complete": true,
      "--sequential": false,
    };
    expect(await refusal({ options })).toEqual(
      journalError(
        /other options: --seed was 7 and is 8, --max-retries was 3 and is not given, --complete was not given and is given, --sequential was given and is not given; resume/,
      ),
    );
    expect(await refusal({ options: { ...HEADER.options, "--shard": "1/2" } })).toEqual(
      journalError(
        /other options: --shard was not given and is 1\/2; resume with the same, or start a new journal$/,
      ),
    );
    expect(await refusal({ targets: "other" })).toEqual(
      journalError(/over other targets: .*; it was begun by: synprobe -iL list.txt --seed 7$/),
    );
    // What has no bearing on results may differ, and refusing has given the file back.
    const run = {
      ...HEADER,
      version: "9.9.9",
      createdMs: 0,
      command: "synprobe",
      options: { ...HEADER.options },
    };
    opened.push((await (await openJournal(path)).resume(run, oneWorker)).journal);
  });

  it("while somebody has it", async () => {
    const path = newPath();
    const journal = await create(path);
    const inUse = journalError(/is in use by another synprobe, process \d+: wait until it has ended$/);
    await expect(openJournal(path)).rejects.toEqual(inUse);
    const alias = newPath();
    symlinkSync(path, alias);
    await expect(openJournal(alias)).rejects.toEqual(inUse);
    await journal.close();
    const stored = await openJournal(path);
    await expect(openJournal(path)).rejects.toEqual(inUse);
    stored.close();
    opened.push(await openJournal(path));
  });
});

describe("writing", () => {
  it("is not done into a file that somebody else writes to, or has deleted", async () => {
    const path = newPath();
    const journal = await create(path);
    appendFileSync(path, "x");
    one(journal, 0);
    const changed = journalError(/^cannot write journal .*: somebody else has written to it$/);
    await expect(journal.flush()).rejects.toEqual(changed);
    expect(() => one(journal, 1)).toThrow(changed as unknown as Error);
    const other = await create(newPath());
    rmSync(other.path);
    one(other, 0);
    await expect(other.flush()).rejects.toEqual(journalError(/: somebody has deleted it$/));
  });

  it("ends with close, and what was not flushed is not there", async () => {
    const path = newPath();
    const journal = await create(path);
    one(journal, 0);
    await Promise.all([journal.flush(), journal.flush(), journal.flush()]);
    one(journal, 1);
    await journal.close();
    await journal.close();
    expect(() => one(journal, 2)).toThrow(/journal .* is closed/);
    expect((await readBack(path)).results).toEqual([[0, 1]]);
  });

  it("happens by itself when a megabyte has come together", async () => {
    const journal = await create(newPath());
    const before = statSync(journal.path).size;
    const records = sampleRecords(0, 16_000);
    journal.results(records, 16_000);
    journal.results(records, 2_000);
    expect(statSync(journal.path).size - before).toBeGreaterThan(900_000);
  });

  it("costs two syncs at most for all who ask while one is under way", async () => {
    const journal = await create(newPath());
    const before = disk.syncs;
    const flushes = range(10).map((i) => {
      one(journal, i);
      return journal.flush();
    });
    await Promise.all(flushes);
    expect(disk.syncs - before).toBe(2);
    await journal.flush();
    expect(disk.syncs - before).toBe(2);
    // The block made after them says that all of it is on the disk.
    const end = statSync(journal.path).size;
    one(journal, 10);
    journal.flushSync();
    expect(readFileSync(journal.path).readBigUInt64BE(end + 12)).toBe(BigInt(end));
    await journal.close();
    expect((await readBack(journal.path)).results).toEqual(range(11).map((i) => [i, 1]));
  });

  it("says nothing of what is not on the disk yet", async () => {
    const journal = await create(newPath());
    const end = statSync(journal.path).size;
    one(journal, 0);
    const flushed = journal.flush();
    const next = statSync(journal.path).size;
    journal.checkpoint({ marks: [1], totals: {} });
    await flushed;
    journal.flushSync();
    expect(readFileSync(journal.path).readBigUInt64BE(next + 12)).toBe(BigInt(end));
  });

  it("is over when the disk fails in a sync, for everybody and for good", async () => {
    const journal = await create(newPath());
    const failing = journalError(
      /^cannot write journal .*: input\/output error, the disk may be failing; put that right/,
    );
    try {
      disk.fails = true;
      one(journal, 0);
      const flushes = [journal.flush(), journal.flush()];
      for (const flush of flushes) await expect(flush).rejects.toEqual(failing);
      expect(() => one(journal, 1)).toThrow(/the disk may be failing/);
      expect(() => journal.checkpoint({ marks: [], totals: {} })).toThrow(/the disk may be failing/);
      expect(() => journal.flushSync()).toThrow(/the disk may be failing/);
    } finally {
      disk.fails = false;
    }
    await expect(journal.finish({ marks: [], totals: {} })).rejects.toEqual(failing);
    await journal.close();
    // The process lived on, so what was written is there.
    expect((await readBack(journal.path)).results).toEqual([[0, 1]]);
  });
});

describe("a process with a journal", () => {
  const SCRIPT = fileURLToPath(new URL("journal-process.ts", import.meta.url));
  const TSX = join(ROOT, "node_modules/tsx/dist/loader.mjs");
  const keeping = (path: string, how: "create" | "resume", limit = 0): string[] => [
    process.execPath,
    "--import",
    TSX,
    SCRIPT,
    path,
    how,
    String(limit),
  ];

  /** How many results the process has said to be in the file for good. */
  const flushed = (stdout: string): number => Number([...stdout.matchAll(/flushed (\d+)/g)].at(-1)?.[1] ?? 0);

  it("has it for itself, and no longer than it lives", async () => {
    const path = newPath();
    const running = start(keeping(path, "create"));
    await running.until("stdout", /flushed/);
    await expect(openJournal(path)).rejects.toEqual(journalError(/is in use by another synprobe/));
    running.kill("SIGKILL");
    await running.finished;
    expect((await readBack(path)).decided).toBeGreaterThan(0);
  });

  it("may be killed at any moment, again and again: what it has flushed is there, once", async () => {
    const path = newPath();
    let safe = 0;
    for (let round = 0; round < everyday(2, 5); round++) {
      const running = start(keeping(path, round === 0 ? "create" : "resume"));
      const rounds = new RegExp(`(flushed \\d+\\n){${1 + 7 * round}}`);
      await running.until("stdout", rounds);
      running.kill("SIGKILL");
      const { stdout } = await running.finished;
      const past = await resume(path);
      expect(past.decided).toBeGreaterThanOrEqual(flushed(stdout));
      expect(flushed(stdout)).toBeGreaterThan(safe);
      expect(positionsOf(past)).toEqual(range(past.decided));
      safe = past.decided;
      await past.journal.close();
    }
    const whole = safe + 10_000;
    const last = await run(keeping(path, "resume", whole));
    expect(last.stdout).toMatch(new RegExp(`^open ${safe}\n.*\ncomplete\n$`, "s"));
    const past = await resume(path);
    expect(past.complete).toBe(true);
    expect(positionsOf(past)).toEqual(range(whole));
  });

  /** Runs into a full disk, then goes on where there is room. */
  async function overflow(path: string, argv: readonly string[], why: RegExp): Promise<void> {
    const { status, stdout } = await run(argv);
    expect(stdout).toMatch(why);
    expect(status).toBe(1);
    expect(boundaries(path).at(-1)).toBe(statSync(path).size);
  }

  it("stops at a limit to the file's size, and goes on without it", async () => {
    const path = newPath();
    // In blocks of 1,024 bytes (bash), which two batches and a half of results fill.
    const limited = ["bash", "-c", 'ulimit -f 400; exec "$@"', "-", ...keeping(path, "create")];
    await overflow(
      path,
      limited,
      /^ERR_JOURNAL cannot write journal .*: a file may not become larger here .*; put that right, then continue with --resume .*$/m,
    );
    const { results, cut, decided } = await readBack(path);
    expect(cut).toBe(0);
    // All but the block that did not fit is kept.
    expect(statSync(path).size).toBeGreaterThan(400 * 1024 - HEAD - 1024 * RECORD_LENGTH);
    expect(results).toEqual(range(decided).map((i) => [i, 1]));
    const { stdout } = await run(keeping(path, "resume", 10_000));
    expect(stdout).toMatch(new RegExp(`^open ${decided}\n.*complete\n$`, "s"));
    expect((await readBack(path)).results).toEqual(range(10_000).map((i) => [i, 1]));
  });

  const noMounts = ((): string | undefined => {
    if (process.getuid?.() !== 0) return "mounting needs root";
    try {
      execFileSync("unshare", ["-m", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmpdir()], {
        stdio: "pipe",
      });
      return undefined;
    } catch {
      return "mounting is not allowed here";
    }
  })();

  it.skipIf(skipping("a full disk", noMounts))(
    "stops on a full disk, and goes on when there is room",
    async () => {
      const mount = mkdtempSync(join(folder, "mount-"));
      const path = join(mount, "journal");
      const saved = newPath();
      const script = `
      mount -t tmpfs -o size=400k tmpfs "$1" && shift && "$@"; status=$?
      cp "${path}" "${saved}"
      mount -o remount,size=4m "${mount}" && ${keeping(path, "resume", 10_000).join(" ")}; cp "${path}" "${saved}.after"
      exit $status`;
      await overflow(
        saved,
        ["unshare", "-m", "bash", "-c", script, "-", mount, ...keeping(path, "create")],
        /^ERR_JOURNAL cannot write journal .*: the disk is full; put that right, then continue with --resume .*$/m,
      );
      const full = await readBack(saved);
      expect(full.cut).toBe(0);
      expect(full.decided).toBeGreaterThan(4000);
      expect(full.results).toEqual(range(full.decided).map((i) => [i, 1]));
      const after = await readBack(`${saved}.after`);
      expect(after.complete).toBe(true);
      expect(after.results).toEqual(range(10_000).map((i) => [i, 1]));
    },
  );

  it.skipIf(skipping("a disk without room for the header", noMounts))(
    "leaves no journal that it could not begin",
    async () => {
      const mount = mkdtempSync(join(folder, "mount-"));
      const path = join(mount, "journal");
      // Every page of it is taken before the journal comes.
      const script = `mount -t tmpfs -o size=64k tmpfs "$1"; head -c 64k /dev/zero > "$1/zeros"; shift; "$@"; ls "${mount}"`;
      const { stdout } = await run([
        "unshare",
        "-m",
        "bash",
        "-c",
        script,
        "-",
        mount,
        ...keeping(path, "create"),
      ]);
      expect(stdout).toMatch(/^ERR_JOURNAL cannot write journal .*: the disk is full; .*\nzeros\n$/);
    },
  );
});
