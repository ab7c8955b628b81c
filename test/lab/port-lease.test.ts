/** Blocks of source ports, leased in a network namespace of their own, with a real kernel's routing rules. */
import { describe, expect, it } from "vitest";
import { MAIN, ROOT, run } from "../cli/process.ts";
import { labProblem, skipping } from "./netns.ts";

describe.skipIf(skipping("leases of source ports", labProblem()))("leases of source ports", () => {
  it("are had by six runs at once, each its own, and leave no rule behind", async () => {
    const script = `
      const { holdPorts } = await import("${ROOT}src/runtime/system/port-lease.ts");
      const { listRstRules } = await import("${ROOT}src/link/rst-rule.ts");
      const { sharePorts, choosePortRange } = await import("${ROOT}src/socket/ports.ts");
      const { raw } = sharePorts(choosePortRange(32768, 60999));
      const held = [];
      let code;
      while (code === undefined) {
        try {
          held.push(await holdPorts(raw, [4, 6]));
        } catch (error) {
          code = error.code;
        }
      }
      const blocks = held.map(({ ports }) => ports);
      const rules = [4, 6].map((family) => listRstRules(family).length);
      for (const { release } of held) release();
      console.log(JSON.stringify({ code, raw, blocks, rules, left: listRstRules(4).length + listRstRules(6).length }));
    `;
    const node = [process.execPath, "--import", "tsx", "--input-type=module", "-e", script];
    const { status, stdout, stderr } = await run(["unshare", "-n", ...node]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const { code, raw, blocks, rules, left } = JSON.parse(stdout);
    expect(code).toBe("ERR_NO_SOURCE");
    expect(blocks.length).toBeGreaterThanOrEqual(6);
    let from = raw.first;
    for (const { first, last } of blocks) {
      expect(first).toBeGreaterThanOrEqual(from);
      // Room for two hundred connections at once, and for what has just closed.
      expect(last - first + 1).toBeGreaterThanOrEqual(400);
      from = last + 1;
    }
    expect(from - 1).toBeLessThanOrEqual(raw.last);
    expect([rules, left]).toEqual([[blocks.length, blocks.length], 0]);
  });

  it("take a rule for a killed run's only if it is what a run makes; --fix removes that and no other", async () => {
    const ours = "iif lo ipproto tcp sport 61000-61511 blackhole protocol 83";
    const foreign = [
      "priority 5300 iif lo ipproto tcp sport 62000-62511 blackhole protocol 84",
      "priority 5301 iif lo ipproto tcp sport 62000-62511 blackhole protocol 83",
      "priority 5300 iif lo ipproto udp sport 62000-62511 blackhole protocol 83",
      "priority 5300 iif lo ipproto tcp sport 62000-62511 prohibit protocol 83",
      "priority 5300 ipproto tcp sport 62000-62511 blackhole protocol 83",
      "priority 5300 iif lo ipproto tcp sport 62000-62511 dport 1 blackhole protocol 83",
      "priority 5300 iif lo from 198.18.0.0/16 ipproto tcp sport 62000-62511 blackhole protocol 83",
    ];
    const script = `
      for rule in "$@"; do ip rule add $rule || exit 9; done
      ${process.execPath} ${MAIN} doctor --fix
      ip -o rule show
    `;
    const rules = [`priority 5300 ${ours}`, ...foreign];
    const { status, stdout, stderr } = await run(["unshare", "-n", "sh", "-c", script, "sh", ...rules]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(
      /leftovers +removed: routing rules of runs that were killed, for source ports 61000-61511$/m,
    );
    expect(stdout.match(/sport 62000-62511/g)).toHaveLength(foreign.length);
    expect(stdout).not.toContain("sport 61000-61511");
  });
});
