/** The state machine, RFC section by section and figure by figure. */
import { describe, expect, it } from "vitest";
import { createBufferPool } from "../../src/socket/buffers.ts";
import type { ControlBlock, TcpState } from "../../src/socket/connection.ts";
import { createControlBlock, DEFAULT_MSS } from "../../src/socket/control-block.ts";
import { resetFor, type Segment } from "../../src/socket/segment.ts";
import { seqAdd } from "../../src/socket/sequence.ts";
import { FLAGS } from "../../src/wire/tcp.ts";
import { ALL } from "../everyday.ts";

const { SYN, ACK, RST, FIN, PSH } = FLAGS;
const SECOND = 1_000_000;
const ISS = 100;
const IRS = 300;
const BUFFER = 4096;
const MSL = 10 * SECOND;
const NOTHING = new Uint8Array(0);

interface Bench {
  block: ControlBlock;
  pool: ReturnType<typeof createBufferPool>;
  /** Delivers a segment and returns what is sent in answer, as text. */
  receive(segment: Partial<Segment> & { flags: number; sequence: number }, nowUs?: number): string[];
  sent(nowUs?: number): string[];
  events(): string[];
}

function bench(
  overrides: {
    iss?: number;
    mss?: number;
    bufferLength?: number;
    synRetries?: number;
    retries?: number;
  } = {},
): Bench {
  const pool = createBufferPool(1 << 20);
  const block = createControlBlock({
    iss: ISS,
    mss: 1460,
    pool,
    bufferLength: BUFFER,
    synRetries: 3,
    retries: 4,
    mslUs: MSL,
    ...overrides,
  });
  const sent = (nowUs = 0): string[] => {
    const all: string[] = [];
    for (let s = block.pollSegment(nowUs); s !== undefined; s = block.pollSegment(nowUs)) {
      const names = (["SYN", "FIN", "RST", "PSH", "ACK"] as const).filter(
        (name) => (s.flags & FLAGS[name]) !== 0,
      );
      const ack = (s.flags & ACK) !== 0 ? ` ack=${s.acknowledgement}` : "";
      all.push(
        `${names.join(",")} seq=${s.sequence}${ack}${s.text.length > 0 ? ` len=${s.text.length}` : ""}`,
      );
    }
    return all;
  };
  return {
    block,
    pool,
    sent,
    receive: (segment, nowUs = 0) => {
      block.handleSegment({ acknowledgement: 0, window: 1000, text: new Uint8Array(0), ...segment }, nowUs);
      return sent(nowUs);
    },
    events: () => {
      const all: string[] = [];
      for (let e = block.pollEvent(); e !== undefined; e = block.pollEvent()) all.push(e);
      return all;
    },
  };
}

/** A connection that this side opened, established: our next number is 101, the peer's 301. */
function established(overrides = {}): Bench {
  const b = bench(overrides);
  const iss = b.block.view().iss;
  b.block.open(0);
  b.sent();
  b.receive({ flags: SYN | ACK, sequence: IRS, acknowledgement: seqAdd(iss, 1) });
  b.events();
  return b;
}

/** Brings a connection into a state, by the shortest way. */
const WAYS: Record<Exclude<TcpState, "LISTEN">, () => Bench> = {
  CLOSED: () => bench(),
  "SYN-SENT": () => {
    const b = bench();
    b.block.open(0);
    b.sent();
    return b;
  },
  "SYN-RECEIVED": () => {
    const b = WAYS["SYN-SENT"]();
    b.receive({ flags: SYN, sequence: IRS });
    return b;
  },
  ESTABLISHED: () => established(),
  "FIN-WAIT-1": () => {
    const b = established();
    b.block.close();
    b.sent();
    return b;
  },
  "FIN-WAIT-2": () => {
    const b = WAYS["FIN-WAIT-1"]();
    b.receive({ flags: ACK, sequence: 301, acknowledgement: 102 });
    return b;
  },
  "CLOSE-WAIT": () => {
    const b = established();
    b.receive({ flags: FIN | ACK, sequence: 301, acknowledgement: 101 });
    return b;
  },
  CLOSING: () => {
    const b = WAYS["FIN-WAIT-1"]();
    b.receive({ flags: FIN | ACK, sequence: 301, acknowledgement: 101 });
    return b;
  },
  "LAST-ACK": () => {
    const b = WAYS["CLOSE-WAIT"]();
    b.block.close();
    b.sent();
    return b;
  },
  "TIME-WAIT": () => {
    const b = WAYS["FIN-WAIT-2"]();
    b.receive({ flags: FIN | ACK, sequence: 301, acknowledgement: 102 });
    return b;
  },
};

it("a connection reserves memory for both ways, and says so", () => {
  const b = established();
  expect(b.block.view().reserved).toBe(2 * BUFFER);
  expect(b.pool.reserved).toBe(2 * BUFFER);
});

describe("the ways to each state", () => {
  it.each(Object.keys(WAYS) as (keyof typeof WAYS)[])("lead to %s", (state) => {
    expect(WAYS[state]().block.state).toBe(state);
  });
});

describe("RFC 9293 §3.5, figure 6: basic three-way handshake", () => {
  it("active side", () => {
    const b = bench();
    expect(b.block.open(0)).toBe(true);
    expect(b.sent()).toEqual(["SYN seq=100"]);
    expect(b.receive({ flags: SYN | ACK, sequence: 300, acknowledgement: 101 })).toEqual([
      "ACK seq=101 ack=301",
    ]);
    expect(b.block.state).toBe("ESTABLISHED");
    expect(b.events()).toEqual(["established"]);
    expect(b.block.view()).toMatchObject({
      iss: 100,
      irs: 300,
      sndUna: 101,
      sndNxt: 101,
      rcvNxt: 301,
      sndWnd: 1000,
    });
  });

  it("passive side", () => {
    const b = bench({ iss: 300 });
    expect(
      b.block.accept(
        { flags: SYN, sequence: 100, acknowledgement: 0, window: 500, mss: 1200, text: new Uint8Array(0) },
        0,
      ),
    ).toBe(true);
    expect(b.sent()).toEqual(["SYN,ACK seq=300 ack=101"]);
    expect(b.receive({ flags: ACK, sequence: 101, acknowledgement: 301 })).toEqual([]);
    expect(b.block.state).toBe("ESTABLISHED");
    expect(b.block.view().peerMss).toBe(1200);
  });
});

describe("RFC 9293 §3.5, figure 7: simultaneous open", () => {
  it("goes through SYN-RECEIVED on both sides", () => {
    const b = bench();
    b.block.open(0);
    expect(b.sent()).toEqual(["SYN seq=100"]);
    expect(b.receive({ flags: SYN, sequence: 300 })).toEqual(["SYN,ACK seq=100 ack=301"]);
    expect(b.block.state).toBe("SYN-RECEIVED");
    expect(b.receive({ flags: SYN | ACK, sequence: 300, acknowledgement: 101 })).toEqual([
      "ACK seq=101 ack=301",
    ]);
    expect(b.block.state).toBe("ESTABLISHED");
    expect(b.events()).toEqual(["established"]);
    expect(b.receive({ flags: ACK, sequence: 301, acknowledgement: 101 })).toEqual([]);
  });

  it("sends its SYN again to a SYN, and only to that", () => {
    const b = WAYS["SYN-RECEIVED"]();
    expect(b.receive({ flags: SYN, sequence: 300, text: Uint8Array.of(1) })).toEqual([
      "SYN,ACK seq=100 ack=301",
    ]);
    expect(b.receive({ flags: SYN | ACK, sequence: 300, acknowledgement: 100 })).toEqual([
      "ACK seq=101 ack=301",
    ]);
    expect(b.receive({ flags: SYN | ACK, sequence: 300, acknowledgement: 102 })).toEqual([
      "ACK seq=101 ack=301",
    ]);
    expect(b.block.state).toBe("SYN-RECEIVED");
  });
});

describe("RFC 9293 §3.10.7.4, fifth, SYN-RECEIVED", () => {
  it("resets what acknowledges anything but its SYN, and goes on waiting", () => {
    const b = WAYS["SYN-RECEIVED"]();
    for (const acknowledgement of [100, 102])
      expect(b.receive({ flags: ACK, sequence: 301, acknowledgement })).toEqual([
        `RST seq=${acknowledgement}`,
      ]);
    expect(b.block.state).toBe("SYN-RECEIVED");
    expect(b.receive({ flags: ACK, sequence: 301, acknowledgement: 101 })).toEqual([]);
    expect(b.block.state).toBe("ESTABLISHED");
  });
});

describe("RFC 9293 §3.5, figure 8: recovery from an old duplicate SYN", () => {
  it("the active side resets a SYN-ACK that acknowledges another SYN, and still gets through", () => {
    const b = bench();
    b.block.open(0);
    b.sent();
    expect(b.receive({ flags: SYN | ACK, sequence: 300, acknowledgement: 91 })).toEqual(["RST seq=91"]);
    expect(b.block.state).toBe("SYN-SENT");
    expect(b.receive({ flags: SYN | ACK, sequence: 400, acknowledgement: 101 })).toEqual([
      "ACK seq=101 ack=401",
    ]);
    expect(b.block.state).toBe("ESTABLISHED");
  });

  it("the passive side goes back when the reset comes", () => {
    const b = bench({ iss: 300 });
    b.block.accept({ flags: SYN, sequence: 90, acknowledgement: 0, window: 500, text: new Uint8Array(0) }, 0);
    b.sent();
    expect(b.receive({ flags: RST, sequence: 91 })).toEqual([]);
    expect(b.block.state).toBe("CLOSED");
    // Nobody was refused: this side had not asked.
    expect(b.events()).toEqual(["reset"]);
    expect(b.pool.reserved).toBe(0);
  });
});

describe("RFC 9293 §3.5, figure 9: half-open connection discovery", () => {
  it("an established side acknowledges a SYN, and ends by the reset that this draws", () => {
    const b = established();
    expect(b.receive({ flags: SYN, sequence: 400 })).toEqual(["ACK seq=101 ack=301"]);
    expect(b.block.state).toBe("ESTABLISHED");
    expect(b.receive({ flags: RST, sequence: 301 })).toEqual([]);
    expect(b.block.state).toBe("CLOSED");
    expect(b.events()).toEqual(["reset"]);
    expect(b.pool.reserved).toBe(0);
  });

  it("the side that has crashed answers what it does not know with a reset (§3.10.7.1)", () => {
    const segment: Segment = {
      flags: ACK,
      sequence: 300,
      acknowledgement: 100,
      window: 0,
      text: new Uint8Array(0),
    };
    expect(resetFor(segment)).toMatchObject([{ flags: RST, sequence: 100 }]);
    expect(resetFor({ ...segment, flags: SYN })).toMatchObject([
      { flags: RST | ACK, sequence: 0, acknowledgement: 301 },
    ]);
    expect(resetFor({ ...segment, flags: PSH | ACK | FIN, text: new Uint8Array(5) })).toMatchObject([
      { flags: RST, sequence: 100 },
    ]);
    expect(resetFor({ ...segment, flags: RST })).toEqual([]);
  });

  it("so does a connection that is closed, and nothing comes of it", () => {
    const b = bench();
    expect(b.receive({ flags: ACK, sequence: 300, acknowledgement: 100 })).toEqual(["RST seq=100"]);
    expect(b.receive({ flags: SYN, sequence: 300 })).toEqual(["RST,ACK seq=0 ack=301"]);
    expect(b.receive({ flags: RST, sequence: 300 })).toEqual([]);
    expect(b.block.view()).toMatchObject({ state: "CLOSED", reserved: 0, rcvWnd: 0 });
    expect(b.events()).toEqual([]);
  });
});

describe("SYN-SENT (§3.10.7.3)", () => {
  it.each([
    [100, "of the ISN itself"],
    [99, "of something older"],
    [102, "of something never sent"],
  ])("an acknowledgement %i, %s, gets a reset", (acknowledgement) => {
    const b = WAYS["SYN-SENT"]();
    expect(b.receive({ flags: SYN | ACK, sequence: 300, acknowledgement })).toEqual([
      `RST seq=${acknowledgement}`,
    ]);
    expect(b.block.state).toBe("SYN-SENT");
  });

  it("RST with the right acknowledgement refuses; any other is dropped", () => {
    const b = WAYS["SYN-SENT"]();
    for (const segment of [
      { flags: RST, sequence: 0 },
      { flags: RST | ACK, sequence: 0, acknowledgement: 100 },
      { flags: RST | ACK, sequence: 0, acknowledgement: 102 },
    ]) {
      expect(b.receive(segment)).toEqual([]);
      expect(b.block.state).toBe("SYN-SENT");
    }
    b.receive({ flags: RST | ACK, sequence: 0, acknowledgement: 101 });
    expect(b.block.state).toBe("CLOSED");
    expect(b.events()).toEqual(["refused"]);
    expect(b.pool.reserved).toBe(0);
  });

  it("retransmits the SYN with back-off (RFC 6298), then gives up", () => {
    const b = WAYS["SYN-SENT"]();
    const times: number[] = [];
    while (b.block.state === "SYN-SENT") {
      const now = b.block.pollTimeout();
      b.block.handleTimeout(now);
      for (const line of b.sent(now)) {
        expect(line).toBe("SYN seq=100");
        times.push(now / SECOND);
      }
    }
    expect(times).toEqual([1, 3, 7]);
    expect(b.events()).toEqual(["timed-out"]);
    expect(b.pool.reserved).toBe(0);
  });

  it("takes the text of a SYN-ACK that carries some", () => {
    const b = WAYS["SYN-SENT"]();
    expect(
      b.receive({ flags: SYN | ACK, sequence: 300, acknowledgement: 101, text: Uint8Array.of(1, 2, 3) }),
    ).toEqual(["ACK seq=101 ack=304"]);
    expect([...b.block.read(10)]).toEqual([1, 2, 3]);
  });

  it("keeps what is written and sends it when the handshake is over", () => {
    const b = WAYS["SYN-SENT"]();
    b.block.write(Uint8Array.of(1, 2));
    expect(b.sent()).toEqual([]);
    expect(b.receive({ flags: SYN | ACK, sequence: 300, acknowledgement: 101 })).toEqual([
      "PSH,ACK seq=101 ack=301 len=2",
    ]);
  });
});

describe("a repeated SYN-ACK", () => {
  it("is acknowledged again", () => {
    const b = established();
    expect(b.receive({ flags: SYN | ACK, sequence: 300, acknowledgement: 101 })).toEqual([
      "ACK seq=101 ack=301",
    ]);
    expect(b.block.state).toBe("ESTABLISHED");
  });
});

describe("a repeated SYN to a passive side", () => {
  it("gets the SYN-ACK again", () => {
    const b = bench({ iss: 300 });
    const syn = { flags: SYN, sequence: 100, acknowledgement: 0, window: 500, text: new Uint8Array(0) };
    b.block.accept(syn, 0);
    b.sent();
    expect(b.receive(syn)).toEqual(["SYN,ACK seq=300 ack=101"]);
  });

  it("another, within its window, ends it: it goes back to listening (RFC 9293 §3.10.7.4)", () => {
    const b = bench({ iss: 300 });
    b.block.accept(
      { flags: SYN, sequence: 100, acknowledgement: 0, window: 500, text: new Uint8Array(0) },
      0,
    );
    b.sent();
    expect(b.receive({ flags: SYN, sequence: 150 })).toEqual([]);
    expect([b.block.state, b.events()]).toEqual(["CLOSED", ["reset"]]);
  });
});

describe("RST in every synchronized state (RFC 5961 §3.2)", () => {
  const cases: [TcpState, number, string][] = [
    ["SYN-RECEIVED", 301, "refused"],
    ["ESTABLISHED", 301, "reset"],
    ["FIN-WAIT-1", 301, "reset"],
    ["FIN-WAIT-2", 301, "reset"],
    ["CLOSE-WAIT", 302, "reset"],
    ["CLOSING", 302, "closed"],
    ["LAST-ACK", 302, "closed"],
  ];
  it.each(cases)(
    "%s: exact number ends it, another in the window is challenged, the rest is dropped",
    (state, next, event) => {
      const b = WAYS[state as keyof typeof WAYS]();
      b.events();
      expect(b.receive({ flags: RST, sequence: seqAdd(next, 2000 * 1000) })).toEqual([]);
      expect(b.receive({ flags: RST, sequence: next - 1 })).toEqual([]);
      expect(b.block.state).toBe(state);
      expect(b.receive({ flags: RST, sequence: next + 7 })).toEqual([
        expect.stringMatching(/^ACK .*ack=30[12]$/),
      ]);
      expect(b.block.state).toBe(state);
      expect(b.receive({ flags: RST, sequence: next })).toEqual([]);
      expect(b.block.state).toBe("CLOSED");
      expect(b.events()).toEqual([event]);
      expect(b.pool.reserved).toBe(0);
    },
  );
});

describe("SYN in a synchronized state (RFC 5961 §4.2)", () => {
  it.each(["ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK"] as const)(
    "%s: is challenged",
    (state) => {
      const b = WAYS[state]();
      expect(b.receive({ flags: SYN, sequence: 310 })).toEqual([expect.stringMatching(/^ACK /)]);
      expect(b.block.state).toBe(state);
    },
  );
});

describe("acknowledgements", () => {
  it("of what was never sent are answered, and change nothing", () => {
    const b = established();
    expect(b.receive({ flags: ACK, sequence: 301, acknowledgement: 500 })).toEqual(["ACK seq=101 ack=301"]);
    expect(b.block.view().sndUna).toBe(101);
  });

  it("older than any window are answered too (RFC 5961 §5.2)", () => {
    const b = established();
    expect(b.receive({ flags: ACK, sequence: 301, acknowledgement: seqAdd(101, -5000) })).toEqual([
      "ACK seq=101 ack=301",
    ]);
  });

  it("measure the round trip once, and not from a retransmission (Karn)", () => {
    const b = established();
    b.block.write(new Uint8Array(10));
    b.sent(SECOND);
    b.receive({ flags: ACK, sequence: 301, acknowledgement: 111 }, SECOND + 80_000);
    const measured = b.block.view().srttUs;
    expect(measured).toBeGreaterThan(0);
    b.block.write(new Uint8Array(10));
    b.sent(2 * SECOND);
    b.block.handleTimeout(10 * SECOND);
    b.sent(10 * SECOND);
    b.receive({ flags: ACK, sequence: 301, acknowledgement: 121 }, 60 * SECOND);
    expect(b.block.view().srttUs).toBe(measured);
  });

  it("measure none either from what goes again after the first retransmission has been acknowledged", () => {
    const b = bench();
    b.block.open(0);
    b.sent();
    b.receive({ flags: SYN | ACK, sequence: 300, acknowledgement: 101, mss: 400, window: 1000 }, 80_000);
    const measured = b.block.view().srttUs;
    expect(measured).toBeGreaterThan(0);
    b.block.write(new Uint8Array(800));
    b.sent(SECOND);
    const now = b.block.pollTimeout();
    b.block.handleTimeout(now);
    b.sent(now);
    const again = b.receive({ flags: ACK, sequence: 301, acknowledgement: 501, window: 1000 }, now + 1000);
    expect(again).toEqual(["PSH,ACK seq=501 ack=301 len=400"]);
    b.receive({ flags: ACK, sequence: 301, acknowledgement: 901, window: 1000 }, now + 9 * SECOND);
    expect(b.block.view()).toMatchObject({ sndUna: 901, srttUs: measured });
  });
});

describe("text", () => {
  it("is cut to the peer's MSS and window, and goes again when nothing is acknowledged", () => {
    const b = bench();
    b.block.open(0);
    b.sent();
    b.receive({ flags: SYN | ACK, sequence: 300, acknowledgement: 101, mss: 400, window: 1000 });
    b.block.write(new Uint8Array(1500));
    expect(b.sent()).toEqual(["ACK seq=101 ack=301 len=400", "ACK seq=501 ack=301 len=400"]);
    const now = b.block.pollTimeout();
    b.block.handleTimeout(now);
    // One segment: the congestion window begins anew.
    expect(b.sent(now)).toEqual(["ACK seq=101 ack=301 len=400"]);
    expect(b.receive({ flags: ACK, sequence: 301, acknowledgement: 901, window: 1000 }, now)).toEqual([
      "ACK seq=901 ack=301 len=400",
      "PSH,ACK seq=1301 ack=301 len=300",
    ]);
  });

  it("out of order is kept, acknowledged up to the gap, and delivered when the gap closes", () => {
    const b = established();
    expect(b.receive({ flags: ACK, sequence: 304, acknowledgement: 101, text: Uint8Array.of(4, 5) })).toEqual(
      ["ACK seq=101 ack=301"],
    );
    expect(b.block.view().readable).toBe(0);
    expect(
      b.receive({ flags: ACK, sequence: 301, acknowledgement: 101, text: Uint8Array.of(1, 2, 3) }),
    ).toEqual(["ACK seq=101 ack=306"]);
    expect([...b.block.read(10)]).toEqual([1, 2, 3, 4, 5]);
  });

  it("that overlaps what is there is taken once", () => {
    const b = established();
    b.receive({ flags: ACK, sequence: 301, acknowledgement: 101, text: Uint8Array.of(1, 2, 3) });
    b.receive({ flags: ACK, sequence: 302, acknowledgement: 101, text: Uint8Array.of(2, 3, 4) });
    expect([...b.block.read(10)]).toEqual([1, 2, 3, 4]);
  });

  it("beyond the window is not taken", () => {
    const b = established({ bufferLength: 4 });
    b.receive({ flags: ACK, sequence: 301, acknowledgement: 101, text: Uint8Array.of(1, 2, 3, 4, 5, 6) });
    expect([...b.block.read(10)]).toEqual([1, 2, 3, 4]);
  });
});

describe("a shut window", () => {
  it("of the peer is probed with one byte, with back-off, until it opens", () => {
    const b = established();
    b.receive({ flags: ACK, sequence: 301, acknowledgement: 101, window: 0 });
    b.block.write(new Uint8Array(500));
    expect(b.sent()).toEqual([]);
    const first = b.block.pollTimeout();
    b.block.handleTimeout(first);
    expect(b.sent(first)).toEqual(["ACK seq=101 ack=301 len=1"]);
    const second = b.block.pollTimeout();
    expect(second - first).toBeGreaterThan(first);
    b.block.handleTimeout(second);
    expect(b.sent(second)).toEqual(["ACK seq=101 ack=301 len=1"]);
    expect(b.receive({ flags: ACK, sequence: 301, acknowledgement: 101, window: 1000 }, second)).toEqual([
      "PSH,ACK seq=101 ack=301 len=500",
    ]);
  });

  it("of our own is announced, and its opening too", () => {
    const b = established({ bufferLength: 4 });
    b.receive({ flags: ACK, sequence: 301, acknowledgement: 101, text: Uint8Array.of(1, 2, 3, 4) });
    expect(b.block.view().rcvWnd).toBe(0);
    expect(b.receive({ flags: ACK, sequence: 305, acknowledgement: 101, text: Uint8Array.of(5) })).toEqual([
      "ACK seq=101 ack=305",
    ]);
    expect([...b.block.read(10)]).toEqual([1, 2, 3, 4]);
    expect(b.sent()).toEqual(["ACK seq=101 ack=305"]);
    expect(b.block.view().rcvWnd).toBe(4);
  });

  it("of our own takes acknowledgements and resets of the very next number, and of no other (§3.10.7.4)", () => {
    for (const sequence of [304, 306, 305 + 0x8000_0000]) {
      const b = established({ bufferLength: 4 });
      b.receive({ flags: ACK, sequence: 301, acknowledgement: 101, text: Uint8Array.of(1, 2, 3, 4) });
      b.block.write(Uint8Array.of(9));
      expect(b.sent()).toHaveLength(1);
      expect(b.receive({ flags: ACK, sequence, acknowledgement: 102 })).toEqual(["ACK seq=102 ack=305"]);
      expect(b.block.view().sndUna).toBe(101);
      expect(b.receive({ flags: ACK, sequence: 305, acknowledgement: 102 })).toEqual([]);
      expect(b.block.view().sndUna).toBe(102);
      b.receive({ flags: RST, sequence });
      expect(b.block.state).toBe("ESTABLISHED");
      b.receive({ flags: RST, sequence: 305 });
      expect(b.block.state).toBe("CLOSED");
    }
  });
});

describe("closing", () => {
  it("from this side: FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT for two segment lifetimes, CLOSED", () => {
    const b = established();
    b.block.close();
    expect(b.sent()).toEqual(["FIN,ACK seq=101 ack=301"]);
    expect(b.receive({ flags: ACK, sequence: 301, acknowledgement: 102 })).toEqual([]);
    expect(b.block.state).toBe("FIN-WAIT-2");
    expect(b.receive({ flags: FIN | ACK, sequence: 301, acknowledgement: 102 }, SECOND)).toEqual([
      "ACK seq=102 ack=302",
    ]);
    expect(b.block.state).toBe("TIME-WAIT");
    expect(b.pool.reserved).toBe(0);
    expect(b.receive({ flags: FIN | ACK, sequence: 301, acknowledgement: 102 }, 2 * SECOND)).toEqual([
      "ACK seq=102 ack=302",
    ]);
    expect(b.block.pollTimeout()).toBe(2 * SECOND + 2 * MSL);
    b.block.handleTimeout(2 * SECOND + 2 * MSL);
    expect(b.block.state).toBe("CLOSED");
    expect(b.events()).toEqual(["peer-closed", "closed"]);
  });

  it("from the other: CLOSE-WAIT, LAST-ACK, CLOSED", () => {
    const b = established();
    expect(b.receive({ flags: FIN | ACK, sequence: 301, acknowledgement: 101 })).toEqual([
      "ACK seq=101 ack=302",
    ]);
    b.block.write(Uint8Array.of(9));
    b.block.close();
    expect(b.sent()).toEqual(["FIN,PSH,ACK seq=101 ack=302 len=1"]);
    expect(b.block.state).toBe("LAST-ACK");
    b.receive({ flags: ACK, sequence: 302, acknowledgement: 103 });
    expect(b.block.state).toBe("CLOSED");
    expect(b.events()).toEqual(["peer-closed", "closed"]);
    expect(b.pool.reserved).toBe(0);
  });

  it("from both at once: CLOSING, TIME-WAIT", () => {
    const b = WAYS.CLOSING();
    expect(b.receive({ flags: ACK, sequence: 302, acknowledgement: 102 })).toEqual([]);
    expect(b.block.state).toBe("TIME-WAIT");
  });

  it("sends FIN only after everything written, however narrow the window", () => {
    const b = established();
    b.receive({ flags: ACK, sequence: 301, acknowledgement: 101, window: 3 });
    b.block.write(Uint8Array.of(1, 2, 3, 4, 5));
    b.block.close();
    expect(b.sent()).toEqual([]);
    const now = b.block.pollTimeout();
    b.block.handleTimeout(now);
    expect(b.sent(now)).toEqual(["ACK seq=101 ack=301 len=3"]);
    expect(b.receive({ flags: ACK, sequence: 301, acknowledgement: 104, window: 3 })).toEqual([
      "FIN,PSH,ACK seq=104 ack=301 len=2",
    ]);
  });

  it("in SYN-SENT just forgets", () => {
    const b = WAYS["SYN-SENT"]();
    b.block.close();
    expect([b.block.state, b.sent(), b.pool.reserved]).toEqual(["CLOSED", [], 0]);
  });

  it("leaves what has arrived to be read", () => {
    const b = established();
    b.receive({ flags: FIN | ACK, sequence: 301, acknowledgement: 101, text: Uint8Array.of(1, 2, 3) });
    b.block.close();
    b.sent();
    b.receive({ flags: ACK, sequence: 305, acknowledgement: 102 });
    expect([b.block.state, b.pool.reserved]).toEqual(["CLOSED", 0]);
    expect([...b.block.read(2), ...b.block.read(2)]).toEqual([1, 2, 3]);
  });
});

describe("abort", () => {
  it.each([
    "SYN-RECEIVED",
    "ESTABLISHED",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "CLOSE-WAIT",
    "CLOSING",
    "LAST-ACK",
  ] as const)("in %s sends RST and returns the buffers", (state) => {
    const b = WAYS[state]();
    b.block.abort();
    expect(b.sent()).toEqual([expect.stringMatching(/^RST,ACK seq=10[12] ack=30[12]$/)]);
    expect([b.block.state, b.pool.reserved, b.block.pollTimeout()]).toEqual([
      "CLOSED",
      0,
      Number.POSITIVE_INFINITY,
    ]);
  });

  it.each(["CLOSED", "SYN-SENT", "TIME-WAIT"] as const)("in %s sends nothing", (state) => {
    const b = WAYS[state]();
    b.block.abort();
    expect([b.sent(), b.block.state, b.pool.reserved]).toEqual([[], "CLOSED", 0]);
  });
});

describe("ISN wrap-around at 2^32", () => {
  it("is passed by handshake, text and FIN", () => {
    const b = bench({ iss: 0xffff_ffff });
    b.block.open(0);
    expect(b.sent()).toEqual(["SYN seq=4294967295"]);
    expect(b.receive({ flags: SYN | ACK, sequence: 0xffff_fffe, acknowledgement: 0 })).toEqual([
      "ACK seq=0 ack=4294967295",
    ]);
    b.block.write(new Uint8Array(5));
    expect(b.sent()).toEqual(["PSH,ACK seq=0 ack=4294967295 len=5"]);
    expect(
      b.receive({ flags: ACK, sequence: 0xffff_ffff, acknowledgement: 5, text: Uint8Array.of(1, 2, 3) }),
    ).toEqual(["ACK seq=5 ack=2"]);
    expect([...b.block.read(9)]).toEqual([1, 2, 3]);
    b.block.close();
    expect(b.sent()).toEqual(["FIN,ACK seq=5 ack=2"]);
    b.receive({ flags: FIN | ACK, sequence: 2, acknowledgement: 6 });
    expect(b.block.state).toBe("TIME-WAIT");
  });
});

it.runIf(ALL)(
  "a stream goes on when its sequence numbers come round to the ISN",
  () => {
    const window = 65_535;
    const b = bench({ bufferLength: window, mss: window });
    const acknowledge = (acknowledgement: number, flags: number, sequence: number): void =>
      b.block.handleSegment({ flags, sequence, acknowledgement, window, mss: window, text: NOTHING }, 0);
    b.block.open(0);
    b.sent();
    acknowledge(ISS + 1, SYN | ACK, IRS);
    b.sent();
    const text = new Uint8Array(window);
    // 2^32 - 1 bytes: the next one has the ISN for a number.
    for (let left = 2 ** 32 - 1; left > 0; left -= window) {
      b.block.write(text);
      while (b.block.pollSegment(0) !== undefined);
      acknowledge(b.block.view().sndNxt, ACK, 301);
    }
    expect(b.block.view()).toMatchObject({ sndUna: ISS, unacknowledged: 0 });
    b.block.write(Uint8Array.of(1, 2, 3));
    expect(b.sent()).toEqual([`PSH,ACK seq=${ISS} ack=301 len=3`]);
    b.receive({ flags: ACK, sequence: 301, acknowledgement: ISS + 3 });
    expect(b.block.view()).toMatchObject({ sndUna: ISS + 3, unacknowledged: 0 });
  },
  60_000,
);

describe("the peer's MSS", () => {
  it.each([
    [undefined, 536],
    [0, 536],
    [1, 48],
    [47, 48],
    [48, 48],
    [1000, 1000],
    [65_535, 1460],
  ])("of %s bytes makes segments of %i", (mss, expected) => {
    const b = bench();
    b.block.open(0);
    b.sent();
    const named = mss === undefined ? {} : { mss };
    b.receive({ flags: SYN | ACK, sequence: IRS, acknowledgement: 101, window: 4096, ...named });
    b.block.write(new Uint8Array(4096));
    expect(b.sent()[0]).toBe(`ACK seq=101 ack=301 len=${expected}`);
  });
});

it("over IPv6, a peer that names no MSS takes 1,220 bytes (RFC 9293 §3.7.1, MUST-15)", () => {
  const b = established({ defaultMss: DEFAULT_MSS[6] });
  b.receive({ flags: ACK, sequence: 301, acknowledgement: 101, window: 4096 });
  b.block.write(new Uint8Array(4096));
  expect(b.sent()[0]).toBe("ACK seq=101 ack=301 len=1220");
});

describe("RFC 6298 §5.7: data begins with three seconds", () => {
  const handshake = (tries: number): Bench => {
    const b = bench();
    b.block.open(0);
    b.sent();
    for (let i = 1; i < tries; i++) {
      b.block.handleTimeout(b.block.pollTimeout());
      b.sent(b.block.pollTimeout());
    }
    b.receive({ flags: SYN | ACK, sequence: IRS, acknowledgement: 101 }, 20 * SECOND);
    b.block.write(Uint8Array.of(1));
    b.sent(20 * SECOND);
    return b;
  };
  it.each([2, 3, 4])("after %i SYNs", (tries) => {
    const b = handshake(tries);
    expect(b.block.pollTimeout()).toBe(23 * SECOND);
    // Until there is a round trip to go by.
    b.receive({ flags: ACK, sequence: 301, acknowledgement: 102 }, 20 * SECOND + 1000);
    expect(b.block.view().rtoUs).toBe(SECOND);
  });

  it("and after one that the peer's SYN, come again, shows to be lost: no round trip is known, and one segment goes (RFC 5681 §3.1)", () => {
    const b = bench();
    const syn = { flags: SYN, sequence: 300, acknowledgement: 0, window: 60_000, text: new Uint8Array(0) };
    b.block.accept(syn, 0);
    b.sent(0);
    expect(b.receive(syn, 0.9 * SECOND)).toEqual(["SYN,ACK seq=100 ack=301"]);
    b.receive({ flags: ACK, sequence: 301, acknowledgement: 101, window: 60_000 }, 0.91 * SECOND);
    expect(b.block.state).toBe("ESTABLISHED");
    b.block.write(new Uint8Array(4000));
    expect(b.sent(0.91 * SECOND)).toHaveLength(1);
    expect(b.block.pollTimeout()).toBe(3.91 * SECOND);
  });

  it("nor has a simultaneous open one, whose SYN went twice", () => {
    const b = bench();
    b.block.open(0);
    b.sent(0);
    b.receive({ flags: SYN, sequence: IRS }, 0.5 * SECOND);
    const before = b.block.view().srttUs;
    b.receive({ flags: SYN | ACK, sequence: IRS, acknowledgement: 101 }, 0.6 * SECOND);
    expect(b.block.state).toBe("ESTABLISHED");
    expect(b.block.view().srttUs).toBe(before);
  });

  it("and not after one, whose round trip is known", () => {
    expect(handshake(1).block.view()).toMatchObject({ srttUs: 20 * SECOND, rtoUs: 60 * SECOND });
  });
});

describe("a FIN", () => {
  it("goes with the last text where the window has room for it, and after that else", () => {
    for (const [window, first] of [
      [11, "FIN,ACK seq=101 ack=301 len=10"],
      [10, "ACK seq=101 ack=301 len=10"],
    ] as const) {
      const b = established();
      b.receive({ flags: ACK, sequence: 301, acknowledgement: 101, window });
      b.block.write(new Uint8Array(10));
      b.block.close();
      expect([window, b.sent()[0].replace("PSH,", "").replace(",PSH", "")]).toEqual([window, first]);
    }
  });
});

describe("buffer memory", () => {
  it("is reserved at open, and the open fails without it", () => {
    const pool = createBufferPool(3 * BUFFER);
    const make = () =>
      createControlBlock({
        iss: 1,
        mss: 1460,
        pool,
        bufferLength: BUFFER,
        synRetries: 1,
        retries: 1,
        mslUs: MSL,
      });
    const first = make();
    expect(pool.reserved).toBe(0);
    expect(first.open(0)).toBe(true);
    expect(pool.reserved).toBe(2 * BUFFER);
    const second = make();
    expect(second.open(0)).toBe(false);
    expect([second.state, pool.reserved]).toEqual(["CLOSED", 2 * BUFFER]);
    first.abort();
    expect(pool.reserved).toBe(0);
  });
});
