/**
 * Processes under other identities inside a lab: an ordinary user, with and without capabilities, and one who calls sudo;
 * and what the kernel says about a process.
 *
 * The users exist only in the lab's own view of /etc, and the checkout is bind-mounted to where they can read it: nothing
 * of the system changes, and it does not matter where the checkout is.
 */
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmdirSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { command, inNamespace, overlayEtc } from "../lab/netns.ts";
import { until } from "../lab/until.ts";
import { MAIN, ROOT } from "./process.ts";

/** A user without any privilege, and one more group; may call sudo without a password. */
export const USER = { name: "prober", uid: 54_321, gid: 54_321, group: 54_322 } as const;

export interface Stage {
  /** synprobe as the others see it. */
  readonly main: string;
  /** A command behind a prefix such as setpriv's, inside the namespace. */
  as(prefix: readonly string[], argv: readonly string[]): string[];
  remove(): void;
}

export const AS_USER = [
  "setpriv",
  `--reuid=${USER.uid}`,
  `--regid=${USER.gid}`,
  "--init-groups",
  "--inh-caps=-all",
] as const;
export const WITH_NET_RAW = [
  "setpriv",
  `--reuid=${USER.uid}`,
  `--regid=${USER.gid}`,
  "--init-groups",
  "--inh-caps=+net_raw",
  "--ambient-caps=+net_raw",
] as const;

/** Makes the user known in a namespace, and the checkout readable. */
export function setStage(namespace: string): Stage {
  const mountPoint = mkdtempSync(join(tmpdir(), "sp-"));
  const { name, uid, gid, group } = USER;
  overlayEtc(namespace, "passwd", `root:x:0:0::/root:/bin/sh\n${name}:x:${uid}:${gid}::/:/bin/sh\n`);
  overlayEtc(namespace, "group", `root:x:0:\n${name}:x:${gid}:\nprobers:x:${group}:${name}\n`);
  overlayEtc(namespace, "shadow", `root:*:19000::::::\n${name}:*:19000::::::\n`, 0o600);
  overlayEtc(namespace, "hosts", `127.0.0.1 localhost ${hostname()}\n`);
  const script = 'mount --bind "$1" "$2" && cd / && shift 2 && exec "$@"';
  return {
    main: MAIN.replace(ROOT, `${mountPoint}/`),
    as: (prefix, argv) =>
      inNamespace(namespace, ["sh", "-c", script, "sh", ROOT, mountPoint, ...prefix, ...argv]),
    remove: () => rmdirSync(mountPoint),
  };
}

/** A command inside the namespace, as a user with these capabilities alone; the checkout is where that user can read it. */
export function withCapabilities(namespace: string, capabilities: string, argv: readonly string[]): string[] {
  const script = 'mount --bind "$1" /mnt && cd / && shift && exec "$@"';
  const setpriv = [
    ..."setpriv --reuid=65534 --regid=65534 --clear-groups".split(" "),
    `--inh-caps=${capabilities}`,
    `--ambient-caps=${capabilities}`,
  ];
  const words = argv.map((word) =>
    word.replaceAll(pathToFileURL(ROOT).href, "file:///mnt/").replaceAll(ROOT, "/mnt/"),
  );
  return inNamespace(namespace, ["sh", "-c", script, "sh", ROOT, ...setpriv, ...words]);
}

/** Why an ordinary user could not run it anyway; undefined when nothing is in the way. */
export function userProblem(): string | undefined {
  try {
    command(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", process.execPath, "-e", "0"]);
    return undefined;
  } catch {
    return `an ordinary user may not run ${process.execPath}, or setpriv is missing`;
  }
}

/** Lets the user call sudo. @returns why sudo cannot be had; undefined when it can */
export function allowSudo(namespace: string): string | undefined {
  try {
    command(["sudo", "--version"]);
  } catch {
    return "sudo is not installed";
  }
  overlayEtc(
    namespace,
    "sudoers",
    `root ALL=(ALL:ALL) ALL\n${USER.name} ALL=(ALL:ALL) NOPASSWD: ALL\n`,
    0o440,
  );
  return undefined;
}

/** What /proc/PID/status says of a process's power. */
export interface Power {
  /** Real, effective, saved and file-system user id. */
  readonly uids: readonly number[];
  readonly gids: readonly number[];
  readonly groups: readonly number[];
  readonly effective: bigint;
  readonly permitted: bigint;
  readonly inheritable: bigint;
  readonly ambient: bigint;
  readonly noNewPrivileges: boolean;
}

/** The same of each of its threads but the first. */
export const powerOfThreads = (pid: number): Power[] =>
  readdirSync(`/proc/${pid}/task`)
    .filter((thread) => thread !== String(pid))
    .map((thread) => powerOf(`${pid}/task/${thread}`));

/** @param pid or `pid/task/thread` */
export function powerOf(pid: number | string): Power {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const field = (name: string): string =>
    new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(status)?.[1]?.trim() ?? "";
  const numbers = (name: string): number[] => field(name).split(/\s+/).filter(Boolean).map(Number);
  const set = (name: string): bigint => BigInt(`0x${field(name)}`);
  return {
    uids: numbers("Uid"),
    gids: numbers("Gid"),
    groups: numbers("Groups").sort(),
    effective: set("CapEff"),
    permitted: set("CapPrm"),
    inheritable: set("CapInh"),
    ambient: set("CapAmb"),
    noNewPrivileges: field("NoNewPrivs") === "1",
  };
}

/** The node process that a command has become or started; sudo starts one. */
export function nodeProcess(pid: number): number {
  const node = realpathSync(process.execPath);
  let found = 0;
  until(() => {
    found = family(pid).find((member) => executable(member) === node) ?? 0;
    return found !== 0;
  }, `a node process below ${pid}`);
  return found;
}

function executable(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return "";
  }
}

/** A process and its descendants. */
function family(root: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      // After the name in parentheses: state, parent.
      const [, parent] = readFileSync(`/proc/${name}/stat`, "utf8")
        .replace(/^.*\) /s, "")
        .split(" ");
      parents.set(Number(name), Number(parent));
    } catch {
      // It has ended.
    }
  }
  const members = [root];
  for (const member of members) {
    for (const [child, parent] of parents) if (parent === member) members.push(child);
  }
  return members;
}
