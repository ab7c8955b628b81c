/**
 * Reads a file of results, told apart by its content: NDJSON as `-oJ` writes it, or nmap's XML, ours or nmap's. As a
 * stream: nothing is held but a line, or the host that is being read.
 *
 * Opening files is the caller's business. What breaks off at the very end is left out, and said in `RecordedRun`; every
 * other fault is an error that names file and line.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { escapeWord } from "../escape.ts";
import { createNdjsonReader } from "./ndjson.ts";
import { createNmapXmlReader } from "./nmap-xml.ts";
import type { LineReader, ReadFault, RecordedRun, RecordedSink, TextReader } from "./recorded.ts";

export interface RunReader {
  /** @throws {SynprobeError} `ERR_RESULTS` */
  push(bytes: Uint8Array): void;
  /** @throws {SynprobeError} `ERR_RESULTS` */
  end(): RecordedRun;
}

/** Longest line in characters: a result with its banner has a few thousand at most. */
const MAX_LINE = 1 << 20;

/** @param name for messages: the file's, `<stdin>` */
export function createRunReader(name: string, sink: RecordedSink): RunReader {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let reader: TextReader | undefined;
  let head = "";
  let line = 1;
  const shown = escapeWord(name);
  const fault: ReadFault = (what, at = line) => resultsError(`${shown}:${at}: ${what}`);

  function take(text: string): void {
    if (reader !== undefined) {
      reader.text(text);
      return;
    }
    head += text;
    const first = head.trimStart()[0];
    if (first === undefined) return;
    if (first !== "{" && first !== "<")
      throw resultsError(`${shown} is neither NDJSON (-oJ) nor nmap's XML (-oX)`);
    reader =
      first === "{"
        ? byLines(createNdjsonReader(sink, fault), fault, (at) => {
            line = at;
          })
        : createNmapXmlReader(sink, fault);
    reader.text(first === "{" ? head : head.trimStart());
    head = "";
  }

  function decode(bytes?: Uint8Array): string {
    try {
      return bytes === undefined ? decoder.decode() : decoder.decode(bytes, { stream: true });
    } catch {
      if (bytes === undefined) return "";
      throw reader === undefined
        ? resultsError(`${shown} is neither NDJSON (-oJ) nor nmap's XML (-oX)`)
        : fault("no UTF-8 from here on");
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
      // A character that is cut in half is part of what breaks off.
      take(decode());
      if (reader === undefined) throw resultsError(`${shown} is empty: no results were written to it`);
      return { name, ...reader.end() };
    },
  };
}

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
