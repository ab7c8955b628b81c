/** What this machine's own kernel refuses to send: for good only what is refused again and again, and otherwise tried again. */
import { expect, it } from "vitest";
import type { LabDescription } from "../../src/lab/description.ts";
import type { PortPath } from "../../src/scan/path/result.ts";
import { portSentence } from "../../src/scan/path/sentences.ts";
import { type Walked, type Walking, walkTo } from "./path-walk.ts";

const HOST = "198.18.9.9";
const HOPS = 3;
/** The first tries to a port that does not answer. */
const WALKED = 30;
const way: LabDescription = {
  path: { latencyMs: 2, hops: Array.from({ length: HOPS }, () => ({ latencyMs: 1 })) },
  hosts: [
    {
      range: HOST,
      rest: "closed",
      ports: [
        { ports: "80,443", is: "open" },
        { ports: "445", is: "silent" },
      ],
    },
  ],
};
const walk = (more: Walking): Walked => walkTo(way, HOST, { ports: [80, 81, 443], ...more });
const portOf = ({ result }: Walked, port: number): PortPath => {
  const found = result.ports.find((each) => each.port === port);
  if (found === undefined) throw new Error(`no port ${port}`);
  return found;
};

/** A limit as nftables has it, of all SYNs: `limit rate over 20/second burst 1`. */
function bucket(perSecond: number): (port: number, nowUs: number) => boolean {
  let tokens = 1;
  let lastUs = 0;
  return (_, nowUs) => {
    tokens = Math.min(1, tokens + ((nowUs - lastUs) * perSecond) / 1e6);
    lastUs = nowUs;
    if (tokens < 1) return true;
    tokens--;
    return false;
  };
}

it.each([5, 20, 100])(
  "a limit of %d SYNs a second hides no port, and is told with its count",
  (perSecond) => {
    const walked = walk({ refuses: bucket(perSecond) });
    expect(walked.result.ports.map(({ state, reach }) => [state, reach])).toEqual([
      ["open", HOPS + 1],
      ["closed", HOPS + 1],
      ["open", HOPS + 1],
    ]);
    const refused = walked.result.ports.filter((path) => path.refused !== undefined);
    expect(refused.length).toBeGreaterThan(0);
    for (const path of refused) {
      expect(path.refused?.of).toBe((path.refused?.syns ?? 0) + walked.walk.sentTo(path.port));
      expect(portSentence(walked.result, path)).toMatch(
        /^\d+ is (open|closed) \(.*\)\. This machine refused \d+ of \d+ SYNs \(send-eperm\), as where its firewall limits/,
      );
    }
    expect(walked.result.sent).toBe(walked.packets.length);
  },
);

it("a port is refused when it was three times and more, for a second", () => {
  const tries: number[] = [];
  const refuses = (port: number, nowUs: number): boolean => {
    if (port === 81) tries.push(nowUs);
    return port === 81;
  };
  const walked = walk({ refuses });
  expect(portOf(walked, 81)).toMatchObject({ state: "filtered", reason: "send-eperm", doubt: 0 });
  expect(portSentence(walked.result, portOf(walked, 81))).toBe(
    "81 is filtered by this machine, which refuses to send its SYNs: send-eperm.",
  );
  expect(tries.length).toBeGreaterThanOrEqual(3);
  expect(tries.length).toBeLessThanOrEqual(8);
  expect(tries[tries.length - 1] - tries[0]).toBeGreaterThanOrEqual(1_000_000);
  // The others do not wait for it.
  const others = walked.packets.slice(0, 8).map(({ atUs }) => atUs);
  expect(Math.max(...others)).toBeLessThan(100_000);
  expect(walked.result.elapsedUs).toBeLessThan(3_000_000);
});

it("a refusal that ends within a second hides nothing, and one that ends later is what was found", () => {
  for (const endUs of [100_000, 600_000, 1_100_000]) {
    const walked = walk({ refuses: (port, nowUs) => port !== 80 && nowUs < endUs });
    expect(walked.result.ports.map(({ state }) => state)).toEqual(["open", "closed", "open"]);
  }
  const { result } = walk({ refuses: (port, nowUs) => port !== 80 && nowUs < 1_500_000 });
  expect(result.ports.map(({ state }) => state)).toEqual(["open", "filtered", "filtered"]);
});

it("a SYN that was refused is not one that got no answer", () => {
  // Of the comparisons, whose flows are new ones, none leaves.
  let walking = 0;
  const refuses = (port: number): boolean => port === 445 && ++walking > WALKED;
  const walked = walk({ ports: [80, 445], refuses });
  expect(walked.walk.sentTo(445)).toBe(WALKED);
  expect(portOf(walked, 445).where).toMatchObject({ kind: "unknown" });
  expect(walked.result.elapsedUs).toBeLessThan(20_000_000);
});
