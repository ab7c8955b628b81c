/**
 * The control block by script, as packetdrill has it: what comes in, what goes out, line by line. Each script is of one
 * requirement, and fails without it.
 *
 *     < ACK 301 101 win=0 len=5     a segment of the peer's: flags, SEQ, ACK, window (10,000 when left out), text
 *     > PSH,ACK 101 306 win=400     what is sent in answer; every segment, in order. The window only where it is written
 *     write 500 · read 100 · close · stop-reading
 *     wait 0.5                      that many seconds pass; timers fire when they are due
 *     state CLOSE-WAIT · readable 5
 */
import { describe, expect, it } from "vitest";
import { createBufferPool } from "../../src/socket/buffers.ts";
import type { ControlBlockOptions } from "../../src/socket/connection.ts";
import { createControlBlock } from "../../src/socket/control-block.ts";
import type { Segment } from "../../src/socket/segment.ts";
import { FLAGS, flagNames } from "../../src/wire/tcp.ts";

const SECOND = 1_000_000;

const flagsIn = (names: string): number =>
  names.split(",").reduce((flags, name) => flags | FLAGS[name as keyof typeof FLAGS], 0);

const numberOf = (name: string, words: readonly string[]): number | undefined => {
  const found = words.find((word) => word.startsWith(`${name}=`));
  return found === undefined ? undefined : Number(found.slice(name.length + 1));
};

function segmentIn([flags, sequence, acknowledgement, ...rest]: readonly string[]): Segment {
  const mss = numberOf("mss", rest);
  return {
    flags: flagsIn(flags),
    sequence: Number(sequence),
    acknowledgement: Number(acknowledgement),
    window: numberOf("win", rest) ?? 10_000,
    ...(mss === undefined ? {} : { mss }),
    text: new Uint8Array(numberOf("len", rest) ?? 0),
  };
}

function lineOf({ flags, sequence, acknowledgement, window, text }: Segment): string {
  const length = text.length > 0 ? ` len=${text.length}` : "";
  return `${flagNames(flags)} ${sequence} ${acknowledgement} win=${window}${length}`;
}

/** Runs a script on a block with ISS 100; the peer's is 300. */
function run(script: string, options: Partial<ControlBlockOptions> = {}): void {
  const block = createControlBlock({
    iss: 100,
    mss: 1000,
    pool: createBufferPool(1 << 20),
    bufferLength: 8000,
    synRetries: 3,
    retries: 8,
    mslUs: SECOND,
    ...options,
  });
  let now = 0;
  const lines = script
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  /** What was sent since the last line that was no expectation. */
  const sent: string[] = [];
  const collect = (): void => {
    for (let s = block.pollSegment(now); s !== undefined; s = block.pollSegment(now)) sent.push(lineOf(s));
  };
  const steps: Record<string, (words: readonly string[]) => void> = {
    open: () => block.open(now),
    accept: (words) => block.accept(segmentIn(words), now),
    "<": (words) => block.handleSegment(segmentIn(words), now),
    write: ([count]) => expect(block.write(new Uint8Array(Number(count)))).toBe(Number(count)),
    read: ([count]) => expect(block.read(Number(count)).length).toBe(Number(count)),
    close: () => block.close(),
    "stop-reading": () => block.stopReading(),
    wait: ([seconds]) => {
      const until = now + Number(seconds) * SECOND;
      for (let due = block.pollTimeout(); due <= until; due = block.pollTimeout()) {
        now = due;
        block.handleTimeout(now);
        collect();
      }
      now = until;
    },
    /** No timer is on. */
    idle: () => expect(block.pollTimeout()).toBe(Number.POSITIVE_INFINITY),
    state: ([state]) => expect(block.state).toBe(state),
    readable: ([count]) => expect(block.view().readable).toBe(Number(count)),
  };
  for (const [index, line] of lines.entries()) {
    const [step, ...words] = line.split(/\s+/);
    const where = `line ${index + 1}: ${line}`;
    if (step === ">") {
      const next = sent.shift() ?? "nothing";
      const wanted = words.join(" ");
      const seen = wanted.includes("win=") ? next : next.replace(/ win=\d+/, "");
      expect(seen, where).toBe(wanted);
      continue;
    }
    expect(sent, `before ${where}`).toEqual([]);
    steps[step](words);
    collect();
  }
  expect(sent, "at the end").toEqual([]);
}

const OPENED = `
  open
  > SYN 100 0
  < SYN,ACK 300 101 mss=1000
  > ACK 101 301
`;

interface Script {
  readonly name: string;
  readonly script: string;
  readonly options?: Partial<ControlBlockOptions>;
}

const SENDER_SILLY: readonly Script[] = [
  {
    name: "less than a segment and less than half the window waits for the timer, half a second",
    script: `${OPENED}
      < ACK 301 101 win=300
      write 500
      wait 0.4
      wait 0.2
      > ACK 101 301 len=300
      < ACK 301 401 win=300
      > PSH,ACK 401 301 len=200`,
  },
  {
    name: "or for the window",
    script: `${OPENED}
      < ACK 301 101 win=300
      write 1500
      < ACK 301 101 win=1100
      > ACK 101 301 len=1000
      < ACK 301 1101 win=1100
      > PSH,ACK 1101 301 len=500`,
  },
  {
    name: "a full segment goes, and what is left of the window does not",
    script: `${OPENED}
      < ACK 301 101 win=1400
      write 3000
      > ACK 101 301 len=1000
      < ACK 301 1101 win=1400
      > ACK 1101 301 len=1000
      < ACK 301 2101 win=1400
      > PSH,ACK 2101 301 len=1000`,
  },
  {
    name: "all that there is goes at once, however little",
    script: `${OPENED}
      < ACK 301 101 win=300
      write 200
      > PSH,ACK 101 301 len=200`,
  },
  {
    name: "half of the largest window that the peer has had goes too",
    script: `
      open
      > SYN 100 0
      < SYN,ACK 300 101 win=400 mss=1000
      > ACK 101 301
      write 900
      > ACK 101 301 len=400
      < ACK 301 501 win=199
      < ACK 301 501 win=200
      > ACK 501 301 len=200
      < ACK 301 701 win=400
      > PSH,ACK 701 301 len=300`,
  },
  {
    name: "the override is no retransmission: the next timeout is the first",
    script: `${OPENED}
      < ACK 301 101 win=300
      write 500
      wait 0.5
      > ACK 101 301 len=300
      wait 0.9
      wait 0.1
      > ACK 101 301 len=300`,
  },
];

const RECEIVER_SILLY: readonly Script[] = [
  {
    name: "the window stays shut while less than a segment has been read",
    script: `${OPENED}
      < ACK 301 101 len=8000
      > ACK 101 8301 win=0
      read 999
      < ACK 8301 101 len=1
      > ACK 101 8301 win=0
      read 1
      > ACK 101 8301 win=1000`,
  },
  {
    name: "and its right edge stays where it is while more comes",
    script: `${OPENED}
      < ACK 301 101 len=2000
      > ACK 101 2301 win=6000
      read 900
      < ACK 2301 101 len=500
      > ACK 101 2801 win=5500`,
  },
  {
    name: "half of a buffer smaller than two segments counts too",
    script: `${OPENED}
      < ACK 301 101 len=1000
      > ACK 101 1301 win=0
      read 499
      read 1
      > ACK 101 1301 win=500`,
    options: { bufferLength: 1000 },
  },
  {
    name: "text beyond the window that was announced is not taken",
    script: `${OPENED}
      < ACK 301 101 len=8000
      > ACK 101 8301 win=0
      read 500
      < ACK 8301 101 len=400
      > ACK 101 8301 win=0
      readable 7500`,
  },
];

const WINDOW_UPDATES: readonly Script[] = [
  {
    name: "reading is told, though the window was not shut and nobody asked",
    script: `${OPENED}
      < ACK 301 101 len=3000
      > ACK 101 3301 win=5000
      read 3000
      > ACK 101 3301 win=8000`,
  },
  {
    name: "not by itself when there is text to send, which tells it",
    script: `${OPENED}
      < ACK 301 101 len=3000
      > ACK 101 3301 win=5000
      write 10
      > PSH,ACK 101 3301 win=5000 len=10
      read 3000
      > ACK 111 3301 win=8000`,
  },
  {
    name: "not after the peer's FIN, which needs no more room",
    script: `${OPENED}
      < FIN,ACK 301 101 len=3000
      > ACK 101 3302 win=4999
      read 3000
      state CLOSE-WAIT`,
  },
];

const EARLY_FIN: readonly Script[] = [
  {
    name: "behind a full window is taken, and leaves no window",
    script: `${OPENED}
      < FIN,ACK 301 101 len=8000
      > ACK 101 8302 win=0
      state CLOSE-WAIT`,
  },
  {
    name: "is held until the text before it has come",
    script: `${OPENED}
      < FIN,ACK 303 101 len=1
      > ACK 101 301
      > ACK 101 301
      state ESTABLISHED
      < ACK 301 101 len=2
      > ACK 101 305
      state CLOSE-WAIT
      readable 3`,
  },
  {
    name: "alone, without text",
    script: `${OPENED}
      < FIN,ACK 310 101
      > ACK 101 301
      < ACK 301 101 len=9
      > ACK 101 311
      state CLOSE-WAIT`,
  },
  {
    name: "in FIN-WAIT-2",
    script: `${OPENED}
      close
      > FIN,ACK 101 301
      < ACK 301 102
      < FIN,ACK 305 102
      > ACK 102 301
      < ACK 301 102 len=4
      > ACK 102 306
      state TIME-WAIT`,
  },
  {
    name: "no text behind it is taken, and no FIN before text that is here",
    script: `${OPENED}
      < FIN,ACK 303 101
      > ACK 101 301
      < ACK 301 101 len=9
      > ACK 101 304
      readable 2
      state CLOSE-WAIT`,
  },
  {
    name: "a FIN that says that text which is here was never sent is not believed",
    script: `${OPENED}
      < ACK 311 101 len=10
      > ACK 101 301
      < FIN,ACK 305 101
      > ACK 101 301
      < ACK 301 101 len=10
      > ACK 101 321
      state ESTABLISHED`,
  },
];

const UNREAD: readonly Script[] = [
  {
    name: "text that was not read when a user closes who reads no more",
    script: `${OPENED}
      < ACK 301 101 len=5
      > ACK 101 306
      stop-reading
      close
      > RST,ACK 101 306
      state CLOSED`,
  },
  {
    name: "text that comes after that",
    script: `${OPENED}
      stop-reading
      close
      > FIN,ACK 101 301
      < ACK 301 102
      < ACK 301 102 len=5
      > RST,ACK 102 306
      state CLOSED`,
  },
  {
    name: "not while the user still reads",
    script: `${OPENED}
      < ACK 301 101 len=5
      > ACK 101 306
      close
      > FIN,ACK 101 306
      < ACK 306 102 len=5
      > ACK 102 311
      state FIN-WAIT-2
      readable 10`,
  },
  {
    name: "not a peer that has said nothing",
    script: `${OPENED}
      stop-reading
      close
      > FIN,ACK 101 301
      < FIN,ACK 301 102
      > ACK 102 302
      state TIME-WAIT`,
  },
];

const EARLY_TEXT: readonly Script[] = [
  {
    name: "of a SYN to a listener is there when the handshake is over (§3.10.7.2)",
    script: `
      accept SYN 300 0 len=5
      > SYN,ACK 100 301
      readable 0
      < ACK 306 101
      > ACK 101 306
      readable 5`,
  },
  {
    name: "and a FIN with it",
    script: `
      accept SYN,FIN 300 0 len=5
      > SYN,ACK 100 301
      < ACK 301 101
      > ACK 101 307
      state CLOSE-WAIT
      readable 5`,
  },
  {
    name: "of a SYN in a simultaneous open (§3.10.7.3)",
    script: `
      open
      > SYN 100 0
      < SYN 300 0 len=5
      > SYN,ACK 100 301
      state SYN-RECEIVED
      readable 0
      < ACK 301 101
      > ACK 101 306
      state ESTABLISHED
      readable 5`,
  },
  {
    name: "of a SYN-ACK, and its FIN",
    script: `
      open
      > SYN 100 0
      < SYN,ACK,FIN 300 101 len=5
      > ACK 101 307
      state CLOSE-WAIT
      readable 5`,
  },
];

const RETRANSMISSION: readonly Script[] = [
  {
    name: "RTO is one second at least, however short the round trip (RFC 6298 §2.4)",
    script: `${OPENED}
      write 10
      > PSH,ACK 101 301 len=10
      < ACK 301 111
      write 10
      > PSH,ACK 111 301 len=10
      wait 0.999
      wait 0.001
      > PSH,ACK 111 301 len=10`,
  },
  {
    name: "or what its user says",
    script: `${OPENED}
      write 10
      > PSH,ACK 101 301 len=10
      wait 0.2
      > PSH,ACK 101 301 len=10`,
    options: { rto: { initialUs: 200_000, minUs: 200_000, maxUs: 60 * SECOND } },
  },
  {
    name: "three duplicate acknowledgements send the lost segment again, without the timer (RFC 5681 §3.2)",
    script: `${OPENED}
      write 6000
      > ACK 101 301 len=1000
      > ACK 1101 301 len=1000
      > ACK 2101 301 len=1000
      > ACK 3101 301 len=1000
      < ACK 301 101
      < ACK 301 101
      < ACK 301 101
      > ACK 101 301 len=1000
      > ACK 4101 301 len=1000
      < ACK 301 5101
      > PSH,ACK 5101 301 len=1000`,
  },
  {
    name: "which begins the timer again (RFC 6298 §5.3)",
    script: `${OPENED}
      write 4000
      > ACK 101 301 len=1000
      > ACK 1101 301 len=1000
      > ACK 2101 301 len=1000
      > PSH,ACK 3101 301 len=1000
      wait 0.9
      < ACK 301 101
      < ACK 301 101
      < ACK 301 101
      > ACK 101 301 len=1000
      wait 0.9
      wait 0.2
      > ACK 101 301 len=1000`,
  },
  {
    name: "there is no timer while nothing waits and nothing is in flight",
    script: `${OPENED}
      idle
      write 10
      > PSH,ACK 101 301 len=10
      < ACK 301 111
      idle
      < ACK 301 111 win=0
      idle
      < ACK 301 111 len=7
      > ACK 111 308
      idle
      read 7
      idle`,
  },
  {
    name: "the window is that of the segment with the highest number, in whatever order they come (§3.10.7.4)",
    script: `${OPENED}
      < PSH,ACK 308 101 len=7 win=0
      > ACK 101 301
      < PSH,ACK 301 101 len=7 win=9000
      > ACK 101 315
      write 10
      wait 0.9
      wait 0.2
      > ACK 101 315 len=1
      < ACK 315 101 win=9000
      > PSH,ACK 101 315 len=10`,
  },
  {
    name: "a passive side has the window of the acknowledgement, not of the SYN",
    script: `
      accept SYN 300 0 win=9000
      > SYN,ACK 100 301
      < ACK 301 101 win=0
      write 10
      wait 0.9
      wait 0.2
      > ACK 101 301 len=1`,
  },
  {
    name: "a partial acknowledgement sends the next lost one (RFC 6582 §3.2)",
    script: `${OPENED}
      write 4000
      > ACK 101 301 len=1000
      > ACK 1101 301 len=1000
      > ACK 2101 301 len=1000
      > PSH,ACK 3101 301 len=1000
      < ACK 301 101
      < ACK 301 101
      < ACK 301 101
      > ACK 101 301 len=1000
      < ACK 301 2101
      > ACK 2101 301 len=1000
      < ACK 301 4101`,
  },
  {
    name: "duplicates that were drawn before a timeout are no sign of another loss (RFC 6582 §3.2)",
    script: `${OPENED}
      write 4000
      > ACK 101 301 len=1000
      > ACK 1101 301 len=1000
      > ACK 2101 301 len=1000
      > PSH,ACK 3101 301 len=1000
      wait 1
      > ACK 101 301 len=1000
      < ACK 301 101
      < ACK 301 101
      < ACK 301 101
      < ACK 301 4101`,
  },
  {
    name: "a FIN alone is sent again by duplicates of nothing only once",
    script: `${OPENED}
      close
      > FIN,ACK 101 301
      < ACK 301 101
      < ACK 301 101
      < ACK 301 101
      > FIN,ACK 101 301
      < ACK 301 101`,
  },
  {
    name: "a window opens from two to four segments, by one for each acknowledged (RFC 5681 §3.1)",
    script: `${OPENED}
      write 8000
      > ACK 101 301 len=1000
      > ACK 1101 301 len=1000
      > ACK 2101 301 len=1000
      > ACK 3101 301 len=1000
      < ACK 301 1101
      > ACK 4101 301 len=1000
      > ACK 5101 301 len=1000
      < ACK 301 6101
      > ACK 6101 301 len=1000
      > PSH,ACK 7101 301 len=1000`,
  },
  {
    name: "an acknowledgement while something goes again has the number behind all that was sent",
    script: `${OPENED}
      write 2000
      > ACK 101 301 len=1000
      > PSH,ACK 1101 301 len=1000
      wait 1
      > ACK 101 301 len=1000
      < ACK 301 101 len=5
      > ACK 2101 306`,
  },
];

describe("sender silly window avoidance (RFC 9293 §3.8.6.2.1, MUST-38)", () => {
  it.each(SENDER_SILLY)("$name", ({ script, options }) => run(script, options));
});
describe("receiver silly window avoidance (RFC 9293 §3.8.6.2.2, MUST-39)", () => {
  it.each(RECEIVER_SILLY)("$name", ({ script, options }) => run(script, options));
});
describe("a window update (RFC 9293 §3.8.6.2.2)", () => {
  it.each(WINDOW_UPDATES)("$name", ({ script, options }) => run(script, options));
});
describe("an early FIN (RFC 9293 §3.10.7.4, SHLD-31)", () => {
  it.each(EARLY_FIN)("$name", ({ script, options }) => run(script, options));
});
describe("RST answers (RFC 1122 §4.2.2.13, RFC 9293 §3.6.1, SHLD-3)", () => {
  it.each(UNREAD)("$name", ({ script, options }) => run(script, options));
});
describe("early text", () => {
  it.each(EARLY_TEXT)("$name", ({ script, options }) => run(script, options));
});
describe("what is lost", () => {
  it.each(RETRANSMISSION)("$name", ({ script, options }) => run(script, options));
});

/** RFC 5961 §7: ten in five seconds. */
describe("challenge ACKs", () => {
  const times = (count: number, lines: string): string => Array(count).fill(lines).join("\n");
  it.each([
    ["RST in the window", "RST 310 0"],
    ["SYN", "SYN 310 0"],
    ["an acknowledgement of what was never sent", "ACK 301 500"],
    ["an acknowledgement outside of the window", "ACK 99000 101"],
  ])("are ten at most: %s", (_name, segment) => {
    run(`${OPENED}
      ${times(10, `< ${segment}\n> ACK 101 301`)}
      ${times(5, `< ${segment}`)}
      wait 5
      < ${segment}
      > ACK 101 301`);
  });

  it("do not hold back the acknowledgement of text that comes again", () => {
    run(`${OPENED}
      < ACK 301 101 len=5
      > ACK 101 306
      ${times(20, "< ACK 301 101 len=5\n> ACK 101 306")}`);
  });
});
