/** A page of a file that has not all that its run found (--show): no number of it says that what is left out is not there. */
import { expect, test } from "vitest";
import { createGathering } from "../../../src/report/html/digest.ts";
import { leftOutRemarks } from "../../../src/report/html/left-out.ts";
import { tiles } from "../../../src/report/html/tiles.ts";
import type { RecordedRun } from "../../../src/report/read/recorded.ts";
import { readText } from "../runs.ts";

const summary = (shown?: readonly string[]): string =>
  JSON.stringify({
    type: "summary",
    interrupted: false,
    shown,
    reasons: {
      open: { "syn-ack": 1 },
      closed: { reset: 7 },
      filtered: { "no-response": 3, "host-unreach": 2 },
    },
  });
const OPEN =
  '{"type":"result","ip":"192.0.2.1","port":80,"proto":"tcp","state":"open","reason":"syn-ack","tries":1}';

function pageOf(...files: readonly string[]): { runs: RecordedRun[]; text: string } {
  const gathering = createGathering();
  const runs = files.map((file) => readText("run.json", file, gathering.next()));
  const html = tiles(gathering.digest(runs));
  return { runs, text: html.replace(/<[^>]*>/g, " ").replace(/\s+/g, " ") };
}

test("what a file has not is counted by its summary, and the page says that it is not listed", () => {
  const { runs, text } = pageOf(`${OPEN}\n${summary(["open"])}\n`);
  expect(text).toContain("1 open port 7 closed 5 filtered 1 host with open ports 13 ports looked at");
  expect(leftOutRemarks(runs[0])).toEqual([
    {
      kind: "warn",
      text: "The file has not all that was found (--show): 7 closed ports and 5 filtered ports are in no list and no picture below. With --show-files all they would be.",
    },
  ]);
});

test("of several such files nobody knows how many there are", () => {
  const file = `${OPEN}\n${summary(["open"])}\n`;
  const { text } = pageOf(file, file);
  expect(text).toContain("1 open port – closed – filtered 1 host with open ports – ports looked at");
});

test("a file with every state is counted by its results", () => {
  const { runs, text } = pageOf(`${OPEN}\n${summary()}\n`);
  expect(text).toContain("1 open port 0 closed 0 filtered 1 of 1 host with open ports 1 port looked at");
  expect(leftOutRemarks(runs[0])).toEqual([]);
});
