/**
 * The output formats: which option names each one's file, how -oA ends its name, and what writes it. Opening the files is
 * outputs.ts's business. Only the formats that are asked for are loaded.
 */
import type { Spill } from "../../report/formats/host-order.ts";
import { createNdjsonReporter } from "../../report/formats/ndjson.ts";
import { createTableReporter } from "../../report/formats/table.ts";
import type { Reporter, Sink } from "../../report/reporter.ts";
import type { ProbeOptions } from "../options/table.ts";

export interface Format {
  /** For people: `--dry-run` prints it. */
  readonly name: string;
  /** The option that names the file. */
  readonly option:
    | "outputJson"
    | "outputXml"
    | "outputNormal"
    | "outputGrepable"
    | "outputCsv"
    | "outputList"
    | "pcap";
  /** What -oA puts after BASE; without it -oA writes no such file. */
  readonly suffix?: string;
  /** None for the capture, which takes packets, not results. */
  readonly createReporter?: (
    sink: Sink,
    options: ProbeOptions,
    createSpill: () => Spill,
  ) => Reporter | Promise<Reporter>;
}

const FORMATS: readonly Format[] = [
  {
    name: "NDJSON",
    option: "outputJson",
    suffix: ".ndjson",
    createReporter: (sink) => createNdjsonReporter(sink),
  },
  {
    name: "nmap XML",
    option: "outputXml",
    suffix: ".xml",
    createReporter: async (sink, _options, createSpill) =>
      (await import("../../report/formats/nmap-xml.ts")).createNmapXmlReporter(sink, createSpill),
  },
  {
    name: "table",
    option: "outputNormal",
    suffix: ".nmap",
    createReporter: (sink, options) =>
      createTableReporter(sink, { color: false, verbose: true, ...tableOptions(options) }),
  },
  {
    name: "grepable",
    option: "outputGrepable",
    suffix: ".gnmap",
    createReporter: async (sink, _options, createSpill) =>
      (await import("../../report/formats/grepable.ts")).createGrepableReporter(sink, createSpill),
  },
  {
    name: "CSV",
    option: "outputCsv",
    createReporter: async (sink) => (await import("../../report/formats/csv.ts")).createCsvReporter(sink),
  },
  {
    name: "masscan list",
    option: "outputList",
    createReporter: async (sink) =>
      (await import("../../report/formats/masscan-list.ts")).createMasscanListReporter(sink),
  },
  { name: "pcapng", option: "pcap" },
];

/** What every table is told: the one on the terminal, and the one in a file. */
export const tableOptions = ({ confidence, show }: ProbeOptions) => ({
  confidence,
  ...(show === undefined ? {} : { show }),
});

/** The files that the options name, each with its format. */
export function wantedFiles(options: ProbeOptions): { readonly format: Format; readonly path: string }[] {
  const { outputAll: base } = options;
  return FORMATS.flatMap((format) => {
    const ofAll = base && format.suffix ? `${base}${format.suffix}` : undefined;
    return [options[format.option], ofAll].flatMap((path) => (path ? [{ format, path }] : []));
  });
}
