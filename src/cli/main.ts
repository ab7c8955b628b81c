/**
 * The entry point: reads argv, runs a command, sets the exit status.
 */
import { Argument, Command, CommanderError, Option } from "commander";
import { isSynprobeError } from "../errors.ts";
import { systemFault } from "../runtime/system/file-errors.ts";
import { isPiped } from "../runtime/system/is-terminal.ts";
import { checkPlatform, nativeLoadError } from "../runtime/system/platform.ts";
import { loadApart } from "./apart.ts";
import type { CheckOptions } from "./commands/check.ts";
import type { DiffOptions } from "./commands/diff.ts";
import type { DoctorOptions } from "./commands/doctor.ts";
import type { HistoryOptions } from "./commands/history.ts";
import type { LabOptions } from "./commands/lab.ts";
import type { PathCommandOptions } from "./commands/path.ts";
import type { ReportOptions } from "./commands/report.ts";
import type { TraceCommandOptions } from "./commands/trace.ts";
import type { WatchOptions } from "./commands/watch.ts";
import { isOfWatch, WATCH_OPTIONS } from "./commands/watch-options.ts";
import type { WorkerCommandOptions } from "./commands/worker.ts";
import { EXIT, type ExitStatus, errorStatus, exitStatus } from "./exit.ts";
import { expandAliases } from "./options/aliases.ts";
import { timesWithoutUnit } from "./options/arguments.ts";
import { CHECK_OPTIONS, PATH_OPTIONS, sharedWith } from "./options/command-options.ts";
import {
  addOptions,
  attributeOf,
  collect,
  isConfigured,
  neededOf,
  refuseAlone,
} from "./options/commander.ts";
import type { Configured } from "./options/config.ts";
import {
  LAB_INSIDE,
  type OptionSpec,
  PROBE_OPTIONS,
  type ProbeOptions,
  WORKER_OPTIONS,
  withTiming,
} from "./options/table.ts";
import { createMessages, endProcess, printResult, setUpProcess, VERSION } from "./run/terminal.ts";

/** A word that a command, or help on all of them, may be asked for with: without one there is no need to say what they take. */
const MAY_BE_COMMAND = /^(?:[a-z][a-z-]*|-[a-z]*h[a-z]*|--help)$/i;

/**
 * @param run is given a command's action
 * @param askedHelp is told which command's help was asked for, "" for the main one, before commander throws
 */
function createProgram(
  run: (action: () => Promise<number>) => void,
  argv: readonly string[],
  askedHelp: (name: string) => void = () => {},
): Command {
  const messages = createMessages();
  const program: Command = new Command("synprobe")
    .description("Says whether TCP ports are open, closed or filtered, and on what evidence.")
    .version(VERSION, "-V, --version", "print the version")
    .argument("[targets...]", "host:port, host:22,80,8000-8010, [v6]:port, name:https")
    .enablePositionalOptions()
    .helpOption("-h, --help", "show what a command takes")
    .helpCommand(false)
    .exitOverride()
    .showSuggestionAfterError(false)
    // help/help.ts writes the help. It is loaded when asked for: it takes time.
    .configureHelp({
      formatHelp: (command) => {
        askedHelp(command === program ? "" : command.name());
        return "";
      },
    })
    .configureOutput({ outputError: () => {}, writeOut: printResult });
  const isProbe = argv.length > 0 && !argv.some((word) => MAY_BE_COMMAND.test(word));
  const written = addOptions(program, isProbe ? neededOf(PROBE_OPTIONS, argv) : PROBE_OPTIONS);
  let verbosity = 0;
  const countVerbose = (command: Command): void => {
    command.on("option:verbose", () => {
      verbosity++;
    });
  };
  countVerbose(program);
  const timed = <Options extends ProbeOptions>({ options, given }: Configured<Options>) => ({
    ...options,
    ...withTiming(options, given),
    ...(verbosity > 1 ? { veryVerbose: true } : {}),
  });
  program.action((targets: string[], options: ProbeOptions) =>
    run(async () => {
      // Native code would fail less clearly when loaded on another platform.
      checkPlatform();
      const typed = new Set(written.keys());
      const words = await takeUp(targets, options, program, written);
      const settled = await settle(program, options, written, [], (name) => typed.has(name));
      const complete = timed(settled);
      if (options.printConfig === true) {
        printResult(settled.print(complete));
        return EXIT.complete;
      }
      if (complete.verbose === true) {
        const textOf = (spec: OptionSpec) => written.get(attributeOf(spec));
        for (const note of timesWithoutUnit(PROBE_OPTIONS, textOf)) messages.note(note);
      }
      return (await import("./run/probe.ts")).probe(words, complete, messages, argv);
    }),
  );
  if (isProbe) return program;
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
        const settled = await settle(traceCommand, options, new Map());
        return (await import("./commands/trace.ts")).trace(target, settled.options, messages, argv);
      }),
    );
  addOptions(traceCommand, sharedWith("trace"));
  const pathCommand = program
    .command("path")
    .description("say at which hop on the way to a host the SYNs of its ports stop")
    .argument("<target>", "host:port[,port...] of one host")
    .action((target: string, options: PathCommandOptions) =>
      run(async () => {
        checkPlatform();
        const settled = await settle(pathCommand, options, new Map());
        return loadApart<typeof import("./commands/path.ts")>("path").path(
          target,
          settled.options,
          messages,
          argv,
        );
      }),
    );
  addOptions(pathCommand, [...PATH_OPTIONS, ...sharedWith("path")]);
  const checkCommand = program
    .command("check")
    .description(
      "say whether ports are what a policy wants; exit status 1 when not, 4 when it cannot be told",
    )
    .usage("[options] <policy> | --learn [options] <targets...>")
    .argument("[policy...]", "the policy, in YAML or JSON, - for standard input; targets after --learn")
    .action((words: string[], options: CheckOptions & ProbeOptions) =>
      run(async () => {
        checkPlatform();
        const settled = timed(await settle(checkCommand, options, writtenOfCheck));
        const { checking } = await import("./commands/check.ts");
        const isTyped = (name: string): boolean => checkCommand.getOptionValueSource(name) === "cli";
        const asked = await checking(words, settled, isTyped, messages);
        const { probe } = await import("./run/probe.ts");
        return probe(asked.words, asked.options, messages, argv, asked.purpose);
      }),
    );
  // So many that to add them takes a probe's start longer: only for those who look.
  const isLookedAt = argv.some((word) => ["check", "completion", "man"].includes(word));
  const writtenOfCheck = addOptions(checkCommand, isLookedAt ? CHECK_OPTIONS() : []);
  countVerbose(checkCommand);
  const doctorCommand = program
    .command("doctor")
    .description("check whether probing can work from here, and what to do if not")
    .argument(
      "[target]",
      "show the route, interface and source address for this host; with ports, walk to them too",
    )
    .option("--fix", "remove what runs that were killed have left behind")
    .action((target: string | undefined, options: DoctorOptions) =>
      run(async () => {
        const settled = await settle(doctorCommand, options, new Map());
        return (await import("./commands/doctor.ts")).doctor(target, settled.options, messages);
      }),
    );
  addOptions(doctorCommand, sharedWith("doctor"));
  program
    .command("lab")
    .description("run a command, or a shell, in a network of simulated hosts from which no packet can leave")
    .usage("[file] [-- command ...]")
    .argument("[file...]", "a description of the network in JSON; without one, a host of every kind")
    .option("--check", "only read the description, and say what is in it")
    .option("--truth <target>", "only print what each port is, as NDJSON (repeatable)", collect)
    .option("--report <file>", "write what the lab saw of the command, and its own shortfalls, as JSON")
    .action((words: string[], options: LabOptions) =>
      run(async () => {
        checkPlatform();
        return loadApart<typeof import("./commands/lab.ts")>("lab").lab(words, options, argv);
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
      run(async () =>
        loadApart<typeof import("./commands/diff.ts")>("diff").diff(old, now, options, messages),
      ),
    );
  program
    .command("report")
    .description("make one page of HTML, for a browser or paper, from runs in NDJSON or nmap XML")
    .argument("<files...>", "runs, such as the shards of one; of a port in several the last counts")
    .requiredOption("-o, --output <file>", "the page; - for standard output")
    .option("--title <text>", "what the page is called")
    .action((files: string[], options: ReportOptions) =>
      run(async () =>
        loadApart<typeof import("./commands/report.ts")>("report").report(files, options, messages),
      ),
    );
  const historyCommand = program
    .command("history")
    .description("say since when ports are as they are, and what changed, from the runs in a store")
    .usage("[options] [runs|changes|at TIME|HOST[:PORT]|import FILE]")
    .argument(
      "[question...]",
      "the question: a host, with or without a port, or one of these words; runs without any",
    )
    .option("--since <time>", "from then on: 2026-11-28, 2026-11-28T14:30 (UTC), or how long ago, such as 7d")
    .option("--until <time>", "until then")
    .option("--reasons", "changes: those too that are of the reason alone")
    .option("--json", "NDJSON: an object a row")
    .option("--csv", "CSV: a line a row")
    .action((words: string[], options: HistoryOptions) =>
      run(async () => {
        const settled = await settle(historyCommand, options, new Map());
        return loadApart<typeof import("./commands/history.ts")>("history").history(
          words,
          settled.options,
          messages,
        );
      }),
    );
  addOptions(historyCommand, sharedWith("history"));
  const watchCommand = program
    .command("watch")
    .description("scan again and again, keep the history, and tell what has changed")
    .argument("[targets...]", "as the main command takes them; or one policy, .yaml or .json, as check's")
    .action((targets: string[], typed: WatchOptions) =>
      run(async () => {
        checkPlatform();
        const { options, given } = await settle(watchCommand, typed, new Map(), WATCH_OPTIONS);
        const complete = { ...options, ...withTiming(options, given), given };
        const { createRescan } = await import("./commands/rescan.ts");
        return loadApart<typeof import("./commands/watch.ts")>("watch").watch(
          targets,
          complete,
          messages,
          argv,
          (signals, policy) => createRescan(targets, complete, messages, argv, signals, policy),
        );
      }),
    );
  addOptions(watchCommand, [...WATCH_OPTIONS, ...PROBE_OPTIONS.filter(isOfWatch)]);
  const workerCommand = program
    .command("worker")
    .description("probe for the runs of a fleet, on many machines, until told to leave")
    .argument("[url]", "the fleet's Redis: redis://HOST:PORT; without it SYNPROBE_FLEET")
    .action((url: string | undefined, options: WorkerCommandOptions) =>
      run(async () => {
        checkPlatform();
        const settled = await settle(workerCommand, options, new Map());
        return (await import("./commands/worker.ts")).worker(url, settled.options, messages, argv);
      }),
    );
  addOptions(workerCommand, [...WORKER_OPTIONS, ...sharedWith("worker")]);
  program
    .command("fleet")
    .description("show a fleet's workers and runs, let a worker leave, or stop a run")
    .usage("status [URL] | drain WORKER [URL] | stop RUN [URL]")
    .argument("<action...>", "status, drain WORKER or stop RUN; then the URL of Redis, or SYNPROBE_FLEET")
    .action((words: string[]) =>
      run(async () => (await import("./commands/fleet.ts")).fleet(words, messages)),
    );
  program
    .command("demo")
    .description("show what synprobe does, on simulated hosts: no target is needed, nobody is harmed")
    .addOption(new Option("--inside").hideHelp())
    .action(({ inside }: { inside?: boolean }) =>
      run(async () => {
        checkPlatform();
        const demo = loadApart<typeof import("./commands/demo.ts")>("demo");
        return inside === true ? demo.tour(messages) : demo.demo();
      }),
    );
  program
    .command("help")
    .description("explain a topic or a command; without either, what is used most")
    .argument("[topic]", "one of the topics or commands that synprobe --help lists")
    .action((subject: string = "") =>
      run(async () => {
        const { helpText } = await import("./help/help.ts");
        printResult(helpText(program, subject, { brief: false, colour: messages.stdoutColour }));
        return EXIT.complete;
      }),
    );
  program
    .command("completion")
    .description("print a script that makes a shell complete synprobe's command lines")
    .addArgument(new Argument("<shell>", "bash, zsh or fish").choices(["bash", "zsh", "fish"]))
    .action((shell: "bash" | "zsh" | "fish") =>
      run(async () => {
        const { completionScript } = await import("./help/completion.ts");
        printResult(completionScript(program, shell));
        return EXIT.complete;
      }),
    );
  program
    // The build makes synprobe.1 with it.
    .command("man", { hidden: true })
    .action(() =>
      run(async () => {
        const { manPage } = await import("./help/man.ts");
        printResult(manPage(program));
        return EXIT.complete;
      }),
    );
  program
    // commands/lab.ts starts it in the lab's namespaces.
    .command(LAB_INSIDE, { hidden: true })
    .action(() => run(async () => loadApart<typeof import("./commands/lab.ts")>("lab").labInside(messages)));
  return program;
}

/**
 * Under `--resume`: the targets of the journal's run, and its options, where none are given in their place.
 * @throws {SynprobeError} `ERR_JOURNAL`, `ERR_USAGE` when the targets came from standard input, and nothing gives any now
 */
async function takeUp(
  targets: readonly string[],
  { resume, inputList, inputResults, drop }: ProbeOptions,
  program: Command,
  written: Map<string, string | undefined>,
): Promise<readonly string[]> {
  if (resume === undefined) return targets;
  const [{ recallCommand }, { resumeOptions }] = await Promise.all([
    import("./run/journal.ts"),
    import("./options/resumed.ts"),
  ]);
  const isNamed = targets.length > 0 || inputList !== undefined || inputResults !== undefined;
  const earlier = await recallCommand(resume, drop, isNamed);
  if (earlier === undefined) return targets;
  const now = { named: isNamed ? targets : undefined, piped: isPiped() };
  return resumeOptions(resume, earlier, program, written, now);
}

/**
 * A command's options, completed from a configuration and the environment.
 * @param own those that the main command does not have
 * @param isTyped whether one stands on this command line, where not all that are given do
 */
async function settle<Options extends Pick<ProbeOptions, "drop" | "config" | "printConfig">>(
  command: Command,
  options: Options,
  written: ReadonlyMap<string, string | undefined>,
  own: readonly OptionSpec[] = [],
  isTyped?: (name: string) => boolean,
): Promise<Configured<Options>> {
  const given = (name: string): boolean => command.getOptionValueSource(name) === "cli";
  let settled: Configured<Options> = { options, given, print: () => "" };
  if (isConfigured() || options.config !== undefined || options.printConfig === true) {
    const names = command.options.map((option) => option.attributeName());
    const typed = new Map(names.filter(given).map((name) => [name, written.get(name)]));
    const { configure } = await import("./options/config.ts");
    settled = configure(options, typed, process.env, (name) => names.includes(name));
  }
  refuseAlone(command, [...PROBE_OPTIONS, ...own], settled.options, isTyped ?? given);
  return settled;
}

async function main(argv: readonly string[]): Promise<number> {
  let status: Promise<number> = Promise.resolve(EXIT.complete);
  let subject: string | undefined;
  const program = createProgram(
    (action) => {
      status = action();
    },
    argv,
    (name) => {
      subject = name;
    },
  );
  try {
    try {
      program.parse(expandAliases(argv), { from: "user" });
    } catch (error) {
      if (subject === undefined || !(error instanceof CommanderError)) throw error;
      const { helpText } = await import("./help/help.ts");
      printResult(helpText(program, subject, { brief: true, colour: createMessages().stdoutColour }));
    }
    return await status;
  } catch (error) {
    return await explain(error, program);
  }
}

async function explain(error: unknown, program: Command): Promise<ExitStatus> {
  const messages = createMessages();
  if (isSynprobeError(error)) {
    messages.error([error.message, ...error.advice].join("\n"));
    return errorStatus(error);
  }
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return EXIT.complete;
    const message = error.message.replace(/^error: /, "").replace(/\s*\n\s*/g, " ");
    const command = commandOf(program);
    const help = command === program ? "synprobe --help" : `synprobe ${command.name()} --help`;
    const { improve } = await import("./options/unknown-option.ts");
    messages.error(`${improve(message, command)}${await commandMeant(program)} (${help})`);
    return EXIT.usage;
  }
  const native = nativeLoadError(error);
  if (native !== undefined) {
    messages.error(`${native.message}; "synprobe doctor" says more`);
    return exitStatus(native.code);
  }
  const system = systemFault(error);
  if (system !== undefined) {
    messages.error(system.message);
    return exitStatus(system.code);
  }
  messages.error(
    `internal error, please report it: ${error instanceof Error ? (error.stack ?? error.message) : error}`,
  );
  return EXIT.internal;
}

/** Of a mistake after a word that looks like a command: which. */
async function commandMeant(program: Command): Promise<string> {
  const word = process.argv.slice(2).find((each) => !each.startsWith("-")) ?? "";
  if (commandOf(program) !== program) return "";
  return (await import("./options/unknown-option.ts")).commandMeantBy(word);
}

/** The command that was called; the program itself for the main one. */
const commandOf = (program: Command): Command =>
  program.commands.find((each) => each.name() === program.args[0]) ?? program;

setUpProcess();
main(process.argv.slice(2)).then((status) => {
  // Where all went well, that nobody has read what was printed.
  process.exitCode = status === EXIT.complete ? (process.exitCode ?? status) : status;
  return endProcess();
});
