/**
 * A temporary file for results that wait for the end of a large run (report/formats/host-order.ts). It has no name from the
 * beginning, so that nothing is left of it, however the process ends.
 */
import { mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Spill } from "../../report/formats/host-order.ts";
import { errorCode } from "../../runtime/system/file-errors.ts";

/** On a disk, where /tmp is often memory (file-hierarchy(7)). */
const FOLDER = "/var/tmp";

/** @param onError called once, with the folder and the errno name; what was written before can still be read */
export function openSpill(onError: (path: string, code: string) => void): Spill {
  const folder = process.env["TMPDIR"] ?? FOLDER;
  let isTold = false;
  const or = <T>(fallback: T, work: () => T): T => {
    try {
      return work();
    } catch (error) {
      if (!isTold) onError(`${folder}, for results that wait to be sorted`, errorCode(error));
      isTold = true;
      return fallback;
    }
  };
  const fd = or(undefined, () => openNameless(folder));
  if (fd === undefined) return { write: () => false, read: () => 0 };
  return {
    write: (bytes, at) =>
      or(false, () => {
        for (let done = 0; done < bytes.length; )
          done += writeSync(fd, bytes, done, bytes.length - done, at + done);
        return true;
      }),
    read: (into, at) =>
      or(0, () => {
        let done = 0;
        while (done < into.length) {
          const count = readSync(fd, into, done, into.length - done, at + done);
          if (count === 0) break;
          done += count;
        }
        return done;
      }),
  };
}

function openNameless(folder: string): number {
  const own = mkdtempSync(join(folder, "synprobe-"));
  try {
    return openSync(join(own, "results"), "wx+", 0o600);
  } finally {
    rmSync(own, { recursive: true });
  }
}
