/**
 * `synprobe doctor`: how a diagnosis is printed, and the real command under every identity that matters. What it finds
 * on systems that are not at hand is test/runtime/diagnose/doctor.test.ts.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatDiagnosis } from "../../../src/cli/commands/doctor.ts";
import { ERROR_CODES } from "../../../src/errors.ts";
import { conclude, fail, info, ok, warn } from "../../../src/runtime/diagnose/finding.ts";
import {
  BEYOND,
  createLab,
  FAR,
  ip,
  type Lab,
  labProblem,
  NEAR,
  NOWHERE,
  overlayEtc,
  skipping,
} from "../../lab/netns.ts";
import { AS_USER, type Stage, setStage, userProblem, WITH_NET_RAW } from "../identity.ts";
import { type Finished, linesOf, run, synprobe } from "../process.ts";

/** The line of one topic: its status and what was found. */
function finding({ stdout }: Finished, topic: string): { status: string; found: string } | undefined {
  const line = linesOf(stdout).find((text) => text.slice(6).startsWith(`${topic} `));
  if (line === undefined) return undefined;
  return { status: line.slice(0, 4).trim(), found: line.slice(6 + topic.length).trim() };
}

function verdict({ stdout }: Finished): string {
  return linesOf(stdout).at(-1) ?? "";
}

describe("printing", () => {
  const diagnosis = conclude([
    ok("user", "root"),
    info("CAP_NET_ADMIN", "not effective"),
    warn("conntrack", "nearly full", "Enlarge it:", "    sysctl -w net.netfilter.nf_conntrack_max=1048576"),
  ]);

  test("golden text", () => {
    expect(`\n${formatDiagnosis(diagnosis, false)}`).toBe(`
ok    user           root
info  CAP_NET_ADMIN  not effective
warn  conntrack      nearly full
                     Enlarge it:
                         sysctl -w net.netfilter.nf_conntrack_max=1048576

probing works from here, with 1 warning
`);
  });

  test("colours each status and the verdict; says the same", () => {
    const failure = { code: ERROR_CODES.privilege, reason: "this process lacks CAP_NET_RAW" };
    const failed = conclude([...diagnosis.findings, fail("raw sockets", "refused", failure, "Use root.")]);
    const text = formatDiagnosis(failed, true);
    expect(text).toContain("\x1b[32mok  \x1b[39m");
    expect(text).toContain("\x1b[36minfo\x1b[39m");
    expect(text).toContain("\x1b[33mwarn\x1b[39m");
    expect(text).toContain("\x1b[31mfail\x1b[39m");
    expect(text).toContain(
      "\x1b[31mprobing cannot work from here: this process lacks CAP_NET_RAW; what works is the kernel's own handshake: --link connect, which auto takes then\x1b[39m",
    );
    // biome-ignore lint/complexity/useRegexLiterals: nothing else reads as an escape sequence
    expect(text.replace(new RegExp("\x1b\\[\\d+m", "g"), "")).toBe(formatDiagnosis(failed, false));
    expect(formatDiagnosis(failed, false)).not.toContain("\x1b");
  });

  test("an interface's name cannot drive the terminal", () => {
    expect(formatDiagnosis(conclude([ok("interfaces", "e\x1b[2Jth0\n")]), false)).toContain(
      "e\\x1b[2Jth0\\x0a",
    );
  });
});

describe("a target that is none", () => {
  test.each(["", "a b", "192.0.2.300", "192.0.2.10:0", "192.0.2.10:9-1", "[2001:db8::10"])(
    "%j: 2, one line, and no examination",
    async (target) => {
      const { status, stdout, stderr } = await run(synprobe("doctor", target));
      expect({ status, stdout, lines: linesOf(stderr).length }).toEqual({ status: 2, stdout: "", lines: 1 });
    },
  );
});

describe.skipIf(skipping("doctor in a lab", labProblem() ?? userProblem()))("in a lab", () => {
  let lab: Lab;
  let stage: Stage;

  beforeAll(() => {
    lab = createLab();
    stage = setStage(lab.near);
    overlayEtc(
      lab.near,
      "hosts",
      `127.0.0.1 localhost\n${FAR.ipv4} far.example\n${NOWHERE.ipv4} nowhere.example\n`,
    );
  });

  afterAll(() => {
    lab.remove();
    stage.remove();
  });

  const doctor = (prefix: readonly string[], ...args: string[]): Promise<Finished> =>
    run(stage.as(prefix, [process.execPath, stage.main, "doctor", ...args]));

  test("root: all is well", async () => {
    const done = await doctor([]);
    expect(done).toMatchObject({ status: 0, stderr: "" });
    expect(verdict(done)).toMatch(/^probing works from here/);
    expect(done.stdout).not.toContain("\x1b");
    expect(finding(done, "user")).toEqual({ status: "ok", found: "root" });
    expect(finding(done, "CAP_NET_RAW")).toEqual({ status: "ok", found: "effective" });
    expect(finding(done, "raw sockets")).toEqual({ status: "ok", found: "IPv4 and IPv6 open" });
    expect(finding(done, "receive buffer")).toEqual({ status: "ok", found: "8 MiB" });
    expect(finding(done, "interfaces")).toEqual({ status: "ok", found: "veth0 (IPv4, IPv6)" });
    expect(finding(done, "fail")).toBeUndefined();
  });

  test("colour only where it is wanted", async () => {
    const argv = stage.as([], [process.execPath, stage.main, "doctor"]);
    expect((await run(argv, { env: { FORCE_COLOR: "1" } })).stdout).toContain("\x1b[32mok");
    expect((await run(argv, { env: { FORCE_COLOR: "1", NO_COLOR: "1" } })).stdout).not.toContain("\x1b");
  });

  test("a reader that goes away is no fault", async () => {
    const script = '"$@" | true';
    const { stderr } = await run(
      stage.as([], ["sh", "-c", script, "sh", process.execPath, stage.main, "doctor"]),
    );
    expect(stderr).toBe("");
  });

  test("an ordinary user: 3, and the ways", async () => {
    const done = await doctor(AS_USER, FAR.ipv4);
    expect(done).toMatchObject({ status: 3, stderr: "" });
    expect(verdict(done)).toBe(
      "probing cannot work from here: this process lacks CAP_NET_RAW; what works is the kernel's own handshake: --link connect, which auto takes then",
    );
    expect(finding(done, "user")).toMatchObject({ status: "info", found: "uid 54321, not root" });
    expect(finding(done, "CAP_NET_RAW")).toMatchObject({ status: "fail" });
    expect(finding(done, "raw sockets")).toEqual({
      status: "fail",
      found: "IPv4 and IPv6: Operation not permitted",
    });
    // As it stands there it works: sudo's own path may have neither node nor synprobe.
    expect(done.stdout).toContain(`sudo ${process.execPath} ${stage.main} ${FAR.ipv4}\n`);
    expect(finding(done, "target")).toMatchObject({ status: "ok" });
  });

  test("an ordinary user whose bounding set lacks it: 3, and no sudo", async () => {
    const done = await doctor([...AS_USER, "--bounding-set=-net_raw"]);
    expect(done.status).toBe(3);
    expect(verdict(done)).toContain("bounding set");
    expect(done.stdout).not.toContain(`sudo ${process.execPath}`);
  });

  test("root whose bounding set lacks it, as in a container: 3", async () => {
    const done = await doctor(["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"]);
    expect(done.status).toBe(3);
    expect(finding(done, "user")).toEqual({ status: "ok", found: "root" });
    expect(finding(done, "CAP_NET_RAW")).toMatchObject({
      status: "fail",
      found: expect.stringContaining("not in the bounding set"),
    });
    expect(done.stdout).toContain("NET_RAW");
  });

  test("an ordinary user with no_new_privs: 3, and no sudo", async () => {
    const done = await doctor([...AS_USER, "--no-new-privs"]);
    expect(done.status).toBe(3);
    expect(done.stdout).toContain("no_new_privs is set");
    expect(done.stdout).not.toContain(`sudo ${process.execPath}`);
  });

  test("an ordinary user with that one capability: 0", async () => {
    const done = await doctor(WITH_NET_RAW, FAR.ipv6);
    expect(done).toMatchObject({ status: 0, stderr: "" });
    expect(finding(done, "CAP_NET_RAW")).toEqual({ status: "ok", found: "effective, ambient" });
    expect(finding(done, "CAP_NET_ADMIN")).toMatchObject({ status: "info" });
  });

  describe("user namespaces", () => {
    test("with a network of their own: 0, and that there is no way out", async (context) => {
      const prefix = [...AS_USER, "unshare", "-Urn"];
      const possible = await run(stage.as(prefix, ["true"]));
      if (possible.status !== 0) context.skip(`no user namespaces for users here: ${possible.stderr}`);
      const done = await doctor(prefix);
      expect(done).toMatchObject({ status: 0, stderr: "" });
      expect(finding(done, "raw sockets")).toMatchObject({ status: "ok" });
      expect(finding(done, "user namespace")).toEqual({
        status: "info",
        found: "not the initial one: uid 0 here is uid 54321 outside",
      });
      expect(finding(done, "interfaces")).toMatchObject({ status: "warn" });
      expect(done.stdout).toContain("    ip link set lo up\n");
      expect(await doctor(prefix, "127.0.0.1")).toMatchObject({ status: 4 });
    });

    test("without: 3, although CAP_NET_RAW is effective", async (context) => {
      const prefix = [...AS_USER, "unshare", "-Ur"];
      const possible = await run(stage.as(prefix, ["true"]));
      if (possible.status !== 0) context.skip(`no user namespaces for users here: ${possible.stderr}`);
      const done = await doctor(prefix);
      expect(done.status).toBe(3);
      expect(finding(done, "CAP_NET_RAW")).toEqual({ status: "ok", found: "effective" });
      expect(done.stdout).toContain("unshare -Urn, not unshare -Ur");
    });
  });

  test.each([
    [
      "on the link",
      `${FAR.ipv4}:22`,
      `${FAR.ipv4}: through veth0, up, mtu 1500; source ${NEAR.ipv4}; on its link`,
    ],
    [
      "behind a gateway",
      BEYOND.blackhole.ipv6,
      `${BEYOND.blackhole.ipv6}: through veth0, up, mtu 1500; source ${NEAR.ipv6}; next hop ${FAR.ipv6}`,
    ],
    [
      "this machine",
      NEAR.other4,
      `${NEAR.other4}: through lo, up, mtu 65536; source ${NEAR.ipv4}; this machine itself`,
    ],
    ["loopback", "[::1]:22", "::1: through lo, up, mtu 65536; source ::1; this machine itself"],
    [
      "a name",
      "far.example:https",
      `far.example (${FAR.ipv4}): through veth0, up, mtu 1500; source ${NEAR.ipv4}; on its link`,
    ],
  ])("a target %s", async (_what, target, found) => {
    const done = await doctor([], target);
    expect(finding(done, "target")).toEqual({ status: "ok", found });
    expect(done.status).toBe(0);
  });

  test.each([
    [NOWHERE.ipv4, 4, "no route to it from this machine (ENETUNREACH)"],
    [NOWHERE.ipv6, 4, "no route to it from this machine (ENETUNREACH)"],
    ["nowhere.example", 4, "no route to it from this machine (ENETUNREACH)"],
    ["fe80::1%nope", 4, "no network interface named nope"],
    ["fe80::1", 4, "a link-local address needs its interface"],
    ["224.0.0.1", 2, "a multicast address cannot be probed"],
    ["192.0.2.255", 2, "a broadcast address cannot be probed"],
    ["unknown.invalid", 2, "unknown.invalid "],
  ])("%s: %i, %s", async (target, status, why) => {
    const done = await doctor([], target);
    expect(done).toMatchObject({ status, stderr: "" });
    expect(finding(done, "target")).toMatchObject({ status: "fail", found: expect.stringContaining(why) });
    expect(verdict(done)).toMatch(/^probing works from here, but not to this target: /);
    expect(verdict(done)).toContain(why);
  });

  test("routes that refuse, and an interface that nothing is connected to", async () => {
    ip(
      lab.near,
      "route add unreachable 198.19.1.1",
      "route add prohibit 198.19.1.2",
      "route add blackhole 198.19.1.3",
      "link add idle0 type veth peer name idle1",
      "addr add 198.19.2.1/24 dev idle0",
      "link set idle0 up",
    );
    const said = [];
    for (const last of [1, 2, 3]) {
      const done = await doctor([], `198.19.1.${last}`);
      expect(done.status).toBe(4);
      said.push(finding(done, "target")?.found);
    }
    expect(said).toEqual([
      "198.19.1.1: this machine's own routes say unreachable",
      "198.19.1.2: this machine's own routes prohibit it",
      "198.19.1.3: this machine's own routes discard it (blackhole)",
    ]);
    const idle = await doctor([], "198.19.2.2");
    expect(finding(idle, "target")).toMatchObject({ status: "warn" });
    expect(idle.stdout).toContain("    ip -d link show idle0\n");
    expect(idle.status).toBe(0);
  });

  test("the kernel's ports spread over ours: a warning, until they are reserved", async () => {
    const set = (name: string, value: string) =>
      run(stage.as([], ["sh", "-c", 'echo "$2" > "/proc/sys/net/ipv4/$1"', "sh", name, value]));
    await set("ip_local_port_range", "1024 65535");
    const shared = await doctor([]);
    expect(finding(shared, "source ports")).toMatchObject({ status: "warn" });
    const [, name = "", value = ""] = /sysctl -w net\.ipv4\.(\S+)=(\S+)/.exec(shared.stdout) ?? [];
    await set(name, value);
    expect(finding(await doctor([]), "source ports")).toMatchObject({ status: "ok" });
    await set("ip_local_port_range", "32768 60999");
  });
});
