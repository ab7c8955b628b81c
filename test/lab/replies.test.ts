/** One table of replies as no kernel sends them, and one answer to each: of both links, of `--complete`, and of `synprobe trace`. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run, synprobe } from "../cli/process.ts";
import { ALL } from "../everyday.ts";
import { BEYOND, createLab, inNamespace, type Lab, labProblem, skipping } from "./netns.ts";
import { at, probe } from "./probing.ts";

interface Reply {
  /** Letters of the control bits. */
  readonly f?: string;
  /** So much further on in the sequence than the first segment. */
  readonly on?: number;
  /** The acknowledgement: ISN + 1 (default), the ISN, zero, or another. */
  readonly a?: "S+" | "S" | "Z" | "O";
  readonly text?: number;
  readonly icmp?: readonly [type: number, code: number];
  readonly vlan?: number;
  readonly delay?: number;
  /** The packet comes in fragments, cut after so many bytes of payload each. */
  readonly cut?: readonly number[];
  /** IPv6 extension headers, and their protocol numbers. */
  readonly headers?: readonly string[];
  readonly kinds?: readonly number[];
}

type Case = readonly [name: string, verdict: string, replies: readonly Reply[]];

const IPV4: readonly Case[] = [
  ["SYN+ACK", "open syn-ack", [{ f: "SA" }]],
  ["SYN+FIN+ACK", "open syn-ack", [{ f: "SFA" }]],
  ["RST+ACK", "closed reset", [{ f: "RA" }]],
  ["RST+ACK with the ISN", "closed reset", [{ f: "RA", a: "S" }]],
  ["RST+FIN+ACK", "closed reset", [{ f: "RFA" }]],
  ["bare RST with the right acknowledgement", "closed reset", [{ f: "R" }]],
  ["bare RST that proves nothing", "filtered unproved-reset", [{ f: "R", a: "Z" }]],
  ["SYN+ACK for another SYN", "filtered no-response", [{ f: "SA", a: "O" }]],
  ["SYN+RST+ACK", "filtered no-response", [{ f: "SRA" }]],
  ["every control bit", "filtered no-response", [{ f: "FSRPAU" }]],
  ["bare SYN", "filtered unproved-syn", [{ f: "S", a: "Z" }]],
  ["ICMP, then SYN+ACK", "open syn-ack", [{ icmp: [3, 13] }, { f: "SA", delay: 0.02 }]],
  ["ICMP alone", "filtered admin-prohibited", [{ icmp: [3, 13] }]],
  ["SYN+ACK of another VLAN", "filtered no-response", [{ f: "SA", vlan: 7 }]],
  ["SYN+ACK with a priority tag", "open syn-ack", [{ f: "SA", vlan: 0 }]],
  ["SYN+ACK with 3,000 bytes of text", "open syn-ack", [{ f: "SA", text: 3000 }]],
  ["SYN+ACK in two fragments", "open syn-ack", [{ f: "SA", cut: [16] }]],
  ["RST+ACK with text in four", "closed reset", [{ f: "RA", text: 2000, cut: [24, 800, 1600] }]],
  ["ICMP in two fragments", "filtered admin-prohibited", [{ icmp: [3, 13], cut: [32] }]],
  ["ACKs of an older connection", "filtered no-response", new Array(9).fill({ f: "A", a: "O" })],
  ["SYN+ACK, and FIN+ACK at once", "open syn-ack", [{ f: "SA" }, { f: "FA", on: 1 }]],
  [
    "ACK of an older connection, then SYN+ACK",
    "open syn-ack",
    [
      { f: "A", a: "O" },
      { f: "SA", delay: 0.02 },
    ],
  ],
];
const PADDED = "0000010400000000";
const IPV6: readonly Case[] = [
  ["SYN+ACK", "open syn-ack", [{ f: "SA" }]],
  [
    "SYN+ACK in an atomic fragment",
    "open syn-ack",
    [{ f: "SA", kinds: [44], headers: ["0000000000000007"] }],
  ],
  [
    "SYN+ACK behind nine headers",
    "open syn-ack",
    [{ f: "SA", kinds: new Array(9).fill(60), headers: new Array(9).fill(PADDED) }],
  ],
  // The first one holds all headers (RFC 7112).
  ["SYN+ACK with text in three fragments", "open syn-ack", [{ f: "SA", text: 900, cut: [24, 400] }]],
];
const FIRST = 1001;
const HOSTS = [
  [BEYOND.blackhole.ipv4, IPV4, FIRST],
  [BEYOND.blackhole.ipv6, IPV6, FIRST + 100],
] as const;
const QUICK = ["--retries", "1", "--timeout", "300"];

const noPython = spawnSync("python3", ["--version"]).status === 0 ? undefined : "no python3";

describe.skipIf(skipping("replies", labProblem() ?? noPython))("a reply", () => {
  let lab: Lab;
  let responder: ChildProcess | undefined;
  beforeAll(async () => {
    lab = createLab();
    for (const name of [lab.near, lab.far]) {
      await run(inNamespace(name, ["ip", "link", "set", "veth0", "mtu", "4000"]));
    }
    const script = fileURLToPath(new URL("responder.py", import.meta.url));
    const [command = "", ...args] = inNamespace(lab.far, ["python3", script, "veth0"]);
    const started = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    responder = started;
    started.stdin.end(
      JSON.stringify(
        Object.fromEntries(
          HOSTS.flatMap(([, cases, first]) => cases.map(([, , replies], i) => [first + i, replies])),
        ),
      ),
    );
    await new Promise((resolve) => started.stdout.once("data", resolve));
  });
  afterAll(() => {
    responder?.kill();
    lab?.remove();
  });

  const expected = (): Record<string, string> =>
    Object.fromEntries(
      HOSTS.flatMap(([, cases]) =>
        cases.map(([name, verdict], i) => [`${cases === IPV4 ? 4 : 6}.${i} ${name}`, verdict]),
      ),
    );
  const named = (say: (ip: string, port: number) => string | undefined): Record<string, string | undefined> =>
    Object.fromEntries(
      HOSTS.flatMap(([ip, cases, first]) =>
        cases.map(([name], i) => [`${cases === IPV4 ? 4 : 6}.${i} ${name}`, say(ip, first + i)]),
      ),
    );
  const targets = HOSTS.map(([ip, cases, first]) => at(ip, `${first}-${first + cases.length - 1}`));

  it.each([
    ["raw", ["--link", "raw"]],
    ["packet", ["--link", "packet"]],
    ["raw with --complete", ["--link", "raw", "--complete"]],
  ])("means the same over %s", async (_name, options) => {
    const found = await probe(lab.near, ...options, ...QUICK, "--no-controls", ...targets);
    expect(
      named((ip, port) => {
        const one = found.get(at(ip, port));
        return one && `${one.state} ${one.reason}`;
      }),
    ).toEqual(expected());
  });

  it.runIf(ALL)(
    "of an older connection is ended by trace with RST, as by any TCP (RFC 9293 §3.5.1), and not taken for the answer",
    async () => {
      const older = IPV4.findIndex(([name]) => name.startsWith("ACK of an older connection"));
      const traced = synprobe("trace", "--json", ...QUICK, at(BEYOND.blackhole.ipv4, FIRST + older));
      const { stdout } = await run(inNamespace(lab.near, traced));
      const { state, packets, steps } = JSON.parse(stdout);
      expect(state).toBe("open");
      expect(packets.slice(0, 4)).toMatchObject([
        { direction: "sent", step: 5 },
        { direction: "received", step: 6, text: expect.stringContaining(`ack=${0x12345678}`) },
        { direction: "sent", step: 6, text: expect.stringMatching(`TCP RST seq=${0x12345678} `) },
        { direction: "received", step: 7, text: expect.stringContaining("SYN,ACK") },
      ]);
      expect(steps[5].text[0]).toContain("an older connection");
    },
  );

  /** The trace to a port by the name of its replies. */
  async function traced(name: string) {
    const port = FIRST + IPV4.findIndex(([each]) => each === name);
    const { stdout } = await run(
      inNamespace(lab.near, synprobe("trace", "--json", ...QUICK, at(BEYOND.blackhole.ipv4, port))),
    );
    return JSON.parse(stdout);
  }

  it("of an older connection is answered by trace once for each SYN, however many there are", async () => {
    const { state, packets } = await traced("ACKs of an older connection");
    const sent = packets.filter(({ direction }: { direction: string }) => direction === "sent");
    expect(state).toBe("filtered");
    expect(sent.map(({ text }: { text: string }) => / TCP (\S+) /.exec(text)?.[1])).toEqual([
      "SYN",
      "RST",
      "SYN",
      "RST",
    ]);
  });

  it.runIf(ALL)("and a FIN that waits already: the row is shown as the handshake has left it", async () => {
    const { state, rows } = await traced("SYN+ACK, and FIN+ACK at once");
    expect(state).toBe("open");
    expect(rows.after.state).toBe("ESTABLISHED");
  });

  it.skipIf(!ALL)(
    "means the same to trace",
    async () => {
      const told = new Map<string, string>();
      const all = HOSTS.flatMap(([ip, cases, first]) => cases.map((_, i) => at(ip, first + i)));
      const traceNext = async (): Promise<void> => {
        for (let target = all.shift(); target !== undefined; target = all.shift()) {
          const { stdout, stderr } = await run(
            inNamespace(lab.near, synprobe("trace", "--json", ...QUICK, target)),
          );
          if (stdout === "") throw new Error(stderr);
          const { state, reason } = JSON.parse(stdout) as { state: string; reason: string };
          told.set(target, `${state} ${reason}`);
        }
      };
      await Promise.all([traceNext(), traceNext(), traceNext(), traceNext()]);
      expect(named((ip, port) => told.get(at(ip, port)))).toEqual(expected());
    },
    120_000,
  );
});
