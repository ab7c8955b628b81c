/**
 * A lab whose far side is whole networks: WIDE has 65,536 hosts in IPv4 and as many as one likes in IPv6, all of them the far
 * kernel, so that every pair's answer is known. And synprobe run against them, with its results in one shape.
 */
import { type Finished, linesOf, type RunOptions, run, synprobe } from "../cli/process.ts";
import { listen } from "./listeners.ts";
import { command, createLab, FAR, inNamespace, ip, type Lab, removeNamespace } from "./netns.ts";
import type { Found } from "./probing.ts";

/** The far side's, every address of them; the port on which all of these hosts listen. */
export const WIDE = { ipv4: "198.19.0.0/16", ipv6: "2001:db8:5::/112" } as const;
export const OPEN = 7001;

/** Further addresses of the near side: a run from an address of its own meets no other run's ports, and no other's ICMP limits. */
export const SOURCES = Array.from({ length: 8 }, (_, i) => ({
  ipv4: `192.0.2.${31 + i}`,
  ipv6: `2001:db8::${31 + i}`,
}));

export async function createWideLab(): Promise<Lab> {
  const lab = createLab();
  try {
    await widen(lab);
    return lab;
  } catch (error) {
    lab.remove();
    throw error;
  }
}

/** Where a prober sits. */
export interface Seat {
  readonly namespace: string;
  readonly ipv4: string;
}

/** Probers that hear nothing of each other: each in a namespace of its own, which a link of its own joins to the far side. */
export function addSeats(lab: Lab, count: number): { readonly seats: readonly Seat[]; remove(): void } {
  const seats = Array.from({ length: count }, (_, i) => ({
    namespace: `${lab.near}-${i}`,
    ipv4: `198.18.${10 + i}.1`,
  }));
  const remove = (): void => {
    for (const { namespace } of seats) removeNamespace(namespace);
  };
  try {
    seats.forEach(({ namespace, ipv4 }, i) => {
      const gateway = ipv4.replace(/1$/, "2");
      const other = `veth${i + 1}`;
      command(["ip", "netns", "add", namespace]);
      ip(namespace, `link add veth0 type veth peer name ${other} netns ${lab.far}`);
      ip(lab.far, `addr add ${gateway}/24 dev ${other}`, `link set ${other} up`);
      ip(
        namespace,
        "link set lo up",
        `addr add ${ipv4}/24 dev veth0`,
        "link set veth0 up",
        `route add ${WIDE.ipv4} via ${gateway}`,
      );
    });
  } catch (error) {
    remove();
    throw error;
  }
  return { seats, remove };
}

async function widen({ near, far }: Lab): Promise<void> {
  ip(far, `route add local ${WIDE.ipv4} dev lo`, `route add local ${WIDE.ipv6} dev lo`);
  ip(
    near,
    ...SOURCES.flatMap(({ ipv4, ipv6 }) => addresses(ipv4, ipv6)),
    ...ROUTES.map((route) => `route replace ${route}`),
  );
  await listen(far, [
    { host: "0.0.0.0", port: OPEN },
    { host: "::", port: OPEN },
  ]);
}

const addresses = (ipv4: string, ipv6: string): string[] => [
  `addr add ${ipv4}/24 brd + dev veth0`,
  `addr add ${ipv6}/64 dev veth0 nodad`,
];

const ROUTES = [
  `${WIDE.ipv4} via ${FAR.ipv4}`,
  `${WIDE.ipv6} via ${FAR.ipv6}`,
  // These are there already, until the link goes down.
  `198.18.0.0/16 via ${FAR.ipv4}`,
  `2001:db8:1::/48 via ${FAR.ipv6}`,
];

/** What came of a run: its results by `ip port`, each of which must have come once, and its last record. */
export interface Scan {
  readonly results: ReadonlyMap<string, Found>;
  readonly summary: Summary;
  readonly stderr: string;
}

export interface Summary {
  readonly type: "summary";
  readonly hosts: number;
  readonly open: number;
  readonly closed: number;
  readonly filtered: number;
  readonly unfinished: number;
  readonly excluded?: number;
  readonly sent: number;
  readonly controls?: number;
  readonly ignored: Readonly<Record<string, number>>;
  readonly send_errors: Readonly<Record<string, number>>;
  readonly path: { readonly rate: number };
  readonly interrupted: boolean;
}

/** Runs synprobe in the near namespace. */
export const wide = (lab: Lab, args: readonly string[], options?: RunOptions): Promise<Finished> =>
  run(inNamespace(lab.near, synprobe(...args)), options);

/** The same to its end. @throws when it does not end well, or reports a pair twice */
export async function scan(lab: Lab, args: readonly string[], options?: RunOptions): Promise<Scan> {
  const { status, signal, stdout, stderr } = await wide(lab, ["-oJ", "-", ...args], options);
  if (status !== 0) throw new Error(`synprobe ${args.join(" ")} ended with ${status ?? signal}: ${stderr}`);
  return { ...readScan(stdout), stderr };
}

/** Reads NDJSON. @throws when a pair is in it twice, or the summary is not its end */
export function readScan(ndjson: string): Omit<Scan, "stderr"> {
  const records = linesOf(ndjson).map((line): unknown => JSON.parse(line));
  const summary = records.pop() as Summary | undefined;
  if (summary?.type !== "summary") throw new Error("the summary is missing");
  const results = new Map<string, Found>();
  for (const record of records as (Found & { readonly type?: string })[]) {
    if (record.type !== "result") continue;
    const key = `${record.ip} ${record.port}`;
    if (results.has(key)) throw new Error(`${key} is reported twice`);
    results.set(key, record);
  }
  return { results, summary };
}

/** What a result says of its pair, without what differs from run to run. */
export const answers = ({ results }: Pick<Scan, "results">): string[] =>
  [...results]
    .map(
      ([pair, { state, reason, ttl, responder }]) => `${pair} ${state} ${reason} ${ttl} ${responder ?? "-"}`,
    )
    .sort();

/** The answers that the far side's hosts must give: `count` hosts from 198.19.0.0 on. */
export const truth = (count: number, ports: readonly number[]): string[] =>
  Array.from({ length: count }, (_, i) => `198.19.${i >> 8}.${i & 255}`)
    .flatMap((host) =>
      ports.map((port) => `${host} ${port} ${port === OPEN ? "open syn-ack" : "closed reset"} 61 -`),
    )
    .sort();

/** TCP segments that the far side has received so far. */
export function farSegments(lab: Lab): number {
  const lines = command(inNamespace(lab.far, ["cat", "/proc/net/snmp"])).split("\n");
  const [names = [], values = []] = lines
    .filter((line) => line.startsWith("Tcp:"))
    .map((line) => line.split(" "));
  return Number(values[names.indexOf("InSegs")]);
}

/** Takes the near side's link down, or up with what goes lost meanwhile put back, as whoever manages networks does. */
export function setLink(lab: Lab, state: "down" | "up"): void {
  ip(lab.near, `link set veth0 ${state}`);
  if (state === "down") return;
  ip(
    lab.near,
    ...SOURCES.map(({ ipv6 }) => `addr replace ${ipv6}/64 dev veth0 nodad`),
    "addr replace 2001:db8::1/64 dev veth0 nodad",
    ...ROUTES.map((route) => `route replace ${route}`),
  );
}
