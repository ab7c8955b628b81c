/** Names of routers: those that come in time, and no lookup begun that nobody waits for. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { namesOf } from "../../../src/runtime/path/names.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const ADDRESSES = Array.from({ length: 30 }, (_, i) => `203.0.113.${i + 1}`);

it("has each address's name once, and leaves out what has none", async () => {
  const lookUp = vi.fn(async (address: string) => {
    if (address.endsWith("2")) throw new Error("ENOTFOUND");
    return address.endsWith("3") ? address : `name-of-${address}`;
  });
  const names = await namesOf(["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.1"], lookUp);
  expect([...names]).toEqual([["203.0.113.1", "name-of-203.0.113.1"]]);
  expect(lookUp).toHaveBeenCalledTimes(3);
});

it("where the name server is silent gives up in time, and begins no lookup that would keep the process alive", async () => {
  const lookUp = vi.fn((address: string) =>
    address === ADDRESSES[1] ? Promise.resolve("known.example") : new Promise<string>(() => {}),
  );
  const found = namesOf(ADDRESSES, lookUp);
  await vi.advanceTimersByTimeAsync(5000);
  expect([...(await found)]).toEqual([[ADDRESSES[1], "known.example"]]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(lookUp.mock.calls.length).toBeLessThanOrEqual(5);
});

it("begins nothing more when the time is over, whatever ends later", async () => {
  const lookUp = vi.fn(
    (address: string) => new Promise<string>((resolve) => setTimeout(resolve, 7000, `${address}.late`)),
  );
  const found = namesOf(ADDRESSES, lookUp);
  await vi.advanceTimersByTimeAsync(5000);
  const names = await found;
  await vi.advanceTimersByTimeAsync(60_000);
  expect([...names]).toEqual([]);
  expect(lookUp).toHaveBeenCalledTimes(4);
});

it("ends when nobody waits for them any more", async () => {
  const lookUp = vi.fn(() => new Promise<string>(() => {}));
  const names = await namesOf(ADDRESSES, lookUp, Promise.resolve());
  expect([...names]).toEqual([]);
  expect(lookUp.mock.calls.length).toBeLessThanOrEqual(4);
});
