/** Lines of `history changes`: columns by what is seen and not by bytes, days and times, what is left out when there is no doubt. */
import { expect, test } from "vitest";
import { createChangeLines, LONGEST_CHANGE } from "../../../src/cli/commands/change-lines.ts";
import type { Change } from "../../../src/report/read/recorded.ts";

const put = createChangeLines({
  place: ({ ip, name, proto }) => [`${name ?? ip}:`, proto === "tcp" ? "" : ` ${proto}`],
  verdict: (state, reason) => `${state} (${reason})`,
  newVerdict: (state, reason) => `*${state}* (${reason})`,
  doubt: (doubt) => `, ${doubt}`,
});
const line = (change: Partial<Change>): string => {
  const bytes = Buffer.alloc(LONGEST_CHANGE, 0xa5);
  const end = put(
    {
      ...{ ip: "198.18.0.1", proto: "tcp", port: 22, state: "closed", reason: "reset" },
      ...{ oldState: "open", oldReason: "syn-ack", oldLastMs: Date.UTC(2025, 11, 31, 23, 59, 59, 999) },
      ...{ firstMs: Date.UTC(2026, 0, 1), lastMs: Date.UTC(2026, 0, 1) },
      ...change,
    } as Change,
    bytes,
    3,
  );
  return bytes.toString("utf8", 3, end);
};

test("a line is its time, its port, both verdicts and the doubt, and when it was as before", () => {
  const rest = "open (syn-ack) -> *closed* (reset); before at 2025-12-31 23:59:59\n";
  expect(line({})).toBe(`2026-01-01 00:00:00  198.18.0.1:22             ${rest}`);
  expect(line({ port: 65_535, proto: "udp" })).toBe(`2026-01-01 00:00:00  198.18.0.1:65535 udp      ${rest}`);
  expect(line({ ip: "198.18.0.2", name: "männchen.example" })).toBe(
    `2026-01-01 00:00:00  männchen.example:22       ${rest}`,
  );
  expect(line({ ip: "198.18.0.3", name: `${"long".repeat(50)}` })).toContain(`${"long".repeat(50)}:22  open`);
  expect(line({ state: "filtered", reason: "no-response", doubt: 0.02 })).toContain(
    "-> *filtered* (no-response), 0.02; before",
  );
  expect(line({ firstMs: Date.UTC(2026, 10, 29, 9, 8, 7), reason: "\u001b[2J" })).toMatch(
    /^2026-11-29 09:08:07 .*-> \*closed\* \(\\u001b\[2J\); before/,
  );
});
