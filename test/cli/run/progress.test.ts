/** The progress line: its figures, its width and colours, and the rates and times that it makes of two looks. */
import { stripVTControlCharacters } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  createPaceMeter,
  createProgress,
  mayDraw,
  progressLine,
  statsLine,
} from "../../../src/cli/run/progress.ts";
import type { ScanProgress } from "../../../src/scan/probe/result.ts";

const look: ScanProgress = {
  elapsedMs: 42_700,
  total: 2_097_152,
  decided: 1_048_575,
  open: 1_234,
  closed: 1_000_000,
  filtered: 47_341,
  sent: 1_300_000,
  retransmitted: 15_600,
  received: 1_020_000,
  receiveDrops: 0,
  sendErrors: 0,
  inFlight: 8_192,
  workers: 2,
};
const pace = { sent: 198_431, received: 190_002, left: 301_000 };

describe("the line", () => {
  test("with room for everything", () => {
    expect(progressLine(look, pace, 200, false)).toBe(
      "49.9% done, 1,234 open, 198k/s sent, 190k/s received, 1.2% resent, 8,192 in flight, 0:42, about 5:01 left",
    );
  });

  test("a host that takes longer than all the others is named, and the time left is its", () => {
    const heldUp = { ip: "198.18.0.7", ms: 342_000 };
    expect(progressLine({ ...look, heldUp }, pace, 200, false)).toMatch(
      /, 0:42, about 5:42 left, held up by 198\.18\.0\.7$/,
    );
    expect(progressLine({ ...look, heldUp }, {}, 200, false)).toContain("about 5:42 left");
    expect(progressLine({ ...look, heldUp }, pace, 79, false)).toMatch(/about 5:42 left$/);
    for (const ms of [300_000, 2000]) {
      expect(progressLine({ ...look, heldUp: { ...heldUp, ms } }, pace, 200, false)).toMatch(
        /about 5:01 left$/,
      );
    }
    expect(progressLine({ ...look, heldUp: { ...heldUp, ms: 2000 } }, {}, 200, false)).not.toMatch(
      /left|held/,
    );
  });

  test("of names that are still looked up it is told how many, and no time, which they decide", () => {
    const line = progressLine({ ...look, lookingUp: 24 }, pace, 200, false);
    expect(line).toMatch(/% done, looking up 24 names, /);
    expect(line).not.toContain("left");
  });

  test("what went wrong on this machine is told when there is any", () => {
    const bad = { ...look, receiveDrops: 40_000, sendErrors: 3 };
    expect(progressLine(bad, pace, 200, false)).toContain("1,234 open, 40k dropped here, 3 sends refused, ");
  });

  test.each([
    [
      105,
      "49.9% done, 1,234 open, 198k/s sent, 190k/s received, 1.2% resent, 8,192 in flight, 0:42, about 5:01 left",
    ],
    [104, "49.9% done, 1,234 open, 198k/s sent, 190k/s received, 1.2% resent, 0:42, about 5:01 left"],
    [79, "49.9% done, 1,234 open, 198k/s sent, 190k/s received, about 5:01 left"],
    [55, "49.9% done, 1,234 open, 198k/s sent, about 5:01 left"],
    [40, "49.9% done, 1,234 open, about 5:01 left"],
    [30, "49.9% done, 1,234 open"],
    [10, "49.9% done"],
    [9, ""],
    [-1, ""],
  ])("in %d columns says the most important", (width, shown) => {
    expect(progressLine(look, pace, width, false)).toBe(shown);
  });

  test("says the same with colours, and is never wider than it may be", () => {
    const n = fc.nat({ max: Number.MAX_SAFE_INTEGER });
    const anyLook = fc.record<ScanProgress>({
      elapsedMs: n,
      total: n,
      decided: n,
      open: n,
      closed: n,
      filtered: n,
      sent: n,
      retransmitted: n,
      received: n,
      receiveDrops: n,
      sendErrors: n,
      inFlight: n,
      workers: n,
    });
    fc.assert(
      fc.property(anyLook, fc.integer({ min: 0, max: 250 }), (any, width) => {
        const line = progressLine(any, pace, width, false);
        expect(line.length).toBeLessThanOrEqual(width);
        expect(stripVTControlCharacters(progressLine(any, pace, width, true))).toBe(line);
      }),
    );
    expect(progressLine(look, pace, 200, true)).toContain("\x1b[32m1,234 open\x1b[39m");
  });

  test("is 100 % done only when nothing is left, and what is not known yet is not said", () => {
    expect(progressLine({ ...look, decided: look.total - 1 }, {}, 200, false)).toBe(
      "99.9% done, 1,234 open, - sent, - received, 1.2% resent, 8,192 in flight, 0:42",
    );
    expect(progressLine({ ...look, decided: look.total }, pace, 200, false)).toMatch(/^100\.0% done, /);
    const nothing = { ...look, total: 0, decided: 0, sent: 0, retransmitted: 0 };
    expect(progressLine(nothing, pace, 200, false)).not.toMatch(/NaN|resent/);
  });

  test("for --stats-every has every figure", () => {
    expect(statsLine(look, pace)).toBe(
      "synprobe: 1,048,575 of 2,097,152 pairs, 49.9% done, 1,234 open, 198k/s sent, 190k/s received, 1.2% resent, 8,192 in flight, 0:42, about 5:01 left, 2 workers\n",
    );
    expect(statsLine({ ...look, workers: 1 }, pace)).not.toContain("worker");
  });
});

describe("the pace", () => {
  const at = (elapsedMs: number, sent: number, decided: number): ScanProgress => ({
    ...look,
    elapsedMs,
    total: 100_000,
    sent,
    received: sent / 2,
    decided,
  });

  test("is unknown at the first look", () => {
    expect(createPaceMeter()(at(500, 100, 10))).toEqual({});
  });

  test("is the last two seconds' for rates, whatever came before", () => {
    const paceOf = createPaceMeter();
    for (let ms = 0; ms <= 10_000; ms += 200) paceOf(at(ms, ms, 0));
    let last = paceOf(at(10_200, 10_000 + 200 * 50, 0));
    for (let ms = 10_400; ms <= 12_200; ms += 200) last = paceOf(at(ms, 10_000 + (ms - 10_000) * 50, 0));
    expect(last.sent).toBeCloseTo(50_000);
    expect(last.received).toBeCloseTo(25_000);
  });

  test("reckons the time left from half a minute, and says none when nothing is decided", () => {
    const paceOf = createPaceMeter();
    expect(paceOf(at(0, 0, 0))).toEqual({});
    expect(paceOf(at(1000, 100, 0))).not.toHaveProperty("left");
    let last = {};
    for (let ms = 2000; ms <= 100_000; ms += 1000) last = paceOf(at(ms, ms, ms < 60_000 ? 0 : ms - 60_000));
    // From 70 s to 100 s one pair a millisecond: 60,000 are left.
    expect(last).toMatchObject({ left: 60_000 });
  });

  test("of a resumed run does not count what was done before", () => {
    const paceOf = createPaceMeter();
    paceOf(at(3_600_000, 1_000_000, 90_000));
    expect(paceOf(at(3_601_000, 1_000_500, 91_000))).toEqual({ sent: 500, received: 250, left: 9000 });
  });

  test("keeps few looks, however many come", () => {
    const paceOf = createPaceMeter();
    for (let ms = 0; ms < 1000; ms++) paceOf(at(ms, ms, ms));
    expect(paceOf(at(1000, 1000, 1000)).sent).toBeCloseTo(1000);
  });
});

/** What a terminal shows after some text, which may hold line feeds, carriage returns and "clear to the end of the line". */
function screen(text: string): string[] {
  const lines = [""];
  let column = 0;
  for (const [piece] of text.matchAll(/\r|\n|\x1b\[K|[^\r\n\x1b]+/g)) {
    const line = lines.at(-1) ?? "";
    if (piece === "\r") column = 0;
    else if (piece === "\n") column = lines.push("") * 0;
    else if (piece === "\x1b[K") lines[lines.length - 1] = line.slice(0, column);
    else {
      lines[lines.length - 1] = line.slice(0, column) + piece + line.slice(column + piece.length);
      column += piece.length;
    }
  }
  return lines;
}

describe("on a terminal", () => {
  const setUp = (live: boolean, statsEveryMs?: number) => {
    const written: string[] = [];
    const clock = { ms: 5000 };
    const terminal = { columns: 40 };
    const progress = createProgress({
      write: (text) => written.push(text),
      live,
      colour: false,
      columns: () => terminal.columns,
      now: () => clock.ms,
      ...(statsEveryMs === undefined ? {} : { statsEveryMs }),
    });
    const updateAt = (ms: number): void => {
      clock.ms = 5000 + ms;
      progress.update({ ...look, elapsedMs: ms });
    };
    return { written, terminal, progress, updateAt };
  };

  test("a run that is over in a second shows no line, and no trace of one", () => {
    const { written, progress, updateAt } = setUp(true);
    for (let ms = 0; ms < 1000; ms += 50) updateAt(ms);
    expect(progress.above("row\n")).toBe("row\n");
    progress.done();
    expect(written).toEqual([]);
  });

  test("the line is drawn five times a second, however often there is news", () => {
    for (const every of [1, 33, 200]) {
      const { written, updateAt } = setUp(true);
      for (let ms = 0; ms < 6000; ms += every) updateAt(ms);
      expect(written).toHaveLength(25);
    }
  });

  test("a long silence is not made up for", () => {
    const { written, updateAt } = setUp(true, 1000);
    updateAt(60_000);
    updateAt(60_001);
    expect(written.filter((text) => text.includes("synprobe:"))).toHaveLength(1);
    expect(written).toHaveLength(2);
  });

  test("the line keeps clear of the last column, and follows the terminal's width", () => {
    const { written, terminal, updateAt } = setUp(true);
    [31, 30, 12].forEach((columns, i) => {
      terminal.columns = columns;
      updateAt(1000 + i * 200);
    });
    expect(written.map((text) => screen(text)[0])).toEqual([
      "49.9% done, 1,234 open, - sent",
      "49.9% done, 1,234 open",
      "49.9% done",
    ]);
  });

  test("rows stand above the line, and nothing is left of it at the end", () => {
    const { written, progress, updateAt } = setUp(true);
    updateAt(1000);
    written.push(progress.above("a row that is a good deal longer than the line itself\n"));
    expect(screen(written.join(""))).toEqual([
      "a row that is a good deal longer than the line itself",
      "49.9% done, 1,234 open, - sent",
    ]);
    written.push(progress.above("one\ntwo\n"));
    progress.done();
    updateAt(1200);
    written.push(progress.above("the totals\n"));
    expect(screen(written.join(""))).toEqual([
      "a row that is a good deal longer than the line itself",
      "one",
      "two",
      "the totals",
      "",
    ]);
  });

  test("pieces of two streams may come in any order: each row stands by itself, and no line among them", () => {
    const steps = fc.array(fc.constantFrom("draw", "row", "message"), { maxLength: 40 });
    fc.assert(
      fc.property(steps, fc.infiniteStream(fc.boolean()), (sequence, coin) => {
        const { written: errors, progress, updateAt } = setUp(true);
        const output: string[] = [];
        let ms = 1000;
        updateAt(ms);
        sequence.forEach((step, i) => {
          if (step === "draw") {
            ms += 200;
            updateAt(ms);
          } else if (step === "row") output.push(progress.above(`row ${i}\n`));
          else errors.push(progress.above(`message ${i}\n`));
        });
        progress.done();
        output.push(progress.above("end\n"));
        // Each stream in its order, the two in any.
        const merged: string[] = [];
        while (output.length + errors.length > 0) {
          const first = errors.length === 0 || (output.length > 0 && coin.next().value === true);
          merged.push((first ? output.shift() : errors.shift()) ?? "");
        }
        const lines = screen(merged.join(""));
        const expected = sequence.flatMap((step, i) => (step === "draw" ? [] : [`${step} ${i}`]));
        expect(lines.toSorted()).toEqual([...expected, "end", ""].toSorted());
      }),
    );
  });

  test("with --stats-every the plain lines stay", () => {
    const { written, updateAt } = setUp(true, 2000);
    for (let ms = 0; ms <= 4000; ms += 200) updateAt(ms);
    const lines = screen(written.join(""));
    expect(lines).toHaveLength(3);
    expect(lines.slice(0, 2)).toEqual([
      expect.stringMatching(/^synprobe: .* 0:02/),
      expect.stringMatching(/^synprobe: .* 0:04/),
    ]);
  });
});

test("on a pipe --stats-every writes plain lines and nothing else", () => {
  const written: string[] = [];
  let ms = 0;
  const progress = createProgress({
    write: (text) => written.push(text),
    live: false,
    colour: false,
    columns: () => 80,
    now: () => ms,
    statsEveryMs: 1000,
  });
  for (; ms <= 3500; ms += 100) progress.update({ ...look, elapsedMs: ms });
  expect(progress.above("row\n")).toBe("row\n");
  progress.done();
  expect(written).toHaveLength(3);
  for (const text of written) expect(text).toMatch(/^synprobe: [^\x00-\x1f]+\n$/);
});

test.each([
  [true, {}, true],
  [true, { NO_COLOR: "1", TERM: "xterm" }, true],
  [true, { TERM: "dumb" }, false],
  [true, { CI: "true" }, false],
  [true, { CI: "false" }, true],
  [false, { TERM: "xterm" }, false],
])("a line is drawn: terminal %j, environment %j: %j", (isTerminal, env, expected) => {
  expect(mayDraw(isTerminal, env)).toBe(expected);
});
