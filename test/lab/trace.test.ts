/** `synprobe trace` against real kernels: each kind of port tells its story, and the capture is one that others can read. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { withCapabilities } from "../cli/identity.ts";
import { type Finished, run, start, synprobe } from "../cli/process.ts";
import { ALL } from "../everyday.ts";
import { listen } from "./listeners.ts";
import {
  BEYOND,
  command,
  createLab,
  FAR,
  inNamespace,
  type Lab,
  labProblem,
  NEAR,
  SILENT,
  skipping,
} from "./netns.ts";
import { untilLeft } from "./octets.ts";
import { at } from "./probing.ts";
import { rules, SERVICES, serve } from "./services.ts";

const QUICK = ["--retries", "0", "--timeout", "300ms"];

interface TraceJson {
  readonly state: string;
  readonly reason: string;
  readonly responder?: string;
  readonly established_ms?: number;
  readonly packets: readonly { direction: string; at_ms: number; step: number; text: string; hex: string }[];
  readonly rows: Readonly<
    Record<"empty" | "connecting" | "after" | "end", { state: string; reserved: number }>
  >;
  readonly steps: readonly {
    number: number;
    title: string;
    fields?: { name: string; hex: string; meaning: string }[];
  }[];
}

describe.skipIf(skipping("trace", labProblem()))("trace", () => {
  let lab: Lab;
  let folder = "";
  beforeAll(async () => {
    lab = createLab();
    folder = mkdtempSync(join(tmpdir(), "synprobe-trace-"));
    await serve(lab.far);
  });
  afterAll(() => {
    lab?.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  const trace = (...args: string[]): Promise<Finished> =>
    run(inNamespace(lab.near, synprobe("trace", ...args)));
  async function json(...args: string[]): Promise<TraceJson> {
    const { status, stdout, stderr } = await trace("--json", ...args);
    expect(stderr).toBe("");
    expect(status).toBe(0);
    return JSON.parse(stdout) as TraceJson;
  }
  const kinds = ({ packets }: TraceJson): string[] =>
    packets.map(({ direction, text }) => `${direction} ${/ TCP (\S+)/.exec(text)?.[1] ?? text}`);

  it.each([
    ["IPv4", FAR.ipv4],
    ["IPv6", FAR.ipv6],
  ])("of an open port over %s goes through all ten steps to the close", async (_version, far) => {
    const told = await json(at(far, SERVICES.closes));
    expect(told).toMatchObject({ state: "open", reason: "syn-ack" });
    expect(told.steps.map(({ number }) => number)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(kinds(told).slice(0, 3)).toEqual(["sent SYN", "received SYN,ACK", "sent ACK"]);
    expect(kinds(told).filter((kind) => kind.includes("FIN"))).toHaveLength(2);
    expect(kinds(told).join()).not.toContain("RST");
    expect(told.rows.empty).toMatchObject({ state: "CLOSED", reserved: 0 });
    expect(told.rows.connecting).toMatchObject({ state: "SYN-SENT", reserved: 131_070 });
    expect(told.rows.after).toMatchObject({ state: "ESTABLISHED" });
    expect(told.rows.end).toMatchObject({ reserved: 0 });
    expect(told.established_ms).toBeGreaterThan(0);
    const times = told.packets.map(({ at_ms }) => at_ms);
    expect(times[0]).toBe(0);
    // The header's fields are its bytes, all of them, in their order.
    const bytes = (told.steps[2].fields ?? []).map(({ hex }) => hex.replaceAll(" ", "")).join("");
    expect(told.packets[0].hex.endsWith(bytes)).toBe(true);
    expect(bytes).toHaveLength(48);
    const header = (told.steps[3].fields ?? []).map(({ hex }) => hex.replaceAll(" ", "")).join("");
    expect(`${header}${bytes}`).toBe(told.packets[0].hex);
    expect(rules(lab.near)).toEqual([]);
  });

  it("of a closed, a rejected and a silent port tells what came instead", async () => {
    const closed = await json(at(FAR.ipv4, 9));
    expect(closed).toMatchObject({ state: "closed", reason: "reset" });
    expect(kinds(closed)).toEqual(["sent SYN", "received RST,ACK"]);
    const rejected = await json(at(BEYOND.prohibit.ipv4, 9));
    expect(rejected).toMatchObject({ state: "filtered", reason: "admin-prohibited", responder: FAR.ipv4 });
    const silent = await json(at(SILENT.ipv4, 9), "--timeout", "200ms");
    expect(silent).toMatchObject({ state: "filtered", reason: "no-response" });
    expect(kinds(silent)).toEqual(["sent SYN", "sent SYN", "sent SYN"]);
    // RFC 6298: each retransmission waits twice as long, and carries the same SYN.
    const [first, second, third] = silent.packets;
    // The wait counts from the decision to send; what is told is when it left, which a busy machine delays by some milliseconds.
    expect(second.at_ms - first.at_ms).toBeGreaterThanOrEqual(180);
    expect(third.at_ms - second.at_ms).toBeGreaterThanOrEqual(380);
    expect(new Set(silent.packets.map(({ hex }) => hex)).size).toBe(1);
  });

  it("--why says how far the SYNs to a filtered port come, and sends nothing to another that is not filtered", async () => {
    const inSimulation = (...args: string[]) =>
      run(synprobe("lab", "--", ...synprobe("trace", ...QUICK, ...args)));
    const [told, data, open] = await Promise.all([
      inSimulation("--why", "198.18.9.9:445"),
      inSimulation("--why", "--json", "198.18.9.9:445"),
      inSimulation("--why", "198.18.9.9:443"),
    ]);
    const sentence = /^445 is filtered: its SYNs come as far as hop 6 \(203\.0\.113\.6\)/m;
    expect(told.stdout).toMatch(sentence);
    const { state, where } = JSON.parse(data.stdout);
    expect(state).toBe("filtered");
    expect(where).toMatchObject({
      kind: "unknown",
      from: 6,
      seen_at: 6,
      text: expect.stringMatching(sentence),
    });
    expect(open.stdout).toContain("the port is open");
    expect(open.stdout).not.toMatch(/hop \d/);
  });

  it("--half-open sends no ACK, and needs no CAP_NET_ADMIN", async () => {
    const { status, stdout } = await run(
      withCapabilities(
        lab.near,
        "+net_raw",
        synprobe("trace", "--json", "--half-open", at(FAR.ipv4, SERVICES.quiet)),
      ),
    );
    expect(status).toBe(0);
    expect(kinds(JSON.parse(stdout))).toEqual(["sent SYN", "received SYN,ACK"]);
  });

  it("of this machine's own address stays half-open, and says why", async () => {
    await listen(lab.near, [{ host: NEAR.ipv4, port: 7300 }]);
    const told = await json(at(NEAR.ipv4, 7300));
    expect(told).toMatchObject({ state: "open", reason: "syn-ack" });
    expect(kinds(told)).toEqual(["sent SYN", "received SYN,ACK"]);
    const { stdout } = await trace(at(NEAR.ipv4, 7300));
    expect(stdout).toMatch(/own addresses the kernel's RST cannot be held back/);
  });

  it("is laid out for people, without colour on a pipe", async () => {
    const { status, stdout } = await trace(at(FAR.ipv4, SERVICES.closes));
    expect(status).toBe(0);
    for (let step = 1; step <= 10; step++)
      expect(stdout).toMatch(new RegExp(`^${String(step).padStart(2)} {2}\\S`, "m"));
    expect(stdout).toMatch(/^ {4}control bits +02 +SYN$/m);
    expect(stdout).toMatch(/^ {4}state +SYN-SENT -> ESTABLISHED$/m);
    expect(stdout).toMatch(/0\.000 ms \|-- SYN seq=\d+ -+>\|/);
    expect(stdout).not.toContain("\x1b");
  });

  it("--pcap is a capture that tshark reads without a complaint, steps in its comments", async () => {
    const file = join(folder, "open.pcapng");
    const { status } = await trace("--pcap", file, at(FAR.ipv4, SERVICES.speaks));
    expect(status).toBe(0);
    expect(readFileSync(file).readUInt32LE(0)).toBe(0x0a0d0d0a);
    const fields = [
      "frame.comment",
      "tcp.flags.str",
      "_ws.malformed",
      "ip.checksum.status",
      "frame.time_epoch",
    ];
    const read = spawnSync(
      "tshark",
      ["-r", file, "-n", "-o", "ip.check_checksum:TRUE", "-T", "fields", ...fields.flatMap((f) => ["-e", f])],
      { encoding: "utf8" },
    );
    if (
      skipping("tshark reads the capture", read.error === undefined ? undefined : "tshark is not installed")
    )
      return;
    expect(read.status).toBe(0);
    const rows = read.stdout
      .trimEnd()
      .split("\n")
      .map((line) => line.split("\t"));
    expect(rows.length).toBeGreaterThanOrEqual(6);
    expect(rows[0][0]).toMatch(/^step 5: It is sent/);
    expect(rows[1][0]).toMatch(/^step 7: The answer/);
    expect(rows.map(([, , malformed]) => malformed ?? "")).toEqual(rows.map(() => ""));
    expect(new Set(rows.map(([, , , checksum]) => checksum))).toEqual(new Set(["1"]));
    const times = rows.map(([, , , , time]) => Number(time));
    expect(times).toEqual(times.slice().sort((a, b) => a - b));
    expect(Math.abs(times[0] - Date.now() / 1000)).toBeLessThan(60);
  });

  it("interrupted tells what is known, that the port is not decided, and leaves nothing behind", async () => {
    const running = [[], ["--json"], ["--brief"]].map((args) =>
      start(inNamespace(lab.near, synprobe("trace", ...args, "--timeout", "60s", at(SILENT.ipv4, 9)))),
    );
    // Nothing but they sends.
    untilLeft(lab.near, running.length);
    for (const each of running) each.kill("SIGINT");
    const [story, data, brief] = await Promise.all(running.map(({ finished }) => finished));
    expect([story, data, brief].map(({ status }) => status)).toEqual([130, 130, 130]);
    expect(story.stdout).toMatch(/^ 8 .*: interrupted, the port is not decided$/m);
    expect(story.stdout).not.toMatch(/filtered|no-response/);
    expect(JSON.parse(data.stdout)).toMatchObject({ interrupted: true, packets: [{ direction: "sent" }] });
    expect(data.stdout).not.toMatch(/"state":"filtered"|"reason"/);
    expect(brief.stdout).toMatch(/^not decided: interrupted after /m);
    expect(rules(lab.near)).toEqual([]);
  });

  // It takes seconds to give up; every day path does so (path.test.ts).
  it.runIf(ALL)("says which SYN the kernel refused, and why, with the steps so far", async () => {
    const own = createLab();
    const target = at(SILENT.ipv4, 9);
    const ask = (...args: string[]) => inNamespace(own.near, synprobe("trace", ...args, target));
    try {
      const running = start(ask("--json", "--timeout", "2s", "--retries", "1"));
      untilLeft(own.near, 1);
      command(["ip", "-n", own.near, "link", "set", "veth0", "down"]);
      const away = await running.finished;
      expect(JSON.parse(away.stdout)).toMatchObject({
        state: "filtered",
        reason: "send-enetunreach",
        packets: [{ direction: "sent" }, { direction: "refused", error: "ENETUNREACH" }],
      });
      expect(away.stderr).toContain("no more could be sent: the kernel says ENETUNREACH");
      expect(away.status).toBe(5);
    } finally {
      own.remove();
    }
  });

  it.each([
    [["192.0.2.10:22,80"], 2, /name one port/],
    [["192.0.2.10"], 2, /name one port/],
    [["192.0.2.10:22", "-4", "-6"], 2, /-4 and -6 exclude each other/],
    [["192.0.2.10:0"], 2, /port 0 is out of range/],
    [
      ["192.0.2.10:22", "--pcap", "/nosuch/file"],
      2,
      /cannot write output file .nosuch.file: its directory does not exist/,
    ],
    [["198.19.0.1:22"], 4, /no route/],
  ])("%j is refused: exit %i", async (args, expected, message) => {
    const { status, stdout, stderr } = await trace(...args);
    expect(status).toBe(expected);
    expect(stderr).toMatch(message);
    expect(stdout).toBe("");
    expect(rules(lab.near)).toEqual([]);
  });
});
