/**
 * Servers with manners of their own inside a lab's namespace, for completed handshakes. Like listeners.ts, each ends with
 * its standard input.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { ENVIRONMENT } from "../cli/process.ts";
import { command, inNamespace } from "./netns.ts";

/** Port → what it does with a connection. */
export const SERVICES = {
  /** Says something, and closes when the other side does. */
  speaks: 2201,
  /** Says nothing, and closes when the other side does. */
  quiet: 2202,
  /** Closes at once. */
  closes: 2203,
  /** Never closes. */
  keeps: 2204,
  /** Resets at once. */
  resets: 2205,
  /** Says what a terminal must not obey. */
  hostile: 2206,
  /** Never stops talking. */
  endless: 2207,
} as const;

const SERVE = `
  const net = require("node:net");
  const ports = JSON.parse(process.argv[1]);
  const does = {
    speaks: (c) => c.write("SSH-2.0-lab\\r\\n"),
    quiet: () => {},
    closes: (c) => c.end(),
    keeps: () => {},
    resets: (c) => c.resetAndDestroy(),
    hostile: (c) => c.write(Buffer.from("\\x1b[2J\\u202e\\x00".padEnd(3000, "A"))),
  };
  const talk = (c) => { while (c.write(Buffer.alloc(65536, 65))); c.once("drain", () => talk(c)); };
  does.endless = talk;
  let left = Object.keys(ports).length;
  for (const [name, port] of Object.entries(ports)) {
    net.createServer({ allowHalfOpen: name === "keeps" }, (c) => {
      c.on("error", () => {});
      c.on("data", () => {});
      does[name](c);
    }).listen(port, "::", () => --left === 0 && console.log("ready"));
  }
  process.stdin.resume().on("end", () => process.exit());`;

export async function serve(namespace: string): Promise<void> {
  const [name = "", ...args] = inNamespace(namespace, [
    process.execPath,
    "-e",
    SERVE,
    JSON.stringify(SERVICES),
  ]);
  const child = spawn(name, args, { stdio: ["pipe", "pipe", "inherit"], env: ENVIRONMENT });
  child.unref();
  const failed = once(child, "exit").then(([status]) => {
    throw new Error(`the services ended with ${status}`);
  });
  failed.catch(() => {});
  await Promise.race([once(child.stdout, "data"), failed]);
}

/** Rules that hold the kernel's RST back, in a namespace. */
export const rules = (namespace: string): string[] =>
  ["-4", "-6"].flatMap((family) =>
    command(["ip", "-n", namespace, family, "rule"])
      .split("\n")
      .filter((line) => /proto (83|\S*synprobe)/.test(line)),
  );
