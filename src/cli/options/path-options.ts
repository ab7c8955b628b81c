/**
 * What `synprobe path` alone takes. The options that it shares with the main command are in the table (table.ts).
 * Tested by test/lab/path.test.ts.
 */
import { BOUNDS, PATH_DEFAULTS } from "../../runtime/api/option-bounds.ts";
import { integer } from "./arguments.ts";
import { inGroup } from "./spec.ts";

export const PATH_OPTIONS = inGroup("Probing", [
  { flags: "--json", description: "the same as data" },
  {
    flags: "--reference <port>",
    description: "compare with this port, which is known to answer; without it common ports are tried",
    ...integer("--reference", BOUNDS.sourcePort),
  },
  {
    flags: "--flows <n>",
    description: "walk so many source ports to each port, and count what each loses (1-64)",
    ...integer("--flows", BOUNDS.flows),
    defaultValue: PATH_DEFAULTS.flows,
  },
  {
    flags: "--max-hops <n>",
    description: "highest TTL sent (1-63)",
    ...integer("--max-hops", BOUNDS.maxHops),
    defaultValue: PATH_DEFAULTS.maxHops,
  },
  {
    flags: "--tries <n>",
    description: "SYNs of each flow and TTL, while none is answered (1-10)",
    ...integer("--tries", BOUNDS.tries),
    defaultValue: PATH_DEFAULTS.tries,
  },
  { flags: "--names", description: "look up the names of routers and host, as the system does" },
]);
