/**
 * Findings about what this process may do: who it is, where it is confined, its capabilities, and whether raw sockets
 * really open. See native-notes/capabilities.md for the facts behind the explanations.
 */
import { ERROR_CODES, type ErrorCode } from "../../errors.ts";
import {
  CAPABILITIES,
  type CapabilitySets,
  hasCapability,
  parseCapabilities,
} from "../../link/sys/capabilities.ts";
import { privilegeWays } from "../system/privilege.ts";
import { type Container, findContainer } from "./container.ts";
import { type Finding, fail, info, ok, warn } from "./finding.ts";
import type { RawRefusal, RawTrial, System } from "./system.ts";

export type RawTrials = Readonly<Record<4 | 6, RawTrial>>;

/** What decides whether raw sockets open. */
interface Standing {
  readonly capabilities?: CapabilitySets;
  readonly container?: Container;
  /** A mapped user namespace, in words; undefined in the initial one. */
  readonly userNamespace?: string;
  /** System calls go through a seccomp filter. */
  readonly seccomp: boolean;
}

/** @param command what the user would run; for commands to copy */
export function accessFindings(system: System, trials: RawTrials, command: readonly string[]): Finding[] {
  const standing = readStanding(system);
  return [
    userFinding(system),
    ...(standing.userNamespace === undefined ? [] : [info("user namespace", standing.userNamespace)]),
    standing.container === undefined
      ? ok("container", "none seen")
      : info("container", `${standing.container.kind} (${standing.container.evidence})`),
    netRawFinding(system, standing, command),
    ...rawSocketFindings(trials, standing),
    packetSocketFinding(system),
    netAdminFinding(standing),
  ];
}

/** CAP_NET_ADMIN counts: SO_RCVBUFFORCE asks for it in the initial user namespace. */
export function hasNetAdmin(system: System): boolean {
  const { capabilities, userNamespace } = readStanding(system);
  return (
    capabilities !== undefined &&
    userNamespace === undefined &&
    hasCapability(capabilities.effective, CAPABILITIES.netAdmin)
  );
}

function readStanding(system: System): Standing {
  const status = system.readFile("/proc/self/status");
  const container = findContainer(system);
  const userNamespace = describeUserNamespace(system.readFile("/proc/self/uid_map"), system.uid);
  return {
    ...(status === undefined ? {} : { capabilities: parseCapabilities(status) }),
    ...(container === undefined ? {} : { container }),
    ...(userNamespace === undefined ? {} : { userNamespace }),
    seccomp: /^Seccomp:\s*2$/m.test(status ?? ""),
  };
}

/** /proc/PID/uid_map (user_namespaces(7)): lines of `first-inside first-outside count`. */
function describeUserNamespace(map: string | undefined, uid: number): string | undefined {
  if (map === undefined) return undefined;
  const ranges = map
    .trim()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.trim().split(/\s+/).map(Number));
  const [first] = ranges;
  if (first !== undefined && first[0] === 0 && first[1] === 0 && first[2] === 0xffffffff) return undefined;
  const range = ranges.find(([inside, , count]) => uid >= inside && uid < inside + count);
  const outside = range === undefined ? "is not mapped" : `is uid ${range[1] + uid - range[0]}`;
  return `not the initial one: uid ${uid} here ${outside} outside`;
}

function userFinding({ uid, environment }: System): Finding {
  if (uid !== 0) return info("user", `uid ${uid}, not root`);
  const { SUDO_USER, SUDO_UID } = environment;
  if (SUDO_UID === undefined || SUDO_UID === "0") return ok("user", "root");
  return ok(
    "user",
    `root through sudo; becomes ${SUDO_USER ?? `uid ${SUDO_UID}`} once the sockets of a run are open`,
  );
}

function netRawFinding(system: System, standing: Standing, command: readonly string[]): Finding {
  const topic = "CAP_NET_RAW";
  const { capabilities } = standing;
  if (capabilities === undefined) {
    return warn(
      topic,
      "unknown: /proc/self/status cannot be read",
      "Mount /proc; synprobe reads it:",
      "    mount -t proc proc /proc",
    );
  }
  const { effective, permitted, bounding, ambient } = capabilities;
  if (hasCapability(effective, CAPABILITIES.netRaw)) {
    return ok(topic, hasCapability(ambient, CAPABILITIES.netRaw) ? "effective, ambient" : "effective");
  }
  const refuse = (found: string, reason: string, ...advice: [string, ...string[]]): Finding =>
    fail(topic, found, { code: ERROR_CODES.privilege, reason }, ...advice);

  if (!hasCapability(bounding, CAPABILITIES.netRaw)) {
    return refuse(
      "not in the bounding set: not even root can have it here",
      "CAP_NET_RAW is not in the bounding set of this process",
      ...boundingAdvice(standing.container),
    );
  }
  if (hasCapability(permitted, CAPABILITIES.netRaw)) {
    return refuse(
      "permitted, but not effective",
      "CAP_NET_RAW is permitted to this process but not effective",
      "Whoever started it did not make the capability effective (setcap with +p instead of +ep does that). Start it so:",
      ...privilegeWays(command, system.uid, system.gid),
    );
  }
  const found = "not effective, not permitted; in the bounding set";
  const reason = "this process lacks CAP_NET_RAW";
  if (capabilities.noNewPrivileges) {
    return refuse(
      `${found}; no_new_privs is set`,
      `${reason}, and no_new_privs keeps it from getting it`,
      "With no_new_privs neither sudo nor any other program can give it to this process; whoever starts it must:",
      "  in a systemd unit:   AmbientCapabilities=CAP_NET_RAW",
      "  in a container:      run as root (--user 0) with --cap-add NET_RAW, or without --security-opt no-new-privileges",
      "  otherwise:           use a shell outside the sandbox that set it",
    );
  }
  if (system.uid === 0) {
    return refuse(
      found,
      `${reason}, although it runs as root`,
      "Something removed root's capabilities (setpriv, capsh, a sandbox). Use a root shell that has them:",
      "    grep Cap /proc/self/status",
    );
  }
  return refuse(
    found,
    reason,
    "It needs root or the capability CAP_NET_RAW:",
    ...privilegeWays(command, system.uid, system.gid),
    ...(standing.container === undefined
      ? []
      : ["", `This ${standing.container.kind} leaves CAP_NET_RAW to root: start its process with user 0.`]),
  );
}

/** Advice when CAP_NET_RAW is not in the bounding set: start the whole environment differently. */
function boundingAdvice(container: Container | undefined): [string, ...string[]] {
  if (container === undefined) {
    return [
      "It was removed for good when this process was started. Start it with the capability left in:",
      "  in a systemd unit:   CapabilityBoundingSet= must not leave out CAP_NET_RAW",
      "  with setpriv:        no --bounding-set -net_raw",
      "  in a container:      --cap-add NET_RAW",
    ];
  }
  return [
    "The container runtime, or what started this process, removed it. Start the container with it:",
    ...container.addNetRaw,
  ];
}

const FAMILY_NAMES = { 4: "IPv4", 6: "IPv6" } as const;

function rawSocketFindings(trials: RawTrials, standing: Standing): Finding[] {
  const topic = "raw sockets";
  const working = ([4, 6] as const).filter((family) => trials[family].ok);
  const findings: Finding[] = [];
  if (working.length > 0) {
    findings.push(ok(topic, `${working.map((family) => FAMILY_NAMES[family]).join(" and ")} open`));
  }
  // Families that fail alike share a finding.
  const refused = new Map<string, { families: string[]; refusal: RawRefusal }>();
  for (const family of [4, 6] as const) {
    const trial = trials[family];
    if (trial.ok) continue;
    const group = refused.get(trial.text);
    if (group === undefined) refused.set(trial.text, { families: [FAMILY_NAMES[family]], refusal: trial });
    else group.families.push(FAMILY_NAMES[family]);
  }
  for (const { families, refusal } of refused.values()) {
    const found = `${families.join(" and ")}: ${refusal.text}`;
    const { reason, advice } = explainRefusal(refusal, standing);
    if (working.length > 0) findings.push(warn(topic, found, ...advice));
    else findings.push(fail(topic, found, { code: failureCode(refusal), reason }, ...advice));
  }
  return findings;
}

/** They are a matter of speed alone. */
function packetSocketFinding(system: System): Finding {
  const refusal = system.packetSocketRefusal();
  if (refusal === undefined) return ok("packet sockets", "open");
  return info("packet sockets", `refused (${refusal}): large runs go over raw sockets, more slowly`);
}

/** One missing family limits probing; with both missing nothing can be probed. */
function failureCode({ code }: RawRefusal): ErrorCode {
  return code === ERROR_CODES.noSource ? ERROR_CODES.platform : code;
}

function explainRefusal(
  { code, message }: RawRefusal,
  { capabilities, container, userNamespace, seccomp }: Standing,
): { reason: string; advice: [string, ...string[]] } {
  if (code === ERROR_CODES.noSource) {
    return {
      reason: "this system offers no raw IP sockets",
      advice: [
        "The kernel runs without it (ipv6.disable=1), or a sandbox hides it:",
        "  in a systemd unit:   RestrictAddressFamilies= must allow AF_INET, AF_INET6 and AF_NETLINK",
      ],
    };
  }
  if (code !== ERROR_CODES.privilege) {
    const [what, ...todo] = message.split(": ");
    return { reason: what, advice: [todo.join(": ") || "Please report this."] };
  }
  if (capabilities === undefined || !hasCapability(capabilities.effective, CAPABILITIES.netRaw)) {
    return { reason: "raw sockets are not allowed to this process", advice: ["See CAP_NET_RAW."] };
  }
  if (userNamespace !== undefined) {
    return {
      reason: "CAP_NET_RAW counts only in this user namespace, and the network belongs to another",
      advice: [
        "CAP_NET_RAW counts only for networks that this user namespace owns. Give it a network of its own:",
        "  in a rootless container:   without --network host",
        "  with unshare:              unshare -Urn, not unshare -Ur",
        "or run synprobe as root, outside.",
      ],
    };
  }
  if (seccomp) {
    return {
      reason: "a seccomp filter or security module refuses raw sockets",
      advice: [
        "CAP_NET_RAW is effective, so a seccomp filter or security module refuses the call socket(AF_INET, SOCK_RAW):",
        container === undefined
          ? "  in a systemd unit:   SystemCallFilter= must allow @network-io"
          : "  in a container:      --security-opt seccomp=PROFILE, with a profile that allows it",
        "  SELinux, AppArmor:   ausearch -m avc -ts recent;  journalctl -k -g apparmor",
      ],
    };
  }
  return {
    reason: "a security module refuses raw sockets",
    advice: [
      "CAP_NET_RAW is effective, so a security module refuses the call. What it logged:",
      "    ausearch -m avc -ts recent",
      "    journalctl -k -g apparmor",
    ],
  };
}

function netAdminFinding({ capabilities, userNamespace }: Standing): Finding {
  const topic = "CAP_NET_ADMIN";
  const effective =
    capabilities !== undefined && hasCapability(capabilities.effective, CAPABILITIES.netAdmin);
  if (effective && userNamespace === undefined)
    return ok(topic, "effective: receive buffers pass their limit");
  return info(
    topic,
    effective
      ? "effective in this user namespace only; not needed"
      : "not effective; not needed, but receive buffers stay within net.core.rmem_max",
  );
}
