/** How an argument vector is rewritten before commander sees it. */
import { describe, expect, it } from "vitest";
import { expandAliases } from "../../../src/cli/options/aliases.ts";

describe("the alias table", () => {
  it.each<[string[], string[]]>([
    [["-Pn", "-n", "--reason", "host:1"], ["host:1"]],
    [
      ["-sS", "host:1"],
      ["--link", "syn", "host:1"],
    ],
    [
      ["-sT", "host:1"],
      ["--link", "connect", "host:1"],
    ],
    [["-p-"], ["--ports", "-"]],
    [
      ["-p80,443", "host"],
      ["--ports", "80,443", "host"],
    ],
    [
      ["-p", "-"],
      ["-p", "-"],
    ],
    [
      ["-oJ", "-"],
      ["--output-json", "-"],
    ],
    [
      ["-oX", "a.xml", "-oG", "-"],
      ["--output-xml", "a.xml", "--output-grepable", "-"],
    ],
    [
      ["-iL", "list", "--max-retries=3"],
      ["--input-list", "list", "--retries=3"],
    ],
    // The argument of an option is no option, and what follows "--" is left alone.
    [
      ["-oJ", "-Pn"],
      ["--output-json", "-Pn"],
    ],
    [
      ["--", "-sS", "-p-"],
      ["--", "-sS", "-p-"],
    ],
    // Names that every object has are targets like any other.
    [
      ["constructor", "toString", "__proto__"],
      ["constructor", "toString", "__proto__"],
    ],
    // The time of --banner is optional; a target is none.
    [
      ["--banner", "host:22"],
      ["--banner=2000ms", "host:22"],
    ],
    [
      ["--banner", "500ms", "host:22"],
      ["--banner=500ms", "host:22"],
    ],
    [
      ["--banner", "3", "host:22"],
      ["--banner=3", "host:22"],
    ],
    [
      ["host:22", "--banner"],
      ["host:22", "--banner=2000ms"],
    ],
    [["--banner=1s"], ["--banner=1s"]],
    [
      ["-F", "--open", "host"],
      ["--top-ports", "100", "--show", "open", "host"],
    ],
  ])("%j", (argv, expected) => {
    expect(expandAliases(argv)).toEqual(expected);
  });
});
