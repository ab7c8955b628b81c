/** The hot path allocates nothing: a heap profile of the engine at work, in a process of its own (allocation-run.ts). */
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { run } from "../../cli/process.ts";
import { ALL } from "../../everyday.ts";
import type { Profile } from "./allocation-run.ts";

/** Room for what a call, and each interval of the rate's control, costs, spread over the probes of it. */
const MOST_BYTES = 5;
/** The most of it in one function. A number that V8 makes an object of is 16 bytes: not once in 16 probes. */
const MOST_AT_ONE_SITE = 1;

it.runIf(ALL)("a probe, its answer or timeout, and its verdict allocate nothing", async () => {
  const script = fileURLToPath(new URL("allocation-run.ts", import.meta.url));
  const { status, stdout, stderr } = await run([process.execPath, "--import", "tsx", script]);
  expect(status, stderr).toBe(0);
  const { inFlight, open, closed, filtered, sites } = JSON.parse(stdout) as Profile;
  // All that a probe may come to has been looked at: answers that are none would cost little.
  for (const verdictQueue of [open, closed, filtered]) expect(verdictQueue).toBeGreaterThan(inFlight / 100);
  const total = sites.reduce((sum, [, bytes]) => sum + bytes, 0);
  const top = sites.slice(0, 5).map(([site, bytes]) => `${(bytes / inFlight).toFixed(1)} ${site}`);
  expect(total / inFlight, `bytes a probe:\n${top.join("\n")}`).toBeLessThan(MOST_BYTES);
  for (const [site, bytes] of sites) expect(bytes / inFlight, site).toBeLessThan(MOST_AT_ONE_SITE);
});
