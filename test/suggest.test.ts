/** The word that was meant: what counts as one mistake, and how many are forgiven. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { didYouMean, nearest } from "../src/suggest.ts";

describe("the nearest word", () => {
  it.each([
    ["exchanged letters are one mistake", "opne", ["open", "one-way"], "open"],
    ["a letter too many", "--retriess", ["--retries", "--resume"], "--retries"],
    ["a letter missing", "sed", ["path", "seed"], "seed"],
    ["a third of the letters, no more", "colour", ["hosts", "seed"], undefined],
    ["case does not count", "MAX-RATE", ["max-rate"], "max-rate"],
    ["the first of equals", "cat", ["bat", "hat"], "bat"],
    ["the word itself is no suggestion", "open", ["open"], undefined],
  ] as const)("%s", (_, word, known, expected) => {
    expect(nearest(word, known)).toBe(expected);
  });

  it("is found after any one slip in a word of three letters or more", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z]{3,12}$/), fc.nat(), (word, n) => {
        const i = n % (word.length - 1);
        const slips = [
          word.slice(0, i) + word.slice(i + 1),
          `${word.slice(0, i)}-${word.slice(i)}`,
          `${word.slice(0, i)}-${word.slice(i + 1)}`,
          word.slice(0, i) + word[i + 1] + word[i] + word.slice(i + 2),
        ];
        for (const slip of slips.filter((each) => each !== word)) expect(nearest(slip, [word])).toBe(word);
      }),
    );
  });

  it("ends a message, or says nothing", () => {
    expect(didYouMean("sed", ["seed"], (best) => `"${best}"`)).toBe('; did you mean "seed"?');
    expect(didYouMean("colour", ["seed"])).toBe("");
  });
});
