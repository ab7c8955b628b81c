/**
 * Random ways to a host, and what a perfect walker would say of them: routers of which some are silent, some limit their ICMP
 * errors and some lie on equal branches; links that lose; and one port that something stops, somewhere.
 */
import type { AccessRule, HopDescription, LabDescription } from "../../src/lab/description.ts";
import { createSeededRandom } from "./random.ts";

/** The port that may be stopped, and the one to compare it with. */
export const STOPPED_PORT = 445;
export const OPEN_PORT = 443;
export const HOST = "198.18.9.9";

export interface RandomWay {
  readonly description: LabDescription;
  /** What stops the port: nothing, a rule of a router, or the host. */
  readonly by: "nothing" | "host" | AccessRule["does"];
  /** Hops at which the router that stops it can be, from 1, as branches differ in length; the host's own number of hops last. */
  readonly hops: readonly number[];
  /** Whether both the last hop that sees the port's SYNs and the next one answer, so that the place can be known exactly. */
  readonly exact: boolean;
  /** Longest and shortest way to the host, in hops, the host included. */
  readonly lengths: readonly number[];
  readonly rttMs: number;
}

/** @param more what is set in place of what would be drawn */
export function randomWay(seed: number, more: { readonly by?: RandomWay["by"] } = {}): RandomWay {
  const random = createSeededRandom(seed * 7919 + 13);
  const chance = (share: number): boolean => random(1_000_000) < share * 1_000_000;
  const between = (least: number, most: number): number => least + random(most - least + 1);
  const pick = <T>(of: readonly T[]): T => of[random(of.length)];
  const count = between(1, 25);
  const loss = chance(0.5) ? random(51) / 1000 : 0;
  const silentShare = chance(0.8) ? 0.3 : 0;
  const limited = chance(0.3);
  const router = (): HopDescription => ({
    latencyMs: random(5000) / 1000,
    ...(chance(silentShare) ? { silent: true } : {}),
    ...(limited && chance(0.4) ? { icmpLimit: { ratePps: between(1, 100), burst: between(1, 10) } } : {}),
  });
  type Place = { ways: HopDescription[][] };
  const places: Place[] = Array.from({ length: count }, () => ({ ways: [[router()]] }));
  if (chance(0.4)) {
    for (let i = between(1, 2); i > 0; i--) {
      const unequal = chance(0.2);
      places[random(count)] = {
        ways: Array.from({ length: between(2, 8) }, () =>
          Array.from({ length: unequal ? between(1, 2) : 1 }, router),
        ),
      };
    }
  }
  const by =
    more.by ??
    pick<RandomWay["by"]>(["nothing", "host", "drop", "drop", "drop", "admin-prohibited", "reset"]);
  const isRule = by !== "nothing" && by !== "host";
  const at = random(count);
  const side = pick(["in", "out"] as const);
  if (isRule) {
    const rules: AccessRule[] = [{ ports: String(STOPPED_PORT), does: by, at: side }];
    // The last of each branch, so that no way goes around it.
    places[at].ways = places[at].ways.map((way) => way.with(-1, { ...way[way.length - 1], rules }));
  }
  const lengthsBefore = (end: number): number[] =>
    places
      .slice(0, end)
      .reduce(
        (sums, { ways }) => [...new Set(sums.flatMap((sum) => ways.map((way) => sum + way.length)))],
        [0],
      );
  const hops = isRule ? lengthsBefore(at + 1) : lengthsBefore(count).map((hop) => hop + 1);
  const answers = (place: Place | undefined): boolean =>
    place === undefined || place.ways.every((way) => way.every(({ silent }) => silent !== true));
  const [last, next] = side === "in" ? [places[at - 1], places[at]] : [places[at], places[at + 1]];
  // A RST from behind the last router takes as long a TTL as the host's.
  const isLast = by === "reset" && side === "out" && at === count - 1;
  const exact = isLast
    ? false
    : isRule
      ? (side === "in" && at === 0 ? true : answers(last)) && answers(next)
      : answers(places[count - 1]);
  const latencyMs = places.reduce(
    (sum, { ways }) =>
      sum + Math.max(...ways.map((way) => way.reduce((total, hop) => total + (hop.latencyMs ?? 0), 0))),
    0,
  );
  return {
    description: {
      seed,
      path: {
        loss: loss / 2,
        latencyMs: 1,
        jitterMs: chance(0.3) ? 1 : 0,
        hops: places.map(({ ways }) =>
          ways.length === 1 && ways[0].length === 1
            ? ways[0][0]
            : ways.length === 1
              ? ways[0][0]
              : { branches: ways },
        ),
      },
      hosts: [
        {
          range: HOST,
          rest: "silent",
          ports: [
            { ports: String(OPEN_PORT), is: "open" },
            { ports: String(STOPPED_PORT), is: by === "host" ? "silent" : chance(0.7) ? "open" : "closed" },
          ],
        },
      ],
    },
    by,
    hops,
    exact,
    lengths: lengthsBefore(count).map((hop) => hop + 1),
    rttMs: 2 * (latencyMs + 1),
  };
}
