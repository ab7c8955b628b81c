/** How events are carried: a program that leaves others behind, faults of the store. What is told to whom: test/lab/watch.test.ts. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Delivered, startCarrier, toProgram, toWebHook } from "../../../src/runtime/watch/deliver.ts";
import type { ToldEvent } from "../../../src/runtime/watch/events.ts";
import { EVENT } from "./event.ts";

describe("a program that is told", () => {
  let folder = "";
  const write = (name: string, script: string): string => {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    return join(folder, name);
  };
  const pidIn = (name: string): number => Number(readFileSync(join(folder, name), "utf8"));
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-deliver-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("has ended when it has, whoever it left behind with its standard error", {
    timeout: 10_000,
  }, async () => {
    const path = write("leaves", `sleep 30 & echo $! > "${folder}/left"; echo why >&2; exit 3`);
    const delivered = await toProgram(path).send([EVENT], new AbortController().signal);
    // It is still there.
    process.kill(pidIn("left"), "SIGKILL");
    expect(delivered).toEqual({ kind: "failed", error: "exit status 3 why" });
  });

  it("ends with the watch, even when it ignores SIGTERM", { timeout: 10_000 }, async () => {
    const path = write(
      "stays",
      `trap "" TERM; echo $$ > "${folder}/stayed"; echo up >&2; cat; exec sleep 30`,
    );
    const stopping = new AbortController();
    const delivered = toProgram(path).send([EVENT], stopping.signal);
    await expect.poll(() => pidIn("stayed"), { timeout: 5000 }).toBeGreaterThan(0);
    stopping.abort();
    expect(await delivered).toMatchObject({ kind: "failed" });
    await expect.poll(() => isRunning(pidIn("stayed")), { timeout: 5000 }).toBe(false);
  });
});

describe("a web hook", () => {
  it.each<[number, Delivered["kind"]]>([
    [204, "taken"],
    [308, "failed"],
    [404, "final"],
    [408, "failed"],
    [429, "failed"],
    [500, "failed"],
  ])("that answers %d is asked once: %s", async (status, kind) => {
    const paths: string[] = [];
    const server = createServer(({ url = "" }, response) => {
      paths.push(url);
      response.writeHead(status, { location: "/elsewhere", connection: "close" }).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const { send } = toWebHook({ url: `http://127.0.0.1:${port}/hook`, format: "json" });
    const delivered = await send([EVENT], new AbortController().signal);
    server.close();
    expect(delivered).toEqual(kind === "taken" ? { kind } : { kind, error: `HTTP status ${status}` });
    expect(paths).toEqual(["/hook"]);
  });
});

describe("a web hook's URL", () => {
  it("may have a user and a password, which are sent and never told", async () => {
    const asked: (string | undefined)[] = [];
    const server = createServer((request, response) => {
      asked.push(request.headers.authorization);
      response.writeHead(500).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const { send } = toWebHook({ url: `http://me:s%3Acret@127.0.0.1:${port}/`, format: "json" });
    const { signal } = new AbortController();
    const failures = [await send([EVENT], signal)];
    await new Promise((resolve) => server.close(resolve));
    failures.push(await send([EVENT], signal));
    expect(asked).toEqual([`Basic ${Buffer.from("me:s:cret").toString("base64")}`]);
    expect(failures).toEqual([
      { kind: "failed", error: "HTTP status 500" },
      { kind: "failed", error: expect.stringContaining("ECONNREFUSED") },
    ]);
    expect(JSON.stringify(failures)).not.toContain("cret");
  });

  it("may have a port that browsers do not go to", async () => {
    const { send } = toWebHook({ url: "http://127.0.0.1:1/", format: "json" });
    const { signal } = new AbortController();
    expect(await send([EVENT], signal)).toEqual({
      kind: "failed",
      error: "connect ECONNREFUSED 127.0.0.1:1",
    });
  });
});

describe("a carrier", () => {
  it("does not try again what was refused for good", async () => {
    const calls: string[] = [];
    const outbox = {
      next: () => (calls.length > 0 ? undefined : { events: [EVENT], tries: 0, atMs: 0 }),
      done: ([{ id }]: readonly ToldEvent[], _: number, error?: string) => calls.push(`done ${id} ${error}`),
      failed: ([{ id }]: readonly ToldEvent[]) => calls.push(`failed ${id}`),
      pending: () => 0,
    };
    const told: [string, boolean][] = [];
    const refuse = async () => ({ kind: "final", error: "HTTP status 404" }) as const;
    const carrier = startCarrier(outbox, { most: 1, send: refuse }, Date.now, (...failure) =>
      told.push(failure),
    );
    await expect.poll(() => calls.length, { timeout: 5000 }).toBeGreaterThan(0);
    await carrier.stop();
    expect(calls).toEqual(["done 1 HTTP status 404"]);
    expect(told).toEqual([["HTTP status 404", true]]);
  });

  it.each<[string, number, string[]]>([
    ["is waited for when it is about to take it", 100, ["done 1"]],
    ["is given up when it takes too long", 30_000, []],
  ])("at the end of the watch begins nothing more; who is being told %s", async (_, afterMs, wanted) => {
    const calls: string[] = [];
    const outbox = {
      next: () => ({ events: [EVENT], tries: 0, atMs: 0 }),
      done: ([{ id }]: readonly ToldEvent[]) => void calls.push(`done ${id}`),
      failed: ([{ id }]: readonly ToldEvent[]) => void calls.push(`failed ${id}`),
      pending: () => 0,
    };
    let tries = 0;
    const send = (_events: readonly ToldEvent[], signal: AbortSignal) =>
      new Promise<Delivered>((resolve) => {
        tries++;
        const timer = setTimeout(() => resolve({ kind: "taken" }), afterMs);
        signal.addEventListener("abort", () => {
          clearTimeout(timer);
          resolve({ kind: "failed", error: "given up" });
        });
      });
    const told: string[] = [];
    const carrier = startCarrier(outbox, { most: 1, send }, Date.now, (error) => told.push(error));
    await expect.poll(() => tries).toBe(1);
    await carrier.stop();
    expect(calls).toEqual(wanted);
    expect({ tries, told }).toEqual({ tries: 1, told: [] });
  });

  it("goes on when the store, or what sends, fails at times", async () => {
    const faults = ["the store is busy", "no memory", "the store is full"];
    let isDone = false;
    const failAt = (place: string): void => {
      if (faults[0]?.startsWith(place)) throw new Error(faults.shift());
    };
    const outbox = {
      next: () => {
        failAt("the store is busy");
        return isDone ? undefined : { events: [EVENT], tries: 0, atMs: 0 };
      },
      done: () => {
        failAt("the store is full");
        isDone = true;
      },
      failed() {},
      pending: () => 0,
    };
    const told: string[] = [];
    const send = async () => {
      failAt("no memory");
      return { kind: "taken" } as const;
    };
    const carrier = startCarrier(outbox, { most: 1, send }, Date.now, (error) => told.push(error));
    await expect.poll(() => isDone, { timeout: 5000 }).toBe(true);
    await carrier.stop();
    expect(told).toEqual(["the store is busy", "Error: no memory", "the store is full"]);
  });
});

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
