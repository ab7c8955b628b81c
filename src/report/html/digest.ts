/**
 * The page's content, gathered from one or more runs: totals, top lists, the matrix of hosts and ports, rows. Each is bounded and
 * says how much it leaves out.
 *
 * Not here: how it looks (charts.ts, page.ts), statistics that know nothing of runs (statistics.ts).
 */
import { compareKeys, sortKey } from "../addresses.ts";
import { byPlace, isDifferent } from "../places.ts";
import { createColumn, createPairIndex, createTexts } from "../read/pair-index.ts";
import {
  PROTOCOLS,
  RECORDED_STATES,
  type RecordedFault,
  type RecordedPort,
  type RecordedProgress,
  type RecordedRun,
  type RecordedSink,
  type RecordedState,
} from "../read/recorded.ts";
import type { DifferingPort } from "./places.ts";
import { createTally, histogram, type Point, pointsOf, type RoundTrips, type Tops } from "./statistics.ts";

/** Most hosts and ports in the matrix. */
export const MATRIX = { hosts: 40, ports: 24 } as const;
/** Most rows in the table; open ports come first. */
export const MOST_ROWS = 200_000;
/** Most hosts in the list of open ports by host. */
const MOST_LISTED = 500;
const MOST_FAULTS = 20;
/** Most ports in the table of those that differ between places; that of all results has the others. */
const MOST_DIFFERING = 500;
const MOST_SERVICES = 16;
const MOST_REASONS = 14;
/** A host with this many ports, all of them open, is taken to answer on every port. */
const MANY_PORTS = 30;
/** Most runs whose series are drawn. */
const MOST_SERIES = 4;

export interface Matrix {
  readonly hosts: readonly { readonly ip: string; readonly name: string }[];
  readonly ports: readonly { readonly port: number; readonly proto: string; readonly service: string }[];
  /** State by host and port, as an index into RECORDED_STATES; -1 where nothing is known. */
  readonly cells: readonly (readonly number[])[];
  readonly moreHosts: number;
  readonly morePorts: number;
}

export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
}

/** The table's rows by column, for the page's script. Texts are indices into lists. */
export interface Rows {
  /** Sorted addresses, each followed by a space and its name if it has one. */
  readonly hosts: readonly string[];
  readonly services: readonly string[];
  readonly reasons: readonly string[];
  readonly states: readonly string[];
  readonly protos: readonly string[];
  readonly host: readonly number[];
  readonly port: readonly number[];
  readonly proto: readonly number[];
  readonly state: readonly number[];
  readonly service: readonly number[];
  readonly reason: readonly number[];
  /** Microseconds; -1 when there is none. */
  readonly rtt: readonly number[];
  /** 0 when there is none. */
  readonly ttl: readonly number[];
  readonly tries: readonly number[];
  /** The chance that it did answer, in tenths of a percent; -1 when unknown. */
  readonly doubt: readonly number[];
  /** Remarks, by row. */
  readonly notes: Readonly<Record<number, string>>;
}

export interface Digest {
  readonly runs: readonly RecordedRun[];
  readonly ports: number;
  readonly hosts: number;
  readonly openHosts: number;
  readonly states: Readonly<Record<RecordedState, number>>;
  readonly services: Tops;
  readonly reasons: Tops;
  readonly matrix: Matrix;
  /** Filtered ports from which nothing came back. */
  readonly silent: number;
  readonly roundTrips?: RoundTrips;
  readonly series: readonly Series[];
  /** Runs whose series are not drawn. */
  readonly moreSeries: number;
  /** Hosts with open ports, sorted, and those ports. */
  readonly openByHost: readonly { readonly host: string; readonly ports: string }[];
  readonly moreOpenHosts: number;
  /** Hosts that answer on every probed port: left out of services, matrix and open ports by host. */
  readonly answerAll: readonly string[];
  readonly faults: readonly RecordedFault[];
  readonly moreFaults: number;
  /** Ports that are not the same from all places, in order: the first of them. */
  readonly differing: readonly DifferingPort[];
  readonly moreDiffering: number;
  readonly rows: Rows;
  readonly moreRows: number;
}

export interface Gathering {
  /** A sink for the next file. Of two verdicts on a port the later counts. */
  next(): RecordedSink;
  digest(runs: readonly RecordedRun[]): Digest;
}

export function createGathering(): Gathering {
  const pairs = createPairIndex();
  const texts = createTexts();
  const names = new Map<string, string>();
  const state = createColumn(Uint8Array);
  const reason = createColumn(Uint32Array);
  const service = createColumn(Uint32Array);
  const rtt = createColumn(Float32Array);
  const ttl = createColumn(Uint8Array);
  const tries = createColumn(Uint8Array);
  const doubt = createColumn(Float32Array);
  const notes = new Map<number, string>();
  /** Ports that are not the same from all places; most of many differ in the same way. */
  const differing = new Map<number, Difference>();
  const differences = new Map<string, Difference>();
  const answerAll = new Set<string>();
  const progress: RecordedProgress[][] = [];
  const faults: RecordedFault[] = [];
  let faultCount = 0;

  function take(port: RecordedPort): void {
    const pair = pairs.add(port.ip, port.proto, port.port);
    state.set(pair, 1 + RECORDED_STATES.indexOf(port.state));
    reason.set(pair, texts.add(port.reason));
    service.set(pair, texts.add(port.service ?? ""));
    rtt.set(pair, port.rttMs ?? -1);
    ttl.set(pair, port.ttl ?? 0);
    tries.set(pair, Math.min(port.tries ?? 0, 255));
    doubt.set(pair, port.doubt ?? -1);
    const difference = differenceOf(port);
    if (difference === undefined) differing.delete(pair);
    else differing.set(pair, difference);
    const note = noteOf(port, difference);
    if (note === "") notes.delete(pair);
    else notes.set(pair, note);
    if (port.host !== undefined && port.host !== "") names.set(port.ip, port.host);
    if (port.answersAll === true) answerAll.add(port.ip);
  }

  function differenceOf({ from }: RecordedPort): Difference | undefined {
    if (from === undefined || !isDifferent(from)) return undefined;
    const key = JSON.stringify(from);
    const found = differences.get(key) ?? { from, words: byPlace(from) };
    differences.set(key, found);
    return found;
  }

  /** 1 for hosts that answer on every port, according to the run or because all of their many ports are open. */
  function answeringAll(): Uint8Array {
    const all = new Uint32Array(pairs.ips.length);
    const open = new Uint32Array(pairs.ips.length);
    for (let pair = 0; pair < pairs.size(); pair++) {
      all[pairs.hostOf(pair)]++;
      if (RECORDED_STATES[state.get(pair) - 1] === "open") open[pairs.hostOf(pair)]++;
    }
    return Uint8Array.from(pairs.ips, (ip, host) =>
      answerAll.has(ip) || (all[host] >= MANY_PORTS && open[host] === all[host]) ? 1 : 0,
    );
  }

  function digest(runs: readonly RecordedRun[]): Digest {
    const keys = pairs.ips.map(sortKey);
    const order = Uint32Array.from(keys.keys()).sort((a, b) => compareKeys(keys[a], keys[b]));
    const rank = new Uint32Array(order.length);
    for (let i = 0; i < order.length; i++) rank[order[i]] = i;

    const states = Object.fromEntries(RECORDED_STATES.map((each) => [each, 0])) as Record<
      RecordedState,
      number
    >;
    const openPorts = new Uint32Array(pairs.ips.length);
    const known = new Uint32Array(pairs.ips.length);
    // Hosts that answer on every port would drown the services of all others.
    const noService = answeringAll();
    const byService = createTally();
    const byReason = createTally();
    let silent = 0;
    const byPort = new Map<number, { open: number; any: number }>();
    const trips: number[] = [];
    for (let pair = 0; pair < pairs.size(); pair++) {
      const code = state.get(pair) - 1;
      const word = RECORDED_STATES[code];
      const host = pairs.hostOf(pair);
      states[word]++;
      if (word !== "closed") known[host]++;
      if (word === "open") {
        openPorts[host]++;
        if (!noService[host]) byService.add(serviceLabel(pair), host);
      }
      if (word === "filtered" && texts.get(reason.get(pair)) === "no-response") silent++;
      if (word === "filtered") byReason.add(texts.get(reason.get(pair)) || "no reason given", host);
      const key = pairs.portKeyOf(pair);
      const tally = byPort.get(key) ?? { open: 0, any: 0 };
      if (word === "open" && !noService[host]) tally.open++;
      tally.any++;
      byPort.set(key, tally);
      if (rtt.get(pair) > 0) trips.push(pair);
    }

    function serviceLabel(pair: number): string {
      const name = texts.get(service.get(pair));
      const port = `${pairs.portOf(pair)}/${pairs.protoOf(pair)}`;
      return name === "" ? port : `${name} ${port}`;
    }

    const hostLabel = (ip: string): string => (names.has(ip) ? `${ip} ${names.get(ip)}` : ip);

    /** Hosts that answer on every port, and those with open ports, in order. */
    const anyPort = [...order].filter((host) => noService[host] === 1);
    const openHosts = [...order].filter((host) => openPorts[host] > 0);
    const listed = openHosts.filter((host) => noService[host] === 0);
    const openLists = new Map<number, number[]>(listed.slice(0, MOST_LISTED).map((host) => [host, []]));
    for (let pair = 0; pair < pairs.size(); pair++)
      if (RECORDED_STATES[state.get(pair) - 1] === "open") openLists.get(pairs.hostOf(pair))?.push(pair);
    const openByHost = [...openLists].map(([host, list]) => {
      const shown = list.sort((a, b) => pairs.portKeyOf(a) - pairs.portKeyOf(b)).slice(0, 60);
      const more = list.length > shown.length ? `, and ${list.length - shown.length} more` : "";
      const ports = shown.map((pair) => {
        const name = texts.get(service.get(pair));
        const proto = pairs.protoOf(pair) === "tcp" ? "" : `/${pairs.protoOf(pair)}`;
        return `${pairs.portOf(pair)}${proto}${name === "" ? "" : ` ${name}`}`;
      });
      return { host: hostLabel(pairs.ips[host]), ports: ports.join(", ") + more };
    });

    function matrix(): Matrix {
      const topHosts = [...order]
        .filter((host) => noService[host] === 0)
        .sort((a, b) => openPorts[b] - openPorts[a] || known[b] - known[a] || rank[a] - rank[b])
        .slice(0, MATRIX.hosts)
        .sort((a, b) => rank[a] - rank[b]);
      const topPorts = [...byPort]
        .sort(([a, x], [b, y]) => y.open - x.open || y.any - x.any || a - b)
        .slice(0, MATRIX.ports)
        .map(([key]) => key)
        .sort((a, b) => a - b);
      const row = new Map(topHosts.map((host, i) => [host, i]));
      const column = new Map(topPorts.map((key, i) => [key, i]));
      const cells = topHosts.map(() => topPorts.map(() => -1));
      const services = new Map<number, string>();
      for (let pair = 0; pair < pairs.size(); pair++) {
        const y = row.get(pairs.hostOf(pair));
        const x = column.get(pairs.portKeyOf(pair));
        if (x === undefined) continue;
        if (!services.has(x)) services.set(x, texts.get(service.get(pair)));
        if (y !== undefined) cells[y][x] = state.get(pair) - 1;
      }
      return {
        hosts: topHosts.map((host) => ({
          ip: pairs.ips[host],
          name: names.get(pairs.ips[host]) ?? "",
        })),
        ports: topPorts.map((key, i) => ({
          port: key & 0xffff,
          proto: PROTOCOLS[key >>> 16],
          service: services.get(i) ?? "",
        })),
        cells,
        moreHosts: pairs.ips.length - anyPort.length - topHosts.length,
        morePorts: byPort.size - topPorts.length,
      };
    }

    function rows(): Rows {
      let chosen = Array.from({ length: pairs.size() }, (_, i) => i);
      if (chosen.length > MOST_ROWS) {
        const open = chosen.filter((pair) => RECORDED_STATES[state.get(pair) - 1] === "open");
        const rest = chosen.filter((pair) => RECORDED_STATES[state.get(pair) - 1] !== "open");
        chosen = [...open, ...rest].slice(0, MOST_ROWS);
      }
      chosen.sort((a, b) => state.get(a) - state.get(b) || inOrder(a, b));
      const services = createTexts();
      const reasons = createTexts();
      return {
        hosts: [...order].map((host) => hostLabel(pairs.ips[host])),
        states: RECORDED_STATES,
        protos: PROTOCOLS,
        host: chosen.map((pair) => rank[pairs.hostOf(pair)]),
        port: chosen.map((pair) => pairs.portOf(pair)),
        proto: chosen.map((pair) => PROTOCOLS.indexOf(pairs.protoOf(pair))),
        state: chosen.map((pair) => state.get(pair) - 1),
        service: chosen.map((pair) => services.add(texts.get(service.get(pair)))),
        reason: chosen.map((pair) => reasons.add(texts.get(reason.get(pair)))),
        rtt: chosen.map((pair) => (rtt.get(pair) > 0 ? Math.round(rtt.get(pair) * 1000) : -1)),
        ttl: chosen.map((pair) => ttl.get(pair)),
        tries: chosen.map((pair) => tries.get(pair)),
        doubt: chosen.map((pair) => (doubt.get(pair) >= 0 ? Math.round(doubt.get(pair) * 1000) : -1)),
        notes: Object.fromEntries(
          chosen.flatMap((pair, i) => {
            const note = notes.get(pair);
            return note === undefined ? [] : [[i, note]];
          }),
        ),
        services: services.all,
        reasons: reasons.all,
      };
    }

    const inOrder = (a: number, b: number): number =>
      rank[pairs.hostOf(a)] - rank[pairs.hostOf(b)] || pairs.portKeyOf(a) - pairs.portKeyOf(b);
    const differingPairs = Uint32Array.from(differing.keys()).sort(inOrder);
    const table = rows();
    const series = runs
      .map(({ name }, i) => ({ name, points: pointsOf(progress[i] ?? []) }))
      .filter(({ points }) => points.length > 1);
    const roundTrips = histogram(
      trips.map((pair) => ({ ms: rtt.get(pair), state: RECORDED_STATES[state.get(pair) - 1] })),
    );
    return {
      runs,
      ports: pairs.size(),
      hosts: pairs.ips.length,
      openHosts: openHosts.length,
      states,
      services: byService.tops(MOST_SERVICES),
      reasons: byReason.tops(MOST_REASONS),
      matrix: matrix(),
      silent,
      ...(roundTrips === undefined ? {} : { roundTrips }),
      series: series.slice(0, MOST_SERIES),
      moreSeries: Math.max(0, series.length - MOST_SERIES),
      openByHost,
      moreOpenHosts: listed.length - openByHost.length,
      answerAll: anyPort.map((host) => hostLabel(pairs.ips[host])),
      faults,
      moreFaults: faultCount - faults.length,
      differing: Array.from(differingPairs.subarray(0, MOST_DIFFERING), (pair) => ({
        label: `${hostLabel(pairs.ips[pairs.hostOf(pair)])} ${pairs.portOf(pair)}/${pairs.protoOf(pair)}`,
        from: differing.get(pair)?.from ?? [],
      })),
      moreDiffering: Math.max(0, differingPairs.length - MOST_DIFFERING),
      rows: table,
      moreRows: pairs.size() - table.host.length,
    };
  }

  return {
    next() {
      const moments: RecordedProgress[] = [];
      progress.push(moments);
      return {
        port: take,
        progress: (moment) => moments.push(moment),
        fault(fault) {
          faultCount++;
          if (faults.length < MOST_FAULTS) faults.push(fault);
        },
        scanned() {},
        host() {},
        wantsHistory: true,
      };
    },
    digest,
  };
}

/** Remarks on how a completed connection ended; an orderly close has none. */
const ENDINGS: Readonly<Record<string, string>> = {
  reset: "connection reset by the peer",
  "no-fin": "connection not closed by the peer",
  silent: "nothing after the SYN-ACK: a SYN proxy or tarpit?",
};

/** What several places have found of a port, and the same in words. */
interface Difference {
  readonly from: DifferingPort["from"];
  readonly words: string;
}

function noteOf(port: RecordedPort, difference: Difference | undefined): string {
  const words: string[] = difference === undefined ? [] : [difference.words];
  if (port.answersAll === true) words.push("this host answers on every port");
  if (port.banner !== undefined) words.push(`“${port.banner.slice(0, 1024)}”`);
  if (port.ending !== undefined && Object.hasOwn(ENDINGS, port.ending)) words.push(ENDINGS[port.ending]);
  if (port.responder !== undefined && port.responder !== port.ip) words.push(`said by ${port.responder}`);
  if (port.was !== undefined) words.push(`first taken for ${port.was}`);
  if (port.late === true) words.push("answered after the timeout");
  return words.join("; ");
}
