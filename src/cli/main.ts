/**
 * The entry point: reads argv, runs a command, sets the exit status.
 */
import { createRequire } from "node:module";
import { Command, CommanderError, Option } from "commander";
import { isSynprobeError } from "../errors.ts";
import { checkPlatform } from "../runtime/platform.ts";
import { expandAliases, longName } from "./aliases.ts";
import type { DiffOptions } from "./diff.ts";
import { EXIT, type ExitStatus, exitStatus } from "./exit.ts";
import type { LabOptions } from "./lab.ts";
import {
  collect,
  LAB_INSIDE,
  type OptionSpec,
  PROBE_OPTIONS,
  type ProbeOptions,
  TRACE_DEFAULTS,
  usage,
  withTiming,
} from "./options.ts";
import type { ReportOptions } from "./report.ts";
import { createMessages, printResult, VERSION } from "./terminal.ts";
import type { TraceCommandOptions } from "./trace.ts";

const EPILOGUE = `
Targets:
  host:port   192.0.2.10:22,80,8000-8010   [2001:db8::10]:443   example.test:https

nmap's spellings are understood: -sS -Pn -n -p- -iL -oJ -oX -oN -oG --max-retries.

Exit status:
  0  run complete                       3    raw sockets not allowed here
  1  with --require-open: not all open  4    no route, no such interface, no source address
  2  usage, target or output file       130  interrupted; what was found is printed`;

function createProgram(run: (action: () => Promise<number>) => void, argv: readonly string[]): Command {
  const messages = createMessages();
  const program = new Command("synprobe")
    .description("Says whether TCP ports are open, closed or filtered, and on what evidence.")
    .version(VERSION, "-V, --version")
    .argument("[targets...]", "host:port, host:22,80,8000-8010, [v6]:port, name:https")
    .enablePositionalOptions()
    .addHelpText("after", EPILOGUE)
    .exitOverride()
    .configureOutput({ outputError: () => {}, writeOut: printResult });
  for (const spec of PROBE_OPTIONS) {
    const option = commanderOption(spec);
    program.addOption(option);
    if (spec.repeatable !== true) refuseTwice(program, option);
  }
  program.action((targets: string[], options: ProbeOptions) =>
    run(async () => {
      // Before anything native is loaded, which would fail less clearly.
      checkPlatform();
      const given = (name: string): boolean => program.getOptionValueSource(name) === "cli";
      return (await import("./probe.ts")).probe(targets, withTiming(options, given), messages, argv);
    }),
  );
  const traceCommand = program
    .command("trace")
    .description("follow one connection in ten steps, from the empty socket to the close")
    .argument("<target>", "host:port, one port")
    .option("--json", "the same as data")
    .option("--pcap <file>", "write the packets, with their steps as comments, to a pcapng file")
    .option("--half-open", "stop after the answer")
    .option("--brief", "only the diagram of the segments")
    .action((target: string, options: TraceCommandOptions) =>
      run(async () => {
        checkPlatform();
        return (await import("./trace.ts")).trace(target, options, messages, argv);
      }),
    );
  for (const spec of PROBE_OPTIONS.filter(({ flags }) => TRACE_OPTIONS.has(longName(flags)))) {
    const defaultValue = TRACE_DEFAULTS[longName(spec.flags)] ?? spec.defaultValue;
    traceCommand.addOption(commanderOption({ ...spec, defaultValue }));
  }
  program
    .command("doctor")
    .description("check whether probing can work from here, and what to do if not")
    .argument("[target]", "show the route, interface and source address for this host")
    .option("--fix", "remove what runs that were killed have left behind")
    .action((target: string | undefined, options: { fix?: boolean }) =>
      run(async () => (await import("./doctor.ts")).doctor(target, options, messages)),
    );
  program
    .command("lab")
    .description("run a command, or a shell, in a network of simulated hosts from which no packet can leave")
    .usage("[file] [-- command ...]")
    .argument("[words...]", "a description of the network in JSON; without one, a host of every kind")
    .option("--check", "only read the description, and say what is in it")
    .option("--truth <target>", "only print what each port is, as NDJSON (repeatable)", collect)
    .option("--report <file>", "write what the lab saw of the command, and its own shortfalls, as JSON")
    .action((words: string[], options: LabOptions) =>
      run(async () => {
        checkPlatform();
        return (await import("./lab.ts")).lab(words, options, argv);
      }),
    );
  program
    .command("diff")
    .description(
      "say what changed between two runs, from NDJSON or nmap XML; exit status 1 when anything did",
    )
    .argument("<old>", "the earlier run; - for standard input")
    .argument("<new>", "the later run")
    .option("--json", "NDJSON: one object a difference, and a summary")
    .option("--only <state>", "open: only what was open, or is")
    .action((old: string, now: string, options: DiffOptions) =>
      run(async () => loadApart<typeof import("./diff.ts")>("diff").diff(old, now, options, messages)),
    );
  program
    .command("report")
    .description("make one page of HTML, for a browser or paper, from runs in NDJSON or nmap XML")
    .argument("<files...>", "runs, such as the shards of one; of a port in several the last counts")
    .requiredOption("-o, --output <file>", "the page; - for standard output")
    .option("--title <text>", "what the page is called")
    .action((files: string[], options: ReportOptions) =>
      run(async () => loadApart<typeof import("./report.ts")>("report").report(files, options, messages)),
    );
  program
    .command("demo")
    .description("show what synprobe does, on simulated hosts: no target is needed, nobody is harmed")
    .addOption(new Option("--inside").hideHelp())
    .action(({ inside }: { inside?: boolean }) =>
      run(async () => {
        checkPlatform();
        const demo = await import("./demo.ts");
        return inside === true ? demo.tour(messages) : demo.demo();
      }),
    );
  program
    // What lab.ts starts in the lab's namespaces.
    .command(LAB_INSIDE, { hidden: true })
    .action(() => run(async () => (await import("./lab.ts")).labInside(messages)));
  return program;
}

/** Commands with large libraries are bundled apart, so that the others start no slower (package.json, "bundle:commands"). */
function loadApart<T>(command: "diff" | "report"): T {
  return createRequire(import.meta.url)(`./commands/${command}.cjs`) as T;
}

/** Options that trace shares with the main command. */
const TRACE_OPTIONS = new Set([
  "--retries",
  "--timeout",
  "--ttl",
  "--interface",
  "--source-ip",
  "--ipv4",
  "--ipv6",
  "--no-drop",
]);

function commanderOption(spec: OptionSpec): Option {
  const option = new Option(spec.flags, spec.description).helpGroup(`${spec.group}:`);
  if (spec.defaultValue !== undefined) option.default(spec.defaultValue);
  if (spec.parse !== undefined) option.argParser(spec.parse);
  return option;
}

/** An option given twice is a mistake that commander would let pass, keeping the last. */
function refuseTwice(program: Command, option: Option): void {
  let seen = false;
  program.on(`option:${option.name()}`, () => {
    if (seen) throw usage(`option ${longName(option.flags)} is given twice`);
    seen = true;
  });
}

async function main(argv: readonly string[]): Promise<number> {
  let status: Promise<number> = Promise.resolve(EXIT.complete);
  const program = createProgram((action) => {
    status = action();
  }, argv);
  try {
    program.parse(expandAliases(argv), { from: "user" });
    return await status;
  } catch (error) {
    return explain(error);
  }
}

function explain(error: unknown): ExitStatus {
  const messages = createMessages();
  if (isSynprobeError(error)) {
    messages.error(error.message);
    return exitStatus(error.code);
  }
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return EXIT.complete;
    messages.error(`${error.message.replace(/^error: /, "").replace(/\s*\n\s*/g, " ")} (synprobe --help)`);
    return EXIT.usage;
  }
  messages.error(
    `internal error, please report it: ${error instanceof Error ? (error.stack ?? error.message) : error}`,
  );
  return EXIT.internal;
}

main(process.argv.slice(2)).then((status) => {
  process.exitCode = status;
});
