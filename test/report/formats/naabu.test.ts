/** naabu's JSON lines: as naabu writes them, and read back as naabu's. */
import { expect, test } from "vitest";
import { createNaabuReporter } from "../../../src/report/formats/naabu.ts";
import { closed, open, run, silent, tarpit, written } from "../samples.ts";

test("open ports alone, with naabu's names in naabu's order", () => {
  const { host: _, ...nameless } = open;
  const timeMs = Date.UTC(2026, 10, 29, 1, 2, 3, 4);
  const results = [
    { ...nameless, ip: "192.0.2.1", timeMs },
    closed,
    silent,
    tarpit,
    { ...open, ip: "2001:db8::2", host: "\u202ewww.example", port: 443, timeMs },
  ];
  expect(written(createNaabuReporter, results)).toBe(
    [
      '{"ip":"192.0.2.1","timestamp":"2026-11-29T01:02:03.004Z","port":22,"protocol":"tcp","tls":false}\n',
      '{"host":"\\u202ewww.example","ip":"2001:db8::2","timestamp":"2026-11-29T01:02:03.004Z","port":443,"protocol":"tcp","tls":false}\n',
    ].join(""),
  );
});

test("a line for each name", () => {
  const lines = written(createNaabuReporter, [{ ...open, host: "a.example", aliases: ["b.example"] }]);
  expect([...lines.matchAll(/"host":"([^"]*)"/g)].map(([, host]) => host)).toEqual([
    "a.example",
    "b.example",
  ]);
});

test("nothing else is asked for", () => {
  expect(createNaabuReporter(() => {}).wants(run)).toEqual(["open"]);
});
