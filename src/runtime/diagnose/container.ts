/**
 * Whether this process runs in a container, and of which kind, by the traces that runtimes leave. A guess, used for advice
 * only: a container can look like a machine, and a machine like a container.
 */
import type { System } from "./system.ts";

export interface Container {
  /** In words: "Docker container". */
  readonly kind: string;
  /** What gave it away: a path or a variable. */
  readonly evidence: string;
  /** How to start it with CAP_NET_RAW, line by line. */
  readonly addNetRaw: readonly string[];
}

const KINDS = {
  docker: {
    kind: "Docker container",
    addNetRaw: ["    docker run --cap-add NET_RAW …", "    cap_add: [NET_RAW]   in a compose file"],
  },
  podman: { kind: "Podman container", addNetRaw: ["    podman run --cap-add NET_RAW …"] },
  kubernetes: {
    kind: "Kubernetes container",
    addNetRaw: ['    securityContext: { capabilities: { add: ["NET_RAW"] } }   in its container spec'],
  },
  lxc: { kind: "LXC container", addNetRaw: ["    lxc.cap.drop must not name net_raw in its configuration"] },
  nspawn: { kind: "systemd-nspawn container", addNetRaw: ["    systemd-nspawn --capability=CAP_NET_RAW …"] },
  other: {
    kind: "container",
    addNetRaw: [
      "    --cap-add NET_RAW                                         Docker, Podman, nerdctl",
      '    securityContext: { capabilities: { add: ["NET_RAW"] } }   Kubernetes',
    ],
  },
} as const;
type Kind = keyof typeof KINDS;

/** `container=` as set by the runtimes (systemd's Container Interface). */
const VARIABLE: Readonly<Record<string, Kind>> = {
  docker: "docker",
  podman: "podman",
  lxc: "lxc",
  "lxc-libvirt": "lxc",
  "systemd-nspawn": "nspawn",
};

/** Names in a control group's path, first match first: a pod's path names its runtime too. */
const CGROUP: readonly (readonly [RegExp, Kind])[] = [
  [/kubepods/, "kubernetes"],
  [/libpod/, "podman"],
  [/docker/, "docker"],
  [/[/.-]lxc/, "lxc"],
  [/containerd|crio/, "other"],
];

export function findContainer(system: System): Container | undefined {
  const found = (kind: Kind, evidence: string): Container => ({ ...KINDS[kind], evidence });
  const { KUBERNETES_SERVICE_HOST: service, container: own } = system.environment;
  if (service !== undefined) return found("kubernetes", "KUBERNETES_SERVICE_HOST is set");
  if (system.exists("/run/.containerenv")) return found("podman", "/run/.containerenv");
  if (system.exists("/.dockerenv")) return found("docker", "/.dockerenv");
  // The environment of process 1: only root may read it, but runtimes often pass the variable on.
  const variable =
    own ?? /(?:^|\0)container=([^\0]*)/.exec(system.readFile("/proc/1/environ") ?? "")?.[1] ?? "";
  if (variable !== "") return found(VARIABLE[variable] ?? "other", `container=${variable}`);
  for (const path of ["/proc/self/cgroup", "/proc/1/cgroup"]) {
    const text = system.readFile(path) ?? "";
    for (const [pattern, kind] of CGROUP) if (pattern.test(text)) return found(kind, path);
  }
  return undefined;
}
