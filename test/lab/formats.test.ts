/**
 * Every format at once, of real scans: very many results through worker threads, runs that are cut short, captures
 * over both links, pipes. The formats agree with each other, and other programs can read them.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linesOf, run, start, synprobe } from "../cli/process.ts";
import { ALL, everyday, someOf } from "../everyday.ts";
import { schemaErrors } from "../report/schema.ts";
import { type CapturedPacket, packetsOf } from "../wire/pcapng-blocks.ts";
import { inNamespace, type Lab, labProblem, SILENT, skipping } from "./netns.ts";
import { at } from "./probing.ts";
import { until } from "./until.ts";
import { createWideLab, OPEN, readScan, SOURCES, wide } from "./wide.ts";

const DTD = "/usr/share/nmap/nmap.dtd";
/** More than a second of packets: every day few, at a low rate. */
const HOSTS = everyday(1024, 16_384);
const RATE = everyday("5000", "60000");
const MANY = [`198.19.0.0/${everyday(22, 18)}`, "-p", `${OPEN}-7007`];
const PAIRS = HOSTS * 7;
const has = (name: string): boolean => spawnSync(name, ["--version"]).error === undefined;

/** The first places where two long lists differ: toEqual takes its time over them. */
const differences = (one: readonly string[], other: readonly string[]): string[] =>
  Array.from({ length: Math.max(one.length, other.length) }, (_, i) =>
    one[i] === other[i] ? "" : `${i}: ${one[i]} / ${other[i]}`,
  )
    .filter((line) => line !== "")
    .slice(0, 5);

describe.skipIf(skipping("formats of real scans", labProblem()))("formats of real scans", () => {
  let lab: Lab;
  let folder = "";
  const file = (name: string): string => join(folder, name);
  const text = (name: string): string => readFileSync(file(name), "utf8");

  beforeAll(async () => {
    lab = await createWideLab();
    folder = mkdtempSync(join(tmpdir(), "sp-formats-"));
  });
  afterAll(() => {
    lab?.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  const everything = (base: string): string[] => [
    ...["-oA", file(base), "-oC", file(`${base}.csv`), "-oL", file(`${base}.list`)],
    ...["--pcap", file(`${base}.pcapng`)],
  ];

  /** The pairs of each format, as `ip port state`, sorted; each format must be whole. */
  function pairsOf(base: string): Record<string, string[]> {
    const ndjson = text(`${base}.ndjson`);
    expect(schemaErrors(ndjson)).toEqual([]);
    const { results } = readScan(ndjson);
    const csv = text(`${base}.csv`);
    expect(csv.endsWith("\r\n")).toBe(true);
    const xml = text(`${base}.xml`);
    if (!skipping("xmllint", has("xmllint") && existsSync(DTD) ? undefined : "no xmllint, or no nmap.dtd")) {
      const args = ["--noout", "--nonet", "--huge", "--dtdvalid", DTD, file(`${base}.xml`)];
      const { status, stderr } = spawnSync("xmllint", args, { encoding: "utf8" });
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    }
    expect(text(`${base}.list`)).toMatch(/^#masscan\n(open tcp \d+ \S+ \d{10}\n)*# end\n$/);
    const ports = (ip: string, listed: string): string[] =>
      [...listed.matchAll(/(\d+)\/(\w+)\/tcp/g)].map(([, port, state]) => `${ip} ${port} ${state}`);
    return {
      ndjson: [...results].map(([pair, { state }]) => `${pair} ${state}`).sort(),
      csv: csv
        .split("\r\n")
        .slice(1, -1)
        .map((row) => row.split(","))
        .map(([ip, port, , state]) => `${ip} ${port} ${state}`)
        .sort(),
      xml: xml
        .split("<address ")
        .slice(1)
        .flatMap((host) => {
          const ip = /^addr="([^"]+)"/.exec(host)?.[1] ?? "";
          return [...host.matchAll(/portid="(\d+)"><state state="(\w+)"/g)].map(
            ([, port, state]) => `${ip} ${port} ${state}`,
          );
        })
        .sort(),
      gnmap: linesOf(text(`${base}.gnmap`))
        .flatMap((line) => {
          const [, ip = "", listed = ""] = /^Host: (\S+) \(\)\tPorts: (.*)$/.exec(line) ?? [];
          return ports(ip, listed);
        })
        .sort(),
    };
  }

  const openIn = (pairs: readonly string[]): string[] => pairs.filter((pair) => pair.endsWith(" open"));
  const listed = (base: string): string[] =>
    [...text(`${base}.list`).matchAll(/^open tcp (\d+) (\S+) /gm)]
      .map(([, port, ip]) => `${ip} ${port} open`)
      .sort();

  /** Both packets of each pair: what they say of it, and that they belong together. */
  function evidenceIn(base: string): string[] {
    const packets = packetsOf(readFileSync(file(`${base}.pcapng`)));
    expect(packets.length % 2).toBe(0);
    const said: string[] = [];
    for (let i = 0; i < packets.length; i += 2) {
      const [syn, answer] = packets.slice(i, i + 2) as [CapturedPacket, CapturedPacket];
      const [, ip, port, state] = /^(\S+):(\d+) (\w+) \(/.exec(answer.comment) ?? [];
      if (!syn.comment.startsWith(`${ip}:${port} ${state} (`) || syn.timeNs >= answer.timeNs) {
        throw new Error(`${syn.comment} / ${answer.comment}`);
      }
      // Sequence number and acknowledgement, behind 20 bytes of IPv4.
      const acknowledged = Number.parseInt(answer.hex.slice(56, 64), 16);
      if ((Number.parseInt(syn.hex.slice(48, 56), 16) + 1) >>> 0 !== acknowledged) {
        throw new Error(`${answer.comment}: not an answer to its SYN`);
      }
      said.push(`${ip} ${port} ${state}`);
    }
    return said.sort();
  }

  it.runIf(ALL)(
    `${PAIRS} results through two workers: all formats say the same, and the capture has the evidence of each`,
    async () => {
      const args = ["--link", "packet", "--workers", "2", "--max-rate", RATE, "--stats-every", "1"];
      const { status, stderr } = await wide(lab, [...args, ...everything("many"), ...MANY], {
        limitMs: 60_000,
      });
      expect(status).toBe(0);
      expect(stderr.replace(/^synprobe: [\d,]+ of [\d,]+ pairs, .*\n/gm, "")).toBe("");
      const { ndjson, ...others } = pairsOf("many");
      expect(ndjson).toHaveLength(PAIRS);
      expect(openIn(ndjson)).toHaveLength(HOSTS);
      for (const [format, pairs] of Object.entries(others))
        expect(differences(pairs, ndjson), format).toEqual([]);
      expect(differences(listed("many"), openIn(ndjson))).toEqual([]);
      expect(differences(evidenceIn("many"), ndjson)).toEqual([]);
      expect(text("many.xml")).toContain(`<hosts up="${HOSTS}" down="0" total="${HOSTS}"/>`);
      expect(text("many.gnmap")).toContain(`-- ${HOSTS} IP addresses (${HOSTS} hosts up) scanned in`);
      // A run of two seconds was looked at.
      const looks = linesOf(text("many.ndjson")).filter((line) => line.startsWith('{"type":"progress"'));
      expect(looks.length).toBeGreaterThanOrEqual(1);
    },
    90_000,
  );

  const LINKS = [
    ["packet", ["--link", "packet", "--workers", "2"]],
    ["raw", ["--link", "raw"]],
  ] as const;
  it.each(someOf(2, LINKS))(
    "a run that SIGINT cuts short leaves every file whole (%s)",
    async (name, means) => {
      const base = `cut-${name}`;
      const args = [...means, "--max-rate", "5000", ...everything(base), ...MANY];
      const running = start(inNamespace(lab.near, synprobe(...args)), { limitMs: 60_000 });
      await running.until("stdout", /(?:\n[^\n]*){300}/);
      running.kill("SIGINT");
      expect((await running.finished).status).toBe(130);
      const { ndjson, ...others } = pairsOf(base);
      expect(ndjson.length).toBeGreaterThan(300);
      expect(ndjson.length).toBeLessThan(PAIRS);
      for (const [format, pairs] of Object.entries(others))
        expect(differences(pairs, ndjson), format).toEqual([]);
      expect(differences(listed(base), openIn(ndjson))).toEqual([]);
      expect(differences(evidenceIn(base), ndjson)).toEqual([]);
      const hosts = new Set(ndjson.map((pair) => pair.split(" ")[0])).size;
      expect(text(`${base}.xml`)).toContain(`<hosts up="${hosts}" down="0" total="${hosts}"/>`);
      expect(text(`${base}.gnmap`)).toContain(`-- ${hosts} IP addresses (${hosts} hosts up) scanned in`);
      expect(text(`${base}.nmap`)).toMatch(/ports \([\d,]+ hosts planned(, [\d,]+ answered)?\): /);
    },
    90_000,
  );

  it("a SIGINT before anything has come leaves every file whole too", async () => {
    const running = start(
      inNamespace(lab.near, synprobe("--timeout", "10m", ...everything("early"), at(SILENT.ipv4, "1-9"))),
    );
    until(() => existsSync(file("early.list")) && text("early.list") !== "", "the files' beginnings");
    running.kill("SIGINT");
    expect((await running.finished).status).toBe(130);
    expect(Object.values(pairsOf("early")).flat()).toEqual([]);
    expect(evidenceIn("early")).toEqual([]);
  });

  it("two SIGINTs end a run at once, and leave every file whole", async () => {
    const args = ["--timeout", "10m", ...everything("twice"), "198.19.0.0/26:7001", at(SILENT.ipv4, "1-9")];
    const running = start(inNamespace(lab.near, synprobe(...args)));
    until(
      () => existsSync(file("twice.list")) && text("twice.list").split("\n").length === 66,
      "the open ports",
    );
    running.kill("SIGINT");
    running.kill("SIGTERM");
    // Which of the two is handled last is the kernel's choice, when both are pending.
    expect([130, 143]).toContain((await running.finished).status);
    const { ndjson, ...others } = pairsOf("twice");
    expect(ndjson).toHaveLength(64);
    for (const [format, pairs] of Object.entries(others))
      expect(differences(pairs, ndjson), format).toEqual([]);
    expect(text("twice.nmap")).toContain("warning: interrupted, 9 ports unfinished\n");
  });

  it.each(someOf(2, LINKS.toReversed()))(
    "--pcap-all has every packet, and tshark finds nothing wrong with them (%s)",
    async (name, means) => {
      const base = file(`all-${name}`);
      const targets = [
        "198.19.1.0-198.19.1.9",
        "[2001:db8:5::1-2001:db8:5::9]",
        "-p",
        `${OPEN},7002`,
        "192.0.2.10:7002",
      ];
      const { status } = await wide(lab, [
        ...means,
        "--pcap",
        base,
        "--pcap-all",
        "-oJ",
        `${base}.ndjson`,
        ...targets,
      ]);
      expect(status).toBe(0);
      const { summary } = readScan(readFileSync(`${base}.ndjson`, "utf8"));
      const packets = packetsOf(readFileSync(base));
      const { sent, received } = summary as typeof summary & { readonly received: number };
      expect(packets).toHaveLength(sent + received);
      expect(packets.filter(({ comment }) => comment !== "")).toHaveLength(39);
      const fields = ["_ws.malformed", "ip.checksum.status", "tcp.checksum.status", "tcp.flags"];
      const checks = ["ip.check_checksum:TRUE", "tcp.check_checksum:TRUE"].flatMap((option) => [
        "-o",
        option,
      ]);
      const read = spawnSync(
        "tshark",
        ["-r", base, "-n", ...checks, "-T", "fields", ...fields.flatMap((field) => ["-e", field])],
        { encoding: "utf8" },
      );
      if (skipping("tshark", read.error === undefined ? undefined : "tshark is not installed")) return;
      const rows = linesOf(read.stdout).map((line) => line.split("\t"));
      expect(rows).toHaveLength(packets.length);
      expect(rows.filter(([, , , flags]) => flags === "0x0002")).toHaveLength(sent);
      for (const [malformed, ip, segment, flags] of rows) {
        expect(malformed).toBe("");
        expect(["1", ""]).toContain(ip);
        // Answers come from a kernel on this machine, which leaves their checksums to a card that is not there.
        if (flags === "0x0002") expect(segment).toBe("1");
      }
    },
  );

  it.runIf(ALL)(
    "-oG is nmap's -oG, but for what is said of the run and the names of services",
    async () => {
      if (skipping("nmap's -oG", has("nmap") ? undefined : "nmap is not installed")) return;
      const targets = ["-p", "6999-7004", "198.19.7.1-3", "198.19.0.200", SILENT.ipv4];
      const nmap = ["nmap", "-sS", "-n", "-Pn", "--max-retries", "1", "-oG", "-", ...targets];
      const [ours, theirs] = await Promise.all([
        wide(lab, ["-oG", "-", "-S", SOURCES[0].ipv4, ...targets]),
        run(inNamespace(lab.near, nmap)),
      ]);
      const hosts = (text: string): string[] =>
        linesOf(text)
          .filter((line) => !line.startsWith("#"))
          .map((line) => line.replaceAll(/\/tcp\/\/[^/]*\/\/\//g, "/tcp"))
          .sort();
      expect(hosts(ours.stdout)).toEqual(hosts(theirs.stdout));
      const recipes = [
        "awk '/Up$/{print $2}' | sort",
        "grep /open/ | cut -d' ' -f2 | sort",
        "grep -o '[0-9]*/open/[^/]*' | sort | uniq -c",
        "grep Ports: | tr -d ',' | awk '{for(i=5;i<=NF;i++){split($i,a,\"/\");print $2, a[1], a[2]}}' | sort",
        "sed -n 's/.*-- \\(.*\\) scanned.*/\\1/p'",
      ];
      for (const recipe of recipes) {
        const [one, other] = [ours, theirs].map(
          ({ stdout }) => spawnSync("sh", ["-c", recipe], { input: stdout, encoding: "utf8" }).stdout,
        );
        expect(one, recipe).not.toBe("");
        expect(one, recipe).toBe(other);
      }
    },
    60_000,
  );

  describe("a pipe", () => {
    const mkfifo = (name: string): string => {
      expect(spawnSync("mkfifo", [file(name)]).status).toBe(0);
      return file(name);
    };

    it("that nobody reads yet is waited for, and the user is told", async () => {
      const fifo = mkfifo("later");
      const running = start(inNamespace(lab.near, synprobe("-oJ", fifo, `198.19.0.1:${OPEN}`)));
      expect(await running.until("stderr", /\n/)).toBe(
        `synprobe: waiting for a reader of the pipe ${fifo}: nothing is sent before\n`,
      );
      const { stdout } = await run(["cat", fifo]);
      expect(schemaErrors(stdout)).toEqual([]);
      expect(readScan(stdout).results.size).toBe(1);
      expect((await running.finished).status).toBe(0);
    });

    it("that nobody ever reads can be given up", async () => {
      const running = start(inNamespace(lab.near, synprobe("-oJ", mkfifo("never"), `198.19.0.1:${OPEN}`)));
      await running.until("stderr", /waiting/);
      running.kill("SIGINT");
      expect(await running.finished).toMatchObject({
        status: 130,
        stdout: expect.stringContaining("interrupted, 1 port unfinished"),
      });
    });

    it("on standard output takes a capture: --pcap - | tshark -r -", async () => {
      if (skipping("tshark from a pipe", has("tshark") ? undefined : "tshark is not installed")) return;
      const words = synprobe("--pcap", "-", `198.19.0.1:${OPEN}`).map((word) => `'${word}'`);
      const { stdout } = await run(
        inNamespace(lab.near, ["sh", "-c", `${words.join(" ")} | tshark -r - -T fields -e tcp.flags.str`]),
      );
      expect(linesOf(stdout)).toEqual([expect.stringMatching(/S·$/), expect.stringMatching(/A··S·$/)]);
    });
  });

  it.each([
    [["-oA", "-"], "-oA takes the beginning of file names, such as scan for scan.xml, scan.nmap …"],
    [["--pcap-all"], "--pcap-all says nothing without --pcap: give that too, or leave it out"],
    [["--pcap", "-", "-oC", "-"], "only one format can go to standard output (-): give the others a file"],
    [["--pcap", "/nosuch/x"], "cannot write output file /nosuch/x: its directory does not exist"],
  ])("%j is refused in one line", async (args, message) => {
    const { status, stderr } = await wide(lab, [...args, `198.19.0.1:${OPEN}`]);
    expect({ status, stderr }).toEqual({ status: 2, stderr: `synprobe: ${message}\n` });
  });

  it("-oA and a name of one of its files are two formats for one file", async () => {
    const { status, stderr } = await wide(lab, [
      "-oA",
      file("two"),
      "-oG",
      file("two.gnmap"),
      `198.19.0.1:${OPEN}`,
    ]);
    expect({ status, stderr }).toEqual({
      status: 2,
      stderr: `synprobe: two formats cannot share the file ${file("two.gnmap")}: give each its own\n`,
    });
  });
});
