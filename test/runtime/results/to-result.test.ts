/** Verdicts as results: every property of a verdict that a result has, and none that is not known. */
import { describe, expect, it } from "vitest";
import { createNaming } from "../../../src/runtime/results/to-result.ts";
import { newVerdict, type Verdict } from "../../../src/scan/probe/verdict.ts";
import { parseServices } from "../../../src/scan/targets/services.ts";
import { loadAddress } from "../../../src/socket/table.ts";
import { parseAddress } from "../../../src/wire/address.ts";

const toResult = createNaming({
  services: parseServices("ssh 22/tcp"),
  namesOf: (address, port) =>
    address === "2001:db8::10" && port === 22 ? ["ten.example", "10.example", "x.example"] : [],
});

function words(text: string): Uint32Array {
  const bytes = parseAddress(text) ?? new Uint8Array(4);
  const into = new Uint32Array(4);
  loadAddress(into, 0, bytes, 0, bytes.length);
  return into;
}

const SILENT: Verdict = {
  ...newVerdict(),
  peer: words("192.0.2.255"),
  port: 1,
  rttUs: Number.NaN,
  doubt: Number.NaN,
};

describe("a result", () => {
  it("has everything that is known", () => {
    const verdict: Verdict = {
      ...SILENT,
      peer: words("2001:db8::10"),
      family: 6,
      port: 22,
      reason: "admin-prohibited",
      rttUs: 1234.4,
      ttl: 61,
      tries: 3,
      answered: 2,
      responder: words("2001:db8::1"),
      hasResponder: true,
      late: true,
      doubt: 0.1,
      answersAll: true,
      connect: true,
      was: "open",
    };
    const established = { ms: 2, ending: "fin" } as const;
    expect(toResult(verdict, 5_678_901, established)).toEqual({
      host: "ten.example",
      aliases: ["10.example", "x.example"],
      ip: "2001:db8::10",
      port: 22,
      state: "filtered",
      reason: "admin-prohibited",
      rttMs: 1.234,
      ttl: 61,
      tries: 3,
      answered: 2,
      doubt: Math.fround(0.1),
      answersAll: true,
      method: "connect",
      responder: "2001:db8::1",
      service: "ssh",
      late: true,
      was: "open",
      established,
      timeMs: 5678,
    });
  });

  it("has nothing of what is not known, not even a property", () => {
    const { state, reason } = SILENT;
    const bare = { ip: "192.0.2.255", port: 1, state, reason, rttMs: null, ttl: null, tries: 0, timeMs: 0 };
    expect(Object.entries(toResult(SILENT, 0))).toEqual(Object.entries(bare));
  });

  it("names no responder where the target itself sent the error, and takes nothing from one of this machine", () => {
    const refused: Verdict = {
      ...SILENT,
      reason: "host-unreach",
      rttUs: 5,
      ttl: 64,
      late: true,
      hasResponder: true,
    };
    expect(toResult({ ...refused, responder: SILENT.peer }, 0)).toMatchObject({
      rttMs: 0.005,
      ttl: 64,
      late: true,
    });
    expect(toResult({ ...refused, responder: SILENT.peer }, 0)).not.toHaveProperty("responder");
    const here = toResult({ ...refused, responder: words("127.0.0.1") }, 0);
    expect(here).toMatchObject({ responder: "127.0.0.1", rttMs: null, ttl: null });
    expect(here).not.toHaveProperty("late");
  });

  it("is doubtful until a handshake has been completed", () => {
    const forged: Verdict = { ...SILENT, state: "open", reason: "syn-ack", doubtful: true };
    const ended = (ending: "fin" | "reset" | "no-fin" | "silent") => toResult(forged, 0, { ms: 1, ending });
    expect(toResult(forged, 0)).toMatchObject({ state: "open", doubtful: "zero-window" });
    expect(ended("silent")).toMatchObject({ doubtful: "zero-window" });
    for (const ending of ["fin", "reset", "no-fin"] as const)
      expect(ended(ending)).not.toHaveProperty("doubtful");
  });

  it("rounds a round trip to whole microseconds, one or more", () => {
    expect([0.2, 1.4, 1499.6].map((rttUs) => toResult({ ...SILENT, rttUs }, 0).rttMs)).toEqual([
      0.001, 0.001, 1.5,
    ]);
  });
});
