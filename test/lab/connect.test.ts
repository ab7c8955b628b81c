/** The library's `connect` against real kernels: programs of a user, in a namespace of their own, and real servers. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Opened } from "../../src/index.ts";
import { withCapabilities } from "../cli/identity.ts";
import { ENVIRONMENT, type Finished, ROOT, type Running, run, start } from "../cli/process.ts";
import { everyday } from "../everyday.ts";
import {
  BEYOND,
  command,
  createLab,
  FAR,
  FAR_TTL,
  inNamespace,
  ip,
  type Lab,
  labProblem,
  NEAR,
  SILENT,
  skipping,
} from "./netns.ts";
import { rules } from "./services.ts";
import { until } from "./until.ts";

const MEGABYTE = 1 << 20;
const PORTS = {
  /** Sends back what it gets, closes when the other side does. */
  echo: 2301,
  /** Sends a megabyte, and closes. */
  source: 2302,
  /** Reads all, and says its SHA-256. */
  sink: 2303,
  /** Closes at once, and says later what it got. */
  closes: 2304,
  /** Resets as soon as anything is said. */
  resets: 2305,
  /** Reads only once it is told to, by a connection to `go`. */
  stalls: 2306,
  go: 2307,
} as const;

/** The same bytes on both sides. */
const PATTERN = `const pattern = (n) => Buffer.from(Uint8Array.from({ length: n }, (_, i) => (i * 31 + (i >> 8)) & 255));
  const sha = (b) => createHash("sha256").update(b).digest("hex");`;

const SERVE = `
  const net = require("node:net");
  const { createHash } = require("node:crypto");
  ${PATTERN}
  const say = (text) => console.log(text);
  const ports = JSON.parse(process.argv[1]);
  const stalled = [];
  const all = (c, done) => { const got = []; c.on("data", (b) => got.push(b)); c.on("end", () => done(Buffer.concat(got))); };
  const does = {
    echo: (c) => c.pipe(c),
    source: (c) => { c.end(pattern(${MEGABYTE})); c.resume(); },
    sink: (c) => all(c, (b) => c.end(sha(b))),
    closes: (c) => { c.end("bye"); all(c, (b) => say("after closing: " + b)); },
    resets: (c) => c.once("data", () => c.resetAndDestroy()),
    stalls: (c) => { c.pause(); stalled.push(c); },
    go: (c) => { c.end(); for (const s of stalled.splice(0)) all(s, (b) => s.end(sha(b))), s.resume(); },
  };
  let left = Object.keys(ports).length;
  for (const [name, port] of Object.entries(ports)) {
    net.createServer({ allowHalfOpen: true }, (c) => {
      c.on("error", (e) => say(name + ": " + e.code));
      does[name](c);
    }).listen(port, "::", 1024, () => --left === 0 && say("ready"));
  }
  process.stdin.resume().on("end", () => process.exit());`;

/** A user's program: `connect` at hand, a report as JSON lines, an error as its code and message. */
function program(body: string): string[] {
  const library = `${ROOT}dist/index.js`;
  if (!existsSync(library)) throw new Error(`${library} is missing: npm run build`);
  const text = `
    import { connect } from ${JSON.stringify(pathToFileURL(library).href)};
    import { createHash } from "node:crypto";
    ${PATTERN}
    const say = (value) => console.log(JSON.stringify(value));
    const told = (e) => ({ code: e.code ?? e.name, message: e.message, ...e.cause });
    const readAll = async (c) => {
      const got = [];
      for (let b = await c.read(); b !== undefined; b = await c.read()) got.push(b);
      return Buffer.concat(got);
    };
    const exactly = async (c, n) => {
      let got = Buffer.alloc(0);
      while (got.length < n) got = Buffer.concat([got, await c.read(n - got.length)]);
      return got;
    };
    ${body}`;
  return [process.execPath, "--input-type=module", "-e", text];
}

/** Connections of the far side's kernel with the near side, TIME-WAIT aside. */
const connections = (namespace: string): string[] =>
  command(inNamespace(namespace, ["ss", "-Htn", "state", "connected", "exclude", "time-wait"]))
    .split("\n")
    .filter((line) => line !== "");

describe.skipIf(skipping("connect", labProblem()))("connect", () => {
  let lab: Lab;
  /** What the servers have said. */
  let heard = "";

  beforeAll(async () => {
    lab = createLab();
    // A block of addresses that the far side owns: enough peers for many connections.
    ip(lab.far, "route add local 198.18.2.0/24 dev lo");
    const [name = "", ...args] = inNamespace(lab.far, [process.execPath, "-e", SERVE, JSON.stringify(PORTS)]);
    const child = spawn(name, args, { stdio: ["pipe", "pipe", "inherit"], env: ENVIRONMENT });
    child.unref();
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      heard += text;
    });
    await once(child.stdout, "data");
  });
  afterAll(() => lab?.remove());

  const startProgram = (body: string): Running => start(inNamespace(lab.near, program(body)));

  /** Runs a program that must end by itself, and leave nothing. @returns what it said */
  async function reported(body: string): Promise<unknown[]> {
    const { status, stdout, stderr }: Finished = await run(inNamespace(lab.near, program(body)));
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(rules(lab.near)).toEqual([]);
    return stdout
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line));
  }

  const gone = (): void =>
    until(() => connections(lab.far).length === 0, "every connection to be gone from the far side");

  it.each([
    ["IPv4", NEAR.ipv4, FAR.ipv4, 1460],
    ["IPv6", NEAR.ipv6, FAR.ipv6, 1440],
  ])("opens over %s, with the evidence, and leaves the process as it was", async (_, near, far, mss) => {
    const [before, opened, echoed, state, after] = await reported(`
      const signals = () => ["SIGINT", "SIGTERM", "SIGHUP"].map((s) => process.listenerCount(s)).join();
      process.on("exit", () => say(signals()));
      say(signals());
      const c = await connect({ host: "${far}", port: ${PORTS.echo} });
      say({ ...c.opened, signals: signals() });
      await c.write(Buffer.from("hello"));
      say((await exactly(c, 5)).toString());
      await c.close();
      say(c.state);`);
    expect(opened).toEqual({
      local: { ip: near, port: expect.any(Number) },
      remote: { ip: far, port: PORTS.echo },
      rttMs: expect.any(Number),
      attempts: 1,
      mss,
      window: expect.any(Number),
      options: [{ kind: "mss", value: mss }],
      ttl: expect.any(Number),
      iss: expect.any(Number),
      irs: expect.any(Number),
      signals: "1,1,1",
    });
    const { local, rttMs, window, ttl } = opened as Opened;
    expect(local.port).toBeGreaterThan(60_999);
    expect(rttMs).toBeGreaterThan(0);
    expect(rttMs).toBeLessThan(100);
    expect(window).toBeGreaterThan(10_000);
    expect(ttl).toBe(FAR_TTL);
    expect([before, echoed, state, after]).toEqual(["0,0,0", "hello", "TIME-WAIT", "0,0,0"]);
    gone();
  });

  it("is ESTAB for the peer's kernel while it is held, and keeps the process alive; then both go", async () => {
    const running = startProgram(`
      const c = await connect({ host: "${FAR.ipv4}", port: ${PORTS.echo} });
      say("open");
      process.once("SIGUSR2", () => c.close());`);
    await running.until("stdout", /open/);
    expect(connections(lab.far)).toEqual([expect.stringMatching(/^ESTAB .*:2301/)]);
    expect(rules(lab.near)).toHaveLength(2);
    running.kill("SIGUSR2");
    expect((await running.finished).status).toBe(0);
    expect(rules(lab.near)).toEqual([]);
    gone();
  });

  it.each(everyday([FAR.ipv4], [FAR.ipv4, FAR.ipv6]))(
    "carries a megabyte down and up, and back, every byte: %s",
    async (host) => {
      const said = await reported(`
      const down = await connect({ host: "${host}", port: ${PORTS.source} });
      const got = await readAll(down);
      await down.close();
      const up = await connect({ host: "${host}", port: ${PORTS.sink} });
      await up.write(pattern(${MEGABYTE}));
      const closing = up.close();
      const theirs = (await readAll(up)).toString();
      await closing;
      const ends = [down.state, up.state];
      const both = await connect({ host: "${host}", port: ${PORTS.echo} });
      const [back] = await Promise.all([exactly(both, ${MEGABYTE}), both.write(pattern(${MEGABYTE}))]);
      await both.close();
      const wanted = sha(pattern(${MEGABYTE}));
      say([sha(got) === wanted, theirs === wanted, sha(back) === wanted, ...ends, both.state]);`);
      // Where the peer's FIN comes first, the end is at once; where ours does, there is a TIME-WAIT.
      expect(said).toEqual([[true, true, true, "CLOSED", "TIME-WAIT", "TIME-WAIT"]]);
      gone();
    },
  );

  it("lets the peer close first, and still writes", async () => {
    const said = await reported(`
      const c = await connect({ host: "${FAR.ipv4}", port: ${PORTS.closes} });
      const bye = (await readAll(c)).toString();
      await c.write(Buffer.from("still here"));
      const before = c.state;
      await c.close();
      say([bye, before, c.state, await c.read()]);`);
    expect(said).toEqual([["bye", "CLOSE-WAIT", "CLOSED", null]]);
    await expect.poll(() => heard).toContain("after closing: still here");
    gone();
  });

  it("aborts: ECONNRESET for the peer", async () => {
    const said = await reported(`
      const c = await connect({ host: "${FAR.ipv4}", port: ${PORTS.echo} });
      await c.write(Buffer.from("x"));
      await c.read();
      c.abort();
      say(await c.read().catch(told));`);
    expect(said).toEqual([expect.objectContaining({ code: "ERR_CLOSED" })]);
    await expect.poll(() => heard).toContain("echo: ECONNRESET");
    gone();
  });

  it("tells of a peer that resets in the middle", async () => {
    const said = await reported(`
      const c = await connect({ host: "${FAR.ipv4}", port: ${PORTS.resets} });
      const reading = c.read().catch(told);
      await c.write(Buffer.from("x"));
      say(await reading);
      say(await c.write(Buffer.from("x")).catch(told));
      await c.close();
      say(c.state);`);
    const reset = {
      code: "ERR_CONNECTION_RESET",
      message: `${FAR.ipv4}:${PORTS.resets} reset the connection`,
    };
    expect(said).toEqual([reset, reset, "CLOSED"]);
  });

  it("stops a peer whose bytes nobody reads, and lets it go on when somebody does", async () => {
    const running = startProgram(`
      const c = await connect({ host: "${FAR.ipv4}", port: ${PORTS.source} });
      say("open");
      await new Promise((resolve) => process.once("SIGUSR2", resolve));
      const start = performance.now();
      const got = await readAll(c);
      await c.close();
      say([sha(got) === sha(pattern(${MEGABYTE})), performance.now() - start < 20000]);`);
    await running.until("stdout", /open/);
    // The peer's kernel says so: the window is shut, and it probes.
    until(() => {
      const shown = command(inNamespace(lab.far, ["ss", "-Htnoi", `sport = :${PORTS.source}`]));
      return /timer:\(persist/.test(shown);
    }, "the peer to find the window shut");
    running.kill("SIGUSR2");
    const { status, stdout } = await running.finished;
    expect([status, stdout.trim().split("\n")[1]]).toEqual([0, "[true,true]"]);
    gone();
  });

  it("waits for a peer that does not read, and loses nothing", async () => {
    const running = startProgram(`
      const bytes = pattern(8 * ${MEGABYTE});
      const c = await connect({ host: "${FAR.ipv4}", port: ${PORTS.stalls} });
      let written = false;
      const writing = c.write(bytes).then(() => { written = true; });
      await new Promise((resolve) => process.once("SIGUSR2", resolve));
      say(written);
      await (await connect({ host: "${FAR.ipv4}", port: ${PORTS.go} })).close();
      await writing;
      const closing = c.close();
      say((await readAll(c)).toString() === sha(bytes));
      await closing;`);
    // Until no more fits: the same twice in a row, and more than a window of ours.
    let waiting = 0;
    until(() => {
      const shown = command(inNamespace(lab.far, ["ss", "-Htn", `sport = :${PORTS.stalls}`]));
      const before = waiting;
      waiting = Number(shown.split(/\s+/)[1] ?? 0);
      return waiting > 65_535 && waiting === before;
    }, "the peer's buffer to be full");
    running.kill("SIGUSR2");
    const { status, stdout } = await running.finished;
    expect([status, stdout]).toEqual([0, "false\ntrue\n"]);
    gone();
  });

  it("refused, silent, unreachable: each with its evidence", async () => {
    const attempts = [
      { host: FAR.ipv4, port: 2399 },
      { host: FAR.ipv6, port: 2399 },
      { host: SILENT.ipv4, port: 80, timeoutMs: 1500 },
      { host: BEYOND.unreachable.ipv4, port: 80 },
      { host: BEYOND.prohibit.ipv4, port: 80 },
      { host: BEYOND.prohibit.ipv6, port: 80 },
      // On the link, where nobody is.
      { host: "192.0.2.77", port: 80 },
      { host: "198.19.0.1", port: 80 },
      { host: NEAR.ipv4, port: 80 },
      { host: "127.0.0.1", port: 80 },
      { host: "::1", port: 80 },
      { host: FAR.ipv4, port: 80, interface: "nosuch0" },
      { host: FAR.ipv4, port: 80, sourceIp: "192.0.2.99" },
    ];
    const said = await reported(
      `for (const options of ${JSON.stringify(attempts)}) say(await connect(options).catch(told));`,
    );
    const at = (index: number) => said[index];
    const refused = { code: "ERR_REFUSED", reason: "reset", attempts: 1, ttl: FAR_TTL };
    expect(at(0)).toMatchObject(refused);
    expect(at(1)).toMatchObject(refused);
    expect(at(2)).toMatchObject({ code: "ERR_TIMED_OUT", reason: "no-response", attempts: 2 });
    expect(at(3)).toMatchObject({
      code: "ERR_UNREACHABLE",
      reason: "host-unreach",
      responder: FAR.ipv4,
      message: `${BEYOND.unreachable.ipv4}:80 cannot be reached: host-unreach, says ${FAR.ipv4}`,
    });
    expect(at(4)).toMatchObject({ reason: "admin-prohibited", responder: FAR.ipv4 });
    expect(at(5)).toMatchObject({ reason: "admin-prohibited", responder: FAR.ipv6 });
    expect(at(6)).toMatchObject({
      code: "ERR_UNREACHABLE",
      message: expect.stringMatching(/this machine's own kernel/),
    });
    expect(said.slice(7).map((error) => (error as { code: string }).code)).toEqual([
      "ERR_NO_ROUTE",
      "ERR_OWN_ADDRESS",
      "ERR_OWN_ADDRESS",
      "ERR_OWN_ADDRESS",
      "ERR_NO_INTERFACE",
      "ERR_NO_SOURCE",
    ]);
    expect(at(8)).toMatchObject({ message: expect.stringMatching(/RST cannot be held back/) });
  });

  it("goes from where it is told to", async () => {
    const shown = command(["ip", "-n", lab.far, "-6", "addr", "show", "dev", "veth0", "scope", "link"]);
    const [, linkLocal] = /inet6 (fe80::[0-9a-f:]+)/.exec(shown) ?? [];
    const said = await reported(`
      const c = await connect({ host: "${FAR.ipv4}", port: ${PORTS.echo}, sourceIp: "${NEAR.other4}", ttl: 9 });
      const d = await connect({ host: "${FAR.ipv4}", port: ${PORTS.echo}, interface: "veth0", bufferLength: 2000 });
      const e = await connect({ host: "${linkLocal}%veth0", port: ${PORTS.echo} });
      const all = [c, d, e];
      await Promise.all(all.map((each) => each.write(pattern(5000))));
      const back = await Promise.all(all.map((each) => exactly(each, 5000)));
      await Promise.all(all.map((each) => each.close()));
      say([...all.map((each) => each.opened.local.ip), ...back.map((b) => sha(b) === sha(pattern(5000)))]);`);
    expect(said).toEqual([[NEAR.other4, NEAR.ipv4, expect.stringMatching(/^fe80::/), true, true, true]]);
    gone();
  });

  it("keeps to the route's MTU, both ways", async () => {
    ip(lab.near, `route add 198.18.2.0/24 via ${FAR.ipv4} mtu 600`);
    const running = startProgram(`
      const c = await connect({ host: "198.18.2.1", port: ${PORTS.echo} });
      const [back] = await Promise.all([exactly(c, 100000), c.write(pattern(100000))]);
      say(sha(back) === sha(pattern(100000)));
      process.once("SIGUSR2", () => c.close());`);
    await running.until("stdout", /true/);
    // mss and rcvmss: what the peer's kernel sends at most, and what it has seen.
    const shown = command(inNamespace(lab.far, ["ss", "-Htni", `sport = :${PORTS.echo}`]));
    expect(shown).toMatch(/[ \t]mss:560 .*rcvmss:560 /);
    running.kill("SIGUSR2");
    expect((await running.finished).status).toBe(0);
    ip(lab.near, "route del 198.18.2.0/24");
    gone();
  });

  it("holds two hundred at once, each with a port of its own, each echoing", async () => {
    const running = startProgram(`
      const all = await Promise.all(Array.from({ length: 200 }, (_, i) =>
        connect({ host: "198.18.2." + (1 + (i % 50)), port: ${PORTS.echo} })));
      const right = await Promise.all(all.map(async (c, i) => {
        const mine = Buffer.from(pattern(10000).map((b) => b ^ i));
        const [back] = await Promise.all([exactly(c, mine.length), c.write(mine)]);
        return mine.equals(back);
      }));
      say([right.filter(Boolean).length, new Set(all.map((c) => c.opened.local.port)).size]);
      process.once("SIGUSR2", async () => {
        await Promise.all(all.map((c) => c.close()));
        say("closed");
      });`);
    await running.until("stdout", /200,200/);
    expect(connections(lab.far).filter((line) => line.startsWith("ESTAB"))).toHaveLength(200);
    expect(rules(lab.near)).toHaveLength(2);
    running.kill("SIGUSR2");
    const { status, stdout } = await running.finished;
    expect([status, stdout]).toEqual([0, expect.stringContaining("closed")]);
    expect(rules(lab.near)).toEqual([]);
    gone();
  });

  it("heeds an AbortSignal", async () => {
    const said = await reported(`
      const start = performance.now();
      const signal = AbortSignal.timeout(200);
      say(await connect({ host: "${SILENT.ipv4}", port: 80, signal }).catch((e) => e.name));
      say(performance.now() - start < 15000);
      say(await connect({ host: "${SILENT.ipv4}", port: 80, signal: AbortSignal.abort("no") }).catch((e) => e));`);
    expect(said).toEqual(["TimeoutError", true, "no"]);
  });

  describe("leaves no rule and no connection", () => {
    const open = `const c = await connect({ host: "${FAR.ipv4}", port: ${PORTS.echo} }); say("open");`;
    const end = async (running: Running): Promise<Finished> => {
      const finished = await running.finished;
      expect(rules(lab.near)).toEqual([]);
      gone();
      return finished;
    };

    it("after an uncaught exception", async () => {
      const running = startProgram(`${open} setTimeout(() => { throw new Error("oops"); }, 1);`);
      expect(await end(running)).toMatchObject({ status: 1, stderr: expect.stringMatching(/oops/) });
    });

    it("after process.exit", async () => {
      expect(await end(startProgram(`${open} process.exit(3);`))).toMatchObject({ status: 3, stderr: "" });
    });

    it.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
      "after %s, of which the process dies as ever",
      async (signal) => {
        const running = startProgram(open);
        await running.until("stdout", /open/);
        running.kill(signal);
        expect(await end(running)).toMatchObject({ status: null, signal });
      },
    );

    it("after a signal that the program takes itself: the connection goes on", async () => {
      const running = startProgram(`${open}
        process.once("SIGINT", async () => {
          await c.write(Buffer.from("still here"));
          say(Buffer.from(await c.read()).toString());
          await c.close();
        });`);
      await running.until("stdout", /open/);
      running.kill("SIGINT");
      expect(await end(running)).toMatchObject({ status: 0, stdout: expect.stringMatching(/still here/) });
    });

    it("after a signal that another listener sends again only when it is alone", async () => {
      const running = startProgram(`
        process.on("SIGINT", function listener() {
          if (process.listenerCount("SIGINT") > 1) return;
          process.off("SIGINT", listener);
          process.exitCode = 5;
          c.close();
        });
        ${open}`);
      await running.until("stdout", /open/);
      running.kill("SIGINT");
      expect(await end(running)).toMatchObject({ status: 5 });
    });
  });

  it.each([
    ["ERR_PRIVILEGE_ADMIN", "+net_raw", /CAP_NET_ADMIN/],
    ["ERR_PRIVILEGE", "+net_admin", /CAP_NET_RAW and CAP_NET_ADMIN/],
  ])("%s with %s alone", async (code, capability, message) => {
    const argv = program(
      `say(await connect({ host: "${FAR.ipv4}", port: ${PORTS.echo} }).catch((e) => [e.code, e.message]));`,
    );
    const { stdout, stderr } = await run(withCapabilities(lab.near, capability, argv));
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toEqual([code, expect.stringMatching(message)]);
    expect(rules(lab.near)).toEqual([]);
  });

  // The last one: its peer is never told.
  it("sweeps the rule of one that was killed", async () => {
    const open = `const c = await connect({ host: "${FAR.ipv4}", port: ${PORTS.echo} }); say("open");`;
    const running = startProgram(open);
    await running.until("stdout", /open/);
    running.kill("SIGKILL");
    await running.finished;
    expect(rules(lab.near)).toHaveLength(2);
    expect(await reported(`${open} await c.close();`)).toEqual(["open"]);
  });
});
