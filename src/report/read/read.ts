/**
 * Reads a file of results as a stream. The content tells the format: NDJSON as `-oJ` writes it, nmap's XML or grepable lines,
 * written by nmap or by synprobe, masscan's list, or naabu's JSON lines. Only the current line or host is held in memory.
 *
 * A last line that breaks off is left out, and reported in `RecordedRun`; every other fault is an error with file and line.
 *
 * Not here: opening files (runtime/results/result-files.ts).
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { escapeWord } from "../escape.ts";
import { isObject, parseJson } from "./fields.ts";
import { createListReader, LIST_BEGINS } from "./lists.ts";
import { createNaabuReader, isNaabu } from "./naabu.ts";
import { createNdjsonReader } from "./ndjson.ts";
import { createNmapXmlReader } from "./nmap-xml.ts";
import type { LineReader, ReadFault, RecordedRun, RecordedSink, TextReader } from "./recorded.ts";

export interface RunReader {
  /** @throws {SynprobeError} `ERR_RESULTS` */
  push(bytes: Uint8Array): void;
  /** @throws {SynprobeError} `ERR_RESULTS` */
  end(): RecordedRun;
}

/** Longest line in characters. A result with its banner has at most a few thousand. */
const MAX_LINE = 1 << 20;

const IN_NO_FORMAT = "is neither NDJSON (-oJ) nor nmap's XML (-oX), and no list of -oG or -oL";
/** What else users have of nmap's and masscan's, and what to give instead. */
const OTHER_FORMATS: readonly (readonly [begins: RegExp, what: string])[] = [
  [
    /^(?:Starting Nmap|Nmap scan |TARGET +STATE)/,
    "has the table for people (-oN): give -oX, -oG or -oJ of that run",
  ],
  [/^ip,port,proto,/, "is CSV (-oC): give -oX, -oG or -oJ of that run"],
  [
    /^(?:\[[0-9a-f]*:|\d+(?:\.\d+){3}:\d)/i,
    "has targets (-oT), which -iL reads: give -oX, -oG or -oJ of that run for its results",
  ],
  [/^\[/, "is one array of JSON, as of masscan's -oJ: give its -oX, -oL or -oG"],
];
/** Characters by which the format shows. */
const ENOUGH = 16;

/** @param name of the file, or `<stdin>`, for messages */
export function createRunReader(name: string, sink: RecordedSink): RunReader {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let reader: TextReader | undefined;
  let head = "";
  let line = 1;
  const shown = escapeWord(name);
  const fault: ReadFault = (what, at = line) => resultsError(`${shown}:${at}: ${what}`);

  function take(text: string, isLast = false): void {
    if (reader !== undefined) {
      reader.text(text);
      return;
    }
    head += text;
    const start = head.trimStart();
    if (start === "") return;
    const [first] = start;
    if (first === "<") {
      reader = createNmapXmlReader(sink, fault);
      head = start;
    } else if (first === "{" || LIST_BEGINS.test(start)) {
      const lines = first === "{" ? createLinesReader(sink, fault) : createListReader(sink, fault);
      reader = byLines(lines, fault, (at) => {
        line = at;
      });
    } else if (head.length < ENOUGH && !isLast) return;
    else {
      const other = OTHER_FORMATS.find(([begins]) => begins.test(start))?.[1];
      throw resultsError(`${shown} ${other ?? IN_NO_FORMAT}`);
    }
    reader.text(head);
    head = "";
  }

  function decode(bytes?: Uint8Array): string {
    try {
      return bytes === undefined ? decoder.decode() : decoder.decode(bytes, { stream: true });
    } catch {
      if (bytes === undefined) return "";
      throw reader === undefined ? resultsError(`${shown} ${IN_NO_FORMAT}`) : fault("no UTF-8 from here on");
    }
  }

  let begun = false;
  return {
    push(bytes) {
      if (!begun && bytes.length > 0) {
        begun = true;
        if (bytes[0] === 0x1f && (bytes[1] ?? 0x8b) === 0x8b)
          throw resultsError(`${shown} is compressed: unpack it first, such as with gunzip`);
      }
      take(decode(bytes));
    },
    end() {
      // Half of a character at the end belongs to the line that breaks off.
      take(decode(), true);
      if (reader === undefined) throw resultsError(`${shown} is empty: no results were written to it`);
      return { name, ...reader.end() };
    },
  };
}

/** The first line that is not empty tells whose lines these are. */
function createLinesReader(sink: RecordedSink, fault: ReadFault): LineReader {
  let reader: LineReader | undefined;
  const readerFor = (line: string): LineReader => {
    if (reader === undefined && line.trim() !== "")
      reader = startsNaabu(parseJson(line))
        ? createNaabuReader(sink, fault)
        : createNdjsonReader(sink, fault);
    return reader ?? createNdjsonReader(sink, fault);
  };
  return {
    line: (line) => readerFor(line).line(line),
    isWhole: (line) => readerFor(line).isWhole(line),
    end: () => readerFor("").end(),
  };
}

const startsNaabu = (value: unknown): boolean => isObject(value) && isNaabu(value);

function byLines(reader: LineReader, fault: ReadFault, at: (line: number) => void): TextReader {
  let rest = "";
  let line = 0;
  return {
    text(text) {
      let from = 0;
      for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", from)) {
        at(++line);
        reader.line(rest + text.slice(from, end));
        rest = "";
        from = end + 1;
      }
      rest += text.slice(from);
      at(line + 1);
      if (rest.length > MAX_LINE) throw fault(`a line of more than ${MAX_LINE} characters is no result`);
    },
    end() {
      if (rest === "" || reader.isWhole(rest)) {
        reader.line(rest);
        return reader.end();
      }
      return { ...reader.end(), brokenLine: line + 1 };
    },
  };
}

export const resultsError = (message: string, cause?: unknown): SynprobeError =>
  new SynprobeError(ERROR_CODES.results, message, { cause });
