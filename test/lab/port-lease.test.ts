/** Blocks of source ports, leased in a network namespace of their own, with a real kernel's routing rules. */

import { execFileSync } from "node:child_process";
import { chmodSync, closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { PortRange } from "../../src/link/filter.ts";
import { userProblem } from "../cli/identity.ts";
import { linesOf, MAIN, ROOT, run } from "../cli/process.ts";
import { labProblem, skipping } from "./netns.ts";

describe.skipIf(skipping("leases of source ports", labProblem()))("leases of source ports", () => {
  it("are had by six runs at once and by 32 that need few, each its own, and leave no rule behind", async () => {
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
      const few = [];
      for (code = undefined; code === undefined; ) {
        try {
          held.push(await holdPorts(raw, [4, 6], few.length % 2 === 0 ? "few" : "block-or-few"));
          few.push(held.at(-1).ports);
        } catch (error) {
          code = error.code;
        }
      }
      const rules = [4, 6].map((family) => listRstRules(family).length);
      for (const { release } of held) release();
      console.log(JSON.stringify({ code, raw, blocks, few, rules, left: listRstRules(4).length + listRstRules(6).length }));
    `;
    const node = [process.execPath, "--import", "tsx", "--input-type=module", "-e", script];
    const { status, stdout, stderr } = await run(["unshare", "-n", ...node]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const { code, raw, blocks, few, rules, left } = JSON.parse(stdout);
    expect(code).toBe("ERR_NO_SOURCE");
    expect(blocks.length).toBeGreaterThanOrEqual(6);
    let from = raw.first;
    for (const { first, last } of blocks) {
      expect(first).toBeGreaterThanOrEqual(from);
      // Room for two hundred connections at once, and for what has just closed.
      expect(last - first + 1).toBeGreaterThanOrEqual(400);
      from = last + 1;
    }
    // Those that probe one port each have what is left behind the blocks, in any order.
    expect(few.length).toBeGreaterThanOrEqual(32);
    for (const { first, last } of few.sort((a: PortRange, b: PortRange) => a.first - b.first)) {
      expect([first, last]).toEqual([from, from + 7]);
      from = last + 1;
    }
    expect(from - 1).toBeLessThanOrEqual(raw.last);
    const all = blocks.length + few.length;
    expect([rules, left]).toEqual([[all, all], 0]);
  });

  it("are not stale while they are held, as doctor would say", async () => {
    const script = `
      const { holdPorts, staleBlocks } = await import("${ROOT}src/runtime/system/port-lease.ts");
      const { addRstRule } = await import("${ROOT}src/link/rst-rule.ts");
      const { ports, release } = await holdPorts({ first: 61000, last: 62023 }, [4, 6]);
      const held = staleBlocks();
      release();
      // As a run leaves it that is killed.
      addRstRule(4, ports);
      console.log(JSON.stringify({ held, killed: staleBlocks() }));
    `;
    const node = [process.execPath, "--import", "tsx", "--input-type=module", "-e", script];
    const { status, stdout, stderr } = await run(["unshare", "-n", ...node]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(JSON.parse(stdout)).toEqual({ held: [], killed: [{ first: 61_000, last: 61_511 }] });
  });

  it.each(["0.0.0.0", "::"])(
    "are had of no block with a port in use, as by a listener on %s",
    async (host) => {
      const script = `
      import { once } from "node:events";
      import { createServer } from "node:net";
      const { holdPorts } = await import("${ROOT}src/runtime/system/port-lease.ts");
      const listener = createServer().listen({ port: 61000, host: "${host}", ipv6Only: true });
      await once(listener, "listening");
      const { ports, release } = await holdPorts({ first: 61000, last: 62023 }, [4, 6]);
      release();
      listener.close();
      console.log(JSON.stringify(ports));
    `;
      const node = [process.execPath, "--import", "tsx", "--input-type=module", "-e", script];
      const { status, stdout, stderr } = await run(["unshare", "-n", ...node]);
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      expect(JSON.parse(stdout)).toEqual({ first: 61_512, last: 62_023 });
    },
  );

  it("are each had by one of many that begin at the same time", async () => {
    const one = `
      import { writeSync } from "node:fs";
      const { holdPorts } = await import("${ROOT}src/runtime/system/port-lease.ts");
      const range = { first: 61000, last: 61000 + 8 * 512 - 1 };
      const code = await holdPorts(range, [4, 6]).then(({ ports }) => ports.first, (error) => error.code);
      writeSync(1, code + "\\n");
      process.stdin.resume();
    `;
    // They have their leases until all have said what they have; then standard input ends, and they with it.
    const script = `
      mkfifo "$1/go"; exec 9<>"$1/go"
      for i in 1 2 3 4 5 6 7 8; do
        ${process.execPath} --import tsx --input-type=module -e "$2" <"$1/go" >>"$1/said" &
      done
      while [ "$(wc -l <"$1/said")" -lt 8 ]; do read -t 0.05 _ <"$1/none"; done
      cat "$1/said"; kill -9 $(jobs -p); wait
      ip rule show | grep -c blackhole
      ${process.execPath} ${MAIN} doctor --fix >/dev/null
      ip rule show | grep -c blackhole; ip -6 rule show | grep -c blackhole
    `;
    const folder = mkdtempSync(join(tmpdir(), "synprobe-lease-"));
    try {
      execFileSync("mkfifo", [join(folder, "none")]);
      const none = openSync(join(folder, "none"), "r+");
      const { stdout } = await run(["unshare", "-n", "bash", "-c", script, "bash", folder, one], {
        limitMs: 60_000,
      });
      closeSync(none);
      const [said, [left, swept, swept6]] = [linesOf(stdout).slice(0, 8), linesOf(stdout).slice(8)];
      expect(said.map(Number).sort()).toEqual(Array.from({ length: 8 }, (_, i) => 61_000 + 512 * i));
      // Killed, they leave their rules behind.
      expect([left, swept, swept6]).toEqual(["8", "0", "0"]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }, 90_000);

  it.skipIf(skipping("another user's leases", userProblem()))(
    "cannot be had by a user without capabilities",
    async () => {
      const user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
      const squat = `
      const net = require("node:net");
      const { dev, ino } = require("node:fs").statSync(process.argv[1], { bigint: true });
      const names = ["journal-" + dev + "-" + ino];
      for (let first = 60000; first < 65535; first++) names.push("ports-" + first + "-" + (first + 511));
      let left = names.length;
      for (const name of names) net.createServer().listen("\\0synprobe-" + name, () => --left || console.log("taken"));
    `;
      const attempt = `
      const [folder] = process.argv.slice(1);
      const { holdPorts } = await import("${ROOT}src/runtime/system/port-lease.ts");
      const { openMarker } = await import("${ROOT}src/link/port-marker.ts");
      const { createJournal } = await import("${ROOT}src/runtime/journal/writer.ts");
      const { openJournal } = await import("${ROOT}src/runtime/journal/reader.ts");
      const { spawn } = await import("node:child_process");
      const { once } = await import("node:events");
      const path = folder + "/journal";
      const header = { version: "1", createdMs: 0, targets: "", options: {}, command: "" };
      await (await createJournal(path, header)).close();
      const [setpriv, ...rest] = ${JSON.stringify([...user, process.execPath])};
      const squatter = spawn(setpriv, [...rest, "-e", ${JSON.stringify(squat)}, path], { stdio: ["ignore", "pipe", "inherit"] });
      await once(squatter.stdout, "data");
      const { ports, release } = await holdPorts({ first: 61000, last: 61511 }, [4, 6]);
      release();
      (await openJournal(path)).close();
      squatter.kill();
      process.setuid(65534);
      let code = "none";
      try { openMarker(61000); } catch (error) { code = error.code; }
      console.log(JSON.stringify({ ports, code }));
    `;
      const folder = mkdtempSync(join(tmpdir(), "synprobe-lease-"));
      chmodSync(folder, 0o755);
      try {
        const node = [process.execPath, "--import", "tsx", "--input-type=module", "-e", attempt, folder];
        const { status, stdout, stderr } = await run(["unshare", "-n", ...node], { limitMs: 60_000 });
        expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
        expect(JSON.parse(stdout)).toEqual({ ports: { first: 61_000, last: 61_511 }, code: "ERR_PRIVILEGE" });
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
    90_000,
  );

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
