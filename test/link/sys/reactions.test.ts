/**
 * What waits for a promise goes on when native code has called back, and not with the next timer. Up to Node 24 it does by itself, so
 * these can fail from Node 26 on; and in a process of its own alone, as anything else there that Node calls lets it go on too.
 */
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { mayOpenRawSockets } from "../../../src/link/sys/raw-socket.ts";

const SYS = new URL("../../../src/link/sys/", import.meta.url);
/** Which nothing else comes before. */
const TIMER_MS = 1000;

/** @returns how long after the call in `begin` what waited for it went on, in milliseconds */
async function delayOf(begin: string): Promise<number> {
  const code = `
    import { constants, openSync, writeSync } from "node:fs";
    import { watchReadable } from "${SYS}libc.ts";
    import { openRawSocket } from "${SYS}raw-socket.ts";
    setTimeout(() => {}, ${TIMER_MS});
    let calledAt;
    await new Promise((resolve) => {
      const called = () => {
        calledAt = performance.now();
        resolve();
      };
      ${begin}
    });
    console.log(performance.now() - calledAt);
    process.exit();`;
  const given = ["--import", "tsx", "--input-type=module", "-e", code];
  return Number((await promisify(execFile)(process.execPath, given)).stdout);
}

it("after a descriptor that can be read", async () => {
  const folder = mkdtempSync(join(tmpdir(), "synprobe-reactions-"));
  try {
    const pipe = join(folder, "pipe");
    execFileSync("mkfifo", [pipe]);
    const delay = await delayOf(`
      const fd = openSync("${pipe}", constants.O_RDWR | constants.O_NONBLOCK);
      const end = watchReadable(fd, () => (end(), called()), () => {});
      // Later than what Node itself has still to hear of when it starts.
      setTimeout(() => writeSync(fd, "x"), 100);`);
    expect(delay).toBeLessThan(TIMER_MS / 2);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it.skipIf(!mayOpenRawSockets())("after a raw socket's packets", async () => {
  // Segments on loopback, whether anybody listens there or not.
  const knocking = setInterval(() => connect(1, "127.0.0.1").on("error", () => {}), 20);
  try {
    const delay = await delayOf(`
      // Where nothing holds it, raw-socket's is closed with the rubbish.
      const socket = (globalThis.held = openRawSocket(4, 6));
      socket.onReadable(() => (socket.close(), called()));`);
    expect(delay).toBeLessThan(TIMER_MS / 2);
  } finally {
    clearInterval(knocking);
  }
});
