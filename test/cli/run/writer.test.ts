/** Text to descriptors: how much waits, how much goes at once. */
import { spawnSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, read, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

/** Bytes of each write in the background. */
const sizes = vi.hoisted(() => [] as number[]);
vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>();
  return {
    ...fs,
    write: (fd: number, bytes: Buffer, at: number, done: () => void) => {
      sizes.push(bytes.length - at);
      fs.write(fd, bytes, at, done);
    },
  };
});

// Another file in this process may have loaded it, without the mock.
vi.resetModules();
const { createWriter } = await import("../../../src/cli/run/writer.ts");

let folder = "";
let fd = -1;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "synprobe-writer-"));
  sizes.length = 0;
});
afterEach(() => {
  if (fd >= 0) closeSync(fd);
  fd = -1;
  rmSync(folder, { recursive: true });
});

const readAsync = promisify(read);
/** Bytes that a pipe holds. */
const PIPE = 1 << 16;
const line = (i: number): string => `${String(i).padStart(98)}\n`;
const fail = (code: string): never => {
  throw new Error(code);
};

describe("a writer", () => {
  it.each(["file", "pipe"])("to a %s puts text and bytes in their order", async (kind) => {
    const path = join(folder, kind);
    if (kind === "pipe") spawnSync("mkfifo", [path]);
    const reading = openSync(
      path,
      kind === "pipe" ? constants.O_RDONLY | constants.O_NONBLOCK : constants.O_CREAT,
    );
    fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    const writer = createWriter(fd, fail);
    let text = "";
    for (let i = 0; i < 600; i++) {
      if (i % 7 === 0) writer.write(line(i));
      else
        writer.fill?.(
          200,
          (bytes, at) => at + Buffer.from(bytes.buffer, bytes.byteOffset).write(line(i), at),
        );
      text += line(i);
    }
    await writer.drained();
    expect(writer.held()).toBe(0);
    const { bytesRead, buffer } = await readAsync(reading, Buffer.alloc(PIPE), 0, PIPE, null);
    closeSync(reading);
    expect(buffer.toString("utf8", 0, bytesRead)).toBe(text);
  });

  it("to a file never holds more than a piece, even within one turn", async () => {
    const path = join(folder, "file");
    fd = openSync(path, "w");
    const writer = createWriter(fd, fail);
    let text = "";
    let most = 0;
    for (let i = 0; i < 10_000; i++) {
      writer.write(line(i));
      text += line(i);
      most = Math.max(most, writer.held());
    }
    expect(most).toBeLessThan(1 << 16);
    await writer.drained();
    expect(readFileSync(path, "utf8")).toBe(text);
  });

  it("to a file keeps the order of text of any length and any script, and of bytes", async () => {
    const path = join(folder, "file");
    fd = openSync(path, "w");
    const writer = createWriter(fd, fail);
    const texts = [1, 21_845, 21_846, 3, 65_536, 43_690, 2].map((length, i) => "aé€"[i % 3].repeat(length));
    for (const text of texts) {
      writer.write(text);
      writer.writeBytes(Uint8Array.of(0x0a));
      writer.write(text);
    }
    await writer.drained();
    expect(readFileSync(path, "utf8")).toBe(texts.map((text) => `${text}\n${text}`).join(""));
  });

  it("to a stream that nobody reads can be given up: nothing is held, and nothing is written after it", async () => {
    const path = join(folder, "fifo");
    spawnSync("mkfifo", [path]);
    fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    const writer = createWriter(fd, fail);
    writer.write("x".repeat(3 * PIPE));
    await vi.waitUntil(() => sizes.length > 1);
    writer.abandon();
    expect(writer.held()).toBe(0);
    await writer.drained();
    writer.write("y");
    const { bytesRead } = await readAsync(fd, Buffer.alloc(4 * PIPE), 0, 4 * PIPE, null);
    expect(bytesRead).toBe(PIPE);
    await writer.drained();
    await expect(readAsync(fd, Buffer.alloc(1), 0, 1, null)).rejects.toMatchObject({ code: "EAGAIN" });
  });

  it("to a stream says what it holds, and joins a piece at most", async () => {
    const path = join(folder, "fifo");
    spawnSync("mkfifo", [path]);
    fd = openSync(path, "r+");
    const writer = createWriter(fd, fail);
    let text = "";
    for (let i = 0; i < 40_000; i++) {
      writer.write(line(i));
      text += line(i);
    }
    expect(writer.held()).toBe(text.length);
    let drained = false;
    const end = writer.drained().then(() => {
      drained = true;
    });
    const chunk = Buffer.alloc(PIPE);
    let got = "";
    while (got.length < text.length) {
      // What the pipe itself holds has been taken.
      if (text.length - got.length > PIPE) expect(drained).toBe(false);
      const { bytesRead } = await readAsync(fd, chunk, 0, chunk.length, null);
      got += chunk.toString("latin1", 0, bytesRead);
    }
    await end;
    expect(got === text).toBe(true);
    expect(writer.held()).toBe(0);
    expect(sizes.length).toBeGreaterThan(0);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(PIPE);
  });

  it("to standard output keeps all of it and its order, however slowly a pipe is read", () => {
    const script = `
      const { createWriter } = await import(${JSON.stringify(new URL("../../../src/cli/run/writer.ts", import.meta.url).href)});
      const writer = createWriter(1, (code) => { throw new Error(code); });
      for (let i = 0; i < 20_000; i++) {
        writer.write(i + "\\n");
        if (i % 100 === 0) await new Promise(setImmediate);
      }
      await writer.drained();`;
    const command = `"$0" --import tsx --input-type=module -e "$1" | { read first; echo "$first"; sleep 0.3; cat; }`;
    const { stdout, stderr } = spawnSync("sh", ["-c", command, process.execPath, script], {
      encoding: "utf8",
    });
    expect(stderr).toBe("");
    expect(stdout).toBe(Array.from({ length: 20_000 }, (_, i) => `${i}\n`).join(""));
  });
});
