/** The deadline that threads share: past until it is moved, past again when its time has come, on a clock that no one sets. */
import { readFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { expect, it } from "vitest";
import { boottimeMs } from "../../../src/link/sys/libc.ts";
import { fenceMemory, moveFence, openFence } from "../../../src/runtime/system/fence.ts";
import { until } from "../../lab/until.ts";

it("is past until it is moved, and again when its time has come", () => {
  const memory = fenceMemory();
  const fence = openFence(memory);
  expect(fence.isPast()).toBe(true);
  const before = boottimeMs();
  moveFence(memory, before + 500);
  expect(fence.isPast()).toBe(boottimeMs() >= before + 400);
  until(() => fence.isPast(), "the deadline");
  expect(boottimeMs()).toBeGreaterThanOrEqual(before + 400);
  moveFence(memory, boottimeMs() + 60_000);
  expect(fence.isPast()).toBe(false);
  moveFence(memory, 0);
  expect(fence.isPast()).toBe(true);
});

it("is never past later than it was told", () => {
  const memory = fenceMemory();
  for (const untilMs of [1900, 1901, 1999]) {
    moveFence(memory, untilMs);
    expect(new Int32Array(memory)[0]).toBe(19);
  }
});

it("shows in another thread", async () => {
  const memory = fenceMemory();
  const script =
    "const { workerData, parentPort } = require('node:worker_threads');" +
    "Atomics.wait(new Int32Array(workerData), 0, 0); parentPort.postMessage('moved');";
  const thread = new Worker(script, { eval: true, workerData: memory });
  const message = new Promise((resolve) => thread.once("message", resolve));
  await new Promise((resolve) => thread.once("online", resolve));
  moveFence(memory, boottimeMs() + 1000);
  Atomics.notify(new Int32Array(memory), 0);
  expect(await message).toBe("moved");
});

it("counts from the machine's start, whatever the wall clock says", () => {
  const [seconds] = readFileSync("/proc/uptime", "utf8").split(" ");
  expect(Math.abs(boottimeMs() - Number(seconds) * 1000)).toBeLessThan(2000);
});
