/** What the kernel's counters say was lost: whole packets, neither fragments that were put together nor what was passed on. */
import { expect, it } from "vitest";
import { type KernelCounters, packetsLost } from "../../../src/runtime/system/counters.ts";

interface Counts {
  readonly received: number;
  readonly delivered: number;
  readonly fragments?: number;
  readonly whole?: number;
  readonly reversePath?: number;
}

/** Counters of /proc/net as they are when so much has come, in either IP version. */
function counters(v4: Counts, v6: Counts): KernelCounters {
  const { received, delivered, fragments = 0, whole = 0, reversePath = 0 } = v4;
  return {
    devices: "",
    ip: [
      "Ip: InReceives ForwDatagrams InDelivers ReasmReqds ReasmOKs",
      `Ip: ${received} 0 ${delivered} ${fragments} ${whole}`,
      "TcpExt: IPReversePathFilter",
      `TcpExt: ${reversePath}`,
      "",
    ].join("\n"),
    ip6: [
      `Ip6InReceives ${v6.received}`,
      `Ip6InDelivers ${v6.delivered}`,
      `Ip6ReasmReqds ${v6.fragments ?? 0}`,
      `Ip6ReasmOKs ${v6.whole ?? 0}`,
      "",
    ].join("\n"),
  };
}
const NONE: Counts = { received: 100, delivered: 100 };
const since = (v4: Counts, v6: Counts) => packetsLost(counters(NONE, NONE), counters(v4, v6));

it("packets that came and were not delivered are lost, of both IP versions together", () => {
  expect(since(NONE, NONE)).toEqual({ undelivered: 0, reversePathDrops: 0 });
  expect(since({ received: 110, delivered: 107 }, { received: 104, delivered: 102 }).undelivered).toBe(5);
});

it("those that reverse path filtering has dropped are counted apart", () => {
  const found = since({ received: 110, delivered: 104, reversePath: 4 }, NONE);
  expect(found).toEqual({ undelivered: 2, reversePathDrops: 4 });
});

it("fragments are not lost: what they make is delivered", () => {
  const fragments = { received: 112, delivered: 102, fragments: 12, whole: 2 };
  expect(since(fragments, NONE).undelivered).toBe(0);
  expect(since(NONE, fragments).undelivered).toBe(0);
  expect(since({ ...fragments, received: 115 }, NONE).undelivered).toBe(3);
});
