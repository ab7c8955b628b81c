/** What a chat is told of a round. */
import { expect, it } from "vitest";
import type { ToldEvent } from "../../../src/runtime/watch/events.ts";
import { slackText } from "../../../src/runtime/watch/slack.ts";
import { EVENT } from "./event.ts";

const open = { old: { state: "closed" }, new: { state: "open", reason: "syn-ack" } };
const policy = { expected: "closed", rule: "p.yaml:3:1" };

it.each<[Partial<ToldEvent>, string]>([
  [{}, "192.0.2.1 port 22 is closed (reset), was open"],
  [
    { host: "web.example", service: "ssh", doubt: 0.034 },
    "web.example (192.0.2.1) port 22 ssh is closed (reset), was open; doubt 0.03",
  ],
  [
    { type: "flapping" },
    "192.0.2.1 port 22 is flapping: closed (reset) now, was open; no more of it until it settles",
  ],
  [{ type: "settled" }, "192.0.2.1 port 22 has settled: closed (reset)"],
  [
    { type: "violation", ...open, policy },
    "192.0.2.1 port 22 is open (syn-ack), and should be closed (p.yaml:3:1)",
  ],
  [{ type: "restored", policy }, "192.0.2.1 port 22 is closed (reset) again, as it should be"],
  [
    { type: "restored", why: "no longer watched" },
    "192.0.2.1 port 22 is no longer watched: what was wrong with it is over",
  ],
  [
    { host: "<!channel>", service: "a&b" },
    "&lt;!channel&gt; (192.0.2.1) port 22 a&amp;b is closed (reset), was open",
  ],
])("of one event: %j", (more, text) => {
  expect(slackText([{ ...EVENT, ...more }])).toBe(text);
});

it("of a host that is away, one line for all its ports, with the greatest doubt", () => {
  const away = { new: { state: "filtered", reason: "no-response" } };
  const events = Array.from({ length: 23 }, (_, i) => ({ ...EVENT, ...away, port: 1 + i, doubt: i / 1000 }));
  const other = { ...EVENT, ip: "192.0.2.2" };
  expect(slackText([...events.slice(0, 2), other, ...events.slice(2)])).toBe(
    "192.0.2.1 23 ports: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20 and 3 more are filtered (no-response), were open; doubt 0.02\n" +
      "192.0.2.2 port 22 is closed (reset), was open",
  );
  const flapping = events.slice(0, 2).map((each) => ({ ...each, type: "flapping" as const }));
  expect(slackText(flapping)).toMatch(/^192\.0\.2\.1 2 ports: 1, 2 are flapping: .* until they settle;/);
});

it("of very many hosts, as many lines as a reader takes, and how many there are beside", () => {
  const events = Array.from({ length: 1000 }, (_, i) => ({ ...EVENT, ip: `198.18.${i >> 8}.${i & 255}` }));
  const lines = slackText(events).split("\n");
  expect(lines).toHaveLength(31);
  expect(lines.at(-1)).toBe("and 970 lines more");
});
