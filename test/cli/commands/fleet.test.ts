/** What `fleet` and `worker` say: the state of a fleet as a table, and one clear line for each mistake, before anything is connected. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it, onTestFinished } from "vitest";
import { formatStatus } from "../../../src/cli/commands/fleet.ts";
import { whereOf } from "../../../src/runtime/fleet/redis.ts";
import { linesOf, run, start, synprobe } from "../process.ts";

it("shows workers and runs, and escapes what others have written", () => {
  const worker = { id: "fra-1", vantage: "fra", version: "0.1.0", cells: 3, rate: 12_345 };
  const runs = [
    { id: "abc", token: "t", by: "host 7\x1b[2J", pairs: 2000, decided: 999, leaseMs: 1, signature: "" },
  ];
  const busy = { ...worker, id: "lon-2", vantage: "lon", run: "abc", pairs: 5000 };
  expect(linesOf(formatStatus([worker, busy], [400, 12_600], runs))).toEqual([
    "WORKER  VANTAGE  VERSION        CELLS  PAIRS/S  SEEN  AT",
    "fra-1   fra      0.1.0          3      12,345   0 s   idle",
    "lon-2   lon      0.1.0          3      12,345   13 s  5,000 pairs of abc",
    "",
    "RUN     FROM     BY             PAIRS  DONE",
    "abc     any      host 7\\x1b[2J  2,000  49%",
  ]);
});

it("knows where a URL leads, and whether that is this machine", () => {
  expect(whereOf("redis://127.0.0.1")).toEqual({ text: "127.0.0.1:6379", isLocal: true });
  expect(whereOf("redis://[::1]:7/2")).toEqual({ text: "[::1]:7", isLocal: true });
  expect(whereOf("rediss://me:secret@db.example:6380")).toEqual({ text: "db.example:6380", isLocal: false });
  expect(whereOf("redis://127.0.0.1.example")).toMatchObject({ isLocal: false });
  expect(whereOf("unix:///run/redis.sock")).toEqual({ text: "/run/redis.sock", isLocal: true });
  expect(whereOf("unix://me:secret@/run/redis.sock?db=2")).toEqual({
    text: "/run/redis.sock",
    isLocal: true,
  });
  for (const bad of ["redis://:50%@h", "redis://h/first", "redis://h?db=x", "unix:///run/redis.sock?db=x"])
    expect(() => whereOf(bad), bad).toThrow(/a fleet's URL is redis:/);
  for (const bad of ["", "localhost", "http://localhost", "redis://", "unix://", "redis:///1"])
    expect(() => whereOf(bad)).toThrow(/a fleet's URL is redis:/);
});

const REMOTE = "redis://me:secret@192.0.2.9:6379";
const short = join(tmpdir(), `sp-short-key-${process.pid}`);
writeFileSync(short, "abc\n");
afterAll(() => rmSync(short));

it.each([
  [["fleet", "status"], 2, /no fleet is named: give its URL.*or set SYNPROBE_FLEET/],
  [["fleet", "sing"], 2, /fleet takes status \[URL\], drain WORKER \[URL\] or stop RUN \[URL\]/],
  [["fleet", "status", "http://x"], 2, /a fleet's URL is redis:/],
  [["198.18.0.1:22", "--fleet"], 2, /no fleet is named/],
  [["198.18.0.1:22", "--fleet", REMOTE], 2, /could make workers probe: give .* the same --fleet-key FILE/],
  [["worker", REMOTE, "--allow", "198.18.0.0/15"], 2, /could make workers probe/],
  [["worker", "redis://127.0.0.1:1"], 2, /a worker probes only what its owner names: give --allow/],
  [["worker", "redis://127.0.0.1:1", "--allow", "name.example"], 2, /--allow takes addresses and networks/],
  [
    ["worker", "redis://127.0.0.1:1", "--allow", "fe80::1%lo"],
    2,
    /without a zone, not "fe80::1%lo": -e says/,
  ],
  [["worker", "redis://127.0.0.1:1", "--vantage", "a:b"], 2, /--vantage takes a name of letters, digits/],
  [["198.18.0.1:22", "--fleet", REMOTE, "--fleet-key", short], 2, /is too short: 16 characters or more/],
  [
    ["2001:db8::/80", "-p1-16", "--fleet", "redis://127.0.0.1:1", "--from", "fra,lon"],
    2,
    /^synprobe: 9\.0e\+15 pairs .* fewer ports or fewer places$/m,
  ],
  [
    ["198.18.0.1:22", "--fleet", REMOTE, "--why", "-g", "7", "--shard", "1/2", "--seed", "1"],
    2,
    /packets leave from its workers, in the order of its cells: drop --shard, --source-port, --why$/m,
  ],
])("refuses %j", async (args, expected, message) => {
  const { status, stdout, stderr } = await run(synprobe(...args));
  expect(stderr).toMatch(message);
  expect(linesOf(stderr)).toHaveLength(1);
  expect(stderr).not.toContain("secret");
  expect({ status, stdout }).toEqual({ status: expected, stdout: "" });
});

it("takes the URL from the environment, and tells where nobody answers, without the password", async () => {
  const env = { SYNPROBE_FLEET: "redis://me:secret@127.0.0.1:1" };
  const { status, stderr } = await run(synprobe("fleet", "status"), { env });
  expect(stderr).toMatch(
    /^synprobe: no fleet at 127\.0\.0\.1:1: connect ECONNREFUSED 127\.0\.0\.1:1; start Redis or Valkey there, or mend the URL$/m,
  );
  expect(stderr).not.toContain("secret");
  expect(status).toBe(4);
});

/** Where something stands in for Redis: what it answers to each command, which may be nothing. */
async function standIn(answer: (command: string) => string): Promise<string> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      // Commands are arrays of strings (RESP), of which the first is the name.
      for (const [, name] of `${bytes}`.matchAll(/\*\d+\r\n\$\d+\r\n(\w+)\r\n/g)) {
        const text = answer(name.toLowerCase());
        if (text !== "") socket.write(`${text}\r\n`);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const address = server.address();
  return `redis://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
}

const ABOUT = "redis_version:7.0.0\r\nloading:0";
/** Lets a client in, and refuses all that it asks for then. */
const refusing =
  (error: string) =>
  (command: string): string =>
    ({ info: `$${ABOUT.length}\r\n${ABOUT}`, hello: "*0", client: "+OK" })[command] ?? `-${error}`;

const NOAUTH = "NOAUTH HELLO must be called with the client already authenticated, otherwise …";

it("says in one line what Redis refuses, to whoever asks", async () => {
  const guarded = await standIn(() => `-${NOAUTH}`);
  const [, port] = /:(\d+)$/.exec(guarded) ?? [];
  const forbidden = await standIn(refusing("NOPERM no permissions to run the command"));
  const here = ["198.18.0.1:22", "--fleet"];
  const commands = [["fleet", "status"], here, ["worker", "--allow", "198.18.0.0/15"]];
  for (const words of commands)
    expect(await run(synprobe(...words, guarded)), words[0]).toMatchObject({
      status: 4,
      stderr: `synprobe: no fleet at 127.0.0.1:${port}: it asks for a password, which the URL does not have\n`,
    });
  for (const words of [["fleet", "status"], here])
    expect(await run(synprobe(...words, forbidden)), words[0]).toMatchObject({
      status: 4,
      stderr: expect.stringMatching(/^synprobe: Redis at 127\.0\.0\.1:\d+: NOPERM no permissions.*\n$/),
    });
  // It stays, as all may be well in an hour.
  const working = start(synprobe("worker", "--allow", "198.18.0.0/15", forbidden));
  await working.until("stderr", /^synprobe: Redis: NOPERM no permissions/m);
  working.kill("SIGTERM");
  expect((await working.finished).status).toBe(143);
});

it("ends at the first signal where Redis takes connections and says nothing", async () => {
  let isAsked = (): void => {};
  const asked = new Promise<void>((resolve) => {
    isAsked = resolve;
  });
  const silent = await standIn(() => {
    isAsked();
    return "";
  });
  const running = start(synprobe("198.18.0.1:22", "--fleet", silent));
  await asked;
  running.kill("SIGINT");
  const at = performance.now();
  expect(await running.finished).toMatchObject({ status: 130, stdout: "", stderr: "" });
  // A command without an answer is waited for ten seconds.
  expect(performance.now() - at).toBeLessThan(6000);
});

it.skipIf(spawnSync("redis-server", ["--version"]).error !== undefined)(
  "gives Redis on a socket the password, and goes to no other database than the one that is named",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "sp-redis-"));
    const socket = join(folder, "s");
    const words = ["--port", "0", "--unixsocket", socket, "--dir", folder, "--save", ""];
    const server = start(["redis-server", ...words, "--requirepass", "se%cret"], { limitMs: 60_000 });
    onTestFinished(async () => {
      server.kill("SIGKILL");
      await server.finished;
      rmSync(folder, { recursive: true });
    });
    await server.until("stdout", /ready to accept connections/i);
    const status = (url: string) => run(synprobe("fleet", "status", url));
    expect(await status(`unix://:se%25cret@${socket}?db=3`)).toMatchObject({ status: 0, stderr: "" });
    const none = await status(`unix://:se%25cret@${socket}?db=99`);
    expect(none.stderr).toMatch(/^synprobe: no fleet at \/.*: ERR DB index is out of range$/m);
    expect(none.status).toBe(4);
  },
);
