/**
 * Listeners inside a lab's namespaces. Each is a process that ends when its standard input does, so none outlives the
 * tests; `inNamespace` gives its command a namespace's network and nothing else.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { ENVIRONMENT } from "../cli/process.ts";
import { command, inNamespace } from "./netns.ts";
import { until } from "./until.ts";

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

const ACCEPT = `
  const net = require("node:net");
  const endpoints = JSON.parse(process.argv[1]);
  let left = endpoints.length;
  const done = () => --left === 0 && console.log("ready");
  for (const at of endpoints) net.createServer((c) => c.on("error", () => {})).listen({ ...at, ipv6Only: true }, done);
  process.stdin.resume().on("end", () => process.exit());`;

// Never returns to the event loop, so it never accepts: the kernel alone shakes hands, until the backlog is full.
const NEGLECT = `
  const net = require("node:net");
  const endpoints = JSON.parse(process.argv[1]);
  let left = endpoints.length;
  const done = () => {
    if (--left > 0) return;
    require("node:fs").writeSync(1, "ready\\n");
    require("node:fs").readSync(0, Buffer.alloc(1));
    process.exit();
  };
  for (const at of endpoints) net.createServer().listen({ ...at, backlog: 1, ipv6Only: true }, done);`;

const CONNECT = `
  const net = require("node:net");
  for (const at of JSON.parse(process.argv[1]))
    for (let i = 0; i < 4; i++) net.connect(at).on("error", () => {});
  console.log("ready");
  process.stdin.resume().on("end", () => process.exit());`;

/** DNS (RFC 1035) by UDP: the names that it knows have an A record and nothing else, and of others it does not speak. */
const SERVE_NAMES = `
  const server = require("node:dgram").createSocket("udp4");
  const { at, names } = JSON.parse(process.argv[1]);
  server.on("message", (query, { port, address }) => {
    const labels = [];
    let end = 12;
    for (; query[end] > 0; end += query[end] + 1) labels.push(query.toString("latin1", end + 1, end + 1 + query[end]));
    const known = names[labels.join(".")];
    if (known === undefined) return;
    const isA = query.readUInt16BE(end + 1) === 1;
    const head = Buffer.from([query[0], query[1], 0x81, 0x80, 0, 1, 0, isA ? 1 : 0, 0, 0, 0, 0]);
    const record = isA ? Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...known.split(".")]) : Buffer.alloc(0);
    const answer = Buffer.concat([head, query.subarray(12, end + 5), record]);
    setTimeout(() => server.send(answer, port, address), LATE_MS);
  });
  server.bind(53, at, () => console.log("ready"));
  process.stdin.resume().on("end", () => process.exit());`;
/** Longer than a run waits for names alone. */
const LATE_MS = 600;

/** Serves names, late; those that it does not know have no answer at all. @param names the IPv4 address of each */
export async function serveNames(
  namespace: string,
  at: string,
  names: Readonly<Record<string, string>>,
): Promise<void> {
  await startScript(namespace, SERVE_NAMES.replace("LATE_MS", String(LATE_MS)), { at, names });
}

/** Listens on every endpoint, and accepts. */
export async function listen(namespace: string, endpoints: readonly Endpoint[]): Promise<void> {
  await startScript(namespace, ACCEPT, endpoints);
}

/** Listens on every endpoint with a backlog that is full: whoever knocks now gets no answer. */
export async function listenWithFullBacklog(
  namespace: string,
  endpoints: readonly Endpoint[],
): Promise<void> {
  await startScript(namespace, NEGLECT, endpoints);
  await startScript(namespace, CONNECT, endpoints);
  for (const { port } of endpoints) until(() => backlogIsFull(namespace, port), `a full backlog on ${port}`);
}

/** ss(8) on a listener: Recv-Q is what waits to be accepted, Send-Q the backlog; the kernel lets one more in. */
function backlogIsFull(namespace: string, port: number): boolean {
  const shown = command(inNamespace(namespace, ["ss", "-Hltn", `sport = :${port}`]));
  const queues = shown.trim().split("\n");
  return queues.every((line) => {
    const [, waiting, backlog] = line.split(/\s+/);
    return Number(waiting) > Number(backlog);
  });
}

async function startScript(namespace: string, script: string, endpoints: object): Promise<ChildProcess> {
  const [name = "", ...args] = inNamespace(namespace, [
    process.execPath,
    "-e",
    script,
    JSON.stringify(endpoints),
  ]);
  const child = spawn(name, args, { stdio: ["pipe", "pipe", "inherit"], env: ENVIRONMENT });
  child.unref();
  const failed = once(child, "exit").then(([status]) => {
    throw new Error(`the listener for ${JSON.stringify(endpoints)} ended with ${status}`);
  });
  failed.catch(() => {});
  await Promise.race([once(child.stdout, "data"), failed]);
  return child;
}
