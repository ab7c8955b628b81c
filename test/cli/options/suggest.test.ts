/** Did you mean: which word is proposed for one that is not known, and when none is. */
import { describe, expect, it } from "vitest";
import { didYouMean, nearest } from "../../../src/cli/options/suggest.ts";

const WORDS = ["--retries", "--rate", "--max-rate", "--timeout", "-oJ", "--show"];

describe("the nearest word", () => {
  it.each([
    ["--retires", "--retries"],
    ["--retrie", "--retries"],
    ["--retriess", "--retries"],
    ["--ratries", "--retries"],
    ["--TIMEOUT", "--timeout"],
    ["--timeotu", "--timeout"],
    ["--shwo", "--show"],
    ["--maxrate", "--max-rate"],
  ])("to %s is %s", (word, meant) => {
    expect(nearest(word, WORDS)).toBe(meant);
  });

  it.each([["--frobnicate"], ["--xyz"], [""], ["--show"]])("to %j is none", (word) => {
    expect(nearest(word, WORDS)).toBeUndefined();
  });

  it("of two is that with fewer mistakes, the first of equals", () => {
    expect(nearest("open", ["opens", "spent"])).toBe("opens");
    expect(nearest("aab", ["aac", "aad"])).toBe("aac");
  });
});

it("the question is the end of a sentence, or nothing", () => {
  expect(didYouMean("--shwo", WORDS)).toBe("; did you mean --show?");
  expect(didYouMean("--shwo", WORDS, (best) => `"${best}"`)).toBe('; did you mean "--show"?');
  expect(didYouMean("--frobnicate", WORDS)).toBe("");
});
