/** `synprobe path` as a process: its table, its data, its refusals, and what is left when it is interrupted. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PortPath } from "../../src/scan/path/result.ts";
import { type Finished, ROOT, run, start, synprobe } from "../cli/process.ts";
import { ALL } from "../everyday.ts";
import { schemaErrors } from "../report/schema.ts";
import { listen } from "./listeners.ts";
import {
  command,
  createLab,
  FAR,
  inNamespace,
  type Lab,
  labProblem,
  overlayEtc,
  SILENT,
  skipping,
} from "./netns.ts";
import { octetsOut, untilLeft } from "./octets.ts";
import { at } from "./probing.ts";

const HOST = "198.18.9.9";
/** On the near link, where nobody has it. */
const NOBODY = "192.0.2.77";
const schema = JSON.parse(readFileSync(join(ROOT, "src/cli/commands/path.schema.json"), "utf8"));
const validate = new Ajv({ strict: true, allowUnionTypes: true }).compile(schema);
const inSimulation = (...args: string[]): Promise<Finished> =>
  run(synprobe("lab", "--", ...synprobe("path", ...args)));

describe.skipIf(skipping("path", labProblem()))("path", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = createLab();
    await listen(lab.far, [{ host: FAR.ipv4, port: 7001 }]);
    overlayEtc(lab.near, "hosts", `${FAR.ipv4} far.example\n`);
  });
  afterAll(() => lab?.remove());
  const near = (...args: string[]): Promise<Finished> =>
    run(inNamespace(lab.near, synprobe("path", ...args)));

  it("gives the same as data, by its schema, over both links", async () => {
    const target = "[2001:db8:18::99]:443,445,80";
    const [data, frames, flows] = await Promise.all([
      inSimulation("--json", target),
      inSimulation("--json", "--link", "packet", target),
      inSimulation("--json", "--flows", "4", `${HOST}:443`),
    ]);
    const found = JSON.parse(data.stdout);
    expect(validate(found), JSON.stringify(validate.errors)).toBe(true);
    expect(found.ports).toMatchObject([
      { port: 80, state: "closed", where: { kind: "box", from: 6, to: 7, beyond: 9 } },
      { port: 443, state: "open", where: { kind: "host", to: 9 } },
      { port: 445, state: "filtered", where: { kind: "dropped", from: 6, to: 7, other: 443 } },
    ]);
    expect(found.hops[4].routers[0]).toMatchObject({ ip: "2001:db8:ff::5", labels: [16_005] });
    expect(found.hops[3]).toEqual({ hop: 4, routers: [] });
    expect(JSON.parse(frames.stdout).ports).toMatchObject(
      found.ports.map(({ port, state, where }: PortPath) => ({ port, state, where })),
    );
    const walked = JSON.parse(flows.stdout);
    expect(validate(walked), JSON.stringify(validate.errors)).toBe(true);
    expect(walked.flows).toHaveLength(4);
    expect(walked.flows[0]).toMatchObject({ sent: 5, answered: 5 });
  });

  it("explains the filtered ports of a scan, with --why", async () => {
    const target = `${HOST}:443,445,80`;
    const scan = (...args: string[]): Promise<Finished> =>
      run(synprobe("lab", "--", ...synprobe("--why", ...args)));
    const [data, table] = await Promise.all([
      scan("-oJ", "-", target, "[2001:db8:18::99]:443,445"),
      scan("--why-limit", "1", target, "198.18.0.8:22"),
    ]);
    const lines = data.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.at(-1).ways[0].hops.slice(2, 6)).toEqual([
      "203.0.113.3",
      null,
      "203.0.113.5",
      "203.0.113.6",
    ]);
    expect(lines.at(-1).where).toMatchObject([
      { ip: HOST, port: 445, kind: "dropped", from: 6, to: 7 },
      { ip: "2001:db8:18::99", port: 445, kind: "dropped", from: 6, to: 7 },
    ]);
    expect(schemaErrors(data.stdout)).toEqual([]);
    const told = table.stdout.split("\n").filter((line) => / is filtered/.test(line));
    expect(told).toHaveLength(1);
    expect(table.stdout).toMatch(
      /^(198\.18\.9\.9: 445 is filtered, between hop 6|198\.18\.0\.8: 22 is filtered: )/m,
    );
  });

  it("is walked by doctor to ports of its target, and to no other", async () => {
    const doctor = (target: string) => run(synprobe("lab", "--", ...synprobe("doctor", target)));
    const [told, alone, nothing] = await Promise.all([
      doctor(`${HOST}:443,445`),
      doctor(`${HOST}:445`),
      doctor(HOST),
    ]);
    expect(told.stdout).toMatch(/^ok +way +443 is open \(syn-ack\)\.$/m);
    expect(told.stdout).toMatch(
      /^info +way +445 is filtered, between hop 6 \(.*443 goes on from there, 445 does not/m,
    );
    expect(alone.stdout).toMatch(
      /^info +way +445 is filtered: its SYNs come as far as hop 6 \(.*cannot be known/m,
    );
    expect(nothing.stdout).not.toMatch(/ way /);
    expect([told.status, alone.status, nothing.status]).toEqual([0, 0, 0]);
  });

  it("of doctor says when the way ends before it begins: nobody has the next hop's address", async () => {
    const doctor = (target: string) => run(inNamespace(lab.near, synprobe("doctor", target)));
    const { stdout } = await doctor(`${NOBODY}:22`);
    expect(stdout).toMatch(
      new RegExp(`^warn +way +${NOBODY} does not answer ARP on veth0\n +Nobody has `, "m"),
    );
    expect(stdout).not.toContain("cannot be known");
  });

  it("says that nobody has the next hop's address, and so do --why and trace --why", async () => {
    const ask = (...args: string[]) => run(inNamespace(lab.near, synprobe(...args, `${NOBODY}:22`)));
    const found = await Promise.all([ask("path"), ask("--why"), ask("trace", "--why", "--brief")]);
    for (const { stdout } of found) {
      expect(stdout).toMatch(/(^|: )22 is filtered: 192\.0\.2\.77 does not answer ARP on veth0\.$/m);
      expect(stdout).not.toContain("cannot be known");
    }
  });

  it("says the same of an IPv6 next hop of an IPv4 route, and so does a scan", async () => {
    const own = createLab();
    try {
      command(
        ["ip", "-4", "-n", own.near, "route", "replace", "198.19.0.0/16"].concat([
          "via",
          "inet6",
          "2001:db8:1::dead",
          "dev",
          "veth0",
          "onlink",
        ]),
      );
      const ask = (...args: string[]) => run(inNamespace(own.near, synprobe(...args, "198.19.0.1:22")));
      const [path, scan] = await Promise.all([ask("path"), ask()]);
      const says = "the next hop 2001:db8:1::dead on veth0 does not answer neighbour discovery";
      expect(path.stdout).toContain(`22 is filtered: ${says}`);
      expect(scan.stderr).toContain(`nothing answered: ${says}`);
    } finally {
      own.remove();
    }
  });

  it("compares what is silent with a port that is closed, the scan's too, where a limit of RSTs looks the same", async () => {
    const own = createLab();
    const ask = (...args: string[]) =>
      run(inNamespace(own.near, synprobe(...args, at(FAR.ipv4, "7001-7003"))));
    const filter = (rule: string): string =>
      command(inNamespace(own.far, ["nft", "-f", "-"]), `add rule inet f ${rule}\n`);
    try {
      await listen(own.far, [{ host: FAR.ipv4, port: 7001 }]);
      command(
        inNamespace(own.far, ["nft", "-f", "-"]),
        `add table inet f
add chain inet f i { type filter hook input priority 0; }
add chain inet f o { type filter hook output priority 0; }
`,
      );
      filter("i tcp dport 7003 drop");
      expect((await ask("--why")).stdout).toMatch(/: 7003 is filtered, at the host.*, while 7002 does/);
      filter("o tcp flags rst limit rate over 1/minute burst 1 packets drop");
      expect((await ask("path")).stdout).toMatch(
        /^7003 is filtered or closed, at the host.*, while 7001 does \(doubt 0\.\d\)/m,
      );
    } finally {
      own.remove();
    }
  });

  it("says that nothing is connected to its interface", async () => {
    const own = createLab();
    try {
      command(["ip", "-n", own.far, "link", "set", "veth0", "down"]);
      const { stdout } = await run(inNamespace(own.near, synprobe("path", at(FAR.ipv4, 22))));
      expect(stdout).toMatch(/^22 is filtered: veth0 is up, but nothing is connected to it: /m);
    } finally {
      own.remove();
    }
  });

  it("of doctor says what is known at a signal, and what was found before it", async () => {
    const running = start(inNamespace(lab.near, synprobe("doctor", at(SILENT.ipv4, 7))));
    // Nothing but its walk sends.
    untilLeft(lab.near, 4);
    running.kill("SIGINT");
    const { status, stdout } = await running.finished;
    expect(stdout).toMatch(/^ok +CAP_NET_RAW/m);
    expect(stdout).toMatch(/^info +way +interrupted, so not all is known/m);
    expect(status).toBe(130);
  });

  // Half a minute of waiting, which is what it shows.
  it.runIf(ALL)(
    "gives up after half a minute where a chain at egress drops, in place of trying for ever",
    async () => {
      const own = createLab();
      const rules = [
        "add table netdev e",
        "add chain netdev e c { type filter hook egress device veth0 priority 0; }",
        "add rule netdev e c tcp dport 22 drop",
      ];
      try {
        command(inNamespace(own.near, ["nft", "-f", "-"]), rules.join("\n"));
        const { status, stderr } = await run(inNamespace(own.near, synprobe("path", at(FAR.ipv4, 22))));
        expect(stderr).toMatch(/nothing can be sent any more: for 30 s the kernel has said ENOBUFS/);
        expect(status).toBe(5);
      } finally {
        own.remove();
      }
    },
    60_000,
  );

  it.runIf(ALL)("keeps to the rate that a host is allowed, with --why", async () => {
    const folder = mkdtempSync(join(tmpdir(), "synprobe-why-"));
    const file = join(folder, "report.json");
    const scan = synprobe("--why", "--max-rate-per-host", "30", `${HOST}:443,445`);
    try {
      await run(synprobe("lab", "--report", file, "--", ...scan));
      const sent: number[] = JSON.parse(readFileSync(file, "utf8")).syns_per_100ms;
      expect(sent.reduce((sum, each) => sum + each, 0)).toBeGreaterThan(40);
      // Three are due, the scan begins with one at once, and a busy machine sends one late.
      expect(Math.max(...sent)).toBeLessThanOrEqual(5);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("of a neighbour has no hops but the host, whose name it looks up when it is told to", async () => {
    const { status, stdout } = await near("--names", at(FAR.ipv4, "7001,7002"));
    expect(status).toBe(0);
    expect(stdout).toMatch(/^ {2}1 {2}far\.example \(192\.0\.2\.10\) +[\d.]+ ms {2}open +closed$/m);
    expect(stdout).toContain("7002 is closed (reset).");
  });

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("ended by %s says what it knows, and exits with %d", async (signal, wanted) => {
    const running = start(
      inNamespace(lab.near, synprobe("path", "--max-rate", "2", at(SILENT.ipv4, "80,443"))),
    );
    untilLeft(lab.near, 2);
    running.kill(signal);
    const { status, stdout } = await running.finished;
    expect(status).toBe(wanted);
    expect(stdout).toMatch(
      /Whether 80 and 443 answer is not known: the walk was interrupted\. So far[\s\S]*interrupted, so not all is known/,
    );
  });

  it("says what it knows when its interface goes away, and then that it did", async () => {
    const own = createLab();
    try {
      const running = start(
        inNamespace(own.near, synprobe("path", "--max-rate", "5", at(SILENT.ipv4, "80,443"))),
      );
      untilLeft(own.near, 2);
      command(["ip", "-n", own.near, "link", "set", "veth0", "down"]);
      const { status, stdout, stderr } = await running.finished;
      expect(stdout).toMatch(
        /Whether 80 and 443 answer is not known: the walk was interrupted\. So far[\s\S]*interrupted, so not all is known/,
      );
      expect(stderr).toMatch(/nothing can be sent any more: the kernel says ENET/);
      expect(status).toBe(5);
    } finally {
      own.remove();
    }
  });

  it("sends nothing to what is excluded, as trace and doctor do not, wherever that is said", async () => {
    const folder = mkdtempSync(join(tmpdir(), "synprobe-path-"));
    const config = join(folder, "office.json");
    writeFileSync(config, JSON.stringify({ exclude: [FAR.ipv4], "exclude-ports": "7001" }));
    const before = octetsOut(lab.near);
    const ask = (...args: string[]): Promise<Finished> => run(inNamespace(lab.near, synprobe(...args)));
    try {
      const [told, ...refused] = await Promise.all([
        ask("doctor", "--config", config, at(FAR.ipv4, 7002)),
        ask("path", "--config", config, at(FAR.ipv4, 7002)),
        ask("path", "--exclude-ports", "7002", at(FAR.ipv4, 7002)),
        ask("trace", "--exclude", `${FAR.ipv4}/30`, at(FAR.ipv4, 7002)),
        ask("path", "--exclude-ports", "7002", "--reference", "7002", at(FAR.ipv4, 7001)),
      ]);
      expect(told.stdout).toMatch(/^info +way +no SYN is sent: it is excluded$/m);
      for (const { status, stderr } of refused) {
        expect(stderr).toMatch(/nothing is left to probe|--reference 7002 is excluded: name another port/);
        expect(status).toBe(2);
      }
      expect(octetsOut(lab.near)).toBe(before);
    } finally {
      rmSync(folder, { recursive: true });
    }
    // Neither does it look there for a port to compare with.
    const found = await inSimulation("--json", "--exclude-ports", "443", `${HOST}:445`);
    expect(JSON.parse(found.stdout).ports.map(({ port }: PortPath) => port)).toEqual([445, 80]);
  });

  it("sends no SYN further than --ttl, with --why", async () => {
    const scan = synprobe("--why", "--ttl", "3", "--retries", "0", "-oJ", "-", `${HOST}:445`);
    const { stdout } = await run(synprobe("lab", "--", ...scan));
    const { ways } = JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
    expect(ways[0].hops).toEqual(["203.0.113.1", "203.0.113.2", "203.0.113.3"]);
  });

  it.runIf(ALL)(
    "explains what a run had found before it was resumed, but for what is excluded since",
    async () => {
      const folder = mkdtempSync(join(tmpdir(), "synprobe-path-"));
      const words = (...args: string[]): string => synprobe(...args).join(" ");
      const script = `cd ${folder}
      ${words("--sequential --retries 1 --max-rate 20 --journal j -oJ a", `${HOST}:443-446 198.18.9.10:1-200`)} &
      until grep -q '"port":446' a; do kill -0 $! && sleep 0.05 || exit 9; done
      kill -TERM $!; wait $!
      cp j copy
      ${words("--resume j --why --max-rate 2000 -oJ b")}
      ${words("--resume copy --why --exclude-ports 445 --max-rate 2000 -oJ c")}`;
      try {
        await run(synprobe("lab", "--", "bash", "-c", script));
        const explained = (file: string): number[] => {
          const { where } = JSON.parse(
            readFileSync(join(folder, file), "utf8").trim().split("\n").at(-1) ?? "",
          );
          return where.map(({ port }: PortPath) => port);
        };
        expect(explained("b")).toContain(445);
        expect(explained("c")).toContain(444);
        expect(explained("c")).not.toContain(445);
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );

  const REFUSED: readonly (readonly [args: string[], status: number, says: string])[] = [
    [["198.18.0.1"], 2, "path takes a host with its ports"],
    [["198.18.0.1:1-17"], 2, "path takes at most 16 ports, not 17"],
    [["--flows", "65", "198.18.0.1:1"], 2, "--flows takes a whole number from 1 to 64"],
    [["--flows", "33", "198.18.0.1:1,2"], 2, "--flows 33 of 2 ports: at most 64 flows in all"],
    [["--reference", "0", "198.18.0.1:1"], 2, "--reference takes a whole number from 1 to 65535"],
    [["--max-hops", "64", "198.18.0.1:1"], 2, "--max-hops takes a whole number from 1 to 63"],
    [["-6", "198.18.0.1:1"], 2, "is not an IPv6 address"],
    [["--link", "connect", "198.18.0.1:1"], 2, "--link takes raw or packet"],
    [
      ["--link", "packet", "127.0.0.1:1"],
      2,
      "--link packet needs the target to be behind an Ethernet interface",
    ],
    [["198.18.0.0/24:1"], 2, "a single host is wanted here"],
    [["-e", "nosuch0", "198.18.0.1:1"], 4, "nosuch0"],
  ];
  it("refuses what it cannot do, in one line each", async () => {
    const refused = await Promise.all(REFUSED.map(([args]) => near(...args)));
    for (const [i, [args, status, says]] of REFUSED.entries()) {
      const found = refused[i];
      expect(found.stdout, `${args}`).toBe("");
      expect(found.stderr).toContain(says);
      expect(found.stderr.trim().split("\n")).toHaveLength(1);
      expect(found.status).toBe(status);
    }
  });
});
