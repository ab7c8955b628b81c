/** The schedule of control probes: behind which SYN a control goes, what its fate says of the host, who gets canaries, when pilots leave. */
import { describe, expect, it } from "vitest";
import { createPathState } from "../../../src/scan/congestion/path-state.ts";
import { KINDS } from "../../../src/scan/hosts/control-probes.ts";
import { createControlSchedule, SILENCE } from "../../../src/scan/hosts/control-schedule.ts";
import { CLOSED_PORT, MARKS, MAX_SILENT_TRIES } from "../../../src/scan/measure/host-cache.ts";
import { createInFlight } from "../../../src/scan/probe/in-flight.ts";
import { newVerdict } from "../../../src/scan/probe/verdict.ts";
import { createSourcePorts } from "../../../src/socket/ports.ts";
import { createSeededRandom } from "../../sim/random.ts";

const MS = 1000;
const host = (n: number): Uint32Array => Uint32Array.of(0, 0, 0xffff, n);
const CANARY_PORTS = Uint16Array.from({ length: 3000 }, (_, i) => 20_000 + i);

function createRun({ total = 10, minimum = 10, maximum = 1e6 } = {}) {
  const pathState = createPathState({
    wait: { initialUs: 1000 * MS, minUs: 100 * MS, maxUs: 10_000 * MS },
    rate: { minimum, maximum },
    hosts: 100,
    startUs: 0,
    seed: 1,
    tries: 11,
    acceptedDoubt: 1e-5,
  });
  const ports = createSourcePorts(61_000, 62_000, 1);
  const localWords = host(0);
  const inFlight = createInFlight({
    capacity: 256,
    maxTries: 11,
    seed: 1,
    startUs: 0,
    ports,
    localWords,
    pathState,
  });
  const told: boolean[] = [];
  const schedule = createControlSchedule({
    ports: { first: 65_471, last: 65_534 },
    canaryPorts: CANARY_PORTS,
    random: createSeededRandom(1),
    total,
    inFlight,
    pathState,
    rstLimited: { told: (_host, _words, _at, isAnswered) => told.push(isAnswered) },
  });
  const { hosts } = pathState;
  const { controlProbes } = schedule;
  if (controlProbes === undefined) throw new Error("there are ports for them");
  /** A row of a host of which `closed` ports have sent RST, 81 among them. */
  function rowOf(n: number, port: number, closed = 0): number {
    const row = inFlight.table.insert(host(n), 0, port);
    const entry = pathState.hostOf(host(n), 0, 0);
    inFlight.hostOf[row] = entry;
    hosts.closed[entry] = closed;
    if (closed > 0) hosts.marks[entry] |= 81 << CLOSED_PORT;
    return row;
  }
  const silent = (row: number, times: number): void => {
    for (let n = 0; n < times; n++) schedule.noteSilence(row);
  };
  /** The next control probe leaves, whatever it has to follow. */
  function leave(nowUs: number): number {
    const slot = schedule.next(nowUs, true);
    if (slot >= 0) schedule.sent(slot, nowUs, 7);
    return slot;
  }
  return { schedule, pathState, hosts, inFlight, controlProbes, told, rowOf, silent, leave };
}

describe("a control", () => {
  it.each([
    [1, 2],
    [2, 2],
    [3, 3],
    [9, 3],
  ])(
    "goes behind further SYNs of a host with %i closed ports once %i first ones were silent",
    (closed, silences) => {
      const { schedule, pathState, inFlight, rowOf, silent, controlProbes, leave } = createRun();
      const row = rowOf(1, 80, closed);
      pathState.sent(inFlight.hostOf[row], 0);
      silent(row, silences - 1);
      schedule.watchSilence(row, 1, 10);
      expect([schedule.silenceOf(row), leave(10)]).toEqual([SILENCE.plain, -1]);
      silent(row, 1);
      expect(schedule.silenceOf(row)).toBe(SILENCE.unchecked);
      // Not behind the first SYN.
      schedule.watchSilence(row, 0, 10);
      expect(controlProbes.waiting()).toBe(false);
      schedule.watchSilence(row, 1, 10);
      expect(schedule.silenceOf(row)).toBe(SILENCE.controlWaits);
      const slot = leave(10);
      expect([controlProbes.kind[slot], controlProbes.port[slot]]).toEqual([KINDS.control, 81]);
      expect(schedule.silenceOf(row)).toBe(SILENCE.controlUnderWay);
    },
  );

  it("goes to no host that has rested for half a second, and to none without a closed port", () => {
    const { schedule, pathState, inFlight, rowOf, silent, controlProbes } = createRun();
    const row = rowOf(1, 80, 1);
    silent(row, 9);
    pathState.sent(inFlight.hostOf[row], 1000 * MS);
    schedule.watchSilence(row, 1, 1500 * MS);
    expect(controlProbes.waiting()).toBe(false);
    schedule.watchSilence(row, 1, 1499 * MS);
    expect(controlProbes.waiting()).toBe(true);
    const open = rowOf(2, 80);
    silent(open, 9);
    expect([schedule.silenceOf(open), schedule.control(open)]).toEqual([SILENCE.plain, false]);
  });

  it("serves all SYNs to its host for 5 ms, and then leaves even if retransmissions wait", () => {
    const { schedule, pathState, inFlight, rowOf, silent, controlProbes } = createRun();
    const rows = [80, 81, 82].map((port) => rowOf(1, port, 1));
    silent(rows[0], 2);
    pathState.sent(inFlight.hostOf[rows[0]], 0);
    for (const [i, row] of rows.entries()) schedule.watchSilence(row, 1, i * MS);
    expect(rows.map(schedule.silenceOf)).toEqual([2, 2, 2]);
    expect(schedule.next(4999, false)).toBe(-1);
    expect(schedule.next(5000, false)).toBeGreaterThanOrEqual(0);
    expect(rows.map(schedule.silenceOf)).toEqual([3, 3, 3]);
    expect(controlProbes.waiting()).toBe(false);
    // One that is asked for outright leaves at once.
    expect(schedule.control(rows[0])).toBe(true);
    expect(schedule.next(5001, false)).toBeGreaterThanOrEqual(0);
  });

  it("that is answered says that the silence is the port's; after one that was not, it takes two", () => {
    const { schedule, pathState, hosts, inFlight, rowOf, silent, leave } = createRun();
    const row = rowOf(1, 80, 1);
    const entry = inFlight.hostOf[row];
    silent(row, 2);
    const control = (isAnswered: boolean, atUs: number): number => {
      pathState.sent(entry, atUs);
      schedule.watchSilence(row, 1, atUs);
      const slot = leave(atUs);
      if (isAnswered) schedule.answered(slot, "reset", atUs + 100, 0);
      else schedule.expire(atUs + 20_000 * MS);
      return schedule.silenceOf(row);
    };
    expect(schedule.withheld(entry)).toBe(0);
    expect(control(false, 0)).toBe(SILENCE.ofHost);
    const loss = pathState.loss();
    expect(schedule.withheld(entry)).toBeCloseTo(0.0005 / (0.0005 + 0.9995 * loss), 12);
    expect(control(true, 30_000 * MS)).toBe(SILENCE.ofHost);
    expect(schedule.withheld(entry)).toBe(0);
    expect(hosts.marks[entry] & MAX_SILENT_TRIES).not.toBe(0);
    expect(control(true, 60_000 * MS)).toBe(SILENCE.ofPort);
    expect(hosts.marks[entry] & MAX_SILENT_TRIES).toBe(0);
    expect(hosts.marks[entry] >>> CLOSED_PORT).toBe(81);
  });

  it("that loss alone would leave unanswered so often with less than 3 in 10,000 shows that the host limits its RSTs", () => {
    const { schedule, pathState, hosts, inFlight, rowOf, silent, leave, told } = createRun();
    const row = rowOf(1, 80, 1);
    const entry = inFlight.hostOf[row];
    silent(row, 9);
    let unanswered = 0;
    for (; (hosts.marks[entry] & MARKS.limited) === 0; unanswered++) {
      expect(pathState.loss() ** unanswered).toBeGreaterThanOrEqual(3e-4);
      pathState.sent(entry, unanswered * 30_000 * MS);
      schedule.watchSilence(row, 1, unanswered * 30_000 * MS);
      leave(unanswered * 30_000 * MS);
      schedule.expire(unanswered * 30_000 * MS + 20_000 * MS);
    }
    expect(pathState.loss() ** unanswered).toBeLessThan(3e-4);
    expect(told).toEqual([]);
    // Then they are for its pace.
    expect(schedule.control(row)).toBe(true);
    schedule.answered(leave(1e9), "reset", 1e9 + 1, 0);
    expect(told).toEqual([true]);
    schedule.watchSilence(row, 1, 1e9 + 2);
    expect(leave(1e9 + 3)).toBe(-1);
  });

  it("is asked for by as many silences as are counted, whatever port is known besides", () => {
    const { schedule, hosts, inFlight, rowOf, silent } = createRun();
    const row = rowOf(1, 80, 1);
    silent(row, 200);
    expect(hosts.marks[inFlight.hostOf[row]]).toBe(((81 << CLOSED_PORT) | 0xfe00) >>> 0);
    expect(schedule.isPending()).toBe(false);
  });

  it("that could not be sent says nothing", () => {
    const { schedule, pathState, inFlight, rowOf, silent, leave } = createRun();
    const row = rowOf(1, 80, 1);
    silent(row, 2);
    pathState.sent(inFlight.hostOf[row], 0);
    schedule.watchSilence(row, 1, 0);
    schedule.refused(leave(0));
    expect(schedule.silenceOf(row)).toBe(SILENCE.unchecked);
    expect(schedule.withheld(inFlight.hostOf[row])).toBe(0);
  });
});

describe("canaries", () => {
  const open = (run: ReturnType<typeof createRun>, n: number, count: number) => {
    const row = run.rowOf(n, 100 + count);
    const entry = run.inFlight.hostOf[row];
    run.hosts.open[entry] = count;
    const draft = newVerdict();
    draft.position = count;
    return { draft, entry, waits: run.schedule.checkTarpit(entry, row, draft) };
  };

  it("are two, to ports far apart, for a host with three open ports and no closed one; its verdicts wait for both", () => {
    const run = createRun();
    const { schedule, controlProbes, hosts, leave } = run;
    expect([open(run, 1, 1).waits, open(run, 1, 2).waits]).toEqual([false, false]);
    const { entry, waits } = open(run, 1, 3);
    expect([waits, open(run, 1, 4).waits]).toEqual([true, true]);
    const slots = [leave(0), leave(1)];
    expect(leave(2)).toBe(-1);
    expect(slots.map((slot) => controlProbes.kind[slot])).toEqual([KINDS.canary, KINDS.canary]);
    const [first, second] = slots.map((slot) => controlProbes.port[slot] - CANARY_PORTS[0]);
    expect((second - first + CANARY_PORTS.length) % CANARY_PORTS.length).toBe(1009);
    expect([schedule.isPending(), schedule.lowestPosition(), schedule.release()]).toEqual([
      true,
      3,
      undefined,
    ]);
    expect(schedule.nextExpiry()).toBe(controlProbes.nextExpiry());
    for (const slot of slots) schedule.answered(slot, "syn-ack", 100, 0);
    expect([schedule.release(), schedule.release()]).toMatchObject([
      { position: 3, answersAll: true },
      { position: 4, answersAll: true },
    ]);
    expect(hosts.marks[entry] & (MARKS.tarpit | MARKS.honest)).toBe(MARKS.tarpit);
    const later = open(run, 1, 5);
    expect([later.waits, later.draft.answersAll]).toEqual([false, true]);
    expect([schedule.isPending(), schedule.nextExpiry()]).toEqual([false, Number.POSITIVE_INFINITY]);
  });

  it("of which one is refused show an honest host, which gets no others", () => {
    const run = createRun();
    const { entry } = open(run, 1, 3);
    const [one, other] = [run.leave(0), run.leave(1)];
    run.schedule.answered(one, "reset", 100, 0);
    run.schedule.refused(other);
    expect(run.schedule.release()).toMatchObject({ answersAll: false });
    expect(run.hosts.marks[entry] & (MARKS.tarpit | MARKS.honest)).toBe(MARKS.honest);
    expect([open(run, 1, 4).waits, run.leave(200)]).toEqual([false, -1]);
  });

  it("go to no host that has a closed port", () => {
    const run = createRun();
    run.rowOf(1, 80, 1);
    run.rowOf(1, 81, 1);
    const row = run.rowOf(1, 82, 1);
    run.hosts.open[run.inFlight.hostOf[row]] = 9;
    expect(run.schedule.checkTarpit(run.inFlight.hostOf[row], row, newVerdict())).toBe(false);
  });
});

describe("pilots", () => {
  /** A run that knows an open port, and at which of so many calls a pilot left. */
  const gaps = (rate: { minimum: number; maximum: number }, total = 1000): number[] => {
    const { schedule, inFlight, rowOf } = createRun({ total, ...rate });
    const row = rowOf(1, 80);
    inFlight.table.tries[row] = 1;
    schedule.remember(row, inFlight.hostOf[row], true);
    const left: number[] = [];
    for (let call = 0; call < 20_000; call++) {
      const slot = schedule.next(call, false);
      if (slot < 0) continue;
      left.push(call);
      schedule.sent(slot, call, 7);
      schedule.answered(slot, "syn-ack", call, 0);
    }
    return left.map((at, i) => at - (i === 0 ? 0 : left[i - 1]));
  };

  it.each([
    ["eight", { minimum: 10, maximum: 1000 }, 16],
    ["as many as leave in 0.6 ms", { minimum: 200_000, maximum: 200_001 }, 240],
  ])("are one in %s, at random", (_, rate, most) => {
    const [first, ...others] = gaps(rate);
    expect([first, Math.min(...others)]).toEqual([0, 1]);
    expect(Math.max(...others)).toBeGreaterThan(0.9 * most);
    expect(Math.max(...others)).toBeLessThanOrEqual(most);
    const mean = others.reduce((sum, gap) => sum + gap, 0) / others.length;
    expect(mean / ((1 + most) / 2)).toBeCloseTo(1, 0);
  });

  it("are none in runs of fewer than a thousand pairs, nor where the rate is fixed", () => {
    expect(gaps({ minimum: 10, maximum: 1000 }, 999)).toEqual([]);
    expect(gaps({ minimum: 1000, maximum: 1000 })).toEqual([]);
  });

  it("go to all open ports, and to one in eight of the closed ones when 32 are known", () => {
    const { schedule, inFlight, rowOf, controlProbes } = createRun();
    const found = (count: number, isOpen: boolean, first: number): number => {
      for (let n = first; n < first + count; n++) {
        const row = rowOf(n, 80);
        inFlight.table.tries[row] = 1;
        schedule.remember(row, inFlight.hostOf[row], isOpen);
      }
      return controlProbes.known();
    };
    expect([found(32, false, 0), found(7, false, 40), found(1, false, 50), found(16, false, 51)]).toEqual([
      32, 32, 33, 35,
    ]);
    expect(found(10, true, 70)).toBe(45);
  });
});
