/** What the page is made of: counts, tops, histogram, series, rows; each bounded, and honest about it. */
import { describe, expect, test } from "vitest";
import { barChart, heldRates, lossChart, rateChart } from "../../../src/report/html/charts.ts";
import { createGathering, type Digest, MATRIX, MOST_ROWS } from "../../../src/report/html/digest.ts";
import type { RecordedPort, RecordedProgress } from "../../../src/report/read/recorded.ts";
import { ndjson, readText } from "../runs.ts";
import { closed, corrected, open, prohibited, silent } from "../samples.ts";

const port = (part: Partial<RecordedPort>): RecordedPort => ({
  ...{ ip: "192.0.2.1", port: 80, proto: "tcp", state: "open", reason: "syn-ack" },
  ...part,
});

/** The digest of one run without a file. */
function digestOf(ports: Iterable<RecordedPort>, moments: readonly RecordedProgress[] = []): Digest {
  const gathering = createGathering();
  const sink = gathering.next();
  for (const each of ports) sink.port(each);
  for (const moment of moments) sink.progress(moment);
  return gathering.digest([{ name: "run", format: "ndjson", ending: "complete" }]);
}

test("of several files, and of corrections, the last verdict on a port counts", () => {
  const gathering = createGathering();
  const runs = [
    readText("a", ndjson([closed, prohibited, silent, open, corrected]), gathering.next()),
    readText("b", ndjson([{ ...open, state: "closed", reason: "reset" }]), gathering.next()),
  ];
  const { states, ports, hosts, openHosts, rows } = gathering.digest(runs);
  expect({ ports, hosts, openHosts }).toEqual({ ports: 4, hosts: 3, openHosts: 1 });
  expect(states).toMatchObject({ open: 1, closed: 2, filtered: 1 });
  const shown = rows.host.map(
    (host, i) => `${rows.hosts[host]} ${rows.port[i]} ${rows.states[rows.state[i]]}`,
  );
  expect(shown).toEqual([
    "192.0.2.10 scanme.example 8081 open",
    "192.0.2.10 scanme.example 22 closed",
    "2001:db8::10 443 closed",
    "192.0.2.20 80 filtered",
  ]);
  expect(rows.notes).toEqual({
    0: "first taken for filtered; answered after the timeout",
    3: "said by 192.0.2.254",
  });
});

test("what differs between places stands side by side, and nothing that is the same", () => {
  const { differing: found, rows } = digestOf([
    port({
      port: 443,
      from: [
        { place: "fra", state: "open" },
        { place: "lon", state: "filtered" },
      ],
    }),
    port({
      port: 22,
      from: [
        { place: "fra", state: "open" },
        { place: "lon", state: "open" },
      ],
    }),
    port({
      port: 80,
      from: [
        { place: "fra", state: "closed" },
        { place: "lon", state: "open" },
      ],
    }),
  ]);
  expect(found.map(({ label, from }) => [label, ...from.map(({ state }) => state)])).toEqual([
    ["192.0.2.1 80/tcp", "closed", "open"],
    ["192.0.2.1 443/tcp", "open", "filtered"],
  ]);
  expect(Object.values(rows.notes)).toEqual([
    "closed from fra, open from lon",
    "open from fra, filtered from lon",
  ]);
});

test("of many that differ the first are shown, and what they have in common is kept once", () => {
  const from = () => [
    { place: "fra", state: "open" as const },
    { place: "lon", state: "filtered" as const, reason: "no-response" },
  ];
  const { differing, moreDiffering, rows } = digestOf(
    Array.from({ length: 502 }, (_, i) => port({ port: 502 - i, from: from() })),
  );
  expect([differing.length, moreDiffering]).toEqual([500, 2]);
  expect(differing[0].label).toBe("192.0.2.1 1/tcp");
  expect(new Set(differing.map((each) => each.from)).size).toBe(1);
  expect(Object.values(rows.notes)).toHaveLength(502);
});

test("the matrix has the hosts and ports with the most open, and counts the others", () => {
  const ports: RecordedPort[] = [];
  for (let host = 0; host < 60; host++)
    for (let number = 1; number <= 40; number++)
      ports.push(
        port({ ip: `192.0.2.${host}`, port: number, state: host >= 15 && number > 20 ? "open" : "closed" }),
      );
  const { matrix } = digestOf(ports);
  expect(matrix.hosts.map(({ ip }) => ip)).toEqual(Array.from({ length: 40 }, (_, i) => `192.0.2.${i + 15}`));
  expect(matrix.ports).toHaveLength(MATRIX.ports);
  expect(matrix.ports.slice(-20).map((each) => each.port)).toEqual(
    Array.from({ length: 20 }, (_, i) => i + 21),
  );
  expect(matrix).toMatchObject({ moreHosts: 20, morePorts: 16 });
});

test("hosts that answer on every port are named, and hide nothing", () => {
  const tarpit = Array.from({ length: 100 }, (_, i) =>
    port({ ip: "192.0.2.9", port: i + 1, answersAll: true }),
  );
  const { answerAll, services, matrix, openByHost, states } = digestOf([
    ...tarpit,
    port({ service: "http" }),
  ]);
  expect(answerAll).toEqual(["192.0.2.9"]);
  const unlabelled = tarpit.map(({ answersAll: _, ...rest }) => rest);
  expect(digestOf(unlabelled).answerAll).toEqual(["192.0.2.9"]);
  expect(digestOf([...unlabelled, port({ ip: "192.0.2.9", port: 999, state: "closed" })]).answerAll).toEqual(
    [],
  );
  expect(services).toEqual({ bars: [{ label: "http 80/tcp", ports: 1, hosts: 1 }], more: 0 });
  expect(matrix.hosts).toEqual([{ ip: "192.0.2.1", name: "" }]);
  expect(openByHost).toEqual([{ host: "192.0.2.1", ports: "80 http" }]);
  expect(states.open).toBe(101);
});

test("every answer is in one bin of the histogram, those of a long tail in the last", () => {
  const ports = Array.from({ length: 1000 }, (_, i) =>
    port({
      port: i + 1,
      rttMs: i < 980 ? 10 + (i % 50) / 10 : 500 + i,
      state: i % 2 === 0 ? "open" : "closed",
    }),
  );
  const { roundTrips } = digestOf(ports);
  if (roundTrips === undefined) throw new Error("no round trips");
  const { bounds, open: opened, closed: shut, filtered, count, median, max } = roundTrips;
  const sum = (counts: readonly number[]): number => counts.reduce((a, b) => a + b, 0);
  expect([sum(opened), sum(shut), sum(filtered), count]).toEqual([500, 500, 0, 1000]);
  expect(bounds[0]).toBe(10);
  expect(bounds.at(-1)).toBe(Number.POSITIVE_INFINITY);
  expect((opened.at(-1) ?? 0) + (shut.at(-1) ?? 0)).toBe(20);
  expect(median).toBeCloseTo(12.5, 0);
  expect(max).toBe(1499);
  expect(digestOf([port({})]).roundTrips).toBeUndefined();
  expect(digestOf([port({ rttMs: 3 })]).roundTrips).toMatchObject({ open: [1], count: 1 });
});

test("rates are taken between moments, and a long run is thinned without losing packets", () => {
  const moments = Array.from({ length: 1001 }, (_, i) => ({
    elapsedMs: (i + 1) * 1000,
    sent: (i + 1) * 50,
    received: 0,
  }));
  const [{ points }] = digestOf([port({})], moments).series;
  expect(points.length).toBeLessThan(260);
  expect(points.at(-1)?.seconds).toBe(1001);
  for (const { sent } of points) expect(sent).toBeCloseTo(50);
  expect(digestOf([port({})], moments.slice(0, 1)).series).toEqual([]);
});

test("the table is bounded, and open ports come first into it", () => {
  function* ports(): Generator<RecordedPort> {
    for (let i = 0; i < MOST_ROWS + 500; i++)
      yield port({ ip: `198.18.${i >> 16}.1`, port: i & 0xffff, state: i >= MOST_ROWS ? "open" : "closed" });
  }
  const { rows, moreRows, states } = digestOf(ports());
  expect(moreRows).toBe(500);
  expect(rows.host).toHaveLength(MOST_ROWS);
  expect(rows.state.filter((state) => rows.states[state] === "open")).toHaveLength(states.open);
});

describe("charts", () => {
  const points = [1, 2, 3].map((seconds) => ({ seconds, sent: 5, received: 4, rate: 9, loss: 0.1 }));

  test("are inert: no script, style, class or event, and texts are text", () => {
    const label = `</text><script>alert(1)</script>" onload="x`;
    const drawn = [
      barChart("bars", [{ label, ports: 3, hosts: 1 }], "var(--open)"),
      rateChart("rate", [{ name: "a", points }]),
      lossChart("loss", [{ name: "a", points }]),
    ].join("");
    expect(drawn).not.toMatch(/<script|<style|<[^>]*\s(style|on\w+|href)=/);
    expect(drawn).toContain("&lt;/text&gt;&lt;scrip");
    expect(drawn).toContain('fill="var(--open)"');
  });

  test("have no two labels alike on an axis, however short the run is", () => {
    for (const seconds of [0.9, 2, 3.7, 700]) {
      const short = [0.3, 0.6, 1].map((share) => ({ seconds: share * seconds, sent: share, received: 0 }));
      const [wide] = rateChart("rate", [{ name: "a", points: short }]).split('<div class="narrow">');
      const labels = Array.from(
        wide.matchAll(/<text [^>]*text-anchor="(\w+)"[^>]*>([^<]*)/g),
        ([, axis, text]) => `${axis} ${text}`,
      );
      expect(labels.length).toBeGreaterThan(5);
      expect(labels).toEqual([...new Set(labels)]);
    }
  });

  test("are not flattened by what the path would hold", () => {
    const held = points.map((point, i) => ({ ...point, rate: i === 1 ? 36_000 : 8 }));
    const { drawn, above } = heldRates([{ name: "a", points: held }]);
    expect(above).toBe(36_000);
    expect(drawn[0].points.map(({ rate }) => rate)).toEqual([8, Number.NaN, 8]);
    expect(rateChart("rate", drawn)).not.toMatch(/k<|NaN/);
    expect(heldRates([{ name: "a", points }])).toEqual({ drawn: [{ name: "a", points }] });
  });

  test("there is none of a loss that nobody knows", () => {
    const unknown = points.map(({ loss: _, ...rest }) => rest);
    expect(lossChart("loss", [{ name: "a", points: unknown }])).toBe("");
  });
});
