/**
 * Open ports as `host:port`, a line each (`-oT`), for the next program: written as each verdict falls, and nothing else.
 *
 *   198.18.0.1:22
 *   [2001:db8:18::1]:80
 *   www.example.test:443
 *
 * A host that was given by name stands under its name, or each of its names. Ports of a host that answers on all of them are left
 * out, as in the table. synprobe reads such a list with -iL.
 */
import { escapeWord } from "../escape.ts";
import type { Reporter, Sink } from "../reporter.ts";

/** A reporter for `host:port` lines. */
export function createTargetsReporter(sink: Sink): Reporter {
  return {
    wants: () => ["open"],
    start() {},
    result({ state, host, aliases = [], ip, port, answersAll }) {
      if (state !== "open" || answersAll === true) return;
      for (const each of [host ?? ip, ...aliases]) {
        const shown = escapeWord(each);
        sink(`${shown.includes(":") ? `[${shown}]` : shown}:${port}\n`);
      }
    },
    fault() {},
    finish() {},
  };
}
