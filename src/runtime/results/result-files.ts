/**
 * Opens files of results and reads them with report/read/read.ts. A store of many runs is read as of a time, `history.db@TIME`.
 */
import { createReadStream, existsSync, openSync } from "node:fs";
import { createRunReader, resultsError } from "../../report/read/read.ts";
import type { RecordedRun, RecordedSink } from "../../report/read/recorded.ts";
import { whyUnreadable } from "../plan/list-file.ts";
import { isSqlite } from "../store/database.ts";
import { readStoreAt } from "../store/read-at.ts";
import { splitAtTime, TIME_FORMS } from "../store/time.ts";
import { asInvoker } from "../system/invoker.ts";

function open(file: string, drop: boolean): number {
  try {
    return asInvoker(drop, () => openSync(file, "r"));
  } catch (error) {
    throw resultsError(`cannot read the results ${file}: ${whyUnreadable(error)}`, error);
  }
}

/**
 * Reads a file of results to its end; `-` is standard input.
 * @param drop open it with the invoking user's rights, under sudo
 * @throws {SynprobeError} `ERR_RESULTS` when it cannot be read or is in no known format, `ERR_STORE` of a store
 */
export async function readRun(file: string, sink: RecordedSink, drop = false): Promise<RecordedRun> {
  const now = Date.now();
  const isThere = existsSync(file);
  const { file: path, ms = now } = isThere ? { file } : splitAtTime(file, now);
  const at = file.lastIndexOf("@");
  if (!isThere && path === file && isSqlite(file.slice(0, at), drop))
    throw resultsError(
      `${file}: "${file.slice(at + 1)}" is no time: after the @ of a store stands ${TIME_FORMS}`,
    );
  if (isSqlite(path, drop)) return asInvoker(drop, () => readStoreAt(path, ms, file, sink));
  const name = file === "-" ? "<stdin>" : file;
  const reader = createRunReader(name, sink);
  const stream: AsyncIterable<Uint8Array> =
    file === "-" ? process.stdin : createReadStream("", { fd: open(file, drop), highWaterMark: 1 << 18 });
  const chunks = stream[Symbol.asyncIterator]();
  for (;;) {
    const next = await chunks.next().catch((error: unknown) => {
      throw resultsError(`cannot read the results ${name}: ${whyUnreadable(error)}`, error);
    });
    if (next.done === true) return reader.end();
    reader.push(next.value);
  }
}
