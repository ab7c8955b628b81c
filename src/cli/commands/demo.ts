/**
 * `synprobe demo`: what synprobe does, shown on the simulated hosts of a lab. Every command is a real run of this program,
 * echoed as a user would type it.
 */
import { spawn } from "node:child_process";
import { createColors } from "picocolors";
import { DEFAULT_DESCRIPTION } from "../../lab/default-description.ts";
import { isInLab } from "../../runtime/lab/lab.ts";
import { statusOf } from "../../runtime/lab/namespace.ts";
import { EXIT } from "../exit.ts";
import { usage } from "../options/table.ts";
import { type Messages, printResult } from "../run/terminal.ts";
import { runInLab } from "./lab.ts";

/** What DEFAULT_DESCRIPTION has at this address: a port of each kind. */
const HOST = "198.18.0.1";
const PORTS = { ssh: 22, http: 80, echo: 7, closed: 81, silent: 23, rejected: 25 } as const;
/** Keeps the wait for silent ports short. */
const IMPATIENT = ["--timeout", "300ms", "--retries", "1"] as const;

interface Stop {
  readonly explanation: string;
  readonly args: readonly string[];
}

const { ssh, http, echo, closed, silent, rejected } = PORTS;
const trace = (port: number, ...args: readonly string[]): string[] => [
  "trace",
  "--brief",
  ...args,
  `${HOST}:${port}`,
];

const STOPS: readonly Stop[] = [
  {
    explanation: "A port of each kind: open, closed, silent behind a firewall, rejected by it.",
    args: [`${HOST}:${ssh},${closed},${silent},${rejected}`, ...IMPATIENT],
  },
  {
    explanation:
      "--complete finishes the handshake with open ports and closes it; --banner hears what they say first.",
    args: ["--complete", "--banner=500ms", `${HOST}:${ssh},${http},${echo}`],
  },
  { explanation: "One connection to an open port: made, and closed in both directions.", args: trace(ssh) },
  { explanation: "A closed port: the host itself says so, with RST.", args: trace(closed) },
  {
    explanation: "A silent port: the SYN is sent again, and nothing ever comes.",
    args: trace(silent, ...IMPATIENT),
  },
  { explanation: "A rejected port: an ICMP error comes in the answer's place.", args: trace(rejected) },
];

/** @returns the exit status. @throws {SynprobeError} `ERR_PRIVILEGE` when there can be no lab here */
export function demo(): Promise<number> {
  const command = [process.execPath, ...process.execArgv, process.argv[1], "demo", "--inside"];
  return runInLab({ description: DEFAULT_DESCRIPTION, command, banner: false });
}

/**
 * Inside the lab: one command after the other.
 * @returns the status of the first that fails, else 0. @throws {SynprobeError} `ERR_USAGE` outside: HOST could be a real host there
 */
export async function tour({ stdoutColour }: Messages): Promise<number> {
  if (!isInLab()) throw usage("--inside is for synprobe itself to use in its lab: run synprobe demo");
  const colors = createColors(stdoutColour);
  const say = (...lines: string[]): void => printResult(`${lines.join("\n")}\n`);
  say(`A network of simulated hosts, from which no packet can leave. ${HOST} is one of them.`);
  for (const { explanation, args } of STOPS) {
    say("", colors.dim(`# ${explanation}`), colors.bold(`$ synprobe ${args.join(" ")}`));
    const status = await run(args);
    if (status !== EXIT.complete) return status;
  }
  say("", `The same network for any command, or for a shell: ${colors.bold("synprobe lab")}`);
  return EXIT.complete;
}

function run(args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...process.execArgv, process.argv[1], ...args], {
      stdio: "inherit",
    });
    child.on("error", reject);
    child.on("exit", (status, signal) => resolve(statusOf(status, signal)));
  });
}
