/** One batch from an engine to a link: what is told back of departures and refusals, and when a run is given up. */
import { expect, it } from "vitest";
import type { Link } from "../../src/link/link.ts";
import { checkStall, createTransmitter } from "../../src/runtime/transmit.ts";
import { engineFor, target } from "../sim/run.ts";

/** A link that takes or refuses each slot as `takes` says. */
function linkOf(takes: (slot: number) => boolean, calls: number[]): Link {
  const slots = 256;
  return {
    name: "fake",
    batch: {
      data: new Uint8Array(slots * 128),
      lengths: new Uint16Array(slots),
      slots,
      slotLength: 128,
      offset: 0,
    },
    sendError: "ENOBUFS",
    send: (first, count) => {
      calls.push(first);
      let taken = 0;
      while (taken < count && takes(first + taken)) taken++;
      return taken;
    },
    listen: () => {},
    drain: () => true,
    receiveDrops: () => 0,
    receiveBuffer: 0,
    close: () => {},
  };
}

const ports = Array.from({ length: 256 }, (_, i) => i + 1);

it("a packet that is refused holds up none of the others", () => {
  const engine = engineFor([target("198.18.0.2", ...ports)]);
  expect(
    createTransmitter(
      engine,
      linkOf((slot) => slot % 10 !== 3, []),
    ).send(),
  ).toBe(256);
  expect(engine.counts).toMatchObject({ sent: 230, sendErrors: { ENOBUFS: 26 } });
});

it("a link that takes nothing is not asked for every packet", () => {
  const engine = engineFor([target("198.18.0.2", ...ports)]);
  const calls: number[] = [];
  createTransmitter(
    engine,
    linkOf(() => false, calls),
  ).send();
  expect(calls).toHaveLength(64);
  expect(engine.counts).toMatchObject({ sent: 0, sendErrors: { ENOBUFS: 256 } });
});

it("a run is given up when nothing could be sent for half a minute, and not before", () => {
  const link = linkOf(() => false, []);
  const stalled = (us: number) => ({ ...engineFor([target("198.18.0.2", 80)]), stalledUs: () => us });
  expect(() => checkStall(stalled(29.9e6), link, 0)).not.toThrow();
  expect(() => checkStall(stalled(30.1e6), link, 0)).toThrow(/nothing can be sent any more: .*ENOBUFS/);
});
