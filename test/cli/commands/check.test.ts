/** `synprobe check` as a process: mistakes of the command line and of the policy, exit statuses. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linesOf, run, synprobe } from "../process.ts";

let folder = "";
let server: Server;
/** A port of this machine's own on which something listens, and one on which nothing does. */
let open = 0;
let closed = 0;

const listening = (): Promise<Server> =>
  new Promise((resolve) => {
    // A probe may reset what it has connected to.
    const each = createServer((socket) => socket.on("error", () => {}).destroy()).listen(0, "127.0.0.1", () =>
      resolve(each),
    );
  });
const portOf = (each: Server): number => {
  const address = each.address();
  return typeof address === "object" && address !== null ? address.port : 0;
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "synprobe-check-"));
  server = await listening();
  open = portOf(server);
  const other = await listening();
  closed = portOf(other);
  await new Promise((resolve) => other.close(resolve));
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

const write = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const group = (wanted: Readonly<Record<string, unknown>>, more: object = {}): string =>
  JSON.stringify({ groups: [{ targets: "127.0.0.1", ports: wanted, ...more }] });
/** Without privilege, so that the tests need none: the kernel connects. */
const check = (...args: string[]) => run(synprobe("check", "--link", "connect", ...args));

it("a policy may name as many places as a run probes from, and no more", async () => {
  const places = Array.from({ length: 9 }, (_, i) => `p${i}`);
  const named = (count: number) =>
    check(
      write("places.yaml", group({ [open]: "open" }, { from: places.slice(0, count) })),
      "--fleet=redis://127.0.0.1:1",
    );
  expect(await named(9)).toMatchObject({
    status: 2,
    stderr: `synprobe: ${join(folder, "places.yaml")} names 9 places: a run probes from 8 at most\n`,
  });
  // What is said next: which link this machine uses is nothing to a fleet.
  expect((await named(8)).stderr).toMatch(/drop --link/);
});

it("a group's targets may come from a list beside the policy", async () => {
  mkdirSync(join(folder, "lists"));
  write("lists/hosts.txt", `127.0.0.1:${open} # here\n127.0.0.1:${closed}\n`);
  const policy = write("listed.yaml", "groups: [{ targets-from: lists/hosts.txt, is: open }]");
  const { status, stdout } = await check(policy);
  expect(status).toBe(1);
  expect(stdout).toMatch(new RegExp(`^! 127\\.0\\.0\\.1:${closed} +open +closed +`, "m"));
  expect(stdout).toMatch(/^1 port as written, 1 not$/m);
  write("lists/hosts.txt", `127.0.0.1:${open}\n`);
  expect(await check(policy)).toMatchObject({ status: 0 });
  rmSync(join(folder, "lists/hosts.txt"));
  expect(await check(policy)).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(
      /listed\.yaml:1:26: cannot read the list lists\/hosts\.txt: there is no such file$/m,
    ),
  });
});

describe("a mistake", () => {
  it.each([
    [[], /^synprobe: check takes a policy, or targets after --learn$/],
    [["none.yaml"], /^synprobe: cannot read the policy none\.yaml: there is no such file$/],
    [["/"], /^synprobe: cannot read the policy \/: it is a directory$/],
    [["a.yaml", "b.yaml"], /^synprobe: check takes one policy, and "b\.yaml" is another/],
    [["a.yaml", "-p", "22"], /^synprobe: --ports: which targets and ports is the policy's business/],
    [["a.yaml", "-iL", "x"], /^synprobe: --input-list: which targets/],
    [["a.yaml", "--format", "xml"], /^synprobe: --format takes text, tap, junit, json or github, not "xml"$/],
    [["--learn", "--format", "tap", "127.0.0.1:1"], /^synprobe: --learn writes a policy: --format is for/],
    [["--learn"], /^synprobe: no target given/],
    [["a.yaml", "--journal", "x"], /^synprobe: unknown option '--journal'/],
    [["a.yaml", "--ttl", "5", "--ttl", "6"], /^synprobe: option --ttl is given twice/],
  ])("of the command line is one line, and 2: %j", async (args, message) => {
    const { status, stdout, stderr } = await check(...args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(linesOf(stderr)).toEqual([expect.stringMatching(message)]);
  });

  it.each([
    ["policy", "printf '\\377' | \"$@\"", ["check", "-"], "it is not UTF-8 text"],
    ["list", '"$@" < /', ["-iL", "-", "-p", "1"], "it is a directory"],
  ])("in a %s from standard input names it so", async (what, script, args, why) => {
    expect(await run(["sh", "-c", script, "sh", ...synprobe(...args)])).toMatchObject({
      status: 2,
      stderr: `synprobe: cannot read the ${what} <stdin>: ${why}\n`,
    });
  });

  it("is one to a watch, too: a policy that is not there is no host, and one that has ended says so", async () => {
    const ended = write("ended.yaml", "groups: [{ targets: '127.0.0.1:1', is: open, until: 2020-01-31 }]");
    const watch = (...words: string[]) =>
      run(synprobe("watch", ...words, "--every", "6h", "--store", join(folder, "h.db")));
    const [none, two, over, ports] = await Promise.all([
      watch("none.yaml"),
      watch("127.0.0.1", ended),
      watch(ended),
      watch(ended, "-p", "80"),
    ]);
    expect(ports).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/^synprobe: --ports: which targets and ports is the policy's business/),
    });
    expect(none).toMatchObject({
      status: 2,
      stderr: "synprobe: cannot read the policy none.yaml: there is no such file\n",
    });
    expect(two).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/^synprobe: a watch takes one policy/),
    });
    expect(over.status).toBe(2);
    expect(linesOf(over.stderr)).toEqual([
      expect.stringMatching(/ended\.yaml:1: .* ended on 2020-01-31, and does not count any more$/),
      expect.stringMatching(/ended\.yaml: all its groups have ended: nothing is left to check$/),
    ]);
  });

  it("of the policy is told with file, line and column, every one of them", async () => {
    const file = write(
      "bad.yaml",
      "groups:\n  - targets: 127.0.0.1\n    ports:\n      22: opne\n      htps: open\n    onwer: me\n",
    );
    const { status, stdout, stderr } = await check(file);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(linesOf(stderr)).toEqual([
      `synprobe: ${file}:4:11: "opne" is none of open, closed, filtered, not open; did you mean "open"?`,
      `${file}:6:5: there is no key "onwer"; did you mean "owner"?`,
    ]);
  });

  it("is a report and results on one standard output", async () => {
    const file = write("good.json", group({ [closed]: "closed" }));
    const { status, stdout, stderr } = await check(file, "-oJ", "-");
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toContain("give the results a file");
  });
});

describe("exit status", () => {
  it("0 when all is as written, from standard input", async () => {
    const input = group({ [open]: "open", [closed]: "not open" });
    const { status, stdout, stderr } = await run(synprobe("check", "--link", "connect", "-"), { input });
    expect({ status, stdout, stderr }).toEqual({
      status: 0,
      stdout: "2 ports as written, 0 not\n",
      stderr: "",
    });
  });

  it("1 when some port is not, with its place in the policy", async () => {
    const file = write(
      "wrong.json",
      group({ [open]: "closed", [closed]: "closed" }, { name: "lo", owner: "me" }),
    );
    const { status, stdout } = await check(file);
    expect(status).toBe(1);
    expect(stdout).toContain(`! 127.0.0.1:${open}`);
    expect(stdout).toContain(`    lo (${file}:1), owner me\n`);
    expect(stdout).toMatch(/\n1 port as written, 1 not\n$/);
  });

  it("5 when a target cannot be probed, 1 when a port is wrong beside it", async () => {
    const targets = ["127.0.0.1", "224.0.0.1"];
    const good = await check(write("five.json", group({ [open]: "open" }, { targets })), "--format", "json");
    expect(good.status).toBe(5);
    expect(JSON.parse(good.stdout).faults).toMatchObject([{ code: "ERR_NOT_UNICAST" }]);
    expect(good.stderr).toContain(`${join(folder, "five.json")}:1:`);
    expect((await check(write("one.json", group({ [open]: "closed" }, { targets })))).status).toBe(1);
  });

  it("0 when what is wrong is excluded, and then it is said how much was not checked", async () => {
    const file = write("excluded.json", group({ [open]: "open", [closed]: "open" }));
    expect(await check(file, "--exclude-ports", `${closed}`)).toMatchObject({
      status: 0,
      stdout: "1 port as written, 0 not, 1 excluded and not checked\n",
    });
  });

  it("of an exception that is over: the group does not count, which is noted", async () => {
    const groups = [
      { targets: "127.0.0.1", ports: { [open]: "open" } },
      { targets: "127.0.0.1", ports: { [open]: "closed" }, until: "2026-01-31" },
    ];
    const { status, stderr } = await check(write("over.json", JSON.stringify({ groups })));
    expect(status).toBe(0);
    expect(stderr).toBe(
      `synprobe: ${join(folder, "over.json")}:1: group 2 ended on 2026-01-31, and does not count any more\n`,
    );
  });
});

it("a policy of which every group has ended is a mistake", async () => {
  const file = write("ended.json", group({ [open]: "open" }, { until: "2026-01-31" }));
  const { status, stdout, stderr } = await check(file);
  expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  expect(linesOf(stderr).at(-1)).toBe(
    `synprobe: ${file}: all its groups have ended: nothing is left to check`,
  );
});

it("what was learnt is as written", async () => {
  const learnt = await check("--learn", `localhost:${open},${closed}`, "-4");
  expect(learnt.status).toBe(0);
  expect(learnt.stdout).toContain(
    `- "localhost"\n    ports:\n      "${open}": open\n      "${closed}": closed\n`,
  );
  const { status, stdout } = await check(write("learnt.yaml", learnt.stdout), "-4");
  expect({ status, stdout }).toEqual({ status: 0, stdout: "2 ports as written, 0 not\n" });
});

it("results go to files all the same, and the configuration's ports are not the policy's", async () => {
  const results = join(folder, "results.json");
  const file = write("both.json", group({ [open]: "open" }));
  const env = { SYNPROBE_PORTS: "1-1000" };
  const { status, stderr } = await run(
    synprobe("check", "--link", "connect", file, "-oJ", results, "-oX", `${results}.xml`),
    { env },
  );
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
});
