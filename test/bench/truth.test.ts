/** The judge of `npm run bench:truth`: its networks are the issue's, its readers read, its verdicts can be lost. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createNetwork } from "../../src/lab/network.ts";
import { parseDescription } from "../../src/lab/parse-description.ts";
import { type BenchNetwork, fileOf, HOSTS, type Measured, NETWORKS, PAIRS, PORTS } from "./networks.ts";
import { PEERS, SYNPROBE } from "./probers.ts";
import { type Answer, type Score, type State, score } from "./score.ts";

const networkNamed = (name: string): BenchNetwork => {
  const found = NETWORKS.find((network) => network.name === name);
  if (found === undefined) throw new Error(`no network ${name}`);
  return found;
};

describe("the networks", () => {
  /** Shares of the hosts by what they do, and of the ports that are open on those that have any. */
  function census(name: string) {
    const description = parseDescription(readFileSync(fileOf(name), "utf8"), name);
    const network = createNetwork(description, { startUs: 0 });
    let [silent, rejecting, open] = [0, 0, 0];
    for (let host = 0; host < HOSTS; host++) {
      const address = Uint8Array.of(198, 18, host >>> 8, host & 255);
      const truths = PORTS.map((port) => network.truth(address, port));
      if (truths.every(({ state, reasons }) => state === "filtered" && reasons[0] === "no-response"))
        silent++;
      if (truths.some(({ reasons }) => reasons[0] === "admin-prohibited")) rejecting++;
      open += truths.filter(({ state }) => state === "open").length;
    }
    return { silent: silent / HOSTS, rejecting: rejecting / HOSTS, open: open / (PAIRS - 10 * silent) };
  }

  it.each([
    ["clean", 0, 0],
    ["lossy", 0, 0],
    ["bottleneck", 0, 0],
    ["hostile", 0.5, 0.1],
    ["far", 0.3, 0],
    ["changing", 0, 0],
  ])(
    "%s has 3 %% open ports, and as many silent and rejecting hosts as it says",
    (name, silent, rejecting) => {
      const found = census(name);
      // Four standard deviations of a share of 4,096 hosts, and of 20,000 ports.
      expect(Math.abs(found.silent - silent)).toBeLessThanOrEqual(
        4 * Math.sqrt((silent * (1 - silent)) / HOSTS),
      );
      expect(Math.abs(found.rejecting - rejecting)).toBeLessThanOrEqual(
        4 * Math.sqrt((rejecting * (1 - rejecting)) / HOSTS),
      );
      expect(Math.abs(found.open - 0.03)).toBeLessThan(4 * Math.sqrt((0.03 * 0.97) / 20_000));
    },
  );
});

it("nmap's other network has the same hosts, and noise that is as much", () => {
  const [one, other] = ["hostile", "hostile-blind"].map((name) =>
    parseDescription(readFileSync(fileOf(name), "utf8"), name),
  );
  expect(other).toEqual({ ...one, noise: { ...one?.noise, aimed: 0 } });
});

describe("a score", () => {
  const truth = new Map<string, State>([
    ["a:1", "open"],
    ["a:2", "open"],
    ["a:3", "closed"],
    ["a:4", "closed"],
    ["a:5", "filtered"],
    ["a:6", "filtered"],
  ]);
  const right: Answer[] = [...truth].map(([pair, state]) => ({ pair, state }));

  it("of all that is true is all right", () => {
    expect(score(truth, right)).toMatchObject({ allRight: true, wrong: 0, falseOpen: 0, twice: 0 });
  });

  it("has each mistake where it belongs", () => {
    const said: [string, State][] = [
      ["a:1", "filtered"],
      ["a:3", "filtered"],
      ["a:4", "open"],
      ["a:5", "open"],
      ["a:6", "filtered"],
      ["a:6", "filtered"],
      ["b:1", "open"],
    ];
    expect(
      score(
        truth,
        said.map(([pair, state]) => ({ pair, state })),
      ),
    ).toEqual({
      open: { of: 2, right: 0, as: { open: 0, closed: 0, filtered: 1 }, untold: 1 },
      closed: { of: 2, right: 0, as: { open: 1, closed: 0, filtered: 1 }, untold: 0 },
      filtered: { of: 2, right: 1, as: { open: 1, closed: 0, filtered: 1 }, untold: 0 },
      falseOpen: 3,
      twice: 1,
      corrected: 0,
      foreign: 1,
      wrong: 5,
      allRight: false,
    });
  });

  it("takes the first of two answers, and the last when that corrects", () => {
    const first: Answer = { pair: "a:1", state: "filtered" };
    const second: Answer = { pair: "a:1", state: "open" };
    const others = right.slice(1);
    expect(score(truth, [first, second, ...others])).toMatchObject({ twice: 1, corrected: 0, wrong: 1 });
    expect(score(truth, [first, { ...second, corrects: true }, ...others])).toMatchObject({
      twice: 0,
      corrected: 1,
      allRight: true,
    });
  });
});

describe("answers are read", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-truth-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  const read = (name: string, file: string, ...lines: string[]): string[] => {
    writeFileSync(join(folder, file), `${lines.join("\n")}\n`);
    const prober = [SYNPROBE, ...PEERS].find((each) => each.name === name);
    return (prober?.answers(folder) ?? []).map(({ pair, state, corrects }) =>
      [pair, state, ...(corrects ? ["corrects"] : [])].join(" "),
    );
  };

  it("of synprobe", () => {
    expect(
      read(
        ...(["synprobe", "synprobe.ndjson"] as const),
        '{"type":"result","ip":"198.18.0.1","port":22,"state":"filtered"}',
        '{"type":"result","ip":"198.18.0.1","port":22,"state":"open","late":true,"was":"filtered"}',
        '{"type":"summary","open":1}',
      ),
    ).toEqual(["198.18.0.1:22 filtered", "198.18.0.1:22 open corrects"]);
  });

  it("of nmap, with the state that it leaves out", () => {
    expect(
      read(
        ...(["nmap", "nmap.gnmap"] as const),
        "# Nmap 7.93 scan initiated",
        "Host: 198.18.0.1 ()\tStatus: Up",
        "Host: 198.18.0.1 ()\tPorts: 22/open/tcp//ssh///, 25/filtered/tcp//smtp///\tIgnored State: closed (8)",
        "Host: 198.18.0.2 ()\tStatus: Up",
      ),
    ).toEqual(
      PORTS.map((port) => `198.18.0.1:${port} ${port === 22 ? "open" : port === 25 ? "filtered" : "closed"}`),
    );
  });

  it("of zmap and masscan", () => {
    const csv = ["saddr,sport,classification", "198.18.0.1,21,synack", "198.18.0.2,21,rst"];
    expect(read("zmap", "zmap.21.csv", ...csv)).toEqual(["198.18.0.1:21 open", "198.18.0.2:21 closed"]);
    const list = ["#masscan", "open tcp 80 198.18.0.1 1", "closed tcp 99 198.18.255.1 1", "# end"];
    expect(read("masscan", "masscan.list", ...list)).toEqual(["198.18.0.1:80 open"]);
  });
});

describe("a goal", () => {
  const perfect = score(new Map(), []) as Score;
  const judge = (network: string, what: RegExp, run: Partial<Measured>): boolean | undefined => {
    const goal = networkNamed(network).goals.find((each) => what.test(each.what));
    if (goal === undefined) throw new Error(`no goal ${what}`);
    const base = { score: perfect, seconds: 1, synsPerPair: 1, synsPerTenth: [], nmap: undefined };
    return goal.judge({ ...base, ...run }).met;
  };

  it("of nmap's time stays open without it, and where an nmap that was stopped does not decide it", () => {
    const run = (seconds: number, nmap?: Measured["nmap"]) => judge("hostile", /nmap/, { seconds, nmap });
    expect(run(1)).toBeUndefined();
    expect(run(10, { seconds: 500, done: true })).toBe(true);
    expect(run(11, { seconds: 500, done: true })).toBe(false);
    expect(run(10, { seconds: 500, done: false })).toBe(true);
    expect(run(11, { seconds: 500, done: false })).toBeUndefined();
  });

  it("of the limit counts the pairs at the bottleneck's rate and one round trip", () => {
    expect(judge("bottleneck", /limit/, { seconds: 2 * (PAIRS / 20_000 + 0.04) })).toBe(true);
    expect(judge("bottleneck", /limit/, { seconds: 2 * (PAIRS / 20_000 + 0.04) + 0.01 })).toBe(false);
  });

  it("of following the rate is met by one that does, and by no other", () => {
    const phase = (tenths: number, pps: number): number[] => Array.from({ length: tenths }, () => pps / 10);
    const follows = (...tenths: number[]) => judge("changing", /follows/, { synsPerTenth: tenths });
    // It sees each change half a second late.
    expect(follows(0, 0, ...phase(18, 10_000), ...phase(25, 5000), ...phase(15, 10_000))).toBe(true);
    expect(follows(...phase(41, 10_000))).toBe(false);
    expect(follows(...phase(80, 5000))).toBe(false);
    expect(follows(...phase(15, 10_000), ...phase(60, 5000))).toBe(false);
    expect(follows(...phase(3, 100_000))).toBe(false);
  });
});
