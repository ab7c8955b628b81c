/** A row's turn, by the user's limits per host and per prefix, and by the line of a host that limits its answers. */
import { expect, it } from "vitest";
import {
  createHostLimits,
  createUserLimits,
  type HostLimitOptions,
} from "../../../src/scan/hosts/host-limits.ts";
import { TURN } from "../../../src/scan/hosts/rst-limited.ts";
import { createHostCache, MARKS } from "../../../src/scan/measure/host-cache.ts";
import { createInFlight } from "../../../src/scan/probe/in-flight.ts";
import { createSourcePorts } from "../../../src/socket/ports.ts";

const MS = 1000;
const SECOND = 1000 * MS;

/** Rows of hosts 198.18.x.y, given as (x << 8) | y. */
function createRows(limits: Omit<HostLimitOptions, "seed">, hostNumbers: readonly number[]) {
  const hosts = createHostCache(100, 1);
  const inFlight = createInFlight({
    capacity: 16,
    maxTries: 3,
    seed: 1,
    startUs: 0,
    ports: createSourcePorts(61_000, 62_000, 1),
    localWords: new Uint32Array(4),
    pathState: { hosts, hostOf: (words, at, nowUs) => hosts.entryOf(words, at, nowUs) },
  });
  const rows = hostNumbers.map((n, i) => {
    const words = Uint32Array.of(0, 0, 0xffff, 0xc612_0000 + n);
    const row = inFlight.table.insert(words, 0, 80 + i);
    inFlight.hostOf[row] = hosts.entryOf(words, 0, 0);
    return row;
  });
  const lines: { row: number; meanUs: number }[] = [];
  const hostLimits = createHostLimits(
    createUserLimits({ ...limits, seed: 1 }, inFlight.table.peer),
    inFlight,
    { hosts },
    {
      take: (row, _host, _words, _at, meanUs) => {
        lines.push({ row, meanUs });
        return TURN.later;
      },
      give: () => undefined,
      forget: () => undefined,
    },
  );
  return { hosts, inFlight, rows, hostLimits, lines };
}

it("without limits every row may leave, and nothing is kept of it", () => {
  const { rows, hostLimits } = createRows({}, [1, 1]);
  expect(rows.map((row) => hostLimits.take(row, 0))).toEqual([TURN.now, TURN.now]);
  expect(rows.map((row) => [hostLimits.has(row), hostLimits.holdsBack(row, 0)])).toEqual([
    [false, false],
    [false, false],
  ]);
});

it.each([
  ["host", { ratePerHost: 10 }, [1, 1, 2], TURN.now],
  ["prefix", { ratePerPrefix: 10 }, [1, 2, 0x102], TURN.now],
  ["prefix, the slower of both", { ratePerPrefix: 10, ratePerHost: 1000 }, [1, 2, 0x102], TURN.now],
  ["host, the slower of both", { ratePerPrefix: 1000, ratePerHost: 10 }, [1, 1, 2], TURN.later],
])(
  "a row waits for its %s, with its timer set, and keeps its slot until it leaves",
  (_, limits, numbers, turn) => {
    const { rows, hostLimits, inFlight } = createRows(limits, numbers);
    const [first, second, other] = rows;
    expect(hostLimits.take(first, SECOND)).toBe(TURN.now);
    expect(hostLimits.take(second, SECOND)).toBe(TURN.later);
    expect(hostLimits.take(other, SECOND)).toBe(turn);
    expect([first, second].map(hostLimits.has)).toEqual([true, true]);
    hostLimits.leaves(first, SECOND);
    expect([first, second].map(hostLimits.has)).toEqual([false, true]);
    // A slot is for one SYN, whenever it is asked for again.
    expect(hostLimits.take(second, SECOND + 100 * MS)).toBe(TURN.now);
    expect(hostLimits.holdsBack(second, SECOND + 50 * MS)).toBe(true);
    expect(hostLimits.holdsBack(second, SECOND + 100 * MS)).toBe(false);
    expect(inFlight.timers.next()).toBeLessThanOrEqual(SECOND + 101 * MS);
    hostLimits.clear(second);
    expect(hostLimits.has(second)).toBe(false);
  },
);

it("a host whose time is up has no turn any more", () => {
  const { rows, hostLimits } = createRows({ hostTimeoutUs: SECOND }, [1, 2]);
  expect(hostLimits.take(rows[0], SECOND)).toBe(TURN.now);
  hostLimits.leaves(rows[0], SECOND);
  expect(hostLimits.take(rows[0], 2 * SECOND)).toBe(TURN.now);
  hostLimits.leaves(rows[0], 2 * SECOND);
  expect(hostLimits.take(rows[0], 2 * SECOND + 1)).toBe(TURN.never);
  expect(hostLimits.take(rows[1], 2 * SECOND + 1)).toBe(TURN.now);
});

it("rows of a host that limits its answers are in its line, which is told the mean time between these", () => {
  const { rows, hostLimits, hosts, inFlight, lines } = createRows({}, [1, 2, 3]);
  for (const [i, [closed, answered]] of [
    [5, 9],
    [0, 4],
    [0, 0],
  ].entries()) {
    const entry = inFlight.hostOf[rows[i]];
    hosts.marks[entry] |= MARKS.limited;
    hosts.firstMs[entry] = 1000;
    hosts.closed[entry] = closed;
    hosts.answered[entry] = answered;
    expect(hostLimits.take(rows[i], 3 * SECOND)).toBe(TURN.later);
    // Once in line it stays there, whatever becomes of the host's mark.
    hosts.marks[entry] = 0;
    expect(hostLimits.take(rows[i], 3 * SECOND)).toBe(TURN.later);
  }
  expect(lines.map(({ meanUs }) => meanUs)).toEqual([400, 400, 500, 500, 2000, 2000].map((ms) => ms * MS));
  expect(rows.map(hostLimits.has)).toEqual([true, true, true]);
});
