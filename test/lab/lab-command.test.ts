/**
 * `synprobe lab` and `synprobe demo` as real packets: kernels and scanners find in the lab what its description says, and
 * nothing of it is left, however it ends.
 */
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AS_USER, type Stage, setStage, userProblem } from "../cli/identity.ts";
import { ENVIRONMENT, type Finished, linesOf, run, start, synprobe } from "../cli/process.ts";
import { ALL, someOf } from "../everyday.ts";
import { command, createLab, type Lab, labProblem, skipping } from "./netns.ts";
import { at, resultsOf } from "./probing.ts";
import { until } from "./until.ts";

/** Few hosts, every fate, no loss: the first eight addresses are scanned. */
const DESCRIPTION = {
  seed: 7,
  path: { latencyMs: 3, jitterMs: 1 },
  hosts: ["198.18.0.0/24", "2001:db8:18::/120", "192.0.2.64/28"].map((range) => ({
    range,
    ports: [
      { share: 0.3, is: "open" },
      { share: 0.1, is: "silent" },
      { share: 0.1, is: "admin-prohibited" },
    ],
  })),
};
const PORTS = "1-20";
const HOSTS4 = Array.from({ length: 8 }, (_, i) => `198.18.0.${i + 1}`);
const HOSTS6 = Array.from({ length: 8 }, (_, i) => `2001:db8:18::${i + 1}`);
const ON_LINK = ["192.0.2.65", "192.0.2.70"];
/** The lab's own hardware address, for scanners that want to be told their router's. */
const ROUTER_MAC = "02:00:00:00:00:fe";
/** In the lab that there is without a file. */
const CAST4 = "198.18.0.1";
const CAST6 = "2001:db8:18::1";

const missing = (tool: string): string | undefined => {
  try {
    command(["sh", "-c", `command -v ${tool}`]);
    return undefined;
  } catch {
    return `${tool} is not installed`;
  }
};

describe.skipIf(skipping("the lab as real packets", labProblem()))("the lab", () => {
  let folder = "";
  let file = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-lab-"));
    file = join(folder, "lab.json");
    writeFileSync(file, JSON.stringify(DESCRIPTION));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  /** Runs a command in the lab without a file. */
  const inside = (...argv: string[]): Promise<Finished> => run(synprobe("lab", "--", ...argv));
  /** A script for node, with a little of its own: `connect`, and `told`, which gathers what happens. */
  const script = (text: string): string[] => [process.execPath, "-e", text];

  describe("to a real kernel", () => {
    /** Connects, sends, ends when told to. @returns what happened, in order */
    async function converse(
      ip: string,
      port: number,
      send: string,
      endAfter: "data" | "end",
    ): Promise<string[]> {
      const { status, stdout, stderr } = await inside(
        ...script(`
          const socket = require("node:net").connect({ host: "${ip}", port: ${port}, allowHalfOpen: true });
          const tell = (text) => console.log(text);
          socket.setEncoding("latin1").setTimeout(30000, () => { tell("timeout"); socket.destroy(); });
          socket.on("connect", () => { tell("connected"); socket.write(${JSON.stringify(send)}); });
          socket.on("data", (text) => { tell(text.trim()); if ("${endAfter}" === "data") socket.end(); });
          socket.on("end", () => { tell("end"); socket.end(); });
          socket.on("error", (error) => tell(error.code));
          socket.on("close", look);
          // The states that remain when the last acknowledgement has come: TIME-WAIT (6) or none.
          function look() {
            const tables = ["/proc/net/tcp", "/proc/net/tcp6"].map((path) => require("node:fs").readFileSync(path, "utf8"));
            const states = [...tables.join("").matchAll(/^ *\\d+: \\S+ \\S+ (\\S+)/gm)].map(([, state]) => state);
            if (states.some((state) => state !== "06")) setTimeout(look, 10);
            else for (const state of states) tell("state " + state);
          }
        `),
      );
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      return linesOf(stdout);
    }
    const TIME_WAIT = "state 06";

    it.each(someOf(2, [CAST4, CAST6]))("%s is a host: echo, and the kernel closes first", async (ip) => {
      expect(await converse(ip, 7, "hello", "data")).toEqual(["connected", "hello", "end", TIME_WAIT]);
    });

    it.each(someOf(2, [CAST6, CAST4]))("%s: a banner, and the kernel closes first", async (ip) => {
      expect(await converse(ip, 22, "", "data")).toEqual(["connected", "SSH-2.0-lab", "end", TIME_WAIT]);
    });

    it.each(someOf(2, [CAST4, CAST6]))(
      "%s: the lab closes first, and waits in the kernel's place",
      async (ip) => {
        expect(await converse(ip, 13, "", "end")).toEqual(["connected", "end"]);
      },
    );

    it("a reset, a refusal and a rejection are what they are", async () => {
      // A process that is woken late finds the connection reset already.
      expect(["connected,ECONNRESET", "ECONNRESET"]).toContain(`${await converse(CAST4, 19, "", "end")}`);
      expect(await converse(CAST4, 81, "", "end")).toEqual(["ECONNREFUSED"]);
      expect(await converse(CAST4, 25, "", "end")).toEqual(["EHOSTUNREACH"]);
    });

    it.skipIf(skipping("curl in the lab", missing("curl")))("curl gets a page", async () => {
      const { status, stdout } = await inside(
        ...["curl", "-sgi", "-m", "5", `http://${CAST4}/`, `http://[${CAST6}]:8080/`],
      );
      expect(status).toBe(0);
      expect(stdout.match(/^HTTP\/1\.0 200 OK\r$/gm)).toHaveLength(2);
      expect(stdout.match(/simulated host/g)).toHaveLength(2);
    });

    it.skipIf(skipping("nc in the lab", missing("nc")))("nc gets a banner and its own words", async () => {
      const { status, stdout } = await inside(
        ...["sh", "-c", `nc -w 1 ${CAST4} 21 </dev/null; (echo hello; sleep 0.3) | nc -N -w 1 ${CAST4} 7`],
      );
      expect({ status, stdout }).toEqual({ status: 0, stdout: "220 lab FTP ready\r\nhello\n" });
    });

    it.runIf(ALL)("a megabyte comes back as it went", async () => {
      const { stdout } = await inside(
        ...script(`
          const sent = require("node:crypto").randomBytes(1 << 20);
          const socket = require("node:net").connect(7, "${CAST4}", () => socket.end(sent));
          const got = [];
          socket.on("data", (bytes) => got.push(bytes)).on("close", () => console.log(Buffer.concat(got).equals(sent)));
        `),
      );
      expect(stdout).toBe("true\n");
    });
  });

  describe("to scanners is what its truth says", () => {
    let truth: Map<string, string>;
    beforeAll(async () => {
      const targets = [...HOSTS4, ...HOSTS6, ...ON_LINK].flatMap((ip) => ["--truth", at(ip, PORTS)]);
      const { status, stdout } = await run(synprobe("lab", file, ...targets));
      expect(status).toBe(0);
      truth = new Map([...resultsOf(stdout)].map(([target, { state }]) => [target, state]));
      for (const state of ["open", "closed", "filtered"]) expect([...truth.values()]).toContain(state);
    });

    const trueOf = (ips: readonly string[], states = ["open", "closed", "filtered"]): [string, string][] =>
      [...truth].filter(
        ([target, state]) => ips.some((ip) => target.startsWith(at(ip, ""))) && states.includes(state),
      );
    const scan = (...argv: string[]): Promise<Finished> =>
      run(synprobe("lab", file, "--", ...argv), { limitMs: 60_000 });
    const sorted = (pairs: Iterable<readonly [string, string]>): string[] =>
      [...pairs].map((pair) => pair.join(" ")).sort();

    it("synprobe, over IPv4, IPv6 and on the link", async () => {
      const targets = [...HOSTS4, ...HOSTS6, ...ON_LINK].map((ip) => at(ip, PORTS));
      const { status, stdout, stderr } = await scan(
        ...synprobe("-oJ", "-", "--timeout", "300ms", ...targets),
      );
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      const found = [...resultsOf(stdout)].map(([target, { state }]) => [target, state] as const);
      expect(sorted(found)).toEqual(sorted(truth));
    });

    it("synprobe --complete: every open port", async () => {
      const targets = [...HOSTS4, ...HOSTS6].map((ip) => at(ip, PORTS));
      const { status, stdout } = await scan(
        ...synprobe("-oJ", "-", "--complete", "--timeout", "300ms", ...targets),
      );
      expect(status).toBe(0);
      const endings = linesOf(stdout)
        .map((line) => JSON.parse(line))
        .filter(({ state }) => state === "open")
        .map(({ ip, port, ending }) => [at(ip, port), ending] as const);
      expect(sorted(endings)).toEqual(
        sorted(trueOf([...HOSTS4, ...HOSTS6], ["open"]).map(([target]) => [target, "fin"])),
      );
    });

    it.skipIf(skipping("nmap in the lab", missing("nmap"))).each(
      someOf(4, [
        ["-sS", ON_LINK],
        ["-sS", HOSTS4],
        ["-6 -sS", HOSTS6],
        ["-sT", HOSTS4],
      ] as const),
    )(
      "nmap %s %j",
      async (options, ips) => {
        const argv = [...options.split(" "), "-n", "-Pn", "--reason", "-T4", "-p", PORTS, "-oG", "-", ...ips];
        const { status, stdout } = await scan("nmap", ...argv);
        expect(status).toBe(0);
        const found = linesOf(stdout).flatMap((line): [string, string][] => {
          const [, ip = "", ports = ""] = /^Host: (\S+) .*\tPorts: ([^\t]*)/.exec(line) ?? [];
          return [...ports.matchAll(/(\d+)\/(\w+)\//g)].map(([, port, state]) => [at(ip, port), state]);
        });
        // nmap leaves out the states that most ports have, and says so in a field that -oG spells by count alone.
        const ignored = new Set([...stdout.matchAll(/Ignored State: (\w+)/g)].map(([, state]) => state));
        const told = new Map(found);
        const silent = trueOf(ips).filter(([target]) => !told.has(target));
        for (const [, state] of silent) expect(ignored).toContain(state);
        expect(sorted(found)).toEqual(sorted(trueOf(ips).filter(([target]) => told.has(target))));
        expect(found.length).toBeGreaterThan(0);
      },
      60_000,
    );

    it.skipIf(skipping("masscan in the lab", missing("masscan")) || !ALL)(
      "masscan: open and closed",
      async () => {
        const answered = new Map(trueOf(HOSTS4, ["open", "closed"]));
        // What it says is true; but of the answers that tcpdump sees it overlooks one in ten, and on a busy machine most.
        const said = new Set<string>();
        for (let run = 0; run < 8 && said.size <= answered.size / 2; run++) {
          const { status, stdout } = await scan(
            ...["sh", "-c", 'exec "$@" 2>/dev/null', "sh", "masscan", ...HOSTS4, `-p${PORTS}`],
            ...["--adapter", "lab0", "--adapter-ip", "192.0.2.1"],
            ...["--router-mac", ROUTER_MAC.replaceAll(":", "-"), "--source-port", "61000"],
            ...["--rate", "500", "--wait", "1", "--show", "open,closed", "-oL", "-"],
          );
          expect(status).toBe(0);
          // What our -oL must look like.
          expect(stdout).toMatch(/^#masscan\n((open|closed) tcp \d+ \S+ \d{10}\n)+# end\n$/);
          for (const [, state, port, ip] of stdout.matchAll(/^(open|closed) tcp (\d+) (\S+) /gm)) {
            const target = at(ip, port);
            expect(`${target} ${state}`).toBe(`${target} ${answered.get(target)}`);
            said.add(target);
          }
        }
        expect(said.size).toBeGreaterThan(answered.size / 2);
      },
      60_000,
    );

    it.skipIf(skipping("zmap in the lab", missing("zmap")))(
      "zmap: open and closed",
      async () => {
        const { status, stdout } = await scan(
          ...["zmap", "-p", "5", ...HOSTS4, "-i", "lab0", "-G", ROUTER_MAC, "-S", "192.0.2.1", "-r", "1000"],
          ...["-B", "10M", "-c", "1", "-q", "--blacklist-file=/dev/null", "-O", "csv"],
          ...["-f", "saddr,sport,classification", "--output-filter=repeat = 0"],
        );
        expect(status).toBe(0);
        const found = [...stdout.matchAll(/^(\S+),(\d+),(synack|rst)$/gm)].map(
          ([, ip, port, said]) => [at(ip, port), said === "rst" ? "closed" : "open"] as const,
        );
        expect(sorted(found)).toEqual(
          sorted(trueOf(HOSTS4, ["open", "closed"]).filter(([target]) => target.endsWith(":5"))),
        );
      },
      60_000,
    );
  });

  describe("with bursts and outages", () => {
    const write = (name: string, description: object): string => {
      const path = join(folder, name);
      writeFileSync(path, JSON.stringify(description));
      return path;
    };

    it("answers for exactly the pairs that its truth has not away", async () => {
      const bad = write("bad.json", {
        path: {
          bursts: [
            { per: "pair", share: 0.2 },
            { per: "host", share: 0.2 },
          ],
          outages: [{ fromMs: 0, toMs: 1e9, range: HOSTS4[3] }],
        },
        hosts: ["198.18.0.0/24", "2001:db8:18::/120"].map((range) => ({ range })),
      });
      const targets = [`${HOSTS4[0]}-8:${PORTS}`, ...HOSTS6.map((ip) => at(ip, PORTS))];
      const told = await run(synprobe("lab", bad, ...targets.flatMap((target) => ["--truth", target])));
      const pairs = linesOf(told.stdout).map((line) => JSON.parse(line));
      const expected = pairs.map(({ ip, port, away_ms }) => [at(ip, port), away_ms ? "filtered" : "closed"]);
      const quick = ["--retries", "1", "--timeout", "1s", "-oJ", "-"];
      const { stdout } = await run(synprobe("lab", bad, "--", ...synprobe(...quick, ...targets)));
      const found = [...resultsOf(stdout)].map(([target, { state }]) => [target, state] as const);
      expect(new Map(found)).toEqual(new Map(expected as [string, string][]));
      const away = pairs.filter((pair) => pair.away_ms);
      expect(away.length).toBeGreaterThan(60);
      expect(away.length).toBeLessThan(260);
      expect(away.find(({ ip }) => ip === HOSTS4[3]).away_ms).toEqual([[0, 60_000]]);
    });

    it("is away until its outage is over, by its own clock", async () => {
      const away = write("away.json", {
        path: { outages: [{ fromMs: 0, toMs: 1500 }] },
        hosts: [{ range: "198.18.0.1", ports: [{ is: "open" }] }],
      });
      const report = join(folder, "away-report.json");
      const until = ["sh", "-c", 'until "$@"; do :; done', "sh"];
      const probe = synprobe("--retries", "0", "--timeout", "100ms", "--require-open", "198.18.0.1:80");
      const { status } = await run(synprobe("lab", away, "--report", report, "--", ...until, ...probe));
      expect(status).toBe(0);
      const { command, network } = JSON.parse(readFileSync(report, "utf8"));
      expect(command.started_s + command.elapsed_s).toBeGreaterThan(1.5);
      expect(network.lostIn).toBeGreaterThan(0);
      expect(network.lostOut).toBe(0);
    });
  });

  describe("--report", () => {
    it("has what the command sent and got, when, and where the lab fell short", async () => {
      const report = join(folder, "report.json");
      // A host with a rate of its own gets no canaries: each SYN is a pair's.
      const exact = ["--retries", "0", "--timeout", "300ms", "--max-rate-per-host", "1000000"];
      const argv = synprobe(...exact, `${HOSTS4[0]}-8:${PORTS}`);
      const { status } = await run(synprobe("lab", file, "--report", report, "--", ...argv));
      expect(status).toBe(0);
      const { command, cpu_s, network, syns_per_100ms, lab } = JSON.parse(readFileSync(report, "utf8"));
      expect(command).toMatchObject({ argv, status: 0 });
      expect(command.elapsed_s).toBeGreaterThan(0.3);
      expect(cpu_s).toBeGreaterThan(0);
      expect(cpu_s).toBeLessThan(command.elapsed_s);
      const pairs = HOSTS4.length * 20;
      expect(network).toMatchObject({ syns: pairs, unserved: 0, overflow: 0 });
      expect(network.out).toBeGreaterThan(pairs / 2);
      expect(syns_per_100ms.reduce((sum: number, count: number) => sum + count)).toBe(pairs);
      expect(lab).toMatchObject({ ring_drops: 0, wire_drops: { in: 0, out: 0 }, refused: 0 });
      // Answers that were counted from no due time would be as late as the lab is old.
      expect(lab.late_ms.mean).toBeGreaterThan(0);
      expect(lab.late_ms.max).toBeLessThan(command.elapsed_s * 1000);
    });

    it("is written to the file that was opened at the start, whatever has its name by the end", async () => {
      const report = join(folder, "swapped.json");
      const elsewhere = join(folder, "elsewhere");
      writeFileSync(elsewhere, "another's");
      const swap = ["sh", "-c", 'mv "$1" "$1.moved" && ln -s "$2" "$1"', "sh", report, elsewhere];
      const { status } = await run(synprobe("lab", "--report", report, "--", ...swap));
      expect(status).toBe(0);
      expect(readFileSync(elsewhere, "utf8")).toBe("another's");
      expect(JSON.parse(readFileSync(`${report}.moved`, "utf8"))).toMatchObject({ command: { status: 0 } });
    });

    it("is not left open to the command", async () => {
      const report = join(folder, "closed.json");
      const { stdout } = await run(
        synprobe("lab", "--report", report, "--", "sh", "-c", "ls -l /proc/self/fd"),
      );
      expect(stdout).not.toContain("closed.json");
    });
  });

  describe("ends as its command does", () => {
    it.each([
      ["with its exit status", ["sh", "-c", "exit 7"], 7],
      ["when a signal ends it", ["sh", "-c", "kill -TERM $$"], 143],
      ["when it cannot be started", ["/nonexistent"], 127],
      ["when it is nowhere", ["nonexistent"], 127],
      ["when it has no name", [""], 127],
      ["when it is no program", ["/"], 126],
    ])("%s", async (_what, argv, expected) => {
      expect((await inside(...argv)).status).toBe(expected);
    });

    it("with its own standard streams, and nothing else in them", async () => {
      const { stdout, stderr } = await run(
        synprobe("lab", "--", "sh", "-c", 'cat; echo "$SYNPROBE_LAB" >&2'),
        { input: "words" },
      );
      expect({ stdout, stderr }).toEqual({ stdout: "words", stderr: "1\n" });
    });

    it("with synprobe on its path, this one", async () => {
      const words = synprobe("lab", "--", "sh", "-c", "command -v synprobe; synprobe 198.18.0.1:22");
      const { stdout } = await run(words);
      expect(stdout).toMatch(/dist\/bin\/synprobe\n.*\n198\.18\.0\.1:22 +open /);
    });

    it.each(someOf(3, ["SIGTERM", "SIGINT", "SIGHUP"] as const))("%s is passed on to it", async (signal) => {
      const caught = 'trap "echo caught; exit 5" INT TERM HUP; echo ready; while :; do sleep 0.05; done';
      const running = start(synprobe("lab", "--", "sh", "-c", caught));
      await running.until("stdout", /ready/);
      running.kill(signal);
      expect(await running.finished).toMatchObject({ status: 5, stdout: "ready\ncaught\n" });
    });

    it.skipIf(skipping("a terminal", missing("script")))(
      "Ctrl-C reaches it once, from the terminal",
      async () => {
        const counts = [
          'process.on("SIGINT", () => { console.log("cau" + "ght"); setTimeout(() => process.exit(6), 300); });',
          'console.log("re" + "ady"); setInterval(() => {}, 1000);',
        ].join("");
        const argv = synprobe("lab", "--", process.execPath, "-e", counts).map((word) => `'${word}'`);
        // The key is pressed when the command has said that it is there.
        const press = `while ! grep -q ready "$1"; do sleep 0.05; done; printf '\\003'; sleep 1`;
        const log = join(folder, "terminal");
        writeFileSync(log, "");
        const { status } = await run([
          ...[
            "sh",
            "-c",
            `(${press}) | script -qefc "$2" "$1" >/dev/null`,
            "sh",
            log,
            `exec ${argv.join(" ")}`,
          ],
        ]);
        expect(status).toBe(6);
        expect(readFileSync(log, "utf8").match(/caught/g)).toHaveLength(1);
      },
    );

    it.skipIf(skipping("a terminal", missing("script")))(
      "a shell is greeted, has its jobs, and gives the terminal back",
      async () => {
        const log = join(folder, "shell");
        const argv = synprobe("lab").map((word) => `'${word}'`);
        const after = 'status=$?; read word; echo "read: $word"; exit $status';
        const { status } = await run(["script", "-qefc", `${argv.join(" ")}; ${after}`, log], {
          input: "sleep 30 & jobs\nexit 3\nafterwards\n",
          env: { SHELL: "/bin/sh" },
        });
        expect(status).toBe(3);
        const shown = readFileSync(log, "utf8");
        expect(shown).toMatch(/no packet can leave; you are 192\.0\.2\.1 and 2001:db8::1/);
        expect(shown).toMatch(/198\.18\.0\.1 .*22 open/);
        expect(shown).toMatch(/"exit" ends it/);
        expect(shown).toMatch(/Running +sleep 30/);
        expect(shown).toContain("read: afterwards");
      },
    );
  });

  describe("leaves nothing behind", () => {
    /** A process and its descendants, the parents first. */
    function family(root: number): number[] {
      const parents = new Map<number, number>();
      for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
        const stat = statOf(Number(name));
        if (stat !== undefined) parents.set(Number(name), Number(stat[1]));
      }
      const members = [root];
      for (const member of members) {
        for (const [child, parent] of parents) if (parent === member) members.push(child);
      }
      return members;
    }

    /** State, parent, …; undefined for a process that is no more. */
    function statOf(pid: number): string[] | undefined {
      try {
        return readFileSync(`/proc/${pid}/stat`, "utf8")
          .replace(/^.*\) /s, "")
          .split(" ");
      } catch {
        return undefined;
      }
    }

    const lives = (pid: number): boolean => !["Z", "X", undefined].includes(statOf(pid)?.[0]);
    /** Processes of this machine that are in a network namespace. */
    const inhabitants = (namespace: string): number[] =>
      readdirSync("/proc")
        .filter((entry) => /^\d+$/.test(entry))
        .map(Number)
        .filter((pid) => {
          try {
            return readlinkSync(`/proc/${pid}/ns/net`) === namespace;
          } catch {
            return false;
          }
        });

    /** A lab with a command, a child of it, and a daemon that has left its session. */
    async function occupy() {
      const daemon = "setsid sleep 1000 & sleep 1000 & echo ready; wait";
      const running = start(synprobe("lab", "--", "sh", "-c", daemon));
      await running.until("stdout", /ready/);
      // Outside, unshare, inside, the command, its two children.
      let members: number[] = [];
      until(() => {
        members = family(running.pid);
        return members.length === 6;
      }, "the six processes of the lab");
      const namespace = readlinkSync(`/proc/${members[2]}/ns/net`);
      expect(namespace).not.toBe(readlinkSync("/proc/self/ns/net"));
      return { running, members, namespace };
    }

    /** Without those of other test files, which come and go meanwhile (netns.ts). */
    const named = (): string[] =>
      command(["sh", "-c", "ls /run/netns 2>/dev/null; ls /sys/class/net"])
        .split("\n")
        .filter((name) => !name.startsWith("sp-") || name.startsWith(`sp-${process.pid}-`));

    it.each([
      ["the process outside", 0],
      ["unshare", 1],
      ["the process inside", 2],
      ["the command", 3],
    ])("when %s is killed", async (_what, member) => {
      const before = named();
      const { running, members, namespace } = await occupy();
      expect(named()).toEqual(before);
      process.kill(members[member], "SIGKILL");
      const { status } = await running.finished;
      expect(status).not.toBe(0);
      until(() => !members.some(lives), "every process of the lab to be gone");
      expect(inhabitants(namespace)).toEqual([]);
      expect(named()).toEqual(before);
    });

    it("when the command ends before what it has started", async () => {
      // A time that no other process sleeps for.
      const daemon = `sleep 1000.${process.pid}`;
      const running = start(
        synprobe("lab", "--", "sh", "-c", `setsid ${daemon} & sleep 0.2; echo ready; read end`),
        {
          input: "end\n",
        },
      );
      await running.until("stdout", /ready/);
      const { status } = await running.finished;
      expect(status).toBe(0);
      until(() => command(["sh", "-c", `pgrep -fx '${daemon}' || true`]) === "", "the daemon to be gone");
    });
  });

  it("can be had in a lab", async () => {
    const { status, stdout } = await inside(...synprobe("lab", "--", ...synprobe(at(CAST4, 22))));
    expect(status).toBe(0);
    expect(stdout).toMatch(/^198\.18\.0\.1:22 +open /m);
  });

  describe("of an ordinary user", () => {
    let outer: Lab;
    let stage: Stage;
    let problem: string | undefined;
    beforeAll(async () => {
      outer = createLab();
      stage = setStage(outer.near);
      problem = userProblem();
      const { status, stderr } = await run(stage.as(AS_USER, ["unshare", "-Urn", "true"]));
      if (status !== 0) problem ??= `no user namespaces for users here: ${stderr}`;
    });
    afterAll(() => {
      outer.remove();
      stage.remove();
    });
    const asUser = (...args: string[]): Promise<Finished> =>
      run(stage.as(AS_USER, [process.execPath, stage.main, ...args]));

    it("is the same: raw sockets, and handshakes held", async (context) => {
      if (problem !== undefined) context.skip(problem);
      const command = [process.execPath, stage.main, "--complete", at(CAST4, "22,81"), at(CAST6, 80)];
      const { status, stdout, stderr } = await asUser("lab", "--", ...command);
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      expect(stdout).toMatch(/^198\.18\.0\.1:22 +open .*established in /m);
      expect(stdout).toMatch(/^\[2001:db8:18::1\]:80 +open .*established in /m);
      expect(stdout).toMatch(/^198\.18\.0\.1:81 +closed /m);
    });

    it("who may have none is told the switch: 3", async (context) => {
      if (problem !== undefined) context.skip(problem);
      const forbid =
        'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-sys_admin "$@"';
      for (const args of [["lab", "--", "true"], ["demo"]]) {
        const { status, stdout, stderr } = await run(
          stage.as(AS_USER, [
            ...["unshare", "-Ur", "sh", "-c", forbid, "sh", process.execPath, stage.main, ...args],
          ]),
        );
        expect({ status, stdout }).toEqual({ status: 3, stdout: "" });
        expect(linesOf(stderr)).toEqual([
          expect.stringContaining("sudo sysctl user.max_user_namespaces=15000"),
        ]);
      }
    });

    it("a program that is nowhere is not found, a closed folder of PATH or not: 127", async (context) => {
      if (problem !== undefined) context.skip(problem);
      const closed = mkdtempSync(join(tmpdir(), "synprobe-closed-"));
      const { PATH } = ENVIRONMENT;
      const search = ["env", `PATH=${closed}:${PATH}`, process.execPath, stage.main];
      try {
        const lab = (program: string): Promise<Finished> =>
          run(stage.as(AS_USER, [...search, "lab", "--", program]));
        expect((await lab("true")).status).toBe(0);
        const { status, stderr } = await lab("nonexistent");
        expect({ status, stderr }).toEqual({
          status: 127,
          stderr: "synprobe: cannot start nonexistent: there is no such program\n",
        });
      } finally {
        rmSync(closed, { recursive: true });
      }
    });

    it("what is no program cannot be started: 126", async (context) => {
      if (problem !== undefined) context.skip(problem);
      const { status, stderr } = await asUser("lab", "--", tmpdir());
      expect({ status, stderr }).toEqual({
        status: 126,
        stderr: `synprobe: cannot start ${tmpdir()}: permission denied: it is a directory, or not executable\n`,
      });
    });

    it.runIf(ALL)("demo is the same", async (context) => {
      if (problem !== undefined) context.skip(problem);
      const { status, stdout, stderr } = await asUser("demo");
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      expect(stdout).toContain("established in");
    });
  });

  it("demo's tour sends nothing outside its lab: 2", async () => {
    const tour = synprobe("demo", "--inside");
    const up =
      "ip link set lo up && ip link set lab0 up && ip link set lab1 up && ip addr add 192.0.2.1/24 dev lab0";
    const pretend = `ip link add lab0 address 02:00:00:00:00:01 type veth peer name lab1 && ${up}`;
    const shell = (script: string): string[] => ["unshare", "-n", "sh", "-c", `${script} && exec "$@"`, "sh"];
    for (const where of [
      ["unshare", "-n"],
      [...shell("ip link set lo up"), "env", "SYNPROBE_LAB=1"],
      // All that a lab has, and one thing more.
      shell(`${pretend} && ip link add out0 type veth peer name out1 && ip link set out0 up`),
      // The lab's names and address on other hardware.
      shell(pretend.replace(" address 02:00:00:00:00:01", "")),
    ]) {
      const { status, stdout, stderr } = await run([...where, ...tour]);
      expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
      expect(linesOf(stderr)).toEqual([expect.stringMatching(/run synprobe demo$/)]);
    }
  });

  it("demo shows real runs, each with its command, in less than fifteen seconds", async () => {
    const { status, stdout, stderr } = await run(synprobe("demo"), { limitMs: 15_000 });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const commands = [...stdout.matchAll(/^# .*\n\$ synprobe (.*)$/gm)].map(([, args]) => args);
    expect(commands.filter((args) => args.startsWith("trace "))).toHaveLength(4);
    expect(commands.some((args) => args.startsWith("--complete --banner"))).toBe(true);
    for (const sign of [
      /:22 +open /,
      /:81 +closed /,
      /:23 +filtered .*no-response/,
      /:25 +filtered .*prohibited/,
    ]) {
      expect(stdout).toMatch(sign);
    }
    expect(stdout).toContain('"SSH-2.0-lab\\r\\n"');
    for (const sign of ["SYN,ACK", "RST,ACK", "FIN", "ICMP admin-prohibited"]) {
      expect(stdout).toMatch(new RegExp(`\\|<-- ${sign}`));
    }
  });
});
