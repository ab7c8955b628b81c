/** `synprobe diff` on what real scanners wrote of one network: nmap and synprobe agree, and a port that is shut shows. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linesOf, run, synprobe } from "../cli/process.ts";
import { command, labProblem, skipping } from "./netns.ts";

/** Every fate, no loss. */
const network = (open: string) => ({
  seed: 7,
  path: { latencyMs: 2 },
  hosts: [
    {
      range: "198.18.0.1-198.18.0.3",
      ports: [
        { ports: open, is: "open" },
        { ports: "23-25", is: "silent" },
      ],
    },
    {
      range: "198.18.0.4",
      ports: [{ ports: "22", is: "open" }],
      rest: "admin-prohibited",
      rejectFrom: "198.18.0.254",
    },
  ],
});
const TARGETS = "198.18.0.1-4";
const PORTS = "20-60,80,443";

function nmapProblem(): string | undefined {
  try {
    command(["sh", "-c", "command -v nmap"]);
    return labProblem();
  } catch {
    return "nmap is not installed";
  }
}

describe.skipIf(skipping("runs of nmap compared with ours", nmapProblem()))("diff", () => {
  let folder = "";
  const path = (name: string) => join(folder, name);

  /** Scans a network in a lab of its own. */
  async function scan(name: string, open: string, ...argv: string[]): Promise<void> {
    writeFileSync(path(`${name}.lab`), JSON.stringify(network(open)));
    const { status, stderr } = await run(synprobe("lab", path(`${name}.lab`), "--", ...argv), {
      limitMs: 60_000,
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-diff-"));
    const ours = (name: string) =>
      synprobe(TARGETS, "-p", PORTS, "-oJ", path(`${name}.json`), "-oX", path(`${name}.xml`));
    await scan("ours", "22,80,443", ...ours("ours"));
    await scan("later", "22,443,50", ...ours("later"));
    await scan(
      "nmap",
      "22,80,443",
      ...["nmap", "-sS", "-n", "-Pn", "-p", PORTS, "-oX", path("nmap.xml"), TARGETS],
    );
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true }));

  const diff = (old: string, now: string, ...args: string[]) =>
    run(synprobe("diff", path(old), path(now), ...args));

  it.each([
    ["nmap.xml", "ours.json"],
    ["ours.xml", "nmap.xml"],
    ["ours.json", "ours.xml"],
  ])("of %s and %s: every port in the same state", async (old, now) => {
    const { status, stdout, stderr } = await diff(old, now);
    expect({ stderr, last: linesOf(stdout).at(-1) }).toEqual({
      ...{ stderr: "", last: "No differences: 172 ports in the same state" },
    });
    expect(status).toBe(0);
  });

  it.each([["nmap.xml"], ["ours.json"]])("of %s and a later run: what was shut and opened", async (old) => {
    const { status, stdout } = await diff(old, "later.json", "--only", "open", "--json");
    expect(status).toBe(1);
    const lines = linesOf(stdout).map((line) => JSON.parse(line));
    expect(
      lines.slice(0, -1).map(({ type, ip, port, old, new: now }) => [type, ip, port, old.state, now.state]),
    ).toEqual(
      ["198.18.0.1", "198.18.0.2", "198.18.0.3"].flatMap((ip) => [
        ["changed", ip, 50, "closed", "open"],
        ["changed", ip, 80, "open", "closed"],
      ]),
    );
    expect(lines.at(-1)).toMatchObject({ type: "summary", changed: 6, same: 166 });
  });
});
