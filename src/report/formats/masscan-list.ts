/**
 * masscan's list (`-oL`): a line for each open port, for programs that read masscan's files.
 *
 *   #masscan
 *   open tcp 22 198.18.0.1 1795277947
 *   # end
 *
 * Exactly as masscan 1.3.2 writes it. The time is the verdict's, in whole seconds since the Unix epoch. Closed and filtered ports,
 * names and reasons are left out. An interrupted run has the last line too. Nothing in it is text from outside.
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
