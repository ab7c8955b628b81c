/** Names with several addresses, and interfaces by each of their names: what is chosen, and what is said of the rest. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Finished, linesOf, run, start, synprobe } from "../cli/process.ts";
import { serveNames } from "./listeners.ts";
import {
  command,
  createLab,
  FAR,
  inNamespace,
  ip,
  type Lab,
  labProblem,
  NEAR,
  overlayEtc,
  SILENT,
  skipping,
} from "./netns.ts";

describe.skipIf(skipping("names", labProblem()))("names", () => {
  let lab: Lab;
  const probe = (...words: string[]): Promise<Finished> => run(inNamespace(lab.near, synprobe(...words)));
  beforeAll(() => {
    lab = createLab();
    const hosts = [
      `${FAR.ipv6} web.example`,
      `${FAR.ipv4} web.example`,
      "::1 localhost",
      "127.0.0.1 localhost",
    ];
    overlayEtc(lab.near, "hosts", `${hosts.join("\n")}\n`);
    ip(lab.near, "link property add dev veth0 altname a-name-of-more-than-fifteen-letters");
    ip(lab.near, "route add local 198.19.77.0/24 dev lo", `route add 198.19.0.0/24 via ${FAR.ipv4}`);
    ip(lab.far, "route add local 198.19.0.0/24 dev lo", `route add 198.19.77.0/24 via ${NEAR.ipv4}`);
    ip(lab.near, "link add v4only type veth peer name v4peer", "link set v4only up", "link set v4peer up");
    ip(lab.near, "addr add 198.18.5.1/24 dev v4only");
  });
  afterAll(() => lab?.remove());
  /** A name server that has `seconds` for an answer, and is asked so many times. */
  const resolvers = (seconds: number, attempts = 1): string =>
    `nameserver ${FAR.ipv4}\noptions timeout:${seconds} attempts:${attempts}\n`;

  it("the resolver's first address, if nothing is chosen; the first with a way, if something is", async () => {
    const first = `web\\.example:7 \\(${FAR.ipv6}\\) +closed`;
    const second = `web\\.example:7 \\(${FAR.ipv4}\\) +closed`;
    expect((await probe("web.example:7")).stdout).toMatch(new RegExp(first));
    expect((await probe("-4", "web.example:7")).stdout).toMatch(new RegExp(second));
    expect((await probe("-S", NEAR.ipv4, "web.example:7")).stdout).toMatch(new RegExp(second));
    expect((await probe("-S", NEAR.ipv6, "web.example:7")).stdout).toMatch(new RegExp(first));
    const all = await probe("-S", NEAR.ipv4, "--all-addresses", "web.example:7");
    expect(all.stdout).toMatch(new RegExp(second));
    expect(all.stdout).toMatch(/1 port on 1 host/);
  });

  it("that have no address with a way say why", async () => {
    const { status, stderr } = await probe("-6", "-S", NEAR.ipv4, "web.example:7");
    expect(stderr).toMatch(/source address .* is of the other IP version/);
    expect(status).toBe(4);
    const bound = await probe("-e", "v4only", "web.example:7", "--dry-run");
    expect(bound.stdout + bound.stderr).toMatch(new RegExp(FAR.ipv4));
  });

  it("that are not open on the address probed: the others are named, and only then", async () => {
    const { stdout, stderr } = await probe("localhost:8080");
    expect(stdout).toMatch(/localhost:8080 \(::1\) +closed/);
    expect(stderr).toMatch(/localhost:8080 is closed on ::1; .*not probed \(--all-addresses\): 127\.0\.0\.1/);
    expect((await probe("--all-addresses", "localhost:8080")).stderr).toBe("");
    // A verdict on what a policy wants, too, is of that address alone.
    const policy = "groups: [{targets: localhost, ports: {8080: closed, 8081: closed}}]";
    const check = (...options: string[]) =>
      run(inNamespace(lab.near, synprobe("check", "-", ...options)), { input: policy });
    expect(await check()).toMatchObject({
      status: 0,
      stderr:
        "synprobe: localhost is judged by ::1 alone; the name has other addresses, not probed (--all-addresses): 127.0.0.1\n",
    });
    expect(await check("--all-addresses")).toMatchObject({ status: 0, stderr: "" });
    expect((await probe("127.0.0.1:8080")).stderr).toBe("");
  });

  it("of interfaces: as ip(8) shows one that has a peer, and alternative ones", async () => {
    for (const name of ["veth0", "veth0@if2", "a-name-of-more-than-fifteen-letters"]) {
      const { status, stdout } = await probe("-e", name, `${FAR.ipv4}:7`);
      expect(stdout, name).toMatch(/closed/);
      expect(status).toBe(0);
    }
    expect((await probe("-e", "veth9@if2", `${FAR.ipv4}:7`)).stderr).toMatch(
      /no network interface named veth9@if2/,
    );
  });

  it("that are found late, or not at all, keep nobody waiting, and no pair is probed twice", async () => {
    overlayEtc(lab.near, "resolv.conf", resolvers(2));
    await serveNames(lab.far, FAR.ipv4, { "late.test": FAR.ipv4, "later.test": "198.19.0.1" });
    const dead = Array.from({ length: 24 }, (_, i) => `dead${i}.test:7`);
    const late = ["late.test:7-9", "later.test:9"];
    const running = start(
      inNamespace(lab.near, synprobe(...dead, ...late, `${FAR.ipv4}:7`, "--exclude-ports", "8", "-oJ", "-")),
    );
    const dry = probe("dead.test:7", `${FAR.ipv4}:7`, "--dry-run");
    const first = await running.until("stdout", /\n/);
    expect(JSON.parse(first)).toMatchObject({ type: "result", ip: FAR.ipv4, port: 7 });
    const { status, stdout, stderr } = await running.finished;
    const lines = linesOf(stdout).map((line) => JSON.parse(line));
    const results = lines.filter(({ type }) => type === "result");
    expect(results.map(({ host, ip, port, state }) => [host, ip, port, state].join(" ")).sort()).toEqual([
      ` ${FAR.ipv4} 7 closed`,
      `late.test ${FAR.ipv4} 9 closed`,
      "later.test 198.19.0.1 9 closed",
    ]);
    const faults = lines.filter(({ type }) => type === "fault");
    expect(faults.map(({ target }) => target).sort()).toEqual(dead.sort());
    expect(lines.at(-1)).toMatchObject({ type: "summary", hosts: 2, closed: 3, unfinished: 0, faults: 24 });
    expect(lines.at(-1)).toMatchObject({ sent: 3 + lines.at(-1).retransmitted, interrupted: false });
    expect(stderr).toMatch(/looking up \d+ names\n/);
    expect(stderr.match(/dead\d+\.test could not be looked up/g)).toHaveLength(24);
    expect(status).toBe(5);
    expect((await dry).stderr).toMatch(/looking up 1 name\n.*dead\.test could not be looked up/);
  });

  it("are waited for where all have to be known", async () => {
    overlayEtc(lab.near, "resolv.conf", resolvers(1));
    const options = [["--strict"], ["--shard", "1/1", "--sequential"]];
    const all = await Promise.all(
      options.map((words) => probe("dead.test:7", `${FAR.ipv4}:7`, "-oJ", "-", ...words)),
    );
    expect(all.map(({ status }) => status)).toEqual([2, 5]);
    expect(all[0].stdout).toBe("");
    const types = linesOf(all[1].stdout).map((line) => JSON.parse(line).type);
    expect(types).toEqual(["fault", "result", "summary"]);
  });

  it("are given up at a signal", async () => {
    // Longer than a test may take.
    overlayEtc(lab.near, "resolv.conf", resolvers(30, 3));
    const words = ["dead.test:7,8", `${FAR.ipv4}:7`, "-oJ", "-"];
    const running = start(inNamespace(lab.near, synprobe(...words)));
    await running.until("stdout", /\n/);
    running.kill("SIGINT");
    const { status, stdout } = await running.finished;
    expect(JSON.parse(linesOf(stdout)[1])).toMatchObject({ closed: 1, unfinished: 2, interrupted: true });
    expect(status).toBe(130);
  });

  // Its bundle hears the signal; what looks names up may be in another, and its threads are not to keep the process.
  it.each([
    ["watch", "dead.test", `${FAR.ipv4}`, "-p", "7", "--every", "1h"],
    ["path", "--names", "198.19.0.1:7"],
  ])("at a signal by %s, which waits for no more", async (...words) => {
    overlayEtc(lab.near, "resolv.conf", `nameserver ${SILENT.ipv4}\noptions timeout:30 attempts:1\n`);
    const folder = mkdtempSync(join(tmpdir(), "synprobe-names-"));
    const store = words[0] === "watch" ? ["--store", join(folder, "h.db")] : [];
    const running = start(inNamespace(lab.near, synprobe(...words, ...store)));
    const asks = (): string => command(inNamespace(lab.near, ["ss", "-Hunp", "dport = :53"]));
    await expect.poll(asks, { timeout: 10_000 }).toContain(`pid=${running.pid},`);
    running.kill("SIGTERM");
    const at = performance.now();
    expect(await running.finished).toMatchObject({ status: 143, stderr: "" });
    // Names of routers are waited for five seconds, and a name server for thirty.
    expect(performance.now() - at).toBeLessThan(4000);
    // A watch that has not dropped its privileges yet makes no store, and tells nobody what an older one has.
    expect(readdirSync(folder)).toEqual([]);
    rmSync(folder, { recursive: true });
  });

  it("at a second signal too, with the rule that holds the kernel's RST back removed", async () => {
    overlayEtc(lab.near, "resolv.conf", `nameserver ${SILENT.ipv4}\noptions timeout:30 attempts:1\n`);
    const words = ["--complete", "--timeout", "10m", "--packet-trace", "late.example:7", `${SILENT.ipv4}:7`];
    const running = start(inNamespace(lab.near, synprobe(...words)));
    await running.until("stderr", /^SENT /m);
    const rules = (): string => command(["ip", "-n", lab.near, "rule", "show"]);
    expect(rules()).toMatch(/blackhole/);
    running.kill("SIGINT");
    const isTaken = (): boolean =>
      /^ShdPnd:\s*0+$/m.test(readFileSync(`/proc/${running.pid}/status`, "utf8"));
    await expect.poll(isTaken).toBe(true);
    running.kill("SIGTERM");
    expect((await running.finished).status).toBe(143);
    expect(rules()).not.toMatch(/blackhole/);
  });

  it("any address that is routed to this machine is a source", async () => {
    const { status, stdout } = await probe("-S", "198.19.77.7", "198.19.0.1:80");
    expect(stdout).toMatch(/198\.19\.0\.1:80 +closed/);
    expect(status).toBe(0);
    const { stderr } = await probe("-S", "198.19.78.7", "198.19.0.1:80");
    expect(stderr).toMatch(/is not this machine's/);
  });
});
