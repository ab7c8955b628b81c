/** Lines of the table as bytes: whatever is taken is written as of the result that would have been made of it. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { createTableReporter } from "../../../src/report/formats/table.ts";
import type { Fill, Reporter, RunInfo, Sink } from "../../../src/report/reporter.ts";
import { createNaming } from "../../../src/runtime/results/to-result.ts";
import { PORT_STATES } from "../../../src/scan/probe/result.ts";
import { newVerdict, type Verdict } from "../../../src/scan/probe/verdict.ts";
import { parseServices } from "../../../src/scan/targets/services.ts";
import { summary } from "../samples.ts";

const services = parseServices(
  `http 80/tcp\nodd\u202e 81/tcp\na-name-of-many-columns 82/tcp\n${"long".repeat(100)} 83/tcp\n`,
);
const naming = createNaming({ services, namesOf: () => [] });
const run: RunInfo = {
  args: [],
  version: "",
  startedMs: 0,
  pairs: 1e6,
  ports: [],
  serviceOf: services.nameOf,
};
const [US, AT] = [Date.UTC(2026, 10, 29) * 1000, 3];

/** What a table in a pipe prints of verdicts, and how many of them it took as they are. */
function printed(
  verdicts: readonly Verdict[],
  packs: boolean,
): { readonly text: string; readonly taken: number } {
  let text = "";
  let taken = 0;
  const sink: Sink = (more) => {
    text += more;
  };
  const fill: Fill = (most, put) => {
    const bytes = Buffer.alloc(AT + most);
    text += bytes.toString("utf8", AT, put(bytes, AT));
  };
  const table: Reporter = createTableReporter(sink, { color: false, verbose: true, show: PORT_STATES, fill });
  table.start(run);
  table.tick?.();
  for (const verdict of verdicts) {
    if (packs && table.takes?.(verdict) === true) {
      table.packed?.(verdict, US);
      taken++;
    } else table.result(naming(verdict, US));
  }
  table.finish(summary);
  return { text, taken };
}

const verdicts = fc
  .record({
    address: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    port: fc.oneof(fc.constantFrom(80, 81, 82, 83), fc.integer({ min: 1, max: 65_535 })),
    kind: fc.constantFrom(["open", "syn-ack"] as const, ["closed", "reset"] as const),
    rttUs: fc.oneof(fc.double({ min: 0, max: 3e4, noNaN: true }), fc.integer({ min: 0, max: 2_000_000 })),
    ttl: fc.integer({ min: 1, max: 255 }),
    tries: fc.nat(31),
    answersAll: fc.nat(20).map((n) => n === 0),
  })
  .map(({ address, kind: [state, reason], ...fields }): Verdict => {
    const peer = Uint32Array.of(0, 0, 0xffff, address);
    return { ...newVerdict(), ...fields, state, reason, peer, answered: 1, doubt: Number.NaN };
  });

test("lines of bytes are those of results, in their places", () => {
  let most = 0;
  fc.assert(
    fc.property(fc.array(verdicts, { maxLength: 20 }), (all) => {
      const { text, taken } = printed(all, true);
      expect(text).toBe(printed(all, false).text);
      most = Math.max(most, taken);
    }),
  );
  expect(most).toBeGreaterThan(5);
});
