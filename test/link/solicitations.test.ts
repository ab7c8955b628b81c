/** link/solicitations: who is asked when and how often, and what becomes of the packets that wait. */
import { beforeEach, describe, expect, it } from "vitest";
import { createSolicitations, type Solicitations } from "../../src/link/solicitations.ts";
import { ADDRESS_WORDS, loadAddress } from "../../src/socket/table.ts";
import { formatAddress } from "../../src/wire/address.ts";
import { createSeededRandom } from "../sim/random.ts";
import { address } from "../sim/run.ts";

const SECOND = 1e6;
const SOURCE = address("192.0.2.1");
const TIMING = { questions: 3, retransmitUs: SECOND };

let asked: Solicitations;
beforeEach(() => {
  asked = createSolicitations(1000, TIMING);
});

function wordsOf(n: number): Uint32Array {
  const words = new Uint32Array(ADDRESS_WORDS);
  loadAddress(words, 0, Uint8Array.of(198, 18, n >> 8, n & 0xff), 0, 4);
  return words;
}
const packetOf = (n: number): Uint8Array => Uint8Array.of(0x45, n);
const ask = (n: number, nowUs: number, packet: Uint8Array | undefined = packetOf(n)): boolean =>
  asked.ask(wordsOf(n), 0, SOURCE, nowUs, packet);
/** Everyone who is to be asked now, by the last number of the address. */
function polled(nowUs: number): number[] {
  const all: number[] = [];
  for (let next = asked.poll(nowUs, nowUs); next !== undefined; next = asked.poll(nowUs, nowUs))
    all.push(next.address[3]);
  return all;
}

describe("solicitations", () => {
  it("ask at once, again each second, and after the third give up with all that waited", () => {
    expect(ask(7, 0)).toBe(true);
    expect(ask(7, 10)).toBe(true);
    expect(polled(10)).toEqual([7]);
    expect(polled(0.9 * SECOND)).toEqual([]);
    expect(asked.pollTimeout(10)).toBe(SECOND);
    expect(polled(SECOND)).toEqual([7]);
    expect(polled(2 * SECOND)).toEqual([7]);
    expect(asked.pollFailure(2 * SECOND)).toBeUndefined();
    expect(polled(3 * SECOND)).toEqual([]);
    expect(asked.pollTimeout(3 * SECOND)).toBe(3 * SECOND);
    // What had come by then may not have been read.
    expect(asked.pollFailure(2.9 * SECOND)).toBeUndefined();
    const failed = asked.pollFailure(3 * SECOND);
    expect(formatAddress(failed?.address ?? SOURCE)).toBe("198.18.0.7");
    expect(failed?.held).toEqual([packetOf(7), packetOf(7)]);
    expect(asked.pollTimeout(3 * SECOND)).toBe(Number.POSITIVE_INFINITY);
    // Somebody may have been switched on since.
    expect(ask(7, 3 * SECOND)).toBe(true);
    expect(polled(3 * SECOND)).toEqual([7]);
  });

  it("give back what waited when the answer comes, once; of strangers nothing", () => {
    ask(7, 0);
    polled(0);
    expect(asked.answered(wordsOf(8), 0)).toBeUndefined();
    expect(asked.answered(wordsOf(7), 0)?.held).toEqual([packetOf(7)]);
    expect(asked.answered(wordsOf(7), 0)).toBeUndefined();
    expect(polled(10 * SECOND)).toEqual([]);
  });

  it("do not ask again before what had come by then has been read, nor take one late answer for loss", () => {
    ask(7, 0);
    polled(0);
    expect(asked.poll(5 * SECOND, 0.9 * SECOND)).toBeUndefined();
    expect(asked.poll(5 * SECOND, 5 * SECOND)?.address[3]).toBe(7);
    asked.answered(wordsOf(7), 0);
    ask(8, 6 * SECOND);
    for (const second of [6, 7, 8]) expect(polled(second * SECOND)).toEqual([8]);
    expect(polled(9 * SECOND)).toEqual([]);
    expect(asked.pollFailure(9 * SECOND)?.address[3]).toBe(8);
  });

  it("take an answer that had come in time and is read late", () => {
    ask(7, 0);
    ask(8, 0.01 * SECOND);
    for (const second of [0.1, 1.1, 2.2]) polled(second * SECOND);
    expect(polled(60 * SECOND)).toEqual([]);
    expect(asked.pollFailure(3 * SECOND)).toBeUndefined();
    expect(asked.asked().map((each) => each[3])).toEqual([7, 8]);
    expect(asked.pollTimeout(60 * SECOND)).toBe(60 * SECOND);
    // It is not asked again meanwhile, and what is wanted of it waits.
    expect(ask(7, 60 * SECOND, packetOf(9))).toBe(true);
    expect(polled(60 * SECOND)).toEqual([]);
    expect(asked.answered(wordsOf(7), 0)?.held).toEqual([packetOf(7), packetOf(9)]);
    expect(asked.pollFailure(60 * SECOND)?.address[3]).toBe(8);
    expect(asked.pollFailure(60 * SECOND)).toBeUndefined();
  });

  it("ask for one that is only to be confirmed: nothing waits", () => {
    expect(asked.ask(wordsOf(7), 0, SOURCE, 0)).toBe(true);
    expect(polled(0)).toEqual([7]);
    expect(asked.answered(wordsOf(7), 0)?.held).toEqual([]);
  });

  it("keep to their rate, whoever wants more", () => {
    const questions: number[] = [];
    for (let ms = 0; ms < 3000; ms++) {
      for (let n = 0; n < 10; n++) ask(10 * ms + n, ms * 1000);
      questions.push(polled(ms * 1000).length);
    }
    const sum = (from: number, to: number): number => questions.slice(from, to).reduce((a, b) => a + b, 0);
    // No second has more than its share, and those that wait 20 ms for a question at once.
    for (let from = 0; from <= 2000; from += 100) expect(sum(from, from + 1000)).toBeLessThanOrEqual(1021);
    expect(sum(0, 3000)).toBeGreaterThan(2900);
  });

  it("after an idle time are no more at once than in a turn", () => {
    let taken = 0;
    for (let n = 0; n < 1000; n++) if (ask(n, 60 * SECOND)) taken++;
    expect(taken).toBeGreaterThan(10);
    expect(taken).toBeLessThanOrEqual(21);
  });

  it("keep their time with those that they have asked, whoever else is wanted", () => {
    let given = 0;
    let failed = 0;
    for (let ms = 0; ms < 9000; ms++) {
      if (ms < 2500) for (let n = 0; n < 3; n++) if (ask(3 * ms + n, ms * 1000)) given = ms;
      polled(ms * 1000);
      for (let f = asked.pollFailure(ms * 1000); f !== undefined; f = asked.pollFailure(ms * 1000))
        failed = ms;
    }
    expect(given).toBeGreaterThan(900);
    expect(failed - given).toBeLessThan(3100);
  });

  /**
   * `present` neighbours and ten that are absent, of whose questions a share is lost at random.
   * @returns how many that are there were given up, and how often an absent one was asked
   */
  const crowd = (share: number, present: number) => {
    const random = createSeededRandom(1234);
    const questions = new Map<number, number>();
    let missed = 0;
    let next = 0;
    for (let ms = 0; ms < 30_000; ms++) {
      while (next < present + 10 && ask(next, ms * 1000)) next++;
      for (
        let due = asked.poll(ms * 1000, ms * 1000);
        due !== undefined;
        due = asked.poll(ms * 1000, ms * 1000)
      ) {
        const n = (due.address[2] << 8) | due.address[3];
        questions.set(n, (questions.get(n) ?? 0) + 1);
        if (n < present && random(1000) >= 1000 * share) asked.answered(wordsOf(n), 0);
      }
      for (let f = asked.pollFailure(ms * 1000); f !== undefined; f = asked.pollFailure(ms * 1000))
        if (((f.address[2] << 8) | f.address[3]) < present) missed++;
    }
    expect(next).toBe(present + 10);
    return { missed, absent: questions.get(present + 9) };
  };

  it("ask more often where questions are lost: who is there is not given up", () => {
    expect(crowd(0, 4000)).toEqual({ missed: 0, absent: 3 });
    for (const [share, most] of [
      [0.02, 4],
      [0.1, 6],
      [0.3, 10],
    ]) {
      asked = createSolicitations(1000, TIMING);
      const { missed, absent } = crowd(share, 4000);
      expect({ share, missed }).toEqual({ share, missed: 0 });
      expect(absent).toBe(most);
    }
  });

  it("give up after ten, however much is lost, and never before what was set", () => {
    expect(crowd(0.8, 500).absent).toBe(10);
    asked = createSolicitations(1000, { ...TIMING, questions: 6 });
    expect(crowd(0.1, 50).absent).toBe(6);
  });

  it("hold a bounded number of packets", () => {
    ask(7, 0);
    let held = 1;
    while (held < 1e5 && ask(7, 0)) held++;
    expect(held).toBe(1 << 14);
    expect(ask(8, 0.5 * SECOND)).toBe(false);
    expect(asked.ask(wordsOf(8), 0, SOURCE, 0.5 * SECOND)).toBe(true);
    expect(asked.answered(wordsOf(7), 0)?.held).toHaveLength(held);
    expect(ask(7, 1.4 * SECOND)).toBe(true);
  });
});
