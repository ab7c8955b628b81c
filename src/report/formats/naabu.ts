/**
 * NDJSON as naabu's `-json` has it (`--json-fields naabu`), for what reads that: a line for each name of an open port as its verdict
 * falls, with host, if a name was given, ip, timestamp, port, protocol, tls. Nothing else: no other states, no faults, no totals. As
 * naabu's own, `tls` is false, for nobody has tried. Ports of a host that answers on all of them are left out, as in the table.
 */
import type { Reporter, Sink } from "../reporter.ts";
import { jsonLine } from "./ndjson.ts";

/** A reporter for naabu's lines, each in one call of `sink`. */
export function createNaabuReporter(sink: Sink): Reporter {
  return {
    wants: () => ["open"],
    start() {},
    result({ state, host: first, aliases = [], ip, port, answersAll, timeMs }) {
      if (state !== "open" || answersAll === true) return;
      const timestamp = new Date(timeMs).toISOString();
      for (const host of [first, ...aliases])
        sink(jsonLine({ host, ip, timestamp, port, protocol: "tcp", tls: false }));
    },
    fault() {},
    finish() {},
  };
}
