/** Which targets and ports are probed, and which are left out: the options of the group "Targets". */

import { parseShow } from "../../report/formats/show.ts";
import { BOUNDS } from "../../runtime/api/option-bounds.ts";
import { PORT_STATES } from "../../scan/probe/result.ts";
import { integer } from "./arguments.ts";
import { inGroup } from "./spec.ts";

export const TARGET_OPTIONS = inGroup("Targets", [
  {
    flags: "-p, --ports <list>",
    aliases: ["--target-port", "--target-ports"],
    description: "ports for targets that name none: 22,80,8000-8010,https, or - for all",
    brief: "for targets that name none; - for all",
    values: "ports",
    commas: true,
    instead: "ports",
  },
  {
    flags: "--input-list <file>",
    aliases: ["-iL", "--includefile", "--whitelist-file", "--allowlist-file"],
    description: "read more targets from a file, - for standard input",
    brief: "more targets from a file, - for stdin",
    oneRun: "targets belong to one run: name them on the command line",
  },
  {
    flags: "--input-results <file>",
    aliases: ["-iR"],
    description:
      "probe what an earlier run's results have: whatever diff reads, such as NDJSON or nmap's XML",
    oneRun: "targets belong to one run: name them on the command line",
  },
  {
    flags: "--only <states>",
    needs: ["--input-results"],
    description: "with -iR: only what was open, closed or filtered then",
    values: [...PORT_STATES, "all"],
    commas: true,
    parse: (text) => parseShow("--only", text),
  },
  {
    flags: "--top-ports <n>",
    description: "for targets that name no port: the n TCP ports most often open; 1000 without -p",
    brief: "the n ports most often open",
    instead: "ports",
    ...integer("--top-ports", BOUNDS.topPorts),
  },
  {
    flags: "--exclude <targets>",
    description: "leave out these hosts and networks, whoever names them (comma-separated)",
    brief: "leave these hosts and networks out",
    values: "targets",
    commas: true,
    adds: true,
    parse: (text) => text.split(","),
  },
  {
    flags: "--exclude-file <file>",
    aliases: ["--excludefile", "--blacklist-file", "--blocklist-file"],
    description: "the same from a file, as -iL reads it",
    parse: (text) => [text],
    adds: true,
  },
  {
    flags: "--exclude-ports <list>",
    description: "leave out these ports",
    values: "ports",
    commas: true,
    adds: true,
  },
  {
    flags: "--strict",
    description: "probe nothing when any target or line of a list is wrong",
  },
  { flags: "-4, --ipv4", description: "only IPv4 addresses", instead: "family" },
  { flags: "-6, --ipv6", description: "only IPv6 addresses", instead: "family" },
  {
    flags: "--all-addresses",
    aliases: ["--resolve-all"],
    description: "probe every address of a name, not only the first",
  },
]);
