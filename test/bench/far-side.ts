/**
 * The far side of a benchmark's bed, a process of its own in the far namespace: listens on the open ports of every address,
 * and counts, when asked, what comes in at the interface.
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { OPEN_PORTS } from "./bed.ts";

const EVERY_MS = 10;
const DEVICE = "veth0";

const send = (message: unknown): void => {
  process.send?.(message);
};

/** Packets received since the interface was made. */
function received(): number {
  const line = readFileSync("/proc/self/net/dev", "latin1")
    .split("\n")
    .find((each) => each.trim().startsWith(`${DEVICE}:`));
  return Number(line?.trim().split(/\s+/)[2]);
}

let samples: [ms: number, packets: number][] = [];
let sampling: NodeJS.Timeout | undefined;
const sample = (): void => {
  samples.push([performance.now(), received()]);
};

process.on("message", ({ kind }: { kind: "start" | "stop" }) => {
  clearInterval(sampling);
  if (kind === "start") {
    samples = [];
    sample();
    sampling = setInterval(sample, EVERY_MS);
    send([]);
  } else {
    sample();
    send(samples);
  }
});

const listening = OPEN_PORTS.map(
  (port) =>
    new Promise<void>((resolve) => {
      createServer((socket) => socket.destroy()).listen({ port, host: "0.0.0.0", backlog: 65_535 }, resolve);
    }),
);
await Promise.all(listening);
send({ mac: readFileSync(`/sys/class/net/${DEVICE}/address`, "latin1").trim() });
