/**
 * Options from a file and from the environment: what counts, what is refused and where it stood, and what --print-config
 * says. Nothing here sends a packet: each run stops at --print-config, --dry-run or a fault.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PROBE_OPTIONS, whyOneRun } from "../../../src/cli/options/table.ts";
import { someOf } from "../../everyday.ts";
import { skipping } from "../../lab/netns.ts";
import { type Finished, linesOf, run, synprobe } from "../process.ts";

let folder = "";
const file = (name: string): string => join(folder, name);
type Variables = Readonly<Record<string, string>>;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sp-config-"));
  // For the tests of other users: it is the files that are theirs or not.
  chmodSync(folder, 0o755);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Writes a configuration. @returns its name */
function write(text: string, name = "probe.json"): string {
  writeFileSync(file(name), text);
  return file(name);
}

const start = (args: readonly string[], env: Variables = {}): Promise<Finished> =>
  run(synprobe(...args), { env });

/** What --print-config has of each option that somebody has set: the value's text, and where it comes from. */
async function effective(
  args: readonly string[],
  env: Variables = {},
): Promise<Map<string, [string, string]>> {
  const { status, stdout, stderr } = await start([...args, "--print-config"], env);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  const lines = [...stdout.matchAll(/^ {2}"([\w-]+)": (.*?),? \/\/ (.*)$/gm)];
  return new Map(lines.map(([, key, value, origin]) => [key, [value, origin.replaceAll(`${folder}/`, "")]]));
}

describe("what counts", () => {
  test("command line, environment, file, built-in: the first that says something", async () => {
    const config = write('{\n  // slow\n  "ttl": 10,\n  "retries": 5,\n  "timeout": "2s",\n}');
    const env = { SYNPROBE_RETRIES: "6", SYNPROBE_TIMEOUT: "700", SYNPROBE_CONFIG: config };
    expect([...(await effective(["--timeout=300ms"], env))]).toEqual([
      ["retries", ["6", "SYNPROBE_RETRIES"]],
      ["timeout", ['"300ms"', "command line"]],
      ["ttl", ["10", "probe.json:3"]],
    ]);
    const { stdout } = await start(["--print-config"]);
    expect(stdout).toMatch(/^ {2}\/\/ "retries": 10, \/\/ built-in$/m);
  });

  test("it reaches the run: a plan says so", async () => {
    const config = write('{ "max-rate": 321, "exclude": "127.0.0.2", "ports": "1-3" }');
    const { status, stdout } = await start(["--config", config, "--dry-run", "127.0.0.1", "127.0.0.2"]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^Pairs +3 on 1 host$/m);
    expect(stdout).toMatch(/^Rate +at most 321 SYNs\/s$/m);
  });

  test("exclusions add up, and nobody takes one back", async () => {
    mkdirSync(file("sub"));
    writeFileSync(file("sub/never"), "127.0.0.3\n");
    const config = write(
      '{ "exclude": ["127.0.0.1"], "exclude-file": "never", "exclude-ports": 2 }',
      "sub/c.json",
    );
    const args = ["--config", config, "--exclude=127.0.0.4", "--exclude-ports=3", "-oJ", "-", "--dry-run"];
    const { stdout } = await start([...args, "127.0.0.0-127.0.0.7:1-4"], { SYNPROBE_EXCLUDE: "127.0.0.2" });
    const { pairs } = JSON.parse(stdout) as { pairs: number };
    // 0, 5, 6 and 7 are left, each with ports 1 and 4.
    expect(pairs).toBe(8);
  });

  test("-p on the command line stands for a file's --top-ports, -6 for its -4, --seed for its --sequential", async () => {
    const config = write('{ "top-ports": 5, "ipv4": true, "sequential": true }');
    expect([...(await effective(["--config", config, "-p", "80", "-6", "--seed=3"])).keys()]).toEqual([
      "ports",
      "ipv6",
      "seed",
    ]);
    expect([...(await effective(["--config", config])).keys()]).toEqual(["top-ports", "ipv4", "sequential"]);
  });

  test("-T counts where it stands: over a timeout in a file, under one on the command line", async () => {
    const config = write('{ "timeout": 900, "retries": 1 }');
    const found = await effective(["--config", config, "-T4", "--retries=3"]);
    expect(Object.fromEntries(found)).toEqual({
      timing: ["4", "command line"],
      retries: ["3", "command line"],
    });
    const { stdout } = await start(["--config", config, "-T4", "--print-config"]);
    expect(stdout).toMatch(/^ {2}\/\/ "retries": 6, \/\/ as "timing" has it$/m);
    // A rate that is set as the most stays the most; -T may be slower.
    const limited = { SYNPROBE_MAX_RATE: "500" };
    expect((await effective(["-T4"], limited)).get("max-rate")).toEqual(["500", "SYNPROBE_MAX_RATE"]);
    expect([...(await effective(["-T2"], limited)).keys()]).toEqual(["timing"]);
    write('{ "timing": 4, "timeout": 900 }');
    expect((await effective(["--config", config])).get("timeout")).toEqual(["900", "probe.json:1"]);
  });

  test("a file may name its schema, for editors", async () => {
    const config = write('{ "$schema": "synprobe/config.schema.json", "ttl": 9 }');
    expect([...(await effective(["--config", config]))]).toEqual([["ttl", ["9", "probe.json:1"]]]);
  });

  test("0 in the environment takes back what a file says", async () => {
    const config = write('{ "strict": true, "verbose": true }');
    const found = await effective(["--config", config], { SYNPROBE_STRICT: "0" });
    expect(found.get("strict")).toEqual(["false", "SYNPROBE_STRICT"]);
    expect(found.get("verbose")).toEqual(["true", "probe.json:1"]);
  });

  test("no file is read that is not named", async () => {
    const home = file("home");
    mkdirSync(join(home, ".config"), { recursive: true });
    for (const name of ["synprobe.json", ".synprobe.json", ".config/synprobe.json"]) {
      writeFileSync(join(home, name), '{ "ttl": 1 }');
    }
    const { stdout } = await run(["env", "-C", home, `HOME=${home}`, ...synprobe("--print-config")]);
    expect(stdout).toContain("no file");
    expect(stdout).toMatch(/"ttl": 64, \/\/ built-in/);
  });

  test("trace takes what it has of it", async () => {
    const config = write('{ "ttl": 7, "max-rate": 5, "source-ip": "192.0.2.77" }');
    const { status, stderr } = await start(["trace", "--config", config, "127.0.0.1:1"]);
    expect({ status, stderr }).toEqual({ status: 4, stderr: expect.stringContaining("192.0.2.77") });
  });
});

describe("--print-config", () => {
  test("prints a configuration that says the same", async () => {
    const args = ["-T4", "-p", "http,1-3", "--exclude=10.0.0.0/8,x.test", "--show=open", "--banner", "-v"];
    const more = ["--seed=18446744073709551615", "--shard=2/3", "--host-timeout=15m", "--max-rate=0007"];
    const first = await effective([...args, ...more]);
    expect(first.size).toBe(10);
    const { stdout } = await start([...args, ...more, "--print-config"]);
    const second = await effective(["--config", write(stdout)]);
    const values = (found: typeof first): unknown => [...found].map(([key, [value]]) => [key, value]);
    expect(values(second)).toEqual(values(first));
  });

  test("times of a template are as a file has them", async () => {
    const { stdout } = await start(["-T5", "--print-config"]);
    expect(stdout).toMatch(/"host-timeout": 900, /);
    const { stdout: again } = await start(["--config", write('{ "host-timeout": 900 }'), "--print-config"]);
    expect(again).toMatch(/"host-timeout": 900 \/\/ /);
    const { stderr } = await start(["-v", "--host-timeout=30", "--dry-run", "127.0.0.1:1"]);
    expect(stderr).toContain("synprobe: --host-timeout 30 is 30s\n");
  });

  test("has every option, set or not; what belongs to one run as a comment that says why", async () => {
    const { stdout } = await start(["--journal", file("j"), "--print-config"]);
    for (const { flags } of PROBE_OPTIONS) {
      const key = /--([\w-]+)/.exec(flags)?.[1] ?? "";
      if (!["config", "print-config"].includes(key)) expect(stdout).toContain(`"${key}"`);
    }
    expect(stdout).toContain(`// "journal": "${file("j")}", // command line; a journal is one run's\n`);
  });

  test("a file's name cannot end its comment", async () => {
    const config = write('{ "ttl": 9 }', 'a\n"ttl": 1');
    const { stdout } = await start(["--config", config, "--print-config"]);
    expect((await effective(["--config", write(stdout)])).get("ttl")).toEqual([
      "9",
      expect.stringMatching(/^probe\.json:\d+$/),
    ]);
  });
});

describe("what is wrong is said with its place", () => {
  const faults: readonly [text: string, says: RegExp][] = [
    ['{\n "max-rat": 3 }', /:2: unknown key "max-rat"; did you mean "max-rate"\?$/],
    ['{ "targets": ["a"] }', /:1: unknown key "targets": keys are the long options, without their dashes$/],
    ['{ "__proto__": 1 }', /:1: unknown key "__proto__"/],
    ['{\n\n "ttl": 300 }', /:3: --ttl takes a whole number from 1 to 255, not "300"$/],
    ['{ "link": "wire" }', /:1: --link takes auto, syn, raw, packet or connect, not "wire"$/],
    ['{ "ports": "0" }', /:1: --ports 0: port 0 is out of range/],
    ['{ "exclude": "a..b" }', /:1: --exclude: target "a\.\.b": /],
    ['{ "source-ip": "me" }', /:1: --source-ip takes an IP address, not "me"$/],
    ['{\n "no": 1,\n "ttl": 300 }', /:2: unknown key "no"/],
    ['{\n "ttl": 300,\n "no": 1 }', /:2: --ttl takes a whole number from 1 to 255, not "300"$/],
    ['{ "ttl": 1.5 }', /:1: --ttl takes a whole number from 1 to 255, not "1\.5"$/],
    ['{ "link": true }', /:1: "link" is a text or a number: what --link <kind> takes$/],
    ['{ "exclude": [] }', /:1: "exclude" is a text or a number, or a list of them/],
    ['{ "$schema": 1 }', /:1: "\$schema" is a text$/],
    ...[100, 3000].map((depth): [string, RegExp] => [
      `{ "ttl": ${"[".repeat(depth)}${"]".repeat(depth)} }`,
      /:1: "ttl" is a text or a number/,
    ]),
    ['{ "ttl": [3] }', /:1: "ttl" is a text or a number: what --ttl <n> takes$/],
    ['{ "exclude": [{}] }', /:1: "exclude" is a text or a number, or a list of them/],
    ['{ "verbose": 1 }', /:1: "verbose" is true or false$/],
    ['{ "ttl": 1,\n "ttl": 2 }', /:2: "ttl" is set twice: first in \S+:1$/],
    ['{ "ttl": 1\n "retries": 2 }', /:2: not JSON with comments: comma expected$/],
    ["[]", /probe\.json: write an object of options: /],
    ["", /probe\.json: write an object of options: /],
    ["[".repeat(500_000), /probe\.json: nested too deeply/],
    [" ".repeat(1_048_577), /is larger than 1048576 bytes$/],
    ['{ "no-drop": true }', /:1: --no-drop cannot be set here: whether root is kept is decided run by run$/],
    ['{ "config": "x" }', /:1: --config cannot be set here: a configuration cannot name another$/],
  ];
  test.each(someOf(3, faults))("%.40j", async (text, says) => {
    const { status, stdout, stderr } = await start(["--config", write(text), "127.0.0.1:1"]);
    expect({ status, stdout, lines: linesOf(stderr).length }).toEqual({ status: 2, stdout: "", lines: 1 });
    expect(stderr.trimEnd()).toMatch(says);
  });

  test.each<[env: Variables, says: RegExp]>([
    [{ SYNPROBE_MAX_RATE: "fast" }, /SYNPROBE_MAX_RATE: --max-rate takes a whole number .*, not "fast"$/],
    [{ SYNPROBE_MAX_RAET: "5" }, /SYNPROBE_MAX_RAET .* is no option; did you mean SYNPROBE_MAX_RATE\?$/],
    [{ SYNPROBE_JOURNAL: "x" }, /SYNPROBE_JOURNAL: --journal cannot be set here: a journal is one run's$/],
    [{ SYNPROBE_STRICT: "maybe" }, /SYNPROBE_STRICT: --strict takes no argument: write 1 or 0, not "maybe"$/],
    [
      { SYNPROBE_CONFIG: "/nonexistent" },
      /cannot read the configuration \/nonexistent: there is no such file$/,
    ],
    [{ SYNPROBE_CONFIG: "/" }, /cannot read the configuration \/: it is a directory$/],
  ])("%j", async (env, says) => {
    const { status, stdout, stderr } = await start(["127.0.0.1:1"], env);
    expect({ status, stdout, lines: linesOf(stderr).length }).toEqual({ status: 2, stdout: "", lines: 1 });
    expect(stderr.trimEnd()).toMatch(says);
  });

  test("others' variables, and empty ones, are theirs", async () => {
    const env = { SYNPROBE_IMAGE: "registry/x", SYNPROBE_TTL: "", SYNPROBE_CONFIG: "" };
    expect((await effective([], env)).size).toBe(0);
  });

  test("every option that writes results or names targets is one run's", () => {
    const refused = PROBE_OPTIONS.filter((spec) => whyOneRun(spec) !== undefined).map(({ flags }) => flags);
    for (const { flags, group } of PROBE_OPTIONS) {
      if (group === "Output" && flags.includes("<file>")) expect(refused).toContain(flags);
    }
    expect(refused).toEqual(
      expect.arrayContaining([
        "--input-list <file>",
        "--journal <file>",
        "--resume <file>",
        "--dry-run",
        "--no-drop",
      ]),
    );
  });
});

const why = process.getuid?.() === 0 ? undefined : "becoming another user needs root";
describe.skipIf(skipping("configurations under sudo", why))("under sudo", () => {
  const SUDO = { SUDO_UID: "65534", SUDO_GID: "65534", SUDO_USER: "nobody" };

  test.each<[how: string, args: readonly string[], env: Variables]>([
    ["--config", ["--config"], {}],
    ["SYNPROBE_CONFIG", [], { SYNPROBE_CONFIG: "" }],
  ])(
    "a file of %s that the user may not read is refused, and nothing of it is printed",
    async (_, args, env) => {
      const secret = file("secret");
      writeFileSync(secret, '{ "hash": "$6$secret" }', { mode: 0o600 });
      const option = args.length > 0 ? [...args, secret] : [];
      const named = "SYNPROBE_CONFIG" in env ? { SYNPROBE_CONFIG: secret } : {};
      const all = [...option, "--print-config", "127.0.0.1:1"];
      const { status, stdout, stderr } = await start(all, { ...SUDO, ...named });
      expect(status).toBe(2);
      expect(stderr).toMatch(/^synprobe: cannot read the configuration \S+: permission denied\n$/);
      expect(`${stdout}${stderr}`).not.toMatch(/hash|\$6\$/);
      // Root itself is told what is wrong with it.
      expect((await start(all, named)).stderr).toContain('unknown key "hash"');
    },
  );

  test("a file of excluded hosts that a configuration names is the user's to read, too", async () => {
    writeFileSync(file("secret"), "root:hash:1\n", { mode: 0o600 });
    const config = write('{ "exclude-file": "secret" }');
    const { status, stderr } = await start(["--config", config, "--dry-run", "127.0.0.1:1"], SUDO);
    expect(status).toBe(2);
    expect(stderr).toMatch(/cannot read the list \S+secret: permission denied\n$/);
    expect(stderr).not.toContain("hash");
  });
});

describe("a file as large as may be", () => {
  const FULL = 1 << 20;
  const bad: [what: string, text: string, says: RegExp][] = [
    ["with one key", `{ "${"k".repeat(FULL - 20)}": 1 }`, /:1: unknown key "k+…"/],
    [
      "with many keys",
      `{ ${Array.from({ length: 70_000 }, (_, i) => `"k${i}": 1`).join(",")} }`,
      /:1: unknown key "k0"/,
    ],
    [
      "with one word",
      `{ "link": "${"r".repeat(FULL - 20)}" }`,
      /:1: --link takes auto, syn, raw, packet or connect, not/,
    ],
  ];
  // The process may take no more than the time that any other has (process.ts).
  test.each(bad)("%s is refused at once", async (_what, text, says) => {
    const { status, stderr } = await start(["--config", write(text), "127.0.0.1:1"]);
    expect(status).toBe(2);
    expect(stderr).toMatch(says);
  });

  test("with 50,000 excludes is read at once", async () => {
    const excludes = Array.from({ length: 50_000 }, (_, i) => `"198.18.${i >> 8}.${i & 255}"`);
    const file = write(`{"exclude":[${excludes.join(",")}]}`);
    const { status, stderr } = await start(["--config", file, "--dry-run", "127.0.0.1:1"]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });
});
