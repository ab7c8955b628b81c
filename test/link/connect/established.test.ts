/**
 * Connections that go on, with a connector that does as it is told: what the peer sends is handed over one segment at a time, whose
 * end is whose, and none stays for ever. With the kernel's own connections: connectors.test.ts.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { SYN_LENGTH } from "../../../src/link/connect/answers.ts";
import { type Connector, READ } from "../../../src/link/connect/connector.ts";
import { createEstablished, type Established } from "../../../src/link/connect/established.ts";
import { type Ends, writePacket } from "../../../src/socket/segment.ts";
import { FLAGS } from "../../../src/wire/tcp.ts";
import { address } from "../../sim/run.ts";

const ISS = 99;
const STAY_US = 1000;
const ENDS: Ends = {
  local: address("192.0.2.1"),
  peer: address("192.0.2.10"),
  localPort: 61_000,
  peerPort: 80,
  ttl: 64,
};

describe("an established connection", () => {
  let established: Established;
  /** What the peer has sent, and has not been read: text, its end or a reset. */
  let waiting: (string | "end" | "reset")[];
  let told: string[];
  let ended: number[];

  beforeEach(() => {
    waiting = [];
    told = [];
    ended = [];
    const connector: Pick<Connector, "read" | "finish" | "isFinished" | "end"> = {
      read: (_, into) => {
        const next = waiting.shift();
        if (next === undefined) return READ.nothing;
        if (next === "reset") return READ.reset;
        if (next === "end") return 0;
        into.set(Buffer.from(next));
        return next.length;
      },
      finish: () => {},
      isFinished: () => true,
      end: () => {},
    };
    const syns = new Uint8Array(SYN_LENGTH);
    writePacket(syns, 0, ENDS, segment(FLAGS.SYN, ISS, 0));
    established = createEstablished({
      connector: connector as Connector,
      stayUs: STAY_US,
      syns,
      emit: (_, flags, sequence, acknowledgement, text) => {
        const names = Object.entries(FLAGS).filter(([, bit]) => (flags & bit) !== 0);
        const said = text === undefined ? "" : Buffer.from(text).toString();
        told.push(`${names.map(([name]) => name).join("+")} ${sequence} ${acknowledgement} ${said}`.trim());
      },
      onEnd: (slot) => ended.push(slot),
    });
    established.add(0, 0);
  });

  const segment = (flags: number, sequence: number, acknowledgement: number) => ({
    flags,
    sequence,
    acknowledgement,
    window: 1024,
    text: new Uint8Array(0),
  });
  function say(flags: number, acknowledgement: number): void {
    const packet = new Uint8Array(128);
    const length = writePacket(packet, 0, ENDS, segment(flags, ISS + 1, acknowledgement));
    established.handle(packet, 0, length);
  }

  it("hands over what the peer sends when the engine has taken what came before, and wakes for it", () => {
    waiting = ["one", "two"];
    established.changed(0);
    expect(told).toEqual(["SYN+ACK 0 100"]);
    expect(established.nextUs()).toBe(STAY_US);
    say(FLAGS.ACK, 1);
    expect(established.nextUs()).toBe(Number.NEGATIVE_INFINITY);
    established.expire(1);
    established.changed(0);
    expect(told.slice(1)).toEqual(["PSH+ACK 1 100 one"]);
    say(FLAGS.ACK, 4);
    established.expire(2);
    expect(told.slice(2)).toEqual(["PSH+ACK 4 100 two"]);
  });

  it("tells a reset of the peer's, and is over", () => {
    waiting = ["reset"];
    say(FLAGS.ACK, 1);
    established.expire(1);
    expect(told[1]).toMatch(/^RST/);
    expect(ended).toEqual([0]);
  });

  it("is over with a reset of the engine's", () => {
    say(FLAGS.RST, 0);
    expect(ended).toEqual([0]);
    expect(established.nextUs()).toBe(Number.POSITIVE_INFINITY);
  });

  it("stays for its time and no longer", () => {
    established.expire(STAY_US - 1);
    expect(ended).toEqual([]);
    established.expire(STAY_US);
    expect(ended).toEqual([0]);
  });
});
