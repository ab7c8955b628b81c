/** Other traffic of the same machine never reaches the engine: the BPF filters keep it in the kernel. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linesOf, run, start, synprobe } from "../cli/process.ts";
import { createLab, FAR, inNamespace, type Lab, labProblem, SILENT, skipping } from "./netns.ts";
import { at } from "./probing.ts";

/** Connects to a closed port again and again, as the kernel does it: each SYN draws a RST. */
const CONNECTIONS = 500;
const CONNECT = `
  const net = require("node:net");
  let left = ${CONNECTIONS};
  const next = () => left-- > 0
    ? net.connect(JSON.parse(process.argv[1])).on("error", next)
    : console.log("done");
  next();`;

describe.skipIf(skipping("other traffic", labProblem()))("other traffic", () => {
  let lab: Lab;
  beforeAll(() => {
    lab = createLab();
  });
  afterAll(() => lab?.remove());

  it.each([
    ["IPv4", FAR.ipv4, SILENT.ipv4],
    ["IPv6", FAR.ipv6, SILENT.ipv6],
  ])("over %s is not received, however much there is", async (_version, far, silent) => {
    const running = start(
      inNamespace(lab.near, synprobe("-oJ", "-", "--timeout=10m", at(far, 7), at(silent, 7))),
    );
    await running.until("stdout", /"state":"closed"/);
    const noise = await run(
      inNamespace(lab.near, [process.execPath, "-e", CONNECT, JSON.stringify({ host: far, port: 9 })]),
    );
    expect(noise.stdout).toBe("done\n");
    running.kill("SIGINT");
    const { stdout } = await running.finished;
    const summary = JSON.parse(linesOf(stdout).at(-1) ?? "{}");
    // One answer, and not one of the other RSTs.
    expect(summary).toMatchObject({ type: "summary", received: 1, receive_drops: 0 });
    expect(Object.values(summary.ignored)).toEqual(Object.values(summary.ignored).map(() => 0));
  });
});
