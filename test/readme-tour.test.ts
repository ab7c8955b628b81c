/**
 * The sessions of README, the topics and the lab's page, run again in the lab: what they show is what comes, but for times,
 * numbers that chance draws, and order.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MAIN, run, synprobe } from "./cli/process.ts";
import { blocksOf, CHECK, CONFIG, type Document, FOR_USERS, LAB } from "./documents.ts";
import { ALL } from "./everyday.ts";
import { labProblem, skipping } from "./lab/netns.ts";

interface Step {
  readonly path: string;
  readonly command: string;
  readonly shown: string;
}

const stepsOf = (document: Document): Step[] =>
  blocksOf(document, "")
    .filter((block) => block.startsWith("$ "))
    .flatMap((block) =>
      block
        .split(/^\$ /m)
        .slice(1)
        .map((text) => {
          const [typed = ""] = /^(?:.*\\\n)*.*/.exec(text) ?? [];
          const command = typed.replace(/\s*\\\n\s*/g, " ");
          return { path: document.path, command, shown: text.slice(typed.length).trim() };
        }),
    );

/** Pages whose sessions take seconds of waiting for silent ports: in test:more. */
const LONG: ReadonlySet<string> = new Set([
  "src/cli/help/topics/commands/doctor.md",
  "src/cli/help/topics/handshakes.md",
  "src/lab/README.md",
]);

/** Commands with what is shown of them, but for those that read what only their author has. */
const STEPS = FOR_USERS.filter(({ path }) => ALL || !LONG.has(path))
  .flatMap(stepsOf)
  .filter(({ command }) => !/^synprobe (diff|report|history import|history changes) /.test(command));

const startsLab = ({ command }: Step): boolean => command.startsWith("synprobe lab ");

/** What stays the same from run to run. */
const constant = (text: string): string[] =>
  text
    .split("\n")
    .map((line) =>
      line
        .replace(/\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b/g, "#")
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
        !/^198\.18\.0\.(5|12):(22|80|443) open \w+ # ms 64 1 syn-ack(, answers on every port)?$|answers SYN-ACK|^Running as user/.test(
          line,
        ) &&
        // A far side that is slow acknowledges first, and ends the connection then.
        !/^# ms \|<-- ACK seq=# ack=# --\|$|^<- # ms \S+ > \S+ TCP ACK seq=# ack=# win=\S+ ttl=\S+ len=\S+$/.test(
          line,
        ),
    )
    .sort();

const problem =
  labProblem() ?? (existsSync("/usr/bin/tshark") ? undefined : "tshark is missing (apt-get install tshark)");

describe.skipIf(skipping("the documents' sessions", problem))("the sessions", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-tour-"));
    mkdirSync(join(folder, "bin"));
    writeFileSync(join(folder, "bin/synprobe"), `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`, {
      mode: 0o755,
    });
    const [office] = blocksOf(CONFIG, "json");
    writeFileSync(join(folder, "office.json"), office);
    const [policy] = blocksOf(CHECK, "yaml");
    writeFileSync(join(folder, "policy.yaml"), policy);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const script = (command: string): string => `cd "${folder}"; PATH="${folder}/bin:$PATH"; ${command}`;

  it("are many, and in an order in which each finds what it needs", () => {
    expect(STEPS.filter((step) => !startsLab(step)).length).toBeGreaterThan(15);
  });

  it.each(STEPS.filter((step) => !startsLab(step)))(
    "$path: $command",
    // What segments a loaded machine makes of the same exchange is chance.
    { timeout: 30_000, retry: 2 },
    async ({ command, shown }) => {
      const { stdout, stderr } = await run(synprobe("lab", "--", "sh", "-c", `(${script(command)}) 2>&1`));
      expect(stderr).toBe("");
      expect(constant(stdout)).toEqual(constant(shown));
    },
  );

  it.each(STEPS.filter(startsLab))("$path: $command", { timeout: 60_000 }, async ({ command, shown }) => {
    const options = { limitMs: 50_000 };
    const { status, stdout, stderr } = await run(["sh", "-c", `${script(command)} 2>&1`], options);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    if (shown === "") expect(stdout).toContain("Nmap done");
    else expect(stdout.slice(stdout.indexOf("<!doctype")).trim()).toContain(shown);
  });

  it("the lab's description is one that the lab takes", async () => {
    const [description] = blocksOf(LAB, "json");
    writeFileSync(join(folder, "lab.json"), description);
    const { status, stdout, stderr } = await run(synprobe("lab", "--check", join(folder, "lab.json")));
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/^198\.18\.11\.1 +a tarpit/m);
  });
});
