/** README's sessions, run again in the lab: what it shows is what comes, but for times, numbers that chance draws, and order. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MAIN, ROOT, run, synprobe } from "./cli/process.ts";
import { labProblem, skipping } from "./lab/netns.ts";

const README = readFileSync(join(ROOT, "README.md"), "utf8");

interface Step {
  readonly command: string;
  readonly shown: string;
}

/** Commands with what README shows of them; those that start a lab themselves, or read what only their author has, are left out. */
const STEPS: readonly Step[] = [...README.matchAll(/^```\n(\$ [\s\S]*?)^```$/gm)].flatMap(([, block]) =>
  block
    .split(/^\$ /m)
    .slice(1)
    .map((text) => {
      const [command, ...shown] = text.split("\n");
      return { command, shown: shown.join("\n").trim() };
    })
    .filter(({ command }) => !/^synprobe (lab|diff|report) /.test(command)),
);

/** What stays the same from run to run. */
const constant = (text: string): string[] =>
  text
    .split("\n")
    .map((line) =>
      line
        .replace(/"ts":"[^"]*"|"started_at":"[^"]*"/g, "")
        .replace(/0x[0-9a-f]+|\b[0-9a-f]{2}( [0-9a-f]{2})+\b/g, "#")
        // Hops, ports of services and addresses are short; round trips, rates and doubts are not whole.
        .replace(/\d+\.\d+(?![.\d])(?<![\d.]\d+\.\d+\.\d+\.\d+)/g, "#")
        .replace(/(?<![\d.])\d{5,}(?![\d.])/g, "#")
        .replace(/\b\d+ (SYNs?|packets?)\b/g, "# $1")
        .replace(/"(sent|retransmitted|received|duplicate|elapsed_ms|rate|doubt)":[\d.e#-]+/g, '"$1":#')
        // How many SYNs a slow host's answer took is a matter of microseconds.
        .replace(/(# ms \s*\d+)\s+\d+(\s+(?:syn-ack|reset)), late\b/, "$1 1$2")
        .replace(/(# ms \s*\d+)\s+\d+(\s+(?:syn-ack|reset)\b)/, "$1 1$2")
        .replace(/\(# retransmitted\)|\(\d+ retransmitted\)/, "")
        .replace(/-{2,}/g, "--")
        .replace(/\s+/g, " ")
        .trim(),
    )
    // Which ports of a tarpit come before it is found out is chance; and tshark has a word for root.
    .filter(
      (line) =>
        line !== "" &&
        !/^198\.18\.0\.(5|12):(22|80|443) open \w+ # ms 64 1 syn-ack$|answers SYN-ACK|^Running as user/.test(
          line,
        ),
    )
    .sort();

const problem =
  labProblem() ?? (existsSync("/usr/bin/tshark") ? undefined : "tshark is missing (apt-get install tshark)");

describe.skipIf(skipping("README's sessions", problem))("README's sessions", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-tour-"));
    mkdirSync(join(folder, "bin"));
    writeFileSync(join(folder, "bin/synprobe"), `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`, {
      mode: 0o755,
    });
    const [, office] = /^```json\n(\{\n {2}\/\/[\s\S]*?)^```$/m.exec(README) ?? [];
    writeFileSync(join(folder, "office.json"), office ?? "");
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("are many, and in an order in which each finds what it needs", () => {
    expect(STEPS.length).toBeGreaterThan(12);
  });

  it.each(STEPS)("$command", { timeout: 30_000 }, async ({ command, shown }) => {
    const script = `cd "${folder}"; PATH="${folder}/bin:$PATH"; ${command}`;
    const { stdout, stderr } = await run(synprobe("lab", "--", "sh", "-c", `(${script}) 2>&1`));
    expect(stderr).toBe("");
    expect(constant(stdout)).toEqual(constant(shown));
  });
});
