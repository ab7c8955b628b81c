/** Follow-ups of lost pilots: when each is due, how often, and what ends it. */
import { expect, it } from "vitest";
import { createFollowUps, TRIES } from "../../../src/scan/hosts/follow-ups.ts";

const WORDS = Uint32Array.of(0, 0, 0xffff, 0xc6120001);

it("ask again at once, then each time twice as long after the pilot, until all tries are lost", () => {
  const followUps = createFollowUps();
  expect(followUps.due(1e9)).toBe(-1);
  followUps.begin(WORDS, 0, 443, 3, 64, 500, 1000, 101_000);
  expect(followUps.due(100_999)).toBe(-1);
  const index = followUps.due(101_000);
  const { port, path, host, knownUs } = followUps;
  expect([port, path, host, knownUs].map((column) => column[index])).toEqual([443, 3, 64, 500]);
  expect([...followUps.words.subarray(index * 4, index * 4 + 4)]).toEqual([...WORDS]);
  let now = 101_000;
  for (let tries = 2; tries <= TRIES; tries++) {
    expect(followUps.due(now)).toBe(index);
    followUps.sent(index, now);
    expect([followUps.tries[index], followUps.due(1e12)]).toEqual([tries, -1]);
    followUps.lost(index, now + 50);
    const next = 1000 + 2 * (now - 1000);
    if (tries < TRIES) expect([followUps.due(next - 1), followUps.due(next)]).toEqual([-1, index]);
    now = next;
  }
  expect(followUps.due(1e12)).toBe(-1);
});

it("end when they are answered, are asked again when they could not leave, and are bounded in number", () => {
  const followUps = createFollowUps();
  followUps.begin(WORDS, 0, 1, 0, 0, 0, 0, 100);
  expect(followUps.areFirstOut()).toBe(true);
  followUps.sent(0, 100);
  followUps.refused(0);
  expect(followUps.due(100)).toBe(0);
  followUps.sent(0, 100);
  expect(followUps.areFirstOut()).toBe(true);
  followUps.lost(0, 200);
  expect(followUps.areFirstOut()).toBe(false);
  followUps.end(0);
  expect([followUps.tries[0], followUps.due(1e12)]).toEqual([0, -1]);
  for (let n = 0; n < 1000; n++) followUps.begin(WORDS, 0, n, 0, 0, 0, 0, 100);
  const ports = new Set<number>();
  for (let i = followUps.due(100); i >= 0; i = followUps.due(100)) {
    ports.add(followUps.port[i]);
    followUps.sent(i, 100);
  }
  expect(ports.size).toBe(64);
});
