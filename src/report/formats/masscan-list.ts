/**
 * masscan's list (`-oL`): a line for each open port, for what reads masscan's files.
 *
 *   #masscan
 *   open tcp 22 198.18.0.1 1795277947
 *   # end
 *
 * Exactly as masscan 1.3.2 writes it: the time is the verdict's, in whole seconds since the Unix epoch; closed and filtered
 * ports are not in it, nor names, nor reasons; the last line also ends an interrupted run. Nothing in it is text from outside.
 */
import type { Reporter, Sink } from "../reporter.ts";

/** A reporter for masscan's list; each line is written as its verdict falls. */
export function createMasscanListReporter(sink: Sink): Reporter {
  return {
    wants: () => ["open"],
    start() {
      sink("#masscan\n");
    },
    result({ state, port, ip, timeMs }) {
      if (state === "open") sink(`open tcp ${port} ${ip} ${Math.floor(timeMs / 1000)}\n`);
    },
    fault() {},
    finish() {
      sink("# end\n");
    },
  };
}
