/**
 * The output formats: which option names each one's file, how -oA ends its name, and what writes it. Opening the files is
 * outputs.ts's business. Only the formats that are asked for are loaded.
 */
import type { Spill } from "../../report/formats/host-order.ts";
import { createNdjsonReporter } from "../../report/formats/ndjson.ts";
import type { ListedPorts } from "../../report/formats/nmap.ts";
import { showOnly } from "../../report/formats/show.ts";
import { createTableReporter } from "../../report/formats/table.ts";
import type { Fill, Reporter, Sink } from "../../report/reporter.ts";
import type { PortState } from "../../scan/probe/result.ts";
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
    | "outputTargets"
    | "pcap";
  /** What -oA puts after BASE; without it -oA writes no such file. */
  readonly suffix?: string;
  /** None for the capture, which takes packets, not results. */
  readonly createReporter?: (
    sink: Sink,
    options: ProbeOptions,
    createSpill: () => Spill,
    fill: Fill | undefined,
  ) => Reporter | Promise<Reporter>;
}

const FORMATS: readonly Format[] = [
  {
    name: "NDJSON",
    option: "outputJson",
    suffix: ".ndjson",
    createReporter: async (sink, options, _, fill) => {
      if (options.jsonFields === "naabu")
        return (await import("../../report/formats/naabu.ts")).createNaabuReporter(sink);
      const states = shownInFiles(options);
      return showOnly(createNdjsonReporter(sink, states, fill), states);
    },
  },
  {
    name: "nmap XML",
    option: "outputXml",
    suffix: ".xml",
    createReporter: async (sink, options, createSpill) =>
      (await import("../../report/formats/nmap-xml.ts")).createNmapXmlReporter(
        sink,
        createSpill,
        listedPorts(options),
      ),
  },
  {
    name: "table",
    option: "outputNormal",
    suffix: ".nmap",
    createReporter: (sink, options, createSpill) =>
      createTableReporter(sink, {
        color: false,
        verbose: true,
        order: "sorted",
        createSpill,
        ...tableOptions({ ...options, show: shownInFiles(options) }),
      }),
  },
  {
    name: "grepable",
    option: "outputGrepable",
    suffix: ".gnmap",
    createReporter: async (sink, options, createSpill) =>
      (await import("../../report/formats/grepable.ts")).createGrepableReporter(
        sink,
        createSpill,
        listedPorts(options),
      ),
  },
  {
    name: "CSV",
    option: "outputCsv",
    createReporter: async (sink, options) =>
      showOnly((await import("../../report/formats/csv.ts")).createCsvReporter(sink), shownInFiles(options)),
  },
  {
    name: "masscan list",
    option: "outputList",
    createReporter: async (sink) =>
      (await import("../../report/formats/masscan-list.ts")).createMasscanListReporter(sink),
  },
  {
    name: "targets",
    option: "outputTargets",
    createReporter: async (sink) =>
      (await import("../../report/formats/targets.ts")).createTargetsReporter(sink),
  },
  { name: "pcapng", option: "pcap" },
];

/** The states that files have; all when undefined. */
const shownInFiles = ({ show, showFiles }: ProbeOptions): readonly PortState[] | undefined =>
  showFiles ?? show;

/** Which ports nmap's formats list. */
const listedPorts = (options: ProbeOptions): ListedPorts => {
  const states = shownInFiles(options);
  return { verbose: options.verbose === true, ...(states === undefined ? {} : { states }) };
};

/** What every table is told: the one on the terminal, and the one in a file. */
export const tableOptions = ({
  confidence,
  show,
}: Pick<ProbeOptions, "confidence"> & { readonly show?: readonly PortState[] | undefined }) => ({
  confidence,
  ...(show === undefined ? {} : { show }),
});

/** Names of standard output, as nmap's users write it: opened as files the table would be in the middle of what they get. */
const STDOUT_NAMES = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

/** The files that the options name, each with its format; `-` for standard output. */
export function wantedFiles(
  options: ProbeOptions,
  now = new Date(),
): { readonly format: Format; readonly path: string }[] {
  const { outputAll: base } = options;
  return FORMATS.flatMap((format) => {
    const ofAll = base && format.suffix ? `${base}${format.suffix}` : undefined;
    return [options[format.option], ofAll].flatMap((path) =>
      path ? [{ format, path: STDOUT_NAMES.includes(path) ? "-" : withTime(path, now) }] : [],
    );
  });
}

/**
 * nmap's conversions in the names of files, in local time: %H %M %S %m %d %y %Y, %T (HMS), %R (HM), %D (mdy), %F (Y-m-d). Any other
 * character after a % stands for itself.
 */
export function withTime(path: string, now: Date): string {
  if (!path.includes("%")) return path;
  const two = (n: number): string => String(n).padStart(2, "0");
  const H = two(now.getHours());
  const M = two(now.getMinutes());
  const S = two(now.getSeconds());
  const m = two(now.getMonth() + 1);
  const d = two(now.getDate());
  const Y = String(now.getFullYear());
  const y = Y.slice(-2);
  const texts: Readonly<Record<string, string>> = {
    ...{ H, M, S, m, d, y, Y },
    ...{ T: H + M + S, R: H + M, D: m + d + y, F: `${Y}-${m}-${d}` },
  };
  return path.replace(/%(.?)/gs, (_, letter: string) => texts[letter] ?? letter);
}
