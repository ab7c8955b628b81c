/**
 * What is fuzzed: every parser of bytes from outside. A target takes any bytes and must come back: with a value, or with the
 * one kind of error that is meant for the caller (`SynprobeError`). Anything else that is thrown is a finding, and so is time
 * out of proportion. `corpus.test.ts` replays the kept inputs; `fuzz.ts` looks for new ones.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { longName } from "../../src/cli/options/aliases.ts";
import { configure } from "../../src/cli/options/config.ts";
import { PROBE_OPTIONS } from "../../src/cli/options/table.ts";
import { isSynprobeError } from "../../src/errors.ts";
import { parseDescription } from "../../src/lab/parse-description.ts";
import { createCheck } from "../../src/policy/check.ts";
import { createExpectations } from "../../src/policy/expectations.ts";
import { readPolicy, targetsToProbe } from "../../src/policy/policy.ts";
import { createRunReader } from "../../src/report/read/read.ts";
import type { RecordedSink } from "../../src/report/read/recorded.ts";
import { BLOCKS, HEAD_LENGTH, sealBlock } from "../../src/runtime/journal/blocks.ts";
import { openJournal } from "../../src/runtime/journal/reader.ts";
import { readList } from "../../src/runtime/plan/list-file.ts";
import { createReplyDecoder } from "../../src/scan/probe/reply-decoder.ts";
import { readRecord } from "../../src/scan/probe/result-record.ts";
import { parseTargets } from "../../src/scan/targets/grammar.ts";
import { parseServices } from "../../src/scan/targets/services.ts";
import { createBufferPool } from "../../src/socket/buffers.ts";
import { createControlBlock } from "../../src/socket/control-block.ts";
import { type Segment, segmentLength } from "../../src/socket/segment.ts";
import { seqDiff } from "../../src/socket/sequence.ts";
import { formatAddress } from "../../src/wire/address.ts";
import * as arp from "../../src/wire/arp.ts";
import { describePacket } from "../../src/wire/describe.ts";
import * as ethernet from "../../src/wire/ethernet.ts";
import * as ndp from "../../src/wire/ndp.ts";
import { parseOptions } from "../../src/wire/tcp-options.ts";
import { GOLDEN_NAMES, golden } from "../golden/golden.ts";
import { HEADER, sampleRecords } from "../runtime/journal/journal-samples.ts";
import { embed, guard } from "../wire/oracle.ts";
import { answers, readAnswer } from "./kernel.ts";

export interface FuzzTarget {
  readonly name: string;
  /** Source files whose branches guide the search: paths below src/ that begin so. */
  readonly covers: readonly string[];
  readonly seeds: () => readonly Uint8Array[];
  /** Tokens of its language. */
  readonly words?: readonly string[];
  /** Longest input in bytes. */
  readonly most: number;
  /** @throws {Error} on a finding */
  run(bytes: Uint8Array): void | Promise<void>;
}

/** Runs what may refuse its input, but only in the way that is meant. */
export async function refusable(run: () => unknown): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!isSynprobeError(error)) throw error;
    if (/[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/.test(error.message)) {
      throw new Error(`a control character in a message: ${JSON.stringify(error.message)}`);
    }
  }
}

function holds(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

const encoder = new TextEncoder();
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const texts = (...all: string[]): Uint8Array[] => all.map((each) => encoder.encode(each));
const goldenFile = (name: string): Uint8Array => readFileSync(new URL(`../golden/${name}`, import.meta.url));
const packets = (): Uint8Array[] => GOLDEN_NAMES.map(golden);

const SERVICES = parseServices("ssh 22/tcp\nhttps 443/tcp\ndomain 53/tcp\ndomain 53/udp\n");

const NOTHING: RecordedSink = {
  port: () => undefined,
  progress: () => undefined,
  fault: () => undefined,
  scanned: () => undefined,
  host: () => undefined,
};

/** Feeds `bytes` in two pieces, as a stream may. */
function readResults(bytes: Uint8Array): void {
  const reader = createRunReader("run", NOTHING);
  const cut = bytes.length >> 1;
  reader.push(bytes.subarray(0, cut));
  reader.push(bytes.subarray(cut));
  reader.end();
}

/** Bytes as a script of events for a control block: what it sends and acknowledges must stay within what TCP allows. */
function driveControlBlock(bytes: Uint8Array): void {
  const pool = createBufferPool(1 << 20);
  const block = createControlBlock({
    iss: 1000,
    mss: 1460,
    pool,
    bufferLength: 4096,
    synRetries: 2,
    retries: 3,
    mslUs: 1_000_000,
  });
  let nowUs = 0;
  let at = 0;
  const next = (): number => bytes[at++] ?? 0;
  const word = (): number => (next() << 8) | next();
  let heard = 0;
  if ((next() & 1) === 0) block.open(nowUs);
  else
    block.accept(
      { sequence: 5000, acknowledgement: 0, flags: 2, window: word(), text: new Uint8Array(0) },
      nowUs,
    );
  for (let sent = 0; at < bytes.length; ) {
    const kind = next();
    const view = block.view();
    if (kind < 160) {
      const segment: Segment = {
        sequence: (view.rcvNxt + word() - 32_768 * (kind & 1)) >>> 0,
        acknowledgement: (view.sndNxt + ((next() << 24) >> 24)) >>> 0,
        flags: next(),
        window: word(),
        ...((kind & 2) === 0 ? {} : { mss: word() }),
        text: new Uint8Array(next() & (kind & 4 ? 0xff : 7)),
      };
      heard += segmentLength(segment);
      block.handleSegment(segment, nowUs);
    } else if (kind < 190) {
      nowUs += word() * 1000;
      if (block.pollTimeout() <= nowUs) block.handleTimeout(nowUs);
    } else if (kind < 215) block.write(new Uint8Array(next() * 8));
    else if (kind < 235) block.read(next());
    else if (kind < 250) block.close();
    else block.abort();
    for (let s = block.pollSegment(nowUs); s !== undefined; s = block.pollSegment(nowUs)) {
      holds(++sent < 100_000, "sends without end");
      holds(s.text.length <= 1460, "more text than the MSS");
      if (view.state === "ESTABLISHED" && (s.flags & 4) === 0) {
        holds(seqDiff(s.sequence + s.text.length, view.sndUna) <= 0x1_0000, "sent beyond any window");
      }
    }
    const after = block.view();
    holds(after.rcvWnd >= 0 && after.rcvWnd <= 0xffff, "a receive window that does not fit");
    holds(after.readable <= heard, "more to read than came");
  }
  while (block.pollEvent() !== undefined);
  block.abort();
}

const folder = (): string => mkdtempSync(join(tmpdir(), "synprobe-fuzz-"));

/** Bytes as the file itself, and bytes as the payloads of blocks whose check sums are right. */
async function readJournal(bytes: Uint8Array): Promise<void> {
  const place = folder();
  const path = join(place, "journal");
  try {
    writeFileSync(path, (bytes[0] ?? 0) < 32 ? bytes.subarray(1) : sealed(bytes.subarray(1)));
    await refusable(async () => {
      const stored = await openJournal(path);
      const past = await stored.resume(
        { targets: stored.header.targets, options: stored.header.options },
        (position) => position % 2,
      );
      try {
        for (const { bytes: found, at } of past.replay()) readRecord(found, at);
      } finally {
        await past.journal.close();
      }
    });
  } finally {
    rmSync(place, { recursive: true });
  }
}

/** Blocks of type, length (two bytes) and payload, sealed. */
function sealed(bytes: Uint8Array): Buffer {
  const blocks: Buffer[] = [];
  for (let at = 0; at + 3 <= bytes.length; ) {
    const length = Math.min((bytes[at + 1] << 8) | bytes[at + 2], bytes.length - at - 3);
    const block = Buffer.alloc(HEAD_LENGTH + length);
    block.set(bytes.subarray(at + 3, at + 3 + length), HEAD_LENGTH);
    sealBlock(block, 0, bytes[at] as Parameters<typeof sealBlock>[2], length, 0);
    blocks.push(block);
    at += 3 + length;
  }
  return Buffer.concat(blocks);
}

function unsealed(...blocks: readonly [type: number, payload: Uint8Array][]): Uint8Array {
  return Buffer.concat([
    Buffer.of(255),
    ...blocks.flatMap(([type, payload]) => [
      Buffer.of(type, payload.length >> 8, payload.length & 0xff),
      payload,
    ]),
  ]);
}

/** What --print-config makes of a configuration has no control character, and as a configuration means the same. */
async function readConfiguration(bytes: Uint8Array): Promise<void> {
  const place = folder();
  const path = join(place, "probe.json");
  const read = (content: Uint8Array | string) => {
    writeFileSync(path, content);
    return configure({ config: path, drop: false }, new Map(), {}, () => true);
  };
  try {
    await refusable(() => {
      const { options, print } = read(bytes);
      const printed = print(options);
      holds(!/[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/.test(printed), `it prints ${printed}`);
      const again = read(printed).options;
      holds(isDeepStrictEqual(again, options), `printed and read again: ${printed}`);
    });
  } finally {
    rmSync(place, { recursive: true });
  }
}

const networks = (): Uint8Array[] =>
  ["clean", "lossy", "bottleneck", "hostile", "far", "changing"].map((name) =>
    readFileSync(new URL(`../bench/networks/${name}.json`, import.meta.url)),
  );

export const TARGETS: readonly FuzzTarget[] = [
  {
    name: "wire",
    covers: ["wire/"],
    seeds: packets,
    most: 256,
    run: (bytes) => {
      const [b, at, end] = embed(bytes);
      const guarded = guard(b, at, end);
      const line = describePacket(guarded, at, end);
      holds(/^[\x20-\x7e]+$/.test(line), `a line that is not printable: ${JSON.stringify(line)}`);
      for (const codec of [ethernet, arp, ndp]) {
        const length = codec.checkLength(guarded, at, end);
        holds(at + length <= end, "a header beyond the end");
        holds(
          (codec.parse(guarded, at, end) !== undefined) === (length !== 0),
          "checkLength and parse differ",
        );
      }
      parseOptions(guarded, at, end);
    },
  },
  {
    name: "reply-decoder",
    covers: ["scan/probe/reply-decoder", "wire/"],
    seeds: packets,
    most: 256,
    run: (bytes) => {
      const [b, at, end] = embed(bytes);
      createReplyDecoder().decode(guard(b, at, end), at, end);
    },
  },
  {
    name: "control-block",
    covers: ["socket/"],
    seeds: () => [
      Uint8Array.of(
        0,
        1,
        0x80,
        0,
        0,
        0x12,
        0xff,
        0xff,
        0,
        200,
        8,
        1,
        0x80,
        0,
        0,
        0x10,
        0xff,
        0xff,
        5,
        220,
        9,
        240,
      ),
      Uint8Array.of(
        1,
        0xff,
        0xff,
        0,
        0,
        0,
        0,
        0x10,
        0xff,
        0xff,
        0,
        0,
        0,
        0,
        0,
        0x18,
        0xff,
        0xff,
        7,
        240,
        200,
        1,
      ),
    ],
    most: 512,
    run: driveControlBlock,
  },
  {
    name: "targets",
    covers: ["scan/targets/"],
    seeds: () =>
      texts(
        "198.18.0.1:22",
        "[2001:db8::/120]:443,80-90",
        "198.18.1-3.*:https",
        "[fe80::1%eth0]:-",
        "198.18.0.1-198.18.0.40",
      ),
    words: [":", "[", "]", "/", "-", ",", "*", "%", "::", "0", "255", "65535", "99999", "ssh", "T:"],
    most: 256,
    run: (bytes) => refusable(() => parseTargets(text(bytes), SERVICES)),
  },
  {
    name: "list",
    covers: ["runtime/plan/list-file", "scan/targets/grammar", "scan/targets/port-list"],
    seeds: () =>
      texts("198.18.0.1:22\n198.18.0.2 # no\n[2001:db8::1]:80\n", "a.example:http,\n198.18.0.0/24:1-9\r\n"),
    words: ["\n", "#", "\t", ":", "198.18.0.1", "[::1]:1", "\r\n", "-", ","],
    most: 1024,
    run: (bytes) =>
      refusable(() =>
        readList({ name: "list", chunks: inPieces(bytes) }, SERVICES, {
          ipv4: (_, port) => holds(port >= 0 && port <= 65_535, "a port out of range"),
          target: () => undefined,
          fault: (error) =>
            holds(isSynprobeError(error) && !error.message.includes("\n"), "a fault of more than a line"),
        }),
      ),
  },
  {
    name: "lab-description",
    covers: ["lab/parse-description", "lab/description", "lab/contradictions", "lab/ranges"],
    seeds: networks,
    words: [
      '"',
      "{",
      "}",
      "[",
      "]",
      ":",
      ",",
      "null",
      "true",
      "-1",
      "1e309",
      '"loss"',
      '"open"',
      '"ports"',
      '"path"',
    ],
    most: 1024,
    run: (bytes) => refusable(() => parseDescription(text(bytes), "lab.json")),
  },
  {
    name: "policy",
    covers: ["policy/document", "policy/schema", "policy/policy", "policy/expectations"],
    seeds: () =>
      texts(
        "groups:\n  - targets: [198.18.0.1-9, a.example:22]\n    is: open\n    ports:\n      80,443: [open, closed]\n      25: {is: not open, tolerate: reset}\n    nothing-else-open: 1-100\n    until: 2099-01-31\n    labels: {env: prod}\n",
        '{"groups":[{"name":"a","targets":"2001:db8::/120","ports":{"1":"filtered"},"owner":"b","why":"c"}]}',
      ),
    words: [
      "groups",
      "targets:",
      "ports:",
      "\n  - ",
      ": ",
      "open",
      "not open",
      "is:",
      "&a",
      "*a",
      "!!",
      "|",
      "? ",
      "---\n",
      "[",
      "{",
    ],
    most: 1024,
    run: (bytes) =>
      refusable(() => {
        const policy = readPolicy(text(bytes), "policy.yaml", SERVICES, "2026-11-28");
        const targets = [...targetsToProbe(policy)];
        const check = createCheck(policy, createExpectations(policy));
        // A scan has each pair once, however often a policy names it.
        const pairs = new Map<string, { readonly ip: string; readonly port: number }>();
        for (const { host, ports = [] } of targets) {
          if (host.kind !== "address") continue;
          const ip = formatAddress(host.address);
          pairs.set(`${ip} ${ports[0]}`, { ip, port: ports[0] });
        }
        for (const pair of pairs.values()) {
          check.take({
            ...pair,
            state: "open",
            reason: "syn-ack",
            rttMs: null,
            ttl: null,
            tries: 1,
            timeMs: 0,
          });
        }
        const told = Object.values(check.counts()).reduce((sum, each) => sum + each, 0);
        holds(told === pairs.size, "a target without a rule");
      }),
  },
  {
    name: "results",
    covers: ["report/read/"],
    seeds: () => [
      goldenFile("run.ndjson"),
      goldenFile("run.xml"),
      goldenFile("nmap-7.93.xml").slice(0, 3000),
    ],
    words: [
      '"type":"summary"',
      '"port":',
      "<host>",
      "</host>",
      '<port portid="22" protocol="tcp">',
      '<extraports state="closed" count="9">',
      "<!DOCTYPE",
      "&#x9b;",
      "\n",
      "{}",
    ],
    most: 4096,
    run: (bytes) => refusable(() => readResults(bytes)),
  },
  {
    name: "journal",
    covers: ["runtime/journal/", "scan/probe/result-record"],
    seeds: () => {
      const header = encoder.encode(JSON.stringify(HEADER));
      const checkpoint = encoder.encode(JSON.stringify({ marks: [3, 2], totals: {} }));
      return [
        unsealed(
          [BLOCKS.header, header],
          [BLOCKS.results, sampleRecords(0, 3)],
          [BLOCKS.checkpoint, checkpoint],
        ),
        unsealed([BLOCKS.header, header]),
        Buffer.concat([Buffer.of(0), sealed(unsealed([BLOCKS.header, header]).subarray(1))]),
      ];
    },
    words: ["{", "}", "null", "[]", '"marks"', '"options"', '"targets"', "1e999", "-1"],
    most: 2048,
    run: readJournal,
  },
  {
    name: "configuration",
    covers: ["cli/options/", "scan/targets/port-list"],
    seeds: () =>
      texts(
        '{\n  // slow\n  "ttl": 10,\n  "retries": 5,\n  "timeout": "2s",\n}',
        '{ "max-rate": 321, "exclude": ["127.0.0.2", "198.18.0.0/24"], "ports": "1-3,https" }',
        '{ "show": "open,closed", "timing": 4, "banner": "500ms", "link": "raw", "source-port": 40000, "confidence": 0.99 }',
        '{ "show": ["open", "filtered"], "host-timeout": "1m", "complete": true, "verbose": true, "ipv6": true, "interface": "eth0" }',
        '{ "exclude-ports": ["1-9", 22], "exclude-file": "list.txt", "source-ip": "::1", "max-rate-per-prefix": 7, "workers": 2, "no-drop": true }',
      ),
    words: [
      '"',
      "{",
      "}",
      "[",
      "]",
      ":",
      ",",
      "null",
      "true",
      "-1",
      "1e309",
      "//",
      "/*",
      "*/",
      "\\u001b",
    ].concat(PROBE_OPTIONS.map(({ flags }) => `"${longName(flags).slice(2)}":`)),
    most: 512,
    run: readConfiguration,
  },
  {
    name: "netlink",
    covers: [
      "link/sys/netlink",
      "link/route",
      "link/neighbour",
      "link/fib",
      "link/rst-rule",
      "link/passed-by",
    ],
    seeds: answers,
    most: 512,
    run: readAnswer,
  },
];

/** Every byte at a time for a short input, else three pieces. */
async function* inPieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  const length = Math.max(1, Math.ceil(bytes.length / 3));
  for (let at = 0; at < bytes.length; at += length) yield bytes.slice(at, at + length);
}
