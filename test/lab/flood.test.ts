/** A scan in a flood of forged and foreign packets (flood.ts): what they say is never believed, and no answer is lost. */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { start } from "../cli/process.ts";
import { someOf } from "../everyday.ts";
import type { Flood } from "./flood.ts";
import { listen } from "./listeners.ts";
import { command, inNamespace, ip, type Lab, labProblem, NEAR, skipping } from "./netns.ts";
import { answers, createWideLab, OPEN, type Scan, scan } from "./wide.ts";

const SCRIPT = fileURLToPath(new URL("flood.ts", import.meta.url));
const HOSTS = 4096;
/** From OPEN on; the first two of them are open. */
const PORTS = 8;
/** The last 64 of the hosts. */
const SILENT = { network: "198.19.15.192/26", from: HOSTS - 64 } as const;
const PORT = 61_500;
const PER_SECOND = 50_000;
const PATIENCE = ["--max-rate", "50000", "--retries", "4", "--timeout", "300"];

/** What the far side's kernel says, with its own TTL. */
const TRUTH = Array.from({ length: HOSTS * PORTS }, (_, i) => {
  const [host, port] = [Math.floor(i / PORTS), i % PORTS];
  const answer = port < 2 ? "open syn-ack 61" : "closed reset 61";
  return `198.19.${host >> 8}.${host & 255} ${OPEN + port} ${host < SILENT.from ? answer : "filtered no-response null"} -`;
}).sort();

describe.skipIf(skipping("a flood", labProblem()))("a flood", () => {
  let lab: Lab;
  let mac = "";
  beforeAll(async () => {
    lab = await createWideLab();
    // Where the network's own route is: longer prefixes come first.
    ip(lab.far, `route add blackhole ${SILENT.network} table local`);
    await listen(lab.far, [{ host: "0.0.0.0", port: OPEN + 1 }]);
    mac = command(inNamespace(lab.near, ["cat", "/sys/class/net/veth0/address"])).trim();
  });
  afterAll(() => lab?.remove());

  /** Scans while it rains. */
  async function scanInFlood(ports: readonly [number, number], args: readonly string[]): Promise<Scan> {
    const setting: Flood = {
      device: "veth0",
      mac,
      prober: NEAR,
      ports,
      host: "198.19.0.0",
      hosts: HOSTS,
      port: OPEN,
      portCount: PORTS,
      perSecond: PER_SECOND,
      seconds: 20,
    };
    const argv = [process.execPath, "--import", "tsx", SCRIPT, JSON.stringify(setting)];
    const flooding = start(inNamespace(lab.far, argv), { limitMs: 25_000 });
    await flooding.until("stdout", /flooding/);
    const found = await scan(lab, [
      ...PATIENCE,
      ...args,
      "198.19.0.0/20",
      "-p",
      `${OPEN}-${OPEN + PORTS - 1}`,
    ]);
    flooding.kill("SIGTERM");
    await flooding.finished;
    return found;
  }

  const HEARD = ["bad_checksum", "foreign"];
  const MATCHED = ["wrong_ack", "odd_flags"];
  const ANY_PORT = [61_000, 65_534] as const;
  // Every forged segment then has the very 4-tuple of a probe.
  const ONE_PORT = [PORT, PORT] as const;
  const PACKET = ["--link", "packet", "--workers", "1"];
  const RAW = ["--link", "raw", "-g", String(PORT)];

  it.each(
    someOf(3, [
      ["packet link, source ports of its own", ANY_PORT, PACKET, [...HEARD, "malformed"]],
      [
        "packet link, a known source port",
        ONE_PORT,
        [...PACKET, "-g", String(PORT)],
        [...HEARD, ...MATCHED, "malformed"],
      ],
      // What is malformed the kernel keeps to itself here.
      ["raw link, a known source port", ONE_PORT, RAW, [...HEARD, ...MATCHED]],
    ] as const),
  )("decides nothing: %s", async (_name, ports, args, kinds) => {
    const { results, summary } = await scanInFlood(ports, args);
    // Of a forged reset or SYN a silent port is told, and stays what it is.
    const decided = answers({ results }).map((line) =>
      line.replace(/ unproved-(reset|syn) /, " no-response "),
    );
    expect(decided).toEqual(TRUTH);
    for (const kind of kinds) expect(summary.ignored[kind], kind).toBeGreaterThan(100);
  });
});
