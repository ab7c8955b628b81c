/**
 * Bad input: one line each on standard error, the right exit status, no packet for it; and where the fault is one
 * target's, the others are probed all the same.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { someOf } from "../everyday.ts";
import {
  createLab,
  FAR,
  inNamespace,
  ip,
  type Lab,
  labProblem,
  overlayEtc,
  SILENT,
  skipping,
} from "../lab/netns.ts";
import { at, resultsOf } from "../lab/probing.ts";
import { type Finished, linesOf, run, synprobe, withFiles } from "./process.ts";

const directory = join(tmpdir(), `sp-bad-input-${process.pid}`);
const file = (name: string): string => join(directory, name);
const good = at(FAR.ipv4, 1);

/** Faults of the run as a whole: nothing is probed. The arguments, the status, and the message. */
type FaultyRun = readonly [what: string, args: readonly string[], status: number, says: RegExp];
const FAULTY_RUNS: readonly FaultyRun[] = [
  ["no target at all", [], 2, /no target given: write host:port, or -iL FILE; standard input names none$/],
  ["a port apart from its host", [FAR.ipv4, "22"], 2, /target "22": the host is missing: .*, host:22$/],
  ["ports apart from their host", [FAR.ipv4, "22,80-90"], 2, /ports are written behind it, host:22,80-90$/],
  ["a colon apart from its host", [FAR.ipv4, ":80"], 2, /the host is missing: .*, host:80$/],
  [
    "a list with ports apart from their hosts",
    ["-iL", file("apart.txt")],
    2,
    /apart\.txt:2: target "443": the host is missing: .*, host:443$/,
  ],
  ["an unknown option", ["--frobnicate", good], 2, /unknown option '--frobnicate' \(synprobe --help\)$/],
  ["an unknown option of a command", ["lab", "--frobnicate"], 2, /'--frobnicate' \(synprobe lab --help\)$/],
  ["a command without its argument", ["diff", "one"], 2, /missing .* 'new' \(synprobe diff --help\)$/],
  [
    "an excluded name that is not known",
    ["--exclude", "nosuch.invalid", good],
    2,
    /^synprobe: --exclude: nosuch\.invalid /,
  ],
  ["an option without its argument", [good, "--ttl"], 2, /'--ttl <n>' argument missing/],
  ["an option given twice", ["--ttl=5", "--ttl=6", good], 2, /option --ttl is given twice$/],
  [
    "an option given twice, short and long",
    ["-g", "5", "--source-port", "6", good],
    2,
    /--source-port is given twice$/,
  ],
  [
    "an option given twice, nmap's and ours",
    ["-oJ", file("a"), "--output-json", file("b"), good],
    2,
    /--output-json is given twice$/,
  ],
  [
    "excludes given twice, of which the last alone would count, to a command",
    ["watch", "--store", file("s"), "--exclude", FAR.ipv4, "--exclude", SILENT.ipv4, good],
    2,
    /option --exclude is given twice/,
  ],
  [
    "the same of a worker",
    ["worker", "--allow", "198.18.0.0/15", "--exclude", FAR.ipv4, "--exclude", SILENT.ipv4],
    2,
    /option --exclude is given twice/,
  ],
  ["--why from one source port", ["--why", "-g", "53", good], 2, /--why walks from source ports of its own/],
  ["-p given twice, nmap's way", ["-p80", "-p", "81", FAR.ipv4], 2, /--ports is given twice$/],
  ["-4 with -6", ["-4", "-6", good], 2, /-4 and -6 exclude each other$/],
  ["-p 0", ["-p", "0", FAR.ipv4], 2, /-p 0: port 0 is out of range: ports are 1 to 65535$/],
  ["-p 65536", ["-p65536", FAR.ipv4], 2, /-p 65536: port 65536 is out of range/],
  [
    "-p with a reversed range",
    ["-p", "90-80", FAR.ipv4],
    2,
    /-p 90-80: the range 90-80 is reversed: write 80-90$/,
  ],
  ["-p with an empty list", ["-p", "", FAR.ipv4], 2, /-p : no port given$/],
  ["-p with an unknown service", ["-p", "nosuch", FAR.ipv4], 2, /-p nosuch: no TCP service named "nosuch"/],
  ["--ttl 0", ["--ttl", "0", good], 2, /--ttl takes a whole number from 1 to 255, not "0"$/],
  ["--ttl 256", ["--ttl", "256", good], 2, /--ttl takes a whole number from 1 to 255, not "256"$/],
  ["--retries 31", ["--retries", "31", good], 2, /--retries takes a whole number from 0 to 30/],
  [
    "--timeout 0",
    ["--timeout", "0", good],
    2,
    /--timeout takes a time from 1ms to 10m, such as 500 \(milliseconds\)/,
  ],
  ["--timeout 3x", ["--timeout", "3x", good], 2, /--timeout takes a time .*, not "3x"$/],
  ["--max-rate 0", ["--max-rate", "0", good], 2, /--max-rate takes a whole number from 1/],
  ["-g 65536", ["-g", "65536", good], 2, /-g, --source-port takes a whole number from 1 to 65535/],
  ["-e with nothing", ["-e", "", good], 2, /-e, --interface needs a name, not an empty argument$/],
  ["trace -e with nothing", ["trace", "-e", "", good], 2, /-e, --interface needs a name, not an empty/],
  ["path -e with nothing", ["path", "-e", "", good], 2, /-e, --interface needs a name, not an empty/],
  [
    "-oX with an option",
    ["-oX", "-oG", good],
    2,
    /--output-xml needs a name, and "-oG" looks like an option: \.\/-oG/,
  ],
  ["-oX with nothing", ["-oX", "", good], 2, /--output-xml needs a name, not an empty argument$/],
  ["a flag with an argument", ["--ipv4=3", good], 2, /--ipv4 takes no argument, and is given "3" /],
  ["-4 with an argument", ["--strict=yes", good], 2, /--strict takes no argument, and is given "yes" /],
  [
    "ports to --exclude",
    ["--exclude", "5", good],
    2,
    /"5" is no host: ports are left out with --exclude-ports$/,
  ],
  [
    "two orders",
    ["--sequential", "--seed", "5", "--dry-run", good],
    2,
    /--seed and --sequential exclude each other$/,
  ],
  [
    "--pcap-all alone",
    ["--pcap-all", "--dry-run", good],
    2,
    /--pcap-all says nothing without --pcap: give that too, or leave it out$/,
  ],
  ...[
    ["--fleet-key", "k", "--fleet"],
    ["--fleet-lease", "5s", "--fleet"],
    ["--why-limit", "3", "--why"],
    ["--json-fields", "naabu", "--output-json or --output-all"],
  ].map(
    ([name, value, needed]) =>
      [
        `${name} alone`,
        [name, value, good],
        2,
        new RegExp(`${name} says nothing without ${needed}: give`),
      ] as const,
  ),
  [
    "an option of nmap's that asks for nothing",
    ["--privileged", good],
    2,
    /no option --privileged: what is permitted is/,
  ],
  [
    "a file that goes on",
    ["--append-output", good],
    2,
    /no option --append-output: a file has one run; --store FILE/,
  ],
  [
    "places without a fleet",
    ["--from", "fra", good],
    2,
    /--from says nothing without --fleet: give that too/,
  ],
  ["--only alone", ["--only", "open", good], 2, /--only says nothing without --input-results: give that too/],
  [
    "a part beyond the last",
    ["--shard", "5/4", "--seed", "1", good],
    2,
    /an index from 1 to count, .*, not "5\/4"$/,
  ],
  [
    "a command with a slip in it, and options",
    ["reprot", "run.json", "-o", "x"],
    2,
    /; did you mean the command report\? \(/,
  ],
  [
    "results that are none",
    ["-iR", "/etc/passwd"],
    2,
    /\/etc\/passwd is neither NDJSON \(-oJ\) nor nmap's XML/,
  ],
  ["-S that is no address", ["-S", "me", good], 2, /-S takes an IP address, not "me"$/],
  ["-S with an interface", ["-S", "fe80::1%x", good], 2, /, not "fe80::1%x": give -S fe80::1 -e x$/],
  [
    "nmap's -A",
    ["-A", good],
    2,
    /no option -A: synprobe does not detect .*; --banner shows .* \(synprobe --help\)$/,
  ],
  [
    "several of nmap's scans",
    ["-sSCV", good],
    2,
    /no option -sSCV: synprobe runs no scripts; .* detect services/,
  ],
  ["a script", ["--script=http-title", good], 2, /no option --script: synprobe runs no scripts/],
  ["--host-timeout 0", ["--host-timeout", "0", good], 2, /a time from 1ms to 1d, such as 30 \(seconds\)/],
  ["nmap's traceroute", ["--traceroute", good], 2, /no option --traceroute: synprobe path HOST:PORT walks /],
  ["masscan's configuration", ["-c", "x", good], 2, /no option -c: .* --config FILE reads it/],
  ["masscan's wait", ["--wait", "5", good], 2, /no option --wait: each SYN waits as long as /],
  ["nmap's spelling in the wrong case", ["-oj", "x", good], 2, /unknown option '-oj'; did you mean -oJ\?/],
  [
    "an option with a slip in it",
    ["--max-raet=5", good],
    2,
    /unknown option '--max-raet=5'; did you mean --max-rate\?/,
  ],
  ["ports after -T", ["-T:22", FAR.ipv4], 2, /-T takes a number .*, not ":22": ports stand after -p/],
  [
    "-S that is not ours",
    ["-S", "192.0.2.99", good],
    4,
    /source address 192\.0\.2\.99 is not this machine's/,
  ],
  [
    "-S 0.0.0.0, which the kernel takes for its own",
    ["-S", "0.0.0.0", good],
    4,
    /source address 0\.0\.0\.0 is not this machine's/,
  ],
  ["-S ::", ["-S", "::", at(FAR.ipv6, 1)], 4, /source address :: is not this machine's/],
  ["standard input for two", ["-iL", "-", "-iR", "-"], 2, /standard input \(-\) can be read only once$/],
  ["the same with exclusions", ["--exclude-file", "-", "-iL", "-"], 2, /\(-\) can be read only once$/],
  [
    "no such interface",
    ["-e", "nosuch0", good],
    4,
    /no network interface named nosuch0: "ip link" lists them$/,
  ],
  ["an argument that looks like an option", ["-e", "-n", good], 4, /no network interface named -n:/],
  [
    "an interface name that cannot be",
    ["-e", "much-too-long-a-name-for-one", good],
    4,
    /no network interface named /,
  ],
  [
    "an interface that is down",
    ["-e", "down0", good],
    4,
    /interface down0 is down: bring it up with "ip link set down0 up"$/,
  ],
  [
    "two interfaces",
    ["-e", "lo", "[fe80::1%veth0]:1"],
    2,
    /one run goes through one interface, and lo is named already: run synprobe once for each$/,
  ],
  [
    "a list that is not there",
    ["-iL", file("none")],
    2,
    /cannot read the list \S+none: there is no such file$/,
  ],
  ["a list that is a directory", ["-iL", directory], 2, /cannot read the list \S+: it is a directory$/],
  ["a list that names nothing", ["-iL", "/dev/null"], 2, /the list \/dev\/null names no target/],
  [
    "two formats on one stream",
    ["-oJ", "-", "-oX", "-", good],
    2,
    /only one format can go to standard output/,
  ],
  [
    "two formats in one file",
    ["-oJ", file("x"), "-oG", file("x"), good],
    2,
    /two formats cannot share the file /,
  ],
  [
    "an output file in no directory",
    ["-oJ", file("none/x"), good],
    2,
    /cannot write output file \S+x: its directory does not exist$/,
  ],
  [
    "an output file that is a directory",
    ["-oX", directory, good],
    2,
    /cannot write output file \S+: it is a directory$/,
  ],
  [
    "an output file that is not for writing",
    ["-oN", "/proc/version", good],
    2,
    /cannot write output file \/proc\/version: /,
  ],
];

/** Faults of one target. */
type FaultyTarget = readonly [target: string, status: number, says: RegExp, options?: readonly string[]];
const FAULTY_TARGETS: readonly FaultyTarget[] = [
  [
    "unknown.example.test:80",
    2,
    /unknown\.example\.test is unknown to this system's resolver \(ENOTFOUND\): check the name$/,
  ],
  ["only6.example.test:80", 2, /only6\.example\.test has no IPv4 address: try it without -4$/, ["-4"]],
  ["[2001:db8::10]:80", 2, /\[2001:db8::10\]:80 is not an IPv4 address: drop -4$/, ["-4"]],
  ["192.0.2.10:0", 2, /port 0 is out of range/],
  ["192.0.2.10:65536", 2, /port 65536 is out of range/],
  ["192.0.2.10:90-80", 2, /the range 90-80 is reversed: write 80-90$/],
  ["192.0.2.10:", 2, /no port given$/],
  ["192.0.2.10:22,,80", 2, /"22,,80" has an empty port$/],
  ["192.0.2.10:nosuch", 2, /no TCP service named "nosuch"/],
  ["gopher2://192.0.2.10/", 2, /no TCP service named "gopher2"/],
  ["192.0.2.0/33:80", 2, /the prefix length after "\/" is a number from 0 to 32, not "33"/],
  ["192.0.2.0/:80", 2, /the prefix length after "\/" is a number from 0 to 32, not ""/],
  ["[2001:db8::/129]:80", 2, /the prefix length after "\/" is a number from 0 to 128, not "129"/],
  ["[2001:db8::]/64:80", 2, /the prefix length belongs inside the brackets: \[address\/length\]:port$/],
  ["2001:db8::/64:80", 2, /with a port, write the network in brackets: \[address\/length\]:port$/],
  ["example.test/24:80", 2, /"example\.test" is not an address: a network is written address\/length$/],
  ["192.0.2.9-1:80", 2, /the range 9-1 is reversed: write 1-9$/],
  ["192.0.2.9-192.0.2.1:80", 2, /the range is reversed: write 192\.0\.2\.1-192\.0\.2\.9$/],
  ["192.0.2.1-256:80", 2, /"256" is not a number from 0 to 255$/],
  ["192.0.2.1-:80", 2, /the range 1- lacks an end: write 1-255$/],
  ["192.0.*:80", 2, /"192\.0\.\*" is not an IPv4 address or range: write four numbers/],
  ["192.0.2.1-[2001:db8::1]:80", 2, /not an IPv6 address/],
  ["192.0.2.999:80", 2, /"192\.0\.2\.999" is not an IPv4 address$/],
  ["192.0.2:80", 2, /"192\.0\.2" is not an IPv4 address$/],
  ["[2001:db8::10:80", 2, /the "\[" is never closed: write \[address\]:port$/],
  ["2001:db8::10:xyz", 2, /not an IPv6 address; with a port, write the address in brackets/],
  ["-bad-.example.test:80", 2, /neither an address nor a host name$/],
  ["255.255.255.255:80", 2, /a broadcast address cannot be probed: TCP is between two hosts$/],
  ["192.0.2.255:80", 2, /a broadcast address cannot be probed: TCP is between two hosts$/],
  ["127.255.255.255:80", 2, /a broadcast address cannot be probed: TCP is between two hosts$/],
  ["224.0.0.1:80", 2, /a multicast address cannot be probed: TCP is between two hosts$/],
  ["[ff02::1]:80", 2, /a multicast address cannot be probed: TCP is between two hosts$/],
  ["0.0.0.0:80", 2, /the unspecified address names no host$/],
  ["[::]:80", 2, /the unspecified address names no host$/],
  ["0.1.2.3:80", 2, /a reserved address \(0\.0\.0\.0\/8, 240\.0\.0\.0\/4\) names no host$/],
  ["240.0.0.1:80", 2, /a reserved address .* names no host$/],
  ["[::ffff:192.0.2.10]:80", 2, /an IPv4-mapped address never appears on a wire: write the IPv4 address$/],
  ["198.19.0.1:80", 4, /no route to it from this machine \(ENETUNREACH\)/],
  ["[2001:db8:2::1]:80", 4, /no route to it from this machine \(ENETUNREACH\)/],
  ["198.18.9.1:80", 4, /this machine's own routes say unreachable/],
  ["198.18.9.2:80", 4, /this machine's own routes prohibit it/],
  ["198.18.9.3:80", 4, /this machine's own routes discard it \(blackhole\)/],
  ["[2001:db8:1:9::2]:80", 4, /this machine's own routes prohibit it/],
  ["[fe80::1]:80", 4, /needs its interface: write \[fe80::1%INTERFACE\]:PORT, or probe with -e INTERFACE$/],
  ["[2001:db8::10]:80", 4, /source address 192\.0\.2\.1 is of the other IP version/, ["-S", "192.0.2.1"]],
  [
    "192.0.2.10:80",
    4,
    /nothing comes back from there to 127\.0\.0\.1: drop -S, .* of veth0$/,
    ["-S", "127.0.0.1"],
  ],
  ["[2001:db8::10]:80", 4, /nothing comes back from there to ::1: drop -S, .* of veth0$/, ["-S", "::1"]],
  ["198.19.0.1:80", 4, /no route to it from this machine \(ENETUNREACH\)/, ["-S", "127.0.0.1"]],
  ["docter", 2, /docter .*; did you mean the command doctor\?$/, ["--retries=1"]],
  ["trase", 2, /trase is unknown to this system's resolver .*; did you mean the command trace\?$/, ["-p80"]],
];

describe.skipIf(skipping("bad input", labProblem()))("bad input", () => {
  let lab: Lab;

  beforeAll(() => {
    lab = createLab();
    mkdirSync(directory);
    writeFileSync(file("apart.txt"), `${good}\n${FAR.ipv4} 443\n`);
    ip(
      lab.near,
      "link add down0 type veth peer name down1",
      "route add unreachable 198.18.9.1",
      "route add prohibit 198.18.9.2",
      "route add blackhole 198.18.9.3",
      "route add prohibit 2001:db8:1:9::2",
    );
    overlayEtc(lab.near, "nsswitch.conf", "hosts: files\n");
    overlayEtc(lab.near, "hosts", "2001:db8::10 only6.example.test\n");
  });

  afterAll(() => {
    lab.remove();
    rmSync(directory, { recursive: true, force: true });
  });

  const probe = (...args: string[]): Promise<Finished> =>
    run(inNamespace(lab.near, synprobe("--packet-trace", ...args)));

  /** One line, which is the message: so no packet was sent either, the trace of which would be another. */
  function expectMessage(stderr: string, says: RegExp): void {
    const lines = linesOf(stderr);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^synprobe: /);
    expect(lines[0]).toMatch(says);
  }

  test.each(someOf(3, FAULTY_RUNS))("%s", async (_what, args, status, says) => {
    const finished = await probe(...args);
    expectMessage(finished.stderr, says);
    expect(finished).toMatchObject({ status, stdout: "" });
  });

  // Below, what is said of each is looked at every day, in one run.
  for (const [target, status, says, options = []] of someOf(5, FAULTY_TARGETS)) {
    test(`the target ${target}`, async () => {
      const finished = await probe(...options, "--", target);
      expectMessage(finished.stderr, says);
      expect(finished).toMatchObject({ status, stdout: "" });
    });
  }

  test("a working directory that is gone, where a file is named from it", async () => {
    const gone = file("gone");
    const script = `mkdir ${gone} && cd ${gone} && rmdir ${gone} && exec "$@"`;
    const { status, stdout, stderr } = await run([
      ...["bash", "-c", script, "bash"],
      ...inNamespace(lab.near, synprobe("--journal", "run.journal", good)),
    ]);
    expect(stderr).toMatch(/^synprobe: the working directory does not exist any more, .*\n$/m);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  });

  test("too few open files, wherever they run out", async () => {
    // With fewer Node itself does not start.
    const limits = [1, 2, 3, 4, 5];
    const ended = await Promise.all(
      limits.map((most) => run(inNamespace(lab.near, withFiles(most, synprobe(good))))),
    );
    for (const { status, stderr } of ended) {
      if (status === 0) continue;
      expect(stderr).toMatch(/^synprobe: .*too many open files; raise "ulimit -n"\n$/m);
      expect(status).toBe(3);
    }
    expect(ended.some(({ status }) => status === 3)).toBe(true);
  });

  test("every faulty target at once: one line each, and the good ones are probed", async () => {
    const faulty = FAULTY_TARGETS.filter(([, , , options]) => options === undefined);
    const targets = faulty.map(([target]) => target);
    const { status, stdout, stderr } = await probe("-oJ", "-", "--", ...targets, good, at(FAR.ipv6, 1));
    expect(status).toBe(5);
    expect([...resultsOf(stdout).keys()].sort()).toEqual([good, at(FAR.ipv6, 1)].sort());
    const messages = linesOf(stderr).filter((line) => line.startsWith("synprobe: "));
    expect(messages).toHaveLength(faulty.length);
    for (const [target, , says] of faulty) {
      expect.soft(messages.filter((message) => says.test(message)).length, target).toBeGreaterThan(0);
    }
    const records = linesOf(stdout).map((line): unknown => JSON.parse(line));
    const faults = records.filter((record) => (record as { type?: string }).type === "fault");
    expect(faults).toHaveLength(faulty.length);
    expect(records.at(-1)).toMatchObject({ type: "summary", closed: 2, faults: faulty.length });
  });

  test("a list: file and line of each fault, and the good ones are probed", async () => {
    const list = file("list");
    // A byte order mark and both kinds of line end, as editors elsewhere leave them.
    const lines = [
      good,
      "# comment",
      "",
      "bad host:1",
      "192.0.2.10:70000 # too many",
      "198.19.0.1:1",
      "224.0.0.1:1",
    ];
    writeFileSync(list, `\uFEFF${lines.join("\r\n")}\n${at(FAR.ipv6, 1)}\n`);
    const { status, stdout, stderr } = await probe("-oJ", "-", "-iL", list);
    expect(status).toBe(5);
    expect([...resultsOf(stdout).keys()].sort()).toEqual([good, at(FAR.ipv6, 1)].sort());
    const messages = linesOf(stderr).filter((line) => line.startsWith("synprobe: "));
    expect(messages.sort()).toEqual([
      expect.stringContaining(`${list}:4: bad is unknown to this system's resolver`),
      expect.stringContaining(`${list}:4: host is unknown to this system's resolver`),
      expect.stringContaining(`${list}:5: target "192.0.2.10:70000": port 70000 is out of range`),
      expect.stringContaining(`${list}:6: 198.19.0.1:1: no route to it`),
      expect.stringContaining(`${list}:7: 224.0.0.1:1: a multicast address`),
    ]);
  });

  test("an exclude file with two addresses on a line: a range to some programs, so nothing is probed", async () => {
    const excluded = file("excluded");
    writeFileSync(excluded, "198.18.0.1\t198.18.0.2 198.18.0.3\n# ours\n192.0.2.9\t192.0.2.11\n");
    const { status, stdout, stderr } = await probe("--exclude-file", excluded, good);
    expect(status).toBe(2);
    expect(stdout).toBe("");
    expectMessage(
      stderr,
      /excluded:3: two addresses .*: write 192\.0\.2\.9-192\.0\.2\.11, or each on a line/,
    );
  });

  test("a list on standard input", async () => {
    const argv = inNamespace(lab.near, synprobe("-oJ", "-", "-iL", "-"));
    const { status, stdout, stderr } = await run(argv, { input: `${good}\n192.0.2.10:0\n` });
    expect(status).toBe(5);
    expect([...resultsOf(stdout).keys()]).toEqual([good]);
    expectMessage(stderr, /<stdin>:2: target "192\.0\.2\.10:0": port 0 is out of range/);
  });

  test("a name server that does not answer is told from an unknown name", async () => {
    overlayEtc(lab.far, "nsswitch.conf", "hosts: dns\n");
    overlayEtc(lab.far, "resolv.conf", "nameserver 127.0.0.1\n");
    const { status, stderr } = await run(inNamespace(lab.far, synprobe("some.example.test:80")));
    expect(status).toBe(2);
    expectMessage(
      stderr,
      /some\.example\.test could not be looked up: the name server does not answer \(EAI_AGAIN\)$/,
    );
  });

  test("the names of a name server that does not answer are looked up side by side", async () => {
    overlayEtc(lab.near, "nsswitch.conf", "hosts: dns\n");
    overlayEtc(lab.near, "resolv.conf", `nameserver ${SILENT.ipv4}\noptions timeout:1 attempts:1\n`);
    const names = Array.from({ length: 24 }, (_, i) => `dead${i}.example.test:80`);
    // A second each; two at a time would take twelve.
    const argv = inNamespace(lab.near, synprobe("-oJ", "-", ...names, "127.0.0.1:1"));
    const { status, stdout, stderr } = await run(argv, { limitMs: 8000 }).finally(() =>
      overlayEtc(lab.near, "nsswitch.conf", "hosts: files\n"),
    );
    expect(status).toBe(5);
    expect([...resultsOf(stdout).keys()]).toEqual(["127.0.0.1:1"]);
    expect(stderr.match(/could not be looked up/g)).toHaveLength(names.length);
  });

  test("what a message quotes cannot reach the terminal raw", async () => {
    const { stderr } = await probe("--", "\x1b[31mred\x07:80");
    expect(stderr).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f]/);
    expect(linesOf(stderr)).toHaveLength(1);
  });
});
