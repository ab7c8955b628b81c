/**
 * List files: targets separated by white space or line ends, `#` to the end of a line a comment; a line that begins with `;` or
 * `//` is one, as in masscan's lists. Read as a stream, in memory that does not depend on the list's length: ten million lines of
 * `address:port` make no string.
 *
 * The grammar of a target is scan/targets/grammar.ts's; what becomes of the targets is the caller's business.
 */
import { closeSync, fstatSync, openSync, read as readCallback } from "node:fs";
import { promisify } from "node:util";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { ListedTargets } from "../../policy/policy.ts";
import { escapeWord } from "../../report/escape.ts";
import { type AnyTargetSpec, parseTargets } from "../../scan/targets/grammar.ts";
import type { Services } from "../../scan/targets/services.ts";
import { formatAddress } from "../../wire/address.ts";

/** A list that has been opened, to be read once. */
export interface ListSource {
  /** For `name:line` in messages. */
  readonly name: string;
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** What is found in a list, in its order. To stop reading, throw: the error comes out of readList. */
export interface ListSink {
  /**
   * A plain IPv4 target.
   * @param address its 32 bits as a signed number, which takes no object to hand over
   * @param port 0 when it names none
   */
  ipv4(address: number, port: number, line: number): void;
  /** Any other target. Its origin is `name:line`. */
  target(spec: AnyTargetSpec): void;
  /** A bad target, with `name:line` in its message. Only the first MAX_FAULTS of a list come here. */
  fault(error: SynprobeError): void;
}

export interface ListCounts {
  readonly targets: number;
  /** Bad targets, those that were not reported one by one included. */
  readonly faults: number;
}

/** So many bad targets are reported one by one. */
export const MAX_FAULTS = 100;

/** Longest target in bytes: every other port of a host, written out, is 190,000. */
const MAX_TARGET = 1 << 18;

/**
 * Opens a list, `-` for standard input, with the permissions that the process has now; reads nothing yet.
 * @throws {SynprobeError} `ERR_LIST_FILE`
 */
export function openList(file: string): ListSource {
  const name = file === "-" ? "<stdin>" : file;
  try {
    const fd = file === "-" ? 0 : openSync(file, "r");
    if (fstatSync(fd).isDirectory()) {
      if (fd !== 0) closeSync(fd);
      throw Object.assign(new Error(), { code: "EISDIR" });
    }
    // Node's own stream waits where standard input does not block.
    return fd === 0
      ? { name, chunks: explained(name, process.stdin) }
      : { name, chunks: explained(name, chunksOf(fd)) };
  } catch (error) {
    throw unreadable(name, error);
  }
}

const readAsync = promisify(readCallback);

/** One buffer for all: what is given is to be used up before the next chunk is asked for. */
export async function* chunksOf(fd: number): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(1 << 18);
  try {
    for (;;) {
      const { bytesRead } = await readAsync(fd, buffer, 0, buffer.length, null);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    closeSync(fd);
  }
}

async function* explained(file: string, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch (error) {
    throw unreadable(file, error);
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "permission denied",
  EISDIR: "it is a directory",
};

/** Why a file that the user named cannot be read, in words. */
export function whyUnreadable(error: unknown): string {
  const code = String((error as NodeJS.ErrnoException).code);
  return REASONS[code] ?? code;
}

const unreadable = (file: string, error: unknown): SynprobeError =>
  listError(`cannot read the list ${file}: ${whyUnreadable(error)}`, error);

const listError = (message: string, cause?: unknown): SynprobeError =>
  new SynprobeError(ERROR_CODES.listFile, message, { cause });

/**
 * Reads a list to its end.
 * @throws {SynprobeError} `ERR_LIST_FILE` when it cannot be read or is no text; and whatever `sink` throws
 */
export async function readList(source: ListSource, services: Services, sink: ListSink): Promise<ListCounts> {
  const parser = createListParser(source.name, services, sink);
  // The first bytes say whether it is text: a pipe may give fewer of them at a time.
  let head: Buffer | undefined = Buffer.alloc(0);
  for await (const chunk of source.chunks) {
    if (head === undefined) {
      parser.push(chunk);
      continue;
    }
    head = Buffer.concat([head, chunk]);
    if (head.length < HEAD_LENGTH) continue;
    checkText(head, source.name);
    parser.push(head);
    head = undefined;
  }
  if (head !== undefined) {
    checkText(head, source.name);
    parser.push(head);
  }
  return parser.end();
}

/**
 * Reads a list that is in memory.
 * @throws {SynprobeError} `ERR_LIST_FILE` when it is no text
 */
export function parseList(name: string, bytes: Uint8Array, services: Services): ListedTargets {
  checkText(bytes, name);
  const targets: AnyTargetSpec[] = [];
  const faults: SynprobeError[] = [];
  const parser = createListParser(name, services, {
    ipv4: (address, port, line) => {
      const host = formatAddress(Uint8Array.of(address >>> 24, address >>> 16, address >>> 8, address));
      targets.push(parseTargets(port === 0 ? host : `${host}:${port}`, services, `${name}:${line}`));
    },
    target: (spec) => targets.push(spec),
    fault: (error) => faults.push(error),
  });
  parser.push(bytes);
  return { targets, faults, untold: parser.end().faults - faults.length };
}

const HEAD_LENGTH = 4096;

/** What other formats begin with, and what to do about it. */
const MAGIC: readonly (readonly [bytes: readonly number[], what: string])[] = [
  [[0x1f, 0x8b], "it is compressed: gzip -dc FILE | synprobe -iL -"],
  [[0x28, 0xb5, 0x2f, 0xfd], "it is compressed: zstd -dc FILE | synprobe -iL -"],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a], "it is compressed: xz -dc FILE | synprobe -iL -"],
  [[0xff, 0xfe], "it is UTF-16 text: iconv -f UTF-16 -t UTF-8 FILE | synprobe -iL -"],
  [[0xfe, 0xff], "it is UTF-16 text: iconv -f UTF-16 -t UTF-8 FILE | synprobe -iL -"],
];

/** nmap's XML, NDJSON, masscan's JSON, lines of -oG and -oN, and masscan's list. */
const RESULTS_BEGIN =
  /^\s*(?:<\?xml |<!DOCTYPE |\{\s*"|\[\s*\{|# (?:Nmap|synprobe|Masscan) \S+ scan initiated |#masscan\s*(?:\n|$))/;

function checkText(head: Uint8Array, name: string): void {
  for (const [bytes, what] of MAGIC) {
    if (bytes.every((byte, i) => head[i] === byte)) throw listError(`cannot read the list ${name}: ${what}`);
  }
  const beginning = head.subarray(0, HEAD_LENGTH);
  // Its words would be looked up as names, and its addresses be probed on the usual ports.
  if (RESULTS_BEGIN.test(Buffer.from(beginning).toString("latin1")))
    throw listError(
      `cannot read the list ${name}: it has a run's results, which -iR takes, if they are its targets`,
    );
  const odd = beginning.filter((byte) => byte < 0x20 && !isBlank(byte) && byte !== LF && byte !== CR).length;
  // One or two of them are a target's fault, of which the user is told where it is.
  if (odd > 3 && odd * 16 > beginning.length)
    throw listError(`cannot read the list ${name}: it is not text: one host:port a line is wanted`);
}

const LF = 0x0a;
const CR = 0x0d;
const HASH = 0x23;
const DOT = 0x2e;
const ZERO = 0x30;
const COLON = 0x3a;
const SEMICOLON = 0x3b;
const SLASH = 0x2f;

/** No target begins with `;` or `//`. */
const isOtherComment = (word: Uint8Array): boolean =>
  word[0] === SEMICOLON || (word[0] === SLASH && word[1] === SLASH);

/** Tab, vertical tab, form feed, space. */
const isBlank = (byte: number): boolean => byte === 0x20 || byte === 0x09 || byte === 0x0b || byte === 0x0c;

const endsWord = (byte: number): boolean =>
  byte <= HASH && (isBlank(byte) || byte === LF || byte === CR || byte === HASH);

interface ListParser {
  /** Takes the next bytes, of any number. */
  push(bytes: Uint8Array): void;
  end(): ListCounts;
}

function createListParser(name: string, services: Services, sink: ListSink): ListParser {
  let line = 1;
  let inComment = false;
  /** No target stands in the line yet. */
  let isFirst = true;
  let afterCr = false;
  let targets = 0;
  let faults = 0;
  // The beginning of a word that the next chunk goes on with.
  const kept = Buffer.allocUnsafeSlow(MAX_TARGET);
  let keptLength = 0;
  let tooLong = false;
  // It takes a byte order mark away, too: lists are often several files in a row.
  const decoder = new TextDecoder("utf-8", { fatal: true });

  const report = (error: SynprobeError): void => {
    if (++faults <= MAX_FAULTS) sink.fault(error);
  };
  const badWord = (word: Uint8Array, message: string): SynprobeError => {
    const beginning = Buffer.from(word.subarray(0, 60)).toString("latin1");
    const shown = escapeWord(beginning).replace(/[\x80-\xff]/g, (c) => `\\x${c.charCodeAt(0).toString(16)}`);
    return new SynprobeError(
      ERROR_CODES.targetSyntax,
      `${name}:${line}: target "${shown}${word.length > 60 ? "…" : ""}": ${message}`,
    );
  };
  const decode = (word: Uint8Array): string | undefined => {
    try {
      return decoder.decode(word);
    } catch {
      return undefined;
    }
  };
  const takeWord = (word: Uint8Array): void => {
    if (tooLong || word.length > MAX_TARGET) {
      tooLong = false;
      report(badWord(word, `it is longer than ${MAX_TARGET.toLocaleString("en")} bytes`));
      return;
    }
    // Not behind a target: what a line may mean is not left out of a list of exclusions without a word.
    if (isFirst && isOtherComment(word)) {
      inComment = true;
      return;
    }
    isFirst = false;
    const text = decode(word);
    if (text === "") return;
    if (text === undefined) {
      report(badWord(word, "it is not UTF-8 text: save the list as UTF-8"));
      return;
    }
    let spec: AnyTargetSpec;
    try {
      spec = parseTargets(text, services, `${name}:${line}`);
    } catch (error) {
      if (!(error instanceof SynprobeError)) throw error;
      report(error);
      return;
    }
    targets++;
    sink.target(spec);
  };
  const keep = (bytes: Uint8Array): void => {
    const room = kept.length - keptLength;
    if (bytes.length > room) tooLong = true;
    kept.set(bytes.subarray(0, room), keptLength);
    keptLength += Math.min(bytes.length, room);
  };

  /**
   * Reads `a.b.c.d` or `a.b.c.d:port` at `bytes[at]`, when it stands there in its plainest form.
   * @returns where it ends; `at` when it is something else, or goes on in the next chunk
   */
  const takeIpv4 = (bytes: Uint8Array, at: number): number => {
    let i = at;
    let address = 0;
    let fields = 0;
    let port = 0;
    for (;;) {
      const start = i;
      let value = 0;
      let digit = bytes[i] - ZERO;
      while (digit >= 0 && digit <= 9 && i - start < 5) {
        value = value * 10 + digit;
        digit = bytes[++i] - ZERO;
      }
      // A leading zero is left to the grammar.
      if (i === start || (i - start > 1 && bytes[start] === ZERO)) return at;
      if (fields === 4) {
        port = value;
        if (port < 1 || port > 65_535) return at;
        break;
      }
      if (value > 255) return at;
      address = address * 256 + value;
      fields++;
      const next = bytes[i];
      if (fields === 4 && next !== COLON) break;
      if (fields < 4 && next !== DOT) return at;
      i++;
    }
    if (i >= bytes.length || !endsWord(bytes[i])) return at;
    targets++;
    sink.ipv4(address | 0, port, line);
    return i;
  };

  const push = (bytes: Uint8Array): void => {
    let i = 0;
    while (i < bytes.length) {
      const byte = bytes[i];
      if (keptLength === 0 && endsWord(byte)) {
        // CR LF is one line end.
        if (byte === CR || (byte === LF && !afterCr)) line++;
        if (byte === CR || byte === LF) {
          inComment = false;
          isFirst = true;
        } else if (byte === HASH) inComment = true;
        afterCr = byte === CR;
        i++;
        continue;
      }
      afterCr = false;
      if (inComment) {
        while (i < bytes.length && bytes[i] !== LF && bytes[i] !== CR) i++;
        continue;
      }
      const plain = keptLength === 0 ? takeIpv4(bytes, i) : i;
      if (plain > i) {
        isFirst = false;
        i = plain;
        continue;
      }
      const start = i;
      while (i < bytes.length && !endsWord(bytes[i])) i++;
      const word = bytes.subarray(start, i);
      if (i < bytes.length && keptLength === 0) takeWord(word);
      else {
        keep(word);
        if (i < bytes.length) {
          const length = keptLength;
          keptLength = 0;
          takeWord(kept.subarray(0, length));
        }
      }
    }
  };
  return {
    push,
    end: () => {
      push(Uint8Array.of(LF));
      return { targets, faults };
    },
  };
}
