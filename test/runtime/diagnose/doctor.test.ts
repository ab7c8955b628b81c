/** The doctor: for each state of a made-up machine, what is found wrong, why, and which command puts it right. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ERROR_CODES, type ErrorCode, SynprobeError } from "../../../src/errors.ts";
import type { Interface, RouteAnswer } from "../../../src/link/route.ts";
import { diagnose, hostFindings, nativeFinding, OLDEST_NODE } from "../../../src/runtime/diagnose/doctor.ts";
import { examine } from "../../../src/runtime/diagnose/examine.ts";
import { conclude, type Finding } from "../../../src/runtime/diagnose/finding.ts";
import type { RawTrial, System } from "../../../src/runtime/diagnose/system.ts";
import { parseTarget } from "../../../src/scan/targets/grammar.ts";
import { parseServices } from "../../../src/scan/targets/services.ts";
import { choosePortRange } from "../../../src/socket/ports.ts";
import { type Address, formatAddress, parseAddress } from "../../../src/wire/address.ts";

const NET_ADMIN = 1n << 12n;
const NET_RAW = 1n << 13n;
const ALL = (1n << 41n) - 1n;

interface Sets {
  effective?: bigint;
  permitted?: bigint;
  bounding?: bigint;
  ambient?: bigint;
  noNewPrivileges?: boolean;
  seccomp?: number;
}

function procStatus(sets: Sets): string {
  const hex = (set = 0n) => set.toString(16).padStart(16, "0");
  return [
    "Name:\tnode",
    `CapInh:\t${hex(sets.ambient)}`,
    `CapPrm:\t${hex(sets.permitted ?? sets.effective)}`,
    `CapEff:\t${hex(sets.effective)}`,
    `CapBnd:\t${hex(sets.bounding ?? ALL)}`,
    `CapAmb:\t${hex(sets.ambient)}`,
    `NoNewPrivs:\t${sets.noNewPrivileges === true ? 1 : 0}`,
    `Seccomp:\t${sets.seccomp ?? 0}`,
    "",
  ].join("\n");
}

const OPEN: RawTrial = { ok: true, receiveBuffer: 16 << 20 };
const REFUSED: RawTrial = {
  ok: false,
  code: ERROR_CODES.privilege,
  message: "raw sockets are not allowed to this process",
  text: "Operation not permitted",
};
const NO_IPV6: RawTrial = {
  ok: false,
  code: ERROR_CODES.noSource,
  message: "this system has no IPv6",
  text: "Address family not supported by protocol",
};

const LO: Interface = {
  index: 1,
  name: "lo",
  up: true,
  running: true,
  loopback: true,
  pointToPoint: false,
  mtu: 65_536,
};
const ETH0: Interface = { ...LO, index: 2, name: "eth0", loopback: false, mtu: 1500 };

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(`not an address: ${text}`);
  return parsed;
}

interface Fake {
  stale?: { first: number; last: number }[];
  sweepFails?: boolean;
  /** The kernel says yes, and they stay. */
  sweepDoesNothing?: boolean;
  uid?: number;
  sets?: Sets;
  files?: Record<string, string | undefined>;
  existing?: string[];
  environment?: Record<string, string>;
  raw?: { 4: RawTrial; 6: RawTrial };
  packetSocketRefusal?: string;
  passedBy?: string[];
  interfaces?: Interface[];
  addresses?: Record<string, number>;
  route?: (destination: string, interfaceIndex?: number) => RouteAnswer;
  names?: Record<string, string[] | SynprobeError>;
}

/** A machine where all is well: root, nothing confined, large buffers, no connection tracking, one uplink. */
function fakeSystem(fake: Fake = {}): System {
  let stale = fake.stale ?? [];
  const files: Record<string, string | undefined> = {
    "/proc/self/status": procStatus({ effective: ALL, ...fake.sets }),
    "/proc/self/uid_map": "         0          0 4294967295\n",
    "/proc/self/cgroup": "0::/user.slice\n",
    "/proc/1/environ": "TERM=linux\0HOME=/\0",
    "/proc/sys/net/core/rmem_max": "212992\n",
    "/proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
    "/proc/sys/net/ipv4/ip_local_reserved_ports": "\n",
    "/proc/sys/net/ipv4/neigh/default/gc_thresh3": "8192\n",
    "/proc/sys/net/ipv6/neigh/default/gc_thresh3": "8192\n",
    ...fake.files,
  };
  const interfaces = fake.interfaces ?? [LO, ETH0];
  const addresses = Object.entries(
    fake.addresses ?? { "127.0.0.1": 1, "192.0.2.2": 2, "::1": 1, "2001:db8::2": 2, "fe80::2": 2 },
  ).map(([text, interfaceIndex]) => ({ address: address(text), interfaceIndex }));
  const [first, last] = (files["/proc/sys/net/ipv4/ip_local_port_range"] ?? "32768 60999")
    .trim()
    .split(/\s+/)
    .map(Number);
  return {
    release: "6.1.0",
    uid: fake.uid ?? 0,
    gid: fake.uid ?? 0,
    environment: fake.environment ?? {},
    readFile: (path) => files[path],
    exists: (path) => fake.existing?.includes(path) === true,
    openRaw: (family) => (fake.raw ?? { 4: OPEN, 6: OPEN })[family],
    packetSocketRefusal: () => fake.packetSocketRefusal,
    passedBy: () => fake.passedBy ?? [],
    sourcePorts: () => choosePortRange(first, last),
    addresses: (family) => addresses.filter((own) => (own.address.length === 4) === (family === 4)),
    interface: (which) => interfaces.find(({ index, name }) => index === which || name === which),
    route: (destination, index) => (fake.route ?? onLink)(formatAddress(destination), index),
    staleBlocks: () => stale,
    sweepStaleBlocks: () => {
      if (fake.sweepFails === true)
        throw new SynprobeError(ERROR_CODES.system, "cannot remove the rule: EPERM");
      if (fake.sweepDoesNothing !== true) stale = [];
    },
    resolve: async (name) => {
      const found = fake.names?.[name] ?? [];
      return found instanceof SynprobeError ? found : found.map(address);
    },
  };
}

const routeThrough = (out: Interface, source: string, gateway?: string): RouteAnswer => ({
  ok: true,
  route: {
    type: "unicast",
    interfaceIndex: out.index,
    source: address(source),
    ...(gateway === undefined ? {} : { gateway: address(gateway) }),
  },
});

const onLink = (destination: string): RouteAnswer =>
  routeThrough(ETH0, destination.includes(":") ? "2001:db8::2" : "192.0.2.2");

const unprivileged = {
  uid: 1000,
  sets: { effective: 0n },
  raw: { 4: REFUSED, 6: REFUSED },
} satisfies Fake;

async function examined(fake: Fake, target?: string): Promise<Finding[]> {
  const spec = target === undefined ? undefined : parseTarget(target, parseServices(""));
  return examine(fakeSystem(fake), spec);
}

/** The findings of one topic, without the rest. */
async function findings(topic: string, fake: Fake, target?: string): Promise<Finding[]> {
  return (await examined(fake, target)).filter((finding) => finding.topic === topic);
}

async function only(topic: string, fake: Fake, target?: string): Promise<Finding> {
  const found = await findings(topic, fake, target);
  expect(found).toHaveLength(1);
  return found[0];
}

const adviceText = ({ advice }: Finding): string => advice.join("\n");

async function code(fake: Fake, target?: string): Promise<ErrorCode | undefined> {
  return conclude(await examined(fake, target)).code;
}

describe("a machine where all is well", () => {
  test("has nothing but ok, and a verdict that says so", async () => {
    const all = await examined({}, "192.0.2.10:22");
    expect(all.filter(({ status }) => status !== "ok")).toEqual([]);
    expect(all.map(({ topic }) => topic)).toEqual([
      "user",
      "container",
      "CAP_NET_RAW",
      "raw sockets",
      "packet sockets",
      "CAP_NET_ADMIN",
      "receive buffer",
      "source ports",
      "conntrack",
      "neighbours",
      "interfaces",
      "target",
    ]);
    expect(conclude(all)).toEqual({ findings: all, verdict: "probing works from here" });
  });

  test("root under sudo learns whom it will become", async () => {
    const user = await only("user", { environment: { SUDO_UID: "1000", SUDO_USER: "ann" } });
    expect(user).toMatchObject({ status: "ok", found: expect.stringContaining("becomes ann") });
  });
});

describe("whatever is wrong", () => {
  const troubled: [string, Fake, string?][] = [
    ["unprivileged", unprivileged],
    ["bounding set", { ...unprivileged, sets: { effective: 0n, bounding: ALL & ~NET_RAW } }],
    ["permitted only", { ...unprivileged, sets: { effective: 0n, permitted: NET_RAW } }],
    ["no_new_privs", { ...unprivileged, sets: { effective: 0n, noNewPrivileges: true } }],
    ["bare root", { ...unprivileged, uid: 0 }],
    ["no /proc", { files: { "/proc/self/status": undefined } }],
    ["user namespace", { ...unprivileged, sets: {}, files: { "/proc/self/uid_map": "0 1000 1" } }],
    ["seccomp", { raw: { 4: REFUSED, 6: REFUSED }, sets: { seccomp: 2 } }],
    ["security module", { raw: { 4: REFUSED, 6: REFUSED } }],
    ["no IPv6", { raw: { 4: OPEN, 6: NO_IPV6 } }, "2001:db8::1"],
    ["no address", { addresses: { "127.0.0.1": 1 } }],
    ["lo down", { interfaces: [{ ...LO, up: false }, ETH0] }],
    [
      "conntrack",
      {
        files: {
          "/proc/sys/net/netfilter/nf_conntrack_count": "9",
          "/proc/sys/net/netfilter/nf_conntrack_max": "9",
        },
      },
    ],
    ["ports", { files: { "/proc/sys/net/ipv4/ip_local_port_range": "1024 65535" } }],
    ["no route", { route: () => ({ ok: false, errno: "ENETUNREACH" }) }, "192.0.2.1"],
    ["multicast", {}, "224.0.0.1"],
    ["reserved", {}, "240.0.0.1"],
  ];

  test.each(troubled)("%s: a warning or failure says what to do, a failure why", async (_, fake, target) => {
    const all = await examined(fake, target);
    expect(all.some(({ status }) => status === "warn" || status === "fail")).toBe(true);
    for (const { status, advice, failure, found } of all) {
      expect(found).not.toMatch(/\n|undefined|NaN/);
      expect(advice.join("\n")).not.toMatch(/undefined|NaN/);
      if (status === "warn" || status === "fail") expect(advice.join("")).not.toBe("");
      expect(failure !== undefined).toBe(status === "fail");
    }
  });
});

describe("CAP_NET_RAW", () => {
  test("missing for a user: the ways to get it, and exit code's error", async () => {
    const finding = await only("CAP_NET_RAW", unprivileged);
    expect(finding.status).toBe("fail");
    expect(adviceText(finding)).toContain("sudo synprobe HOST:PORT");
    expect(adviceText(finding)).toContain("setpriv --reuid 1000 --regid 1000");
    expect(adviceText(finding)).toContain("AmbientCapabilities=CAP_NET_RAW");
    expect(await code(unprivileged)).toBe(ERROR_CODES.privilege);
    expect(conclude(await examined(unprivileged)).verdict).toBe(
      "probing cannot work from here: this process lacks CAP_NET_RAW; what works is the kernel's own handshake: --link connect, which auto takes then",
    );
  });

  test("the commands name the user's target", async () => {
    expect(adviceText(await only("CAP_NET_RAW", unprivileged, "192.0.2.10:22"))).toContain(
      "sudo synprobe 192.0.2.10:22",
    );
  });

  test("ambient: enough, and said", async () => {
    const service = { uid: 1000, sets: { effective: NET_RAW, ambient: NET_RAW } };
    expect(await only("CAP_NET_RAW", service)).toMatchObject({ status: "ok", found: "effective, ambient" });
    expect(await code(service)).toBeUndefined();
  });

  test("permitted but not effective", async () => {
    const finding = await only("CAP_NET_RAW", {
      ...unprivileged,
      sets: { effective: 0n, permitted: NET_RAW },
    });
    expect(finding).toMatchObject({ status: "fail", found: "permitted, but not effective" });
    expect(adviceText(finding)).toContain("setcap with +p");
  });

  const removed = { effective: ALL & ~NET_RAW, bounding: ALL & ~NET_RAW };
  const refused = { sets: removed, raw: { 4: REFUSED, 6: REFUSED } };
  test.each([
    ["Docker", { existing: ["/.dockerenv"] }, "docker run --cap-add NET_RAW"],
    ["Podman", { existing: ["/run/.containerenv"] }, "podman run --cap-add NET_RAW"],
    [
      "Kubernetes",
      { environment: { KUBERNETES_SERVICE_HOST: "192.0.2.99" }, existing: ["/.dockerenv"] },
      "securityContext",
    ],
    ["LXC", { environment: { container: "lxc" } }, "lxc.cap.drop"],
    [
      "systemd-nspawn",
      { files: { "/proc/1/environ": "A=b\0container=systemd-nspawn\0C=d\0" } },
      "systemd-nspawn --capability=CAP_NET_RAW",
    ],
    ["Docker", { files: { "/proc/self/cgroup": "5:cpu:/docker/0123abcd\n" } }, "docker run --cap-add"],
    [
      "Kubernetes",
      { files: { "/proc/self/cgroup": "0::/kubepods.slice/cri-containerd-12.scope" } },
      "securityContext",
    ],
    ["Podman", { files: { "/proc/1/cgroup": "0::/machine.slice/libpod-12.scope" } }, "podman run"],
    ["container", { environment: { container: "oci" } }, "--cap-add NET_RAW"],
    [
      "container",
      { files: { "/proc/self/cgroup": "0::/system.slice/containerd.service/x" } },
      "--cap-add NET_RAW",
    ],
  ])(
    "outside the bounding set in a %s: how to start it with the capability",
    async (kind, marks, command) => {
      const finding = await only("CAP_NET_RAW", { ...refused, ...marks });
      expect(finding).toMatchObject({ status: "fail", found: expect.stringContaining("bounding set") });
      expect(adviceText(finding)).toContain(command);
      expect(adviceText(finding)).not.toContain("sudo");
      expect(await only("container", { ...refused, ...marks })).toMatchObject({
        status: "info",
        found: expect.stringContaining(kind),
      });
    },
  );

  test("outside the bounding set on a machine: whoever started it removed it", async () => {
    const finding = await only("CAP_NET_RAW", refused);
    expect(adviceText(finding)).toContain("CapabilityBoundingSet=");
    expect(await only("container", refused)).toMatchObject({ status: "ok", found: "none seen" });
  });

  test("a user in a container that left it to root: run as root there", async () => {
    const finding = await only("CAP_NET_RAW", { ...unprivileged, existing: ["/.dockerenv"] });
    expect(adviceText(finding)).toContain("user 0");
  });

  test("with no_new_privs sudo is not among the ways", async () => {
    const finding = await only("CAP_NET_RAW", {
      ...unprivileged,
      sets: { effective: 0n, noNewPrivileges: true },
    });
    expect(finding.found).toContain("no_new_privs");
    expect(adviceText(finding)).not.toContain("sudo synprobe");
  });

  test("/proc not mounted: unknown, and no guess", async () => {
    expect(await only("CAP_NET_RAW", { files: { "/proc/self/status": undefined } })).toMatchObject({
      status: "warn",
    });
  });
});

describe("raw sockets refused although CAP_NET_RAW is effective", () => {
  const raw = { 4: REFUSED, 6: REFUSED };

  test("in a user namespace that does not own the network", async () => {
    const fake = { raw, files: { "/proc/self/uid_map": "         0       1000          1\n" } };
    expect(await only("user namespace", fake)).toMatchObject({
      status: "info",
      found: "not the initial one: uid 0 here is uid 1000 outside",
    });
    expect(adviceText(await only("raw sockets", fake))).toContain("unshare -Urn");
    expect(await only("CAP_NET_RAW", fake)).toMatchObject({ status: "ok" });
    expect(await code(fake)).toBe(ERROR_CODES.privilege);
  });

  test("an unmapped user is told apart", async () => {
    expect(
      await only("user namespace", { raw, uid: 65_534, files: { "/proc/self/uid_map": "" } }),
    ).toMatchObject({ found: "not the initial one: uid 65534 here is not mapped outside" });
  });

  test("by a seccomp filter", async () => {
    expect(adviceText(await only("raw sockets", { raw, sets: { seccomp: 2 } }))).toContain(
      "SystemCallFilter=",
    );
    expect(
      adviceText(await only("raw sockets", { raw, sets: { seccomp: 2 }, existing: ["/.dockerenv"] })),
    ).toContain("--security-opt seccomp=");
  });

  test("by a security module", async () => {
    expect(adviceText(await only("raw sockets", { raw }))).toContain("ausearch");
  });
});

describe("raw sockets that fail otherwise", () => {
  test("no IPv6: IPv4 works, an IPv6 target does not", async () => {
    const raw = { 4: OPEN, 6: NO_IPV6 };
    expect((await findings("raw sockets", { raw })).map(({ status, found }) => [status, found])).toEqual([
      ["ok", "IPv4 open"],
      ["warn", "IPv6: Address family not supported by protocol"],
    ]);
    expect(await code({ raw })).toBeUndefined();
    expect(await code({ raw }, "192.0.2.10")).toBeUndefined();
    expect(await code({ raw }, "2001:db8::10")).toBe(ERROR_CODES.noSource);
  });

  test("neither family: nothing can be probed", async () => {
    const hidden = { raw: { 4: { ...NO_IPV6, message: "this system has no IPv4" }, 6: NO_IPV6 } };
    expect(await only("raw sockets", hidden)).toMatchObject({
      status: "fail",
      found: "IPv4 and IPv6: Address family not supported by protocol",
    });
    expect(await code(hidden)).toBe(ERROR_CODES.platform);
  });

  test("the raw-socket package is not built: its own message", async () => {
    const message = "the raw-socket package is not built: install a C++ toolchain, then run: npm rebuild";
    const unbuilt: RawTrial = { ok: false, code: ERROR_CODES.platform, message, text: "Cannot find module" };
    const finding = await only("raw sockets", { raw: { 4: unbuilt, 6: unbuilt } });
    expect(finding.failure).toEqual({
      code: ERROR_CODES.platform,
      reason: "the raw-socket package is not built",
    });
    expect(finding.advice).toEqual(["install a C++ toolchain, then run: npm rebuild"]);
  });
});

describe("receive buffer", () => {
  const small: RawTrial = { ok: true, receiveBuffer: 2 * 212_992 };
  const service = { uid: 1000, sets: { effective: NET_RAW }, raw: { 4: small, 6: small } };

  test("a tiny rmem_max without CAP_NET_ADMIN: how to raise it", async () => {
    const finding = await only("receive buffer", service);
    expect(finding).toMatchObject({
      status: "warn",
      found: "208 KiB of the 8 MiB wanted (net.core.rmem_max is 212992)",
    });
    expect(adviceText(finding)).toContain("sudo sysctl -w net.core.rmem_max=8388608");
    expect(conclude(await examined(service)).verdict).toBe("probing works from here, with 1 warning");
  });

  test("the smaller of the two families counts", async () => {
    expect(await only("receive buffer", { ...service, raw: { 4: OPEN, 6: small } })).toMatchObject({
      found: expect.stringContaining("208 KiB"),
    });
  });

  test("short of what is wanted, but enough: no warning", async () => {
    const medium: RawTrial = { ok: true, receiveBuffer: 8 << 20 };
    expect(
      await only("receive buffer", {
        ...service,
        raw: { 4: medium, 6: medium },
        files: { "/proc/sys/net/core/rmem_max": "4194304\n" },
      }),
    ).toMatchObject({ status: "info", found: expect.stringMatching(/^4 MiB of the 8 MiB wanted/) });
  });

  test("root is not told to use sudo", async () => {
    const text = adviceText(await only("receive buffer", { ...service, uid: 0 }));
    expect(text).toContain("    sysctl -w net.core.rmem_max=8388608");
    expect(text).not.toContain("sudo");
  });

  test("with no socket to ask, what the limit would grant", async () => {
    expect(await only("receive buffer", unprivileged)).toMatchObject({
      status: "warn",
      found: expect.stringContaining("208 KiB"),
    });
    expect(
      await only("receive buffer", { ...unprivileged, files: { "/proc/sys/net/core/rmem_max": undefined } }),
    ).toMatchObject({ status: "info", found: expect.stringContaining("unknown") });
  });
});

describe("CAP_NET_ADMIN", () => {
  test("is never needed", async () => {
    const service = { uid: 1000, sets: { effective: NET_RAW } };
    expect(await only("CAP_NET_ADMIN", service)).toMatchObject({ status: "info" });
    expect(await code(service)).toBeUndefined();
    const both = { uid: 1000, sets: { effective: NET_RAW | NET_ADMIN } };
    expect(await only("CAP_NET_ADMIN", both)).toMatchObject({ status: "ok" });
  });

  test("does not lift limits in a user namespace", async () => {
    expect(await only("CAP_NET_ADMIN", { files: { "/proc/self/uid_map": "0 1000 1\n" } })).toMatchObject({
      status: "info",
      found: expect.stringContaining("this user namespace only"),
    });
  });
});

describe("source ports", () => {
  test.each([
    [
      "32768\t60999\n",
      "ok",
      "61000-64401 of raw links, 64402-65534 of packet links, apart from the kernel's own (32768-60999)",
    ],
    [
      "40000\t65535\n",
      "ok",
      "20000-34999 of raw links, 35000-39999 of packet links, apart from the kernel's own (40000-65535)",
    ],
    ["1024\t65535\n", "warn", "61000-65534 are among the kernel's own (1024-65535)"],
  ])("ip_local_port_range %j: %s", async (range, status, found) => {
    expect(
      await only("source ports", { files: { "/proc/sys/net/ipv4/ip_local_port_range": range } }),
    ).toMatchObject({ status, found });
  });

  test.each([
    ["61000-65534", "ok"],
    ["8080,60000-65535\n", "ok"],
    ["61000-65533", "warn"],
    ["61000", "warn"],
  ])("ip_local_reserved_ports %j: %s", async (reserved, status) => {
    const files = {
      "/proc/sys/net/ipv4/ip_local_port_range": "1024 65535",
      "/proc/sys/net/ipv4/ip_local_reserved_ports": reserved,
    };
    expect(await only("source ports", { files })).toMatchObject({ status });
  });
});

describe("conntrack", () => {
  const table = (count: string, max: string) => ({
    files: {
      "/proc/sys/net/netfilter/nf_conntrack_count": `${count}\n`,
      "/proc/sys/net/netfilter/nf_conntrack_max": `${max}\n`,
      "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_syn_sent": "60\n",
    },
  });

  test.each([
    ["0", "262144", "ok"],
    ["5", "0", "ok"],
    ["1000", "262144", "info"],
    ["210000", "262144", "warn"],
    ["262144", "262144", "warn"],
    ["300000", "262144", "warn"],
  ])("%s of %s entries: %s", async (count, max, status) => {
    expect(await only("conntrack", table(count, max))).toMatchObject({ status });
  });

  test("absent: ok", async () => {
    expect(await only("conntrack", {})).toMatchObject({ status: "ok" });
  });

  test("full: room, how to enlarge it, how to stay out of it", async () => {
    const finding = await only("conntrack", table("262144", "262144"));
    expect(finding.found).toBe(
      "262144 of 262144 entries; a probe takes one, and a silent port keeps it 60 s",
    );
    expect(adviceText(finding)).toContain("Room for 0 more");
    expect(adviceText(finding)).toContain("sysctl -w net.netfilter.nf_conntrack_max=1048576");
    expect(adviceText(finding)).toContain("tcp sport 61000-65534 notrack");
    expect(adviceText(finding)).toContain("tcp dport 61000-65534 notrack");
  });
});

describe("interfaces", () => {
  test("those with an address, and of which kind", async () => {
    const addresses = { "127.0.0.1": 1, "192.0.2.2": 2, "fe80::2": 2, "fe80::7": 7, "2001:db8::2": 2 };
    expect(await only("interfaces", { addresses })).toMatchObject({
      status: "ok",
      found: "eth0 (IPv4, IPv6), interface 7 (IPv6 link-local)",
    });
  });

  test("none but loopback: a warning; loopback down: how to bring it up", async () => {
    const lone = { addresses: { "127.0.0.1": 1 }, interfaces: [LO] };
    expect(await only("interfaces", lone)).toMatchObject({
      status: "warn",
      found: "no address but loopback's",
    });
    const fresh = { addresses: {}, interfaces: [{ ...LO, up: false }] };
    expect(adviceText(await only("interfaces", fresh))).toContain("ip link set lo up");
    expect(await only("interfaces", { interfaces: [{ ...LO, up: false }, ETH0] })).toMatchObject({
      status: "warn",
      found: "eth0 (IPv4, IPv6); lo is down",
    });
  });
});

describe("a target", () => {
  test.each([
    [
      "on the link",
      "192.0.2.10:22",
      routeThrough(ETH0, "192.0.2.2"),
      "192.0.2.10: through eth0, up, mtu 1500; source 192.0.2.2; on its link",
    ],
    [
      "behind a gateway",
      "[2001:db8:1::1]:443",
      routeThrough(ETH0, "2001:db8::2", "fe80::1"),
      "2001:db8:1::1: through eth0, up, mtu 1500; source 2001:db8::2; next hop fe80::1",
    ],
    [
      "this machine",
      "192.0.2.2",
      {
        ok: true,
        route: { type: "local", interfaceIndex: 1, source: address("192.0.2.2") },
      } satisfies RouteAnswer,
      "192.0.2.2: through lo, up, mtu 65536; source 192.0.2.2; this machine itself",
    ],
    [
      "through a route with its own MTU",
      "192.0.2.10",
      {
        ok: true,
        route: { type: "unicast", interfaceIndex: 2, source: address("192.0.2.2"), mtu: 1400 },
      } satisfies RouteAnswer,
      "192.0.2.10: through eth0, up, mtu 1400; source 192.0.2.2; on its link",
    ],
  ])("%s", async (_, target, answer, found) => {
    expect(await only("target", { route: () => answer }, target)).toMatchObject({ status: "ok", found });
  });

  test("at the other end of a tunnel", async () => {
    const tun0 = { ...ETH0, index: 9, name: "tun0", pointToPoint: true, mtu: 1420 };
    const fake = { interfaces: [LO, ETH0, tun0], route: () => routeThrough(tun0, "192.0.2.130") };
    expect((await only("target", fake, "192.0.2.129")).found).toBe(
      "192.0.2.129: through tun0, up, mtu 1420; source 192.0.2.130; at the other end of it",
    );
    const idle = { ...fake, interfaces: [LO, ETH0, { ...tun0, running: false }] };
    expect(await only("target", idle, "192.0.2.129")).toMatchObject({
      status: "warn",
      advice: [expect.stringContaining("VPN client"), "    ip -d link show tun0"],
    });
  });

  test.each([
    ["ENETUNREACH", ERROR_CODES.noRoute, "192.0.2.10: no route to it from this machine (ENETUNREACH)"],
    ["EHOSTUNREACH", ERROR_CODES.noRoute, "192.0.2.10: this machine's own routes say unreachable"],
    ["EACCES", ERROR_CODES.noRoute, "192.0.2.10: this machine's own routes prohibit it"],
    ["EINVAL", ERROR_CODES.noRoute, "192.0.2.10: this machine's own routes discard it (blackhole)"],
    ["EADDRNOTAVAIL", ERROR_CODES.noRoute, "192.0.2.10: this machine has no IPv4 source address for it"],
  ])("without a way, %s", async (errno, expected, found) => {
    const fake = { route: () => ({ ok: false, errno }) as const };
    expect(await only("target", fake, "192.0.2.10")).toMatchObject({ status: "fail", found });
    expect(await code(fake, "192.0.2.10")).toBe(expected);
    expect(conclude(await examined(fake, "192.0.2.10")).verdict).toBe(
      `probing works from here, but not to this target: ${found}`,
    );
  });

  test("a privilege that is missing counts more than a route", async () => {
    const fake: Fake = { ...unprivileged, route: () => ({ ok: false, errno: "ENETUNREACH" }) };
    expect(await code(fake, "192.0.2.10")).toBe(ERROR_CODES.privilege);
  });

  test.each([
    ["224.0.0.1", ERROR_CODES.notUnicast],
    ["255.255.255.255", ERROR_CODES.notUnicast],
    ["0.0.0.0", ERROR_CODES.notUnicast],
    ["240.0.0.1", ERROR_CODES.notUnicast],
    ["ff02::1", ERROR_CODES.notUnicast],
    ["::ffff:192.0.2.1", ERROR_CODES.notUnicast],
    ["fe80::1", ERROR_CODES.noInterface],
    ["fe80::1%nope", ERROR_CODES.noInterface],
    ["fe80::1%77", ERROR_CODES.noInterface],
  ])("%s: %s", async (target, expected) => {
    expect(await code({}, target)).toBe(expected);
  });

  test("a subnet's broadcast address", async () => {
    const route = (): RouteAnswer => ({
      ok: true,
      route: { type: "broadcast", interfaceIndex: 2, source: address("192.0.2.2") },
    });
    expect(await code({ route }, "192.0.2.255")).toBe(ERROR_CODES.notUnicast);
  });

  test("a link-local address goes through its zone, by name or number", async () => {
    const asked: (number | undefined)[] = [];
    const route = (_: string, index?: number): RouteAnswer => {
      asked.push(index);
      return routeThrough(ETH0, "fe80::2");
    };
    expect((await only("target", { route }, "[fe80::1%eth0]:22")).found).toMatch(
      /^fe80::1%eth0: through eth0/,
    );
    expect((await only("target", { route }, "fe80::1%2")).found).toMatch(/^fe80::1%eth0: /);
    expect(asked).toEqual([2, 2]);
    const down = { route, interfaces: [{ ...ETH0, up: false }] };
    expect(await code(down, "fe80::1%eth0")).toBe(ERROR_CODES.interfaceDown);
  });
});

describe("a name", () => {
  const names = { "a.example": ["192.0.2.10", "2001:db8::10", "192.0.2.10"] };

  test("each of its addresses once", async () => {
    expect((await findings("target", { names }, "a.example:443")).map(({ found }) => found)).toEqual([
      expect.stringMatching(/^a\.example \(192\.0\.2\.10\): through eth0/),
      expect.stringMatching(/^a\.example \(2001:db8::10\): through eth0/),
    ]);
  });

  test("an address that a run would not take is only a warning", async () => {
    const route = (destination: string): RouteAnswer =>
      destination.includes(":") ? { ok: false, errno: "ENETUNREACH" } : onLink(destination);
    const [first, second] = await findings("target", { names, route }, "a.example:443");
    expect([first.status, second.status]).toEqual(["ok", "warn"]);
    expect(second.failure).toBeUndefined();
    expect(await code({ names, route }, "a.example:443")).toBeUndefined();
  });

  test("the first without a way: the other is named", async () => {
    const route = (destination: string): RouteAnswer =>
      destination.includes(":") ? onLink(destination) : { ok: false, errno: "ENETUNREACH" };
    const [first] = await findings("target", { names, route }, "a.example:443");
    expect(first.status).toBe("fail");
    expect(adviceText(first)).toContain("synprobe -6 a.example:443");
    expect(await code({ names, route }, "a.example:443")).toBe(ERROR_CODES.noRoute);
    const alike = { "a.example": ["192.0.2.10", "192.0.2.11"] };
    const partial = (destination: string): RouteAnswer =>
      destination === "192.0.2.11" ? onLink(destination) : { ok: false, errno: "ENETUNREACH" };
    const [other] = await findings("target", { names: alike, route: partial }, "a.example");
    expect(adviceText(other)).toContain("synprobe --all-addresses a.example");
  });

  test("unknown", async () => {
    const unknown = new SynprobeError(
      ERROR_CODES.unknownHost,
      "b.example is unknown to this system's resolver (ENOTFOUND): check the name",
    );
    const fake = { names: { "b.example": unknown } };
    expect(await only("target", fake, "b.example")).toMatchObject({
      status: "fail",
      found: unknown.message,
      advice: ["What the resolver says:", "    getent ahosts b.example"],
    });
    expect(await code(fake, "b.example")).toBe(ERROR_CODES.unknownHost);
  });
});

describe("the packet link", () => {
  const ethernet = { ...ETH0, mac: Uint8Array.of(2, 0, 0, 0, 0, 1) };

  test("packet sockets that are refused are a matter of speed", async () => {
    const finding = await only("packet sockets", { packetSocketRefusal: "EAFNOSUPPORT" });
    expect(finding).toMatchObject({ status: "info", found: expect.stringContaining("EAFNOSUPPORT") });
    const fake = { packetSocketRefusal: "EAFNOSUPPORT", interfaces: [LO, ethernet] };
    expect(await findings("packet link", fake, "192.0.2.10")).toEqual([]);
  });

  test("what it would pass by, with a target behind Ethernet", async () => {
    const fake = { interfaces: [LO, ethernet], passedBy: ["an IPsec policy for the targets"] };
    expect(await only("packet link", fake, "192.0.2.10")).toMatchObject({
      status: "info",
      found: expect.stringMatching(/raw instead on eth0.*an IPsec policy/),
    });
    const nothing = await only("packet link", { interfaces: [LO, ethernet] }, "192.0.2.10");
    expect(nothing).toMatchObject({ status: "ok" });
  });
});

describe("neighbours", () => {
  const limit = (text: string) => ({ files: { "/proc/sys/net/ipv4/neigh/default/gc_thresh3": text } });

  test("the smaller of the two limits, with how to raise it", async () => {
    const finding = await only("neighbours", limit("1024\n"));
    expect(finding).toMatchObject({ status: "info", found: expect.stringContaining("room for 1024") });
    expect(adviceText(finding)).toContain("net.ipv4.neigh.default.gc_thresh3=");
  });
});

describe("rp_filter", () => {
  const eth = (index: number, changes: Partial<Interface> = {}): Interface => ({
    ...ETH0,
    index,
    name: `eth${index - 2}`,
    ...changes,
  });
  /** @param settings rp_filter by name, 0 where there is none */
  const machine = (settings: Record<string, number>, interfaces = [LO, ETH0, eth(3)]): Fake => ({
    interfaces,
    addresses: { "127.0.0.1": 1, "192.0.2.2": 2, "198.18.0.2": 3, "198.18.0.3": 3, "2001:db8::4": 4 },
    files: Object.fromEntries(
      Object.entries(settings).map(([name, value]) => [
        `/proc/sys/net/ipv4/conf/${name}/rp_filter`,
        `${value}\n`,
      ]),
    ),
  });

  test("strict where another interface may bring answers: said, with the command", async () => {
    const finding = await only("rp_filter", machine({ all: 0, eth0: 0, eth1: 1 }), "192.0.2.10");
    expect(finding).toMatchObject({ status: "info", found: "strict on eth1" });
    expect(adviceText(finding)).toMatch(
      /while answers come back through eth0;.*\n.*sysctl -w net\.ipv4\.conf\.all\.rp_filter=2/,
    );
    expect(await findings("rp_filter", machine({ all: 1, eth1: 0 }), "192.0.2.10")).toHaveLength(1);
    const three: Fake = {
      ...machine({ all: 1 }, [LO, ETH0, eth(3), eth(4)]),
      addresses: { "192.0.2.2": 2, "198.18.0.2": 3, "198.19.0.2": 4 },
    };
    expect(await only("rp_filter", three, "192.0.2.10")).toMatchObject({
      found: "strict on eth1 and 1 more",
    });
  });

  test.each<[string, Fake, string | undefined]>([
    ["one interface", machine({ all: 1, lo: 1, eth0: 1 }, [LO, ETH0]), "192.0.2.10"],
    ["strict where probes leave alone", machine({ eth0: 1, eth1: 0 }), "192.0.2.10"],
    ["another without an IPv4 address", machine({ all: 1 }, [LO, ETH0, eth(4)]), "192.0.2.10"],
    [
      "another with nothing at its end",
      machine({ all: 1 }, [LO, ETH0, eth(3, { running: false })]),
      "192.0.2.10",
    ],
    ["loose", machine({ all: 2, eth1: 1 }), "192.0.2.10"],
    ["off", machine({ all: 0, eth1: 0 }), "192.0.2.10"],
    ["IPv6", machine({ all: 1 }), "2001:db8::10"],
    ["no target", machine({ all: 1 }), undefined],
  ])("not mentioned: %s", async (_, fake, target) => {
    expect(await findings("rp_filter", fake, target)).toEqual([]);
  });
});

describe("the host", () => {
  const linux = { platform: "linux", release: "6.1.0", architecture: "x64", nodeVersion: "20.0.0" } as const;

  test("Linux and a Node.js that is new enough", () => {
    expect(hostFindings(linux)).toEqual([
      { status: "ok", topic: "platform", found: "Linux 6.1.0, x64", advice: [] },
      { status: "ok", topic: "Node.js", found: "20.0.0", advice: [] },
    ]);
  });

  test.each([
    ["darwin", "never receive TCP"],
    ["freebsd", "never receive TCP"],
    ["win32", "send TCP"],
    ["aix", "only Linux"],
  ] as const)("%s cannot probe, and why", (platform, why) => {
    const diagnosis = conclude(hostFindings({ ...linux, platform }));
    expect(diagnosis.code).toBe(ERROR_CODES.platform);
    expect(diagnosis.verdict).toContain(why);
    expect(diagnosis.findings[0].advice.join()).toMatch(/^Use a Linux machine/);
  });

  test("an old Node.js", () => {
    expect(conclude(hostFindings({ ...linux, nodeVersion: "18.20.1" })).code).toBe(ERROR_CODES.platform);
  });

  test("the oldest Node.js is package.json's", () => {
    const { engines } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8"));
    expect(engines.node).toBe(`>=${OLDEST_NODE}`);
  });

  test("native code that does not load is a failure, not a crash", () => {
    const missing = Object.assign(new Error("Cannot find module 'koffi'\nRequire stack"), {
      code: "MODULE_NOT_FOUND",
    });
    const finding = nativeFinding(missing);
    expect(finding).toMatchObject({
      status: "fail",
      found: "native code cannot be loaded (Cannot find module 'koffi')",
      advice: [expect.stringContaining("npm ci --include=optional")],
    });
    expect(conclude([finding]).code).toBe(ERROR_CODES.platform);
    const other = new Error("Cannot find the native Koffi module; did you bundle it?\nmore");
    expect(nativeFinding(other).found).toContain("did you bundle it?)");
    expect(() => nativeFinding(new TypeError("a mistake of ours"))).toThrow("a mistake of ours");
  });
});

describe.runIf(process.platform === "linux")("the real system", () => {
  test("is examined without a fault of our own, with and without a target", async () => {
    for (const target of [undefined, "127.0.0.1", "[::1]:80", "localhost:80"]) {
      const spec = target === undefined ? undefined : parseTarget(target, parseServices(""));
      const { findings: all } = await diagnose(spec);
      expect(all.map(({ topic }) => topic)).toEqual(
        expect.arrayContaining(["platform", "Node.js", "user", "CAP_NET_RAW", "raw sockets", "interfaces"]),
      );
      expect(all.some(({ found }) => /undefined|NaN/.test(found))).toBe(false);
    }
  });
});

describe("leftovers of killed runs", () => {
  const stale = [{ first: 61_000, last: 62_023 }];
  const leftovers = async (fake: Fake, fix: boolean) =>
    (await examine(fakeSystem(fake), undefined, { fix })).filter(({ topic }) => topic === "leftovers");

  test("are not mentioned when there are none", async () => {
    expect(await leftovers({}, false)).toEqual([]);
    expect(await leftovers({}, true)).toEqual([]);
  });

  test("are reported, with the command that removes them", async () => {
    const [finding] = await leftovers({ stale, uid: 1000 }, false);
    expect(finding?.status).toBe("warn");
    expect(finding?.found).toContain("61000-62023");
    expect(finding?.advice.join()).toContain("sudo synprobe doctor --fix");
  });

  test("are removed with --fix, or it says why not", async () => {
    expect((await leftovers({ stale }, true))[0]?.status).toBe("ok");
    const [failed] = await leftovers({ stale, sweepFails: true }, true);
    expect([failed?.status, failed?.found]).toEqual(["warn", expect.stringContaining("EPERM")]);
    const [kept] = await leftovers({ stale, sweepDoesNothing: true }, true);
    expect([kept?.status, kept?.found]).toEqual([
      "warn",
      expect.stringContaining("61000-62023 are still there"),
    ]);
  });
});
