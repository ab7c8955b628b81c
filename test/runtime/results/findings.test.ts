/** runtime/results/findings: what the workers of a run have found out about hosts and outages, as one. */
import { describe, expect, it } from "vitest";
import { mergeFindings, toFindings } from "../../../src/runtime/results/findings.ts";
import { wallMs } from "../../../src/runtime/system/clock.ts";
import { loadAddress } from "../../../src/socket/table.ts";
import { address } from "../../sim/run.ts";

function wordsOf(text: string): Uint32Array {
  const words = new Uint32Array(4);
  const bytes = address(text);
  loadAddress(words, 0, bytes, 0, bytes.length);
  return words;
}

describe("findings", () => {
  it("have addresses as text and times of the wall clock", () => {
    const engine = {
      hostFindings: () => [
        { words: wordsOf("198.18.0.7"), perSecond: 9, outages: [] },
        { words: wordsOf("2001:db8::7"), outages: [{ fromUs: 1e6 }] },
      ],
      outages: () => [{ fromUs: 2e6, toUs: 5e6 }],
      bursts: () => ({ share: 0.1, us: 2e6 }),
    };
    expect(toFindings(engine, 9e6)).toEqual({
      rstLimited: [{ ip: "198.18.0.7", perSecond: 9 }],
      outages: [
        { fromMs: wallMs(2e6), toMs: wallMs(5e6) },
        { ip: "2001:db8::7", fromMs: wallMs(1e6) },
      ],
      bursts: { share: 0.1, meanMs: 2000 },
    });
    expect(toFindings({ hostFindings: () => [], outages: () => [], bursts: () => undefined }, 9e6)).toEqual(
      {},
    );
  });

  it("of several workers: of bursts the means, of those that saw any", () => {
    expect(
      mergeFindings([{ bursts: { share: 0.1, meanMs: 2000 } }, {}, { bursts: { share: 0.05, meanMs: 1000 } }])
        .bursts,
    ).toEqual({ share: expect.closeTo(0.075), meanMs: 1500 });
  });

  it("of several workers: RSTs add up, outages that overlap are one, those of different hosts are not", () => {
    expect(
      mergeFindings([
        {
          rstLimited: [{ ip: "198.18.0.7", perSecond: 4 }],
          outages: [{ fromMs: 100, toMs: 200 }, { fromMs: 900 }],
        },
        {
          rstLimited: [
            { ip: "198.18.0.7", perSecond: 5 },
            { ip: "198.18.0.8", perSecond: 1 },
          ],
          outages: [
            { ip: "198.18.0.9", fromMs: 120, toMs: 150 },
            { fromMs: 110, toMs: 210 },
          ],
        },
        {
          outages: [
            { fromMs: 300, toMs: 400 },
            { fromMs: 950, toMs: 980 },
          ],
        },
        {},
      ]),
    ).toEqual({
      rstLimited: [
        { ip: "198.18.0.7", perSecond: 9 },
        { ip: "198.18.0.8", perSecond: 1 },
      ],
      outages: [
        { fromMs: 100, toMs: 210 },
        { ip: "198.18.0.9", fromMs: 120, toMs: 150 },
        { fromMs: 300, toMs: 400 },
        { fromMs: 900 },
      ],
    });
    expect(mergeFindings([{}, {}])).toEqual({});
  });
});
