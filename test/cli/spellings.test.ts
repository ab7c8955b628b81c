/**
 * The command line as nmap's users type it, and how targets are written: what is probed is read from the results.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { someOf } from "../everyday.ts";
import { createLab, FAR, inNamespace, type Lab, labProblem, overlayEtc, skipping } from "../lab/netns.ts";
import { at, probe, resultsOf } from "../lab/probing.ts";
import { linesOf, run, synprobe } from "./process.ts";

describe.skipIf(skipping("nmap's spellings and targets", labProblem()))("the command line", () => {
  let lab: Lab;
  let directory: string;
  const file = (name: string): string => join(directory, name);
  const { ipv4, ipv6 } = FAR;

  beforeAll(() => {
    lab = createLab();
    directory = mkdtempSync(join(tmpdir(), "sp-"));
    overlayEtc(lab.near, "nsswitch.conf", "hosts: files\n");
    overlayEtc(
      lab.near,
      "hosts",
      `${ipv4} both.example.test four.example.test\n${ipv6} both.example.test six.example.test\n` +
        "192.0.2.1 many.example.test\n192.0.2.2 many.example.test\n192.0.2.10 many.example.test\n" +
        "192.0.2.10 xn--bcher-kva.example.test\n",
    );
    writeFileSync(file("list"), `${at(ipv4, 1)} ${at(ipv6, 2)}\n# none\n${at(ipv4, 3)}\n`);
  });

  afterAll(() => {
    lab.remove();
    rmSync(directory, { recursive: true, force: true });
  });

  /** What is probed, in order of its text. */
  async function probed(...args: string[]): Promise<string[]> {
    return [...(await probe(lab.near, ...args)).keys()].sort();
  }

  test.each<readonly [args: readonly string[], targets: readonly string[]]>([
    [["-sS", "-Pn", "-n", "--reason", "-p", "80", ipv4], [at(ipv4, 80)]],
    [["-p80", ipv4], [at(ipv4, 80)]],
    [
      ["-p80,443", ipv4, at(ipv4, 22)],
      [at(ipv4, 22), at(ipv4, 443), at(ipv4, 80)],
    ],
    [
      ["-p", "http,8000-8001", ipv4],
      [at(ipv4, 80), at(ipv4, 8000), at(ipv4, 8001)],
    ],
    [
      ["-p-3", ipv4],
      [at(ipv4, 1), at(ipv4, 2), at(ipv4, 3)],
    ],
    [
      ["-p65534-", ipv4],
      [at(ipv4, 65534), at(ipv4, 65535)],
    ],
    [
      ["-p", "-2", ipv4],
      [at(ipv4, 1), at(ipv4, 2)],
    ],
    [["--max-retries", "0", at(ipv4, 1)], [at(ipv4, 1)]],
    [["--max-retries=0", "--timeout=800ms", at(ipv4, 1)], [at(ipv4, 1)]],
    [["-6", at(ipv6, 1)], [at(ipv6, 1)]],
    [["-6", "-p1", ipv6], [at(ipv6, 1)]],
    [["-vv", at(ipv4, 1)].slice(1), [at(ipv4, 1)]],
    [[at(ipv4, 1), "-4"], [at(ipv4, 1)]],
    [[at(ipv4, "https")], [at(ipv4, 443)]],
    [[`[${ipv6.toUpperCase()}]:1`, "[2001:0db8:0::0010]:1"], [at(ipv6, 1)]],
    [
      [at(ipv4, 1), at(ipv4, 1), at(ipv4, "1,2"), "four.example.test:2"],
      [at(ipv4, 1), at(ipv4, 2)],
    ],
    [["four.example.test.:1"], [at(ipv4, 1)]],
    [["FOUR.example.TEST:1"], [at(ipv4, 1)]],
    [["bücher.example.test:1"], [at(ipv4, 1)]],
    [["-4", "both.example.test:1"], [at(ipv4, 1)]],
    [["-6", "both.example.test:1"], [at(ipv6, 1)]],
    [
      ["--all-addresses", "both.example.test:1"],
      [at(ipv4, 1), at(ipv6, 1)],
    ],
    [["--resolve-all", "-6", "both.example.test:1"], [at(ipv6, 1)]],
    [
      ["--all-addresses", "many.example.test:1"],
      [at("192.0.2.1", 1), at(ipv4, 1), at("192.0.2.2", 1)],
    ],
  ])("%j", async (args, targets) => {
    expect(await probed(...args)).toEqual([...targets].sort());
  });

  test("the first address of a name, unless told otherwise", async () => {
    const words = synprobe("-oJ", "-", "many.example.test:1");
    const { status, stdout, stderr } = await run(inNamespace(lab.near, words));
    expect(status).toBe(0);
    // The port is closed there: that others are not probed is worth a line.
    expect(stderr).toMatch(
      /^synprobe: many\.example\.test:1 is closed on .*not probed \(--all-addresses\): .*\n$/,
    );
    const results = resultsOf(stdout);
    expect(results.size).toBe(1);
    expect([...results.values()][0]).toMatchObject({ host: "many.example.test" });
  });

  test.each([["-iL"], ["--input-list"]])("%s FILE", async (option) => {
    expect(await probed(option, file("list"))).toEqual([at(ipv4, 1), at(ipv4, 3), at(ipv6, 2)].sort());
  });

  test("a pipe, where no target is given", async () => {
    const argv = inNamespace(lab.near, synprobe("-oJ", "-", "-p7"));
    const { status, stdout } = await run(argv, { input: `${ipv4}\n` });
    expect({ status, found: [...resultsOf(stdout).keys()] }).toEqual({ status: 0, found: [at(ipv4, 7)] });
  });

  test("ports that nobody named are the thousand most often open, and said to be", async () => {
    const { stdout } = await run(inNamespace(lab.near, synprobe(ipv4)));
    expect(stdout).toMatch(/^no port given: the 1,000 most often open \(--top-ports 1000\)\nTARGET /);
    expect(stdout).toMatch(/^1,000 ports on 1 host: /m);
  });

  test.each(someOf(3, [["-oX"], ["-oJ"], ["-oG"]]))("-iR, of what %s wrote", async (format) => {
    const earlier = file("earlier");
    await run(inNamespace(lab.near, synprobe(at(ipv4, "1,2"), at(ipv6, 3), format, earlier)));
    expect(await probed("-iR", earlier)).toEqual([at(ipv4, 1), at(ipv4, 2), at(ipv6, 3)].sort());
    expect(await probed("-iR", earlier, "--only", "closed", "--exclude", ipv6)).toHaveLength(2);
    const { status, stderr } = await run(inNamespace(lab.near, synprobe("-iR", earlier, "--only", "open")));
    expect({ status, stderr }).toEqual({
      status: 2,
      stderr: `synprobe: the results ${earlier} have no TCP port that was open\n`,
    });
  });

  test("-iL -", async () => {
    const argv = inNamespace(lab.near, synprobe("-oJ", "-", "-p7", "-iL", "-"));
    const { status, stdout } = await run(argv, { input: `${ipv4}\n` });
    expect(status).toBe(0);
    expect([...resultsOf(stdout).keys()]).toEqual([at(ipv4, 7)]);
  });

  test.each(someOf(3, [["-p -"], ["-p-"], ["--ports=-"]]))("all ports: %s", async (option) => {
    const words = option.split(" ");
    const out = file("all.json");
    const argv = inNamespace(lab.near, synprobe(...words, "--max-rate=200000", "-oJ", out, "127.0.0.1"));
    const { status, stdout } = await run(argv);
    expect(status).toBe(0);
    expect(linesOf(stdout).at(-1)).toMatch(/^65,535 ports on 1 host: 0 open, 65,535 closed, 0 filtered; /);
    const ports = [...resultsOf(readFileSync(out, "utf8")).values()].map(({ port }) => port);
    expect(new Set(ports).size).toBe(65_535);
  });
});
