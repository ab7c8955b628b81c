/** link/packet and link/ethernet against real kernels: what goes out, what comes back, and neighbours that change. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createReplyDecoder } from "../../src/scan/probe/reply-decoder.ts";
import { writePacket } from "../../src/socket/segment.ts";
import { formatAddress } from "../../src/wire/address.ts";
import { pseudoSum4, pseudoSum6 } from "../../src/wire/checksum.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { ENVIRONMENT } from "../cli/process.ts";
import { address } from "../sim/run.ts";
import { firewall } from "./firewalls.ts";
import { listen } from "./listeners.ts";
import {
  BEYOND,
  command,
  createLab,
  FAR,
  inNamespace,
  ip,
  type Lab,
  labProblem,
  NEAR,
  skipping,
} from "./netns.ts";
import type { Line, Setting } from "./packet-run.ts";

const DEVICE = "veth0";
const RUN = fileURLToPath(new URL("packet-run.ts", import.meta.url));
const PORTS = { first: 61_000, last: 61_099 };
const OPEN = 7000;
const CLOSED = 7001;
/** The near kernel may not send to it. */
const GUARDED = 7002;
const ROUTES: Setting["routes"] = [
  ["192.0.2.0", "192.0.2.255"],
  ["198.18.0.0", "198.18.255.255", FAR.ipv4],
  ["2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"],
  ["2001:db8:1::", "2001:db8:1:ffff:ffff:ffff:ffff:ffff", FAR.ipv6],
];

/** What came back, in a few words: "192.0.2.10:7000 SA", "unreach of 198.18.0.2:7 by 192.0.2.10". */
interface Heard {
  readonly what: string;
  readonly ageUs: number;
  readonly packet: Uint8Array;
}

interface Runner {
  /** Sends a SYN to each. @returns what was said of each: "" or an errno name */
  probe(...targets: readonly (readonly [host: string, port: number])[]): Promise<readonly string[]>;
  /** Waits until something of that description has been heard since the last `forget`. */
  heard(what: string | RegExp, limitMs?: number): Promise<Heard>;
  /** What has been heard since the last `forget`. */
  readonly all: readonly Heard[];
  forget(): void;
  /** Ends it. @returns its exit status */
  end(): Promise<number | null>;
}

const runners: ChildProcess[] = [];

async function startRunner(
  namespace: string,
  mode: "main" | "worker",
  setting: Partial<Setting> = {},
): Promise<Runner> {
  const given: Setting = {
    mode,
    device: DEVICE,
    ports: [PORTS.first, PORTS.last],
    routes: ROUTES,
    ...setting,
  };
  const child = startScript(namespace, given);
  const heard: Heard[] = [];
  const answers: (readonly string[])[] = [];
  let ready = false;
  let look = (): void => {};
  createInterface({ input: child.stdout }).on("line", (text) => {
    const line: Line = JSON.parse(text);
    if ("ready" in line) ready = true;
    if ("sent" in line) answers.push(line.sent);
    if ("received" in line) {
      const packet = Uint8Array.from(Buffer.from(line.received, "hex"));
      heard.push({ what: describePacket(packet), ageUs: line.ageUs, packet });
    }
    look();
  });
  const until = <T>(find: () => T | undefined, what: string, limitMs = 10_000): Promise<T> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`waited for ${what}; heard: ${heard.map((h) => h.what).join(", ")}`)),
        limitMs,
      );
      look = () => {
        const found = find();
        if (found === undefined) return;
        clearTimeout(timer);
        resolve(found);
      };
      look();
    });
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint += text;
  });
  const ended = once(child, "close").then(([status]) => {
    throw new Error(`it ended with ${status}: ${complaint}`);
  });
  await Promise.race([until(() => (ready ? true : undefined), "the link to open"), ended]);
  ended.catch(() => {});
  let port = PORTS.first;
  return {
    probe: (...targets) => {
      const packets = targets.map(([host, peerPort]) => {
        if (++port > PORTS.last) port = PORTS.first;
        return Buffer.from(syn(host, peerPort, port)).toString("hex");
      });
      child.stdin.write(`${JSON.stringify(packets)}\n`);
      return until(() => answers.shift(), "packets to be sent");
    },
    heard: (what, limitMs) =>
      until(
        () => heard.find((one) => (typeof what === "string" ? one.what === what : what.test(one.what))),
        String(what),
        limitMs,
      ),
    all: heard,
    forget: () => {
      heard.length = 0;
    },
    end: async () => {
      child.stdin.end();
      if (child.exitCode === null) await once(child, "exit");
      return child.exitCode;
    },
  };
}

function startScript(namespace: string, setting: Setting) {
  const [name = "", ...args] = inNamespace(namespace, [
    process.execPath,
    "--import",
    "tsx",
    RUN,
    JSON.stringify(setting),
  ]);
  const child = spawn(name, args, { stdio: ["pipe", "pipe", "pipe"], env: ENVIRONMENT });
  runners.push(child);
  return child;
}

/** A SYN from the near side. */
function syn(host: string, peerPort: number, localPort: number): Uint8Array {
  const peer = address(host);
  const packet = new Uint8Array((peer.length === 4 ? 20 : 40) + tcp.HEADER_LENGTH);
  writePacket(
    packet,
    0,
    { local: address(peer.length === 4 ? NEAR.ipv4 : NEAR.ipv6), peer, localPort, peerPort, ttl: 64 },
    { flags: tcp.FLAGS.SYN, sequence: 1000, acknowledgement: 0, window: 1024, text: new Uint8Array(0) },
  );
  return packet;
}

const decoder = createReplyDecoder();

function describePacket(packet: Uint8Array): string {
  const v4 = packet[0] >> 4 === 4;
  const decoded = decoder.decode(packet, 0, packet.length);
  const { peer, peerPort, flags, responderAt, responderLength } = decoder.reply;
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => peer[i >> 2] >>> (24 - 8 * (i & 3)));
  const host = formatAddress(v4 ? bytes.slice(12) : bytes);
  const target = v4 ? `${host}:${peerPort}` : `[${host}]:${peerPort}`;
  if (decoded === "segment") {
    const letters = [
      [tcp.FLAGS.SYN, "S"],
      [tcp.FLAGS.RST, "R"],
      [tcp.FLAGS.ACK, "A"],
    ] as const;
    return `${target} ${letters.map(([flag, letter]) => ((flags & flag) === 0 ? "" : letter)).join("")}`;
  }
  if (decoded === "icmp-error")
    return `${decoder.reply.reason} of ${target} by ${formatAddress(packet, responderAt, responderLength)}`;
  return decoded;
}

describe.skipIf(skipping("packet links", labProblem()))("packet links", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = createLab();
    await listen(lab.far, [
      { host: FAR.ipv4, port: OPEN },
      { host: FAR.ipv6, port: OPEN },
    ]);
    firewall(lab.near, "output", [`tcp flags syn / syn,ack,rst tcp dport ${GUARDED} drop`]);
  });
  afterEach(() => {
    for (const child of runners.splice(0)) child.kill("SIGKILL");
  });
  afterAll(() => lab?.remove());

  /** Makes the near kernel forget its neighbours. */
  const forgetNeighbours = (): void => ip(lab.near, `neigh flush dev ${DEVICE}`);

  describe.each(["main", "worker"] as const)("in a %s thread without privileges", (mode) => {
    it("send IPv4 and IPv6 in one batch, on the link and through a gateway, and hear every answer", async () => {
      forgetNeighbours();
      const runner = await startRunner(lab.near, mode);
      // The first wait for their neighbours' hardware addresses.
      for (const round of ["resolving", "resolved"]) {
        runner.forget();
        const told = await runner.probe(
          [FAR.ipv4, OPEN],
          [FAR.ipv6, OPEN],
          [FAR.ipv4, CLOSED],
          [FAR.ipv6, CLOSED],
          [BEYOND.unreachable.ipv4, 7],
          [BEYOND.unreachable.ipv6, 7],
          [BEYOND.blackhole.ipv4, 7],
        );
        expect(told, round).toEqual(["", "", "", "", "", "", ""]);
        for (const what of [
          `${FAR.ipv4}:${OPEN} SA`,
          `[${FAR.ipv6}]:${OPEN} SA`,
          `${FAR.ipv4}:${CLOSED} RA`,
          `[${FAR.ipv6}]:${CLOSED} RA`,
          `host-unreach of ${BEYOND.unreachable.ipv4}:7 by ${FAR.ipv4}`,
          `no-route of [${BEYOND.unreachable.ipv6}]:7 by ${FAR.ipv6}`,
        ]) {
          await runner.heard(what);
        }
      }
      // What the near kernel may not send can only go as frames, and it was asked for nothing.
      expect(command(["ip", "-n", lab.near, "neigh", "show", "dev", DEVICE])).not.toMatch(
        /FAILED|INCOMPLETE/,
      );
      expect(await runner.probe([FAR.ipv4, GUARDED], [FAR.ipv6, GUARDED])).toEqual(["", ""]);
      await runner.heard(`${FAR.ipv4}:${GUARDED} RA`);
      await runner.heard(`[${FAR.ipv6}]:${GUARDED} RA`);
      expect(await runner.end()).toBe(0);
    });

    it("say what the kernel would of a neighbour that is not there, and the kernel's table has none of it", async () => {
      const runner = await startRunner(lab.near, mode);
      expect(await runner.probe(["192.0.2.77", 7], ["2001:db8::77", 7])).toEqual(["", ""]);
      await runner.heard(`host-unreach of 192.0.2.77:7 by ${NEAR.ipv4}`);
      await runner.heard(`addr-unreach of [2001:db8::77]:7 by ${NEAR.ipv6}`);
      expect(command(["ip", "-n", lab.near, "neigh", "show", "dev", DEVICE])).not.toMatch(
        /^(192\.0\.2\.|2001:db8::)77 /m,
      );
    });
  });

  it("send IPv4 through a next hop that has an IPv6 address", async () => {
    ip(lab.far, "route add local 198.19.5.0/24 dev lo");
    forgetNeighbours();
    const runner = await startRunner(lab.near, "main", {
      routes: [["198.19.5.0", "198.19.5.255", FAR.ipv6]],
    });
    for (const port of [CLOSED, CLOSED + 100]) {
      await runner.probe(["198.19.5.7", port]);
      await runner.heard(`198.19.5.7:${port} RA`);
    }
  });

  it("refuse an address that no route has, and go on behind it", async () => {
    const runner = await startRunner(lab.near, "main");
    const told = await runner.probe([FAR.ipv4, CLOSED], ["198.19.0.1", 7], [FAR.ipv4, CLOSED + 100]);
    expect(told).toEqual(["", "ENETUNREACH", ""]);
    await runner.heard(`${FAR.ipv4}:${CLOSED + 100} RA`);
  });

  it("hear what only their own ports may have caused, and how old it is", async () => {
    const runner = await startRunner(lab.near, "main");
    const other = await startRunner(lab.near, "main", { ports: [62_000, 62_099] });
    await runner.probe([FAR.ipv4, OPEN], [FAR.ipv6, OPEN]);
    const answers = [
      await runner.heard(`${FAR.ipv4}:${OPEN} SA`),
      await runner.heard(`[${FAR.ipv6}]:${OPEN} SA`),
    ];
    for (const { ageUs } of answers) {
      expect(ageUs).toBeGreaterThan(0);
      expect(ageUs).toBeLessThan(1e6);
    }
    // Over veth a listening kernel leaves its checksums unfinished.
    const [{ packet: v4 }, { packet: v6 }] = answers;
    const offloaded = tcp.CHECKSUM_VERDICT.offloaded;
    expect(tcp.verifyChecksum(v4, 20, 20 + 24, pseudoSum4(v4, 12, 16, 6, 24))).toBe(offloaded);
    expect(tcp.verifyChecksum(v6, 40, 40 + 24, pseudoSum6(v6, 8, 24, 6, 24))).toBe(offloaded);
    expect(other.all).toEqual([]);
  });

  it("notice that a neighbour has another hardware address", async () => {
    command(
      inNamespace(lab.near, [
        "sh",
        "-c",
        `echo 100 >/proc/sys/net/ipv4/neigh/${DEVICE}/base_reachable_time_ms`,
      ]),
    );
    forgetNeighbours();
    const runner = await startRunner(lab.near, "main");
    await runner.probe([FAR.ipv4, CLOSED]);
    await runner.heard(`${FAR.ipv4}:${CLOSED} RA`);
    ip(lab.far, `link set ${DEVICE} address 02:00:5e:00:53:99`);
    runner.forget();
    const answered = (): boolean => runner.all.some(({ what }) => what === `${FAR.ipv4}:${CLOSED} RA`);
    let tries = 0;
    for (const start = performance.now(); !answered() && performance.now() - start < 15_000; tries++) {
      await runner.probe([FAR.ipv4, CLOSED]);
      await runner.heard(`${FAR.ipv4}:${CLOSED} RA`, 100).catch(() => {});
    }
    expect(answered()).toBe(true);
    expect(tries).toBeGreaterThan(1);
  });

  it("say that the interface is down, and go on when it is up again", async () => {
    for (const mode of ["main", "worker"] as const) {
      const runner = await startRunner(lab.near, mode);
      // The kernel may still have its neighbour as the test before left it: such a SYN is lost, and no link sends one again.
      const isAnswered = async (): Promise<boolean> => {
        await runner.probe([FAR.ipv4, CLOSED]);
        return runner.all.some(({ what }) => what === `${FAR.ipv4}:${CLOSED} RA`);
      };
      await expect.poll(isAnswered, { timeout: 10_000 }).toBe(true);
      await expect.poll(async () => (await runner.probe([FAR.ipv4, GUARDED]))[0]).toBe("");
      ip(lab.near, `link set ${DEVICE} down`);
      expect(await runner.probe([FAR.ipv4, CLOSED])).toEqual(["ENETDOWN"]);
      ip(lab.near, `link set ${DEVICE} up`);
      runner.forget();
      await expect.poll(isAnswered, { timeout: 10_000 }).toBe(true);
      expect(await runner.end()).toBe(0);
    }
  });

  it("hear what comes another way by a socket that is bound to lo, or to none where there are more ways", async () => {
    /** Interfaces, 0 for all, that sockets without a link header are bound to: type 2, SOCK_DGRAM. */
    const bound = async (): Promise<readonly number[]> => {
      const runner = await startRunner(lab.near, "main");
      const table = command(inNamespace(lab.near, ["cat", "/proc/net/packet"]));
      expect(await runner.end()).toBe(0);
      const rows = table.split("\n").map((line) => line.trim().split(/\s+/));
      return rows.flatMap(([, , type, , index]) => (type === "2" ? [Number(index)] : []));
    };
    const LO = 1;
    expect(await bound()).toEqual([LO]);
    ip(lab.near, "link add other type veth peer name otherp", "addr add 203.0.113.1/24 dev other");
    try {
      expect(await bound()).toEqual([0]);
    } finally {
      ip(lab.near, "link del other");
    }
  });

  it("do without lo, and with lo that goes down", async () => {
    const before = await startRunner(lab.near, "main");
    ip(lab.near, "link set lo down");
    const after = await startRunner(lab.near, "worker");
    for (const runner of [before, after]) {
      await runner.probe([FAR.ipv4, CLOSED]);
      await runner.heard(`${FAR.ipv4}:${CLOSED} RA`);
      expect(await runner.end()).toBe(0);
    }
  });
});

describe.skipIf(skipping("ethernet links", labProblem()))("ethernet links", () => {
  let lab: Lab;
  beforeAll(() => {
    lab = createLab();
    ip(lab.near, "link add pair type veth peer name pairp", "link set pair up", "link set pairp up");
  });
  afterAll(() => lab?.remove());

  it("keep every frame in order around the ring, a bounded number a turn, and count what was lost", async () => {
    const child = startScript(lab.near, { mode: "frames", device: "pair", ports: [1, 1], routes: [] });
    const [text] = await once(createInterface({ input: child.stdout }), "line");
    const line: Line = JSON.parse(text);
    if (!("frames" in line)) throw new Error(text);
    const { turns, inOrder, longestAgeUs, overrun, echoes, tagged } = line.frames;
    // The kernel may retire one of the ring's blocks a little later: then one more turn has what is left.
    const last = turns.findIndex((_, i) => turns.slice(0, i + 1).reduce((sum, [n]) => sum + n, 0) >= 5000);
    expect(turns.slice(0, last + 1).reduce((sum, [frames]) => sum + frames, 0)).toBe(5000);
    expect(Math.max(...turns.map(([frames]) => frames))).toBe(2048);
    expect(last).toBeLessThanOrEqual(5);
    expect(inOrder).toBe(true);
    expect(longestAgeUs).toBeGreaterThan(20_000);
    expect(longestAgeUs).toBeLessThan(5e6);
    expect(overrun.drops).toBeGreaterThan(0);
    expect(overrun.heard + overrun.drops).toBe(overrun.sent);
    expect(echoes).toBe(0);
    // The kernel takes a tag off before anyone sees the frame.
    expect(tagged).toBe(`${"ff".repeat(12)}88b5${"ff".repeat(60 - 18)}`);
  });
});
