/** Where results go, what is told of a run, and configuration: the options of "Output" and "Other". */

import { parseShow } from "../../report/formats/show.ts";
import { BOUNDS } from "../../runtime/api/option-bounds.ts";
import { PORT_STATES } from "../../scan/probe/result.ts";
import { duration, oneOf } from "./arguments.ts";
import { JSON_FIELDS } from "./probe-options.ts";
import { inGroup, type OptionSpec, usage } from "./spec.ts";

export const OUTPUT_OPTIONS: readonly OptionSpec[] = [
  ...inGroup("Output", [
    {
      flags: "--output-json <file>",
      aliases: ["-oJ"],
      description: "NDJSON, one object a result; - for standard output",
      brief: "NDJSON; - for standard output",
    },
    {
      flags: "--json-fields <whose>",
      needs: ["--output-json", "--output-all"],
      description: "-oJ with the fields of synprobe, or of naabu (-json), which has open ports alone",
      ...oneOf("--json-fields", JSON_FIELDS),
      defaultValue: "synprobe",
    },
    {
      flags: "--output-xml <file>",
      aliases: ["-oX"],
      description: "nmap's XML",
      brief: "nmap's XML",
    },
    {
      flags: "--output-normal <file>",
      aliases: ["-oN"],
      description: "the table, without colour",
      brief: "the table as text",
    },
    {
      flags: "--output-grepable <file>",
      aliases: ["-oG"],
      description: "nmap's grepable lines",
    },
    {
      flags: "--output-csv <file>",
      aliases: ["-oC"],
      description: "CSV, a row a result",
    },
    {
      flags: "--output-list <file>",
      aliases: ["-oL"],
      description: "masscan's list of open ports",
    },
    {
      flags: "--output-targets <file>",
      aliases: ["-oT"],
      description: "open ports as host:port, a line each, for the next program",
    },
    {
      flags: "--output-all <base>",
      aliases: ["-oA"],
      description: "BASE.nmap (the table), .xml, .gnmap and .ndjson at once; %F is the date, as in nmap's",
    },
    {
      flags: "--store <database>",
      description: "add the run to a history of runs, an SQLite file (synprobe help history)",
      parse: (text) => {
        if (text !== "" && text !== "-") return text;
        throw usage("--store takes the name of a file, such as history.db");
      },
    },
    {
      flags: "--pcap <file>",
      description: "the deciding packets, as pcapng: each answered SYN, and its answer",
    },
    {
      flags: "--pcap-all",
      needs: ["--pcap"],
      description: "with --pcap: every packet sent and received",
    },
    {
      flags: "--show <states>",
      description: "which results table and files have: open, closed, filtered or all",
      brief: "rows: open, closed, filtered or all",
      values: [...PORT_STATES, "all"],
      commas: true,
      parse: (text) => parseShow("--show", text),
    },
    {
      flags: "--show-files <states>",
      description: "which results files have, where the table's are others",
      values: [...PORT_STATES, "all"],
      commas: true,
      parse: (text) => parseShow("--show-files", text),
    },
    {
      flags: "--stats-every <time>",
      description: "print progress to standard error this often; in seconds, as nmap's",
      ...duration("--stats-every", BOUNDS.statsEveryMs, "s"),
    },
    {
      flags: "--require-open",
      description: "exit with 1 unless every port is open",
    },
    {
      flags: "-v, --verbose",
      aliases: ["-vv", "-vvv"],
      repeatable: true,
      description: "what was ignored and why, privileges, buffers; twice: each change of the rate, and why",
    },
    {
      flags: "--packet-trace",
      description: "each packet sent and received, one line on standard error",
    },
  ]),
  ...inGroup("Other", [
    {
      flags: "--config <file>",
      description: "options from a file, where the command line does not set them",
      oneRun: "a configuration cannot name another",
    },
    {
      flags: "--print-config",
      description: "print the effective options and where each comes from; send nothing",
      oneRun: "it is no option of a run",
    },
    {
      flags: "--no-drop",
      description: "keep root and capabilities while probing",
      oneRun: "whether root is kept is decided run by run",
    },
  ]),
];
