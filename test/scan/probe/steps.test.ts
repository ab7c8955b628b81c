/**
 * An attempt in ten steps, of packets that real stacks sent (test/golden): each field of their headers, and what each step says of
 * an open, a closed and a silent port.
 */
import { describe, expect, it } from "vitest";
import {
  ipFields,
  milliseconds,
  stepsOf,
  type TraceRecord,
  tcpFields,
} from "../../../src/scan/probe/steps.ts";
import type { ControlBlockView } from "../../../src/socket/connection.ts";
import { golden } from "../../golden/golden.ts";
import { address } from "../../sim/run.ts";

type Fields = readonly (readonly [name: string, hex: string, meaning: string])[];
const fieldsOf = (packet: Uint8Array): Fields =>
  [...ipFields(packet), ...tcpFields(packet)].map(({ name, hex, meaning }) => [name, hex, meaning]);

describe("the headers of real packets, field by field", () => {
  it("a SYN over IPv4", () => {
    expect(fieldsOf(golden("syn.ipv4"))).toEqual([
      ["version, header length", "45", "4, 20 bytes"],
      ["type of service", "00", "routine (DSCP 0, no ECN)"],
      ["total length", "00 3c", "60 bytes"],
      ["identification", "4d 70", "19824"],
      ["flags, fragment offset", "40 00", "don't fragment"],
      ["time to live", "40", "64 hops"],
      ["protocol", "06", "6, TCP"],
      ["header checksum", "69 48", "over the header alone"],
      ["source", "c0 00 02 01", "192.0.2.1"],
      ["destination", "c0 00 02 02", "192.0.2.2"],
      ["source port", "82 ee", "33518"],
      ["destination port", "00 50", "80"],
      ["sequence number", "0c 5d c5 53", "207471955"],
      ["acknowledgement number", "00 00 00 00", "0, without meaning: ACK = 0"],
      ["data offset", "a0", "10 words: a header of 40 bytes"],
      ["control bits", "02", "SYN"],
      ["window", "fa f0", "64240 bytes may come"],
      // c000 + 0201 + c000 + 0202 + 0006 + 0028, with the carry added.
      ["checksum", "1f e2", "~(pseudo-header 0x8432 + header and text 0x5beb) = ~0xe01d = 0x1fe2"],
      ["urgent pointer", "00 00", "without meaning: URG = 0"],
      [
        "options",
        "02 04 05 b4 04 02 08 0a a8 72 ab c4 00 00 00 00 01 03 03 0a",
        "maximum segment size 1460, sack-permitted, time stamps 2826087364/0, nop, window scale 10",
      ],
    ]);
    const mayBeFragmented = golden("syn.ipv4").fill(0, 6, 8);
    expect(fieldsOf(mayBeFragmented)[4]).toEqual(["flags, fragment offset", "00 00", "may be fragmented"]);
  });

  it("a SYN+ACK over IPv6, whose checksum was left to hardware", () => {
    expect(fieldsOf(golden("syn-ack-offloaded.ipv6"))).toEqual([
      ["version, class, flow label", "60 01 ae 98", "6"],
      ["payload length", "00 28", "40 bytes"],
      ["next header", "06", "6, TCP"],
      ["hop limit", "40", "64 hops"],
      ["source", "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 02", "2001:db8::2"],
      ["destination", "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01", "2001:db8::1"],
      ["source port", "00 50", "80"],
      ["destination port", "c5 a8", "50600"],
      ["sequence number", "67 a0 7e 99", "1738571417"],
      ["acknowledgement number", "4b 6b 9f 61", "1265344353"],
      ["data offset", "a0", "10 words: a header of 40 bytes"],
      ["control bits", "12", "SYN,ACK"],
      ["window", "fb 04", "64260 bytes may come"],
      [
        "checksum",
        "5b a3",
        "pseudo-header alone: the sender left the rest to hardware that this packet never met",
      ],
      ["urgent pointer", "00 00", "without meaning: URG = 0"],
      [
        "options",
        "02 04 05 a0 04 02 08 0a 41 96 1c 97 42 07 89 92 01 03 03 0a",
        "maximum segment size 1440, sack-permitted, time stamps 1100356759/1107790226, nop, window scale 10",
      ],
    ]);
  });

  it("a checksum behind IP options, and one over IPv6", () => {
    const meaning = (name: string): string | undefined =>
      tcpFields(golden(name)).find((field) => field.name === "checksum")?.meaning;
    expect(meaning("syn-ack-record-route.ipv4")).toMatch(/ = 0x05cf$/);
    expect(meaning("syn.ipv6")).toMatch(/ = 0x335b$/);
  });

  it("a header without options has no such field, and an option without a name its number", () => {
    expect(tcpFields(golden("rst-ack.ipv4")).map(({ name }) => name)).not.toContain("options");
    const packet = golden("syn.ipv4");
    packet[40] = 253;
    expect(tcpFields(packet).at(-1)?.meaning).toMatch(/^kind 253, sack-permitted, /);
  });
});

describe("the steps", () => {
  const row = (state: ControlBlockView["state"], more: Partial<ControlBlockView> = {}): ControlBlockView => ({
    ...{ state, iss: 0, irs: 0, sndUna: 0, sndNxt: 0, sndWnd: 0, rcvNxt: 0, rcvWnd: 0, peerMss: 0 },
    ...{ rtoUs: 0, srttUs: 0, reserved: 0, unacknowledged: 0, readable: 0, ...more },
  });
  const syn = { direction: "sent", atUs: 0, bytes: golden("syn.ipv4"), step: 5 } as const;
  const silent: TraceRecord = {
    local: address("192.0.2.1"),
    peer: address("192.0.2.2"),
    localPort: 33_518,
    peerPort: 80,
    link: "raw-ip",
    packets: [syn],
    rows: {
      empty: row("CLOSED"),
      connecting: row("SYN-SENT", { iss: 207_471_955, reserved: 4096 }),
      before: row("SYN-SENT", { rtoUs: 1 }),
      after: row("CLOSED", { rtoUs: 2 }),
      end: row("CLOSED", { rtoUs: 3 }),
    },
    state: "filtered",
    reason: "no-response",
    interrupted: false,
    totalUs: 300_500,
  };
  const textOf = (record: TraceRecord, number: number): string[] => {
    const { title, text } = stepsOf(record)[number - 1];
    return [title, ...text];
  };

  it("are ten, with what changed in the row", () => {
    const steps = stepsOf(silent);
    expect(steps.map(({ number }) => number)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(steps[0].row).toHaveLength(11);
    expect(steps[0].row?.[0]).toEqual(["state", undefined, "CLOSED"]);
    expect(steps[1].row).toEqual([
      ["state", "CLOSED", "SYN-SENT"],
      ["ISS", "0", "207471955"],
      ["buffer bytes", "0", "4096"],
    ]);
    expect(steps[7].row).toEqual([
      ["state", "SYN-SENT", "CLOSED"],
      ["RTO µs", "1", "2"],
    ]);
    expect(steps[9].row).toEqual([["RTO µs", "2", "3"]]);
    expect(steps[2].fields).toEqual(tcpFields(syn.bytes));
    expect(steps[3].fields).toEqual(ipFields(syn.bytes));
    expect(textOf(silent, 2)[1]).toBe("Local end 192.0.2.1:33518; initial send sequence number 207471955.");
    expect(textOf(silent, 4)).toEqual(["IP wraps it: 60 bytes in all, by the link raw-ip"]);
  });

  it("of a silent port: sent again, and nothing came", () => {
    const twice = { ...silent, packets: [syn, { ...syn, atUs: 150_000 }] };
    expect(textOf(twice, 5).slice(2)).toEqual(["sent again at 150.000 ms: no answer until then"]);
    expect(textOf(silent, 5)).toHaveLength(2);
    expect(textOf(silent, 7)).toEqual(["The answer: silence", "Nothing came within 300.500 ms."]);
    expect(stepsOf(silent)[6].fields).toBeUndefined();
    expect(textOf(silent, 9)).toEqual(["No ACK goes back", "There is no connection to acknowledge."]);
    expect(textOf(silent, 10)[1]).toBe("connect would return: no connection, after 300.500 ms.");
  });

  it("of a port that answers", () => {
    const answer = { direction: "received", atUs: 1234, bytes: golden("syn-ack.ipv4"), step: 7 } as const;
    const ack = { ...syn, atUs: 1300, step: 9 };
    const fin = { direction: "received", atUs: 2000, bytes: golden("fin-ack.ipv4"), step: 10 } as const;
    const open: TraceRecord = {
      ...silent,
      packets: [syn, answer, ack, fin],
      state: "open",
      reason: "syn-ack",
      establishedUs: 1234,
    };
    expect(textOf(open, 6)[1]).toMatch(/^It finds a socket that listens on port 80, /);
    expect(textOf(open, 7)[0]).toBe("The answer, after 1.234 ms");
    expect(stepsOf(open)[6].fields).toEqual(tcpFields(answer.bytes));
    expect(textOf(open, 8)[0]).toBe("The socket's row after it: the port is open (syn-ack)");
    expect(textOf(open, 9)).toEqual(["An ACK goes back", expect.stringContaining("SYN")]);
    expect(textOf(open, 10).slice(1)).toEqual([
      "Connected, 1.234 ms after the SYN left; then closed again:",
      expect.stringMatching(/^<- 2\.000 ms {2}/),
    ]);
    const stray = { ...syn, atUs: 500, step: 6 };
    expect(textOf({ ...open, packets: [syn, stray, answer] }, 6)).toEqual([
      expect.anything(),
      expect.stringMatching(/^It knows an older connection/),
      expect.stringMatching(/^-> 0\.500 ms {2}/),
      expect.stringMatching(/^It finds a socket/),
    ]);
  });

  it("of one that refuses, or from which an ICMP error comes", () => {
    const { establishedUs: _, ...closed } = {
      ...silent,
      state: "closed",
      reason: "reset",
      establishedUs: 0,
    } as const;
    expect(textOf(closed, 6)[1]).toMatch(/^It finds no socket that listens on port 80, and answers RST\+ACK/);
    expect(textOf(closed, 10)[1]).toMatch(/: ECONNREFUSED, /);
    const error = {
      direction: "received",
      atUs: 9,
      bytes: golden("admin-prohibited.ipv4"),
      step: 7,
    } as const;
    const rejected: TraceRecord = {
      ...silent,
      packets: [syn, error],
      reason: "admin-prohibited",
      responder: address("192.0.2.254"),
      halfOpen: "why",
    };
    expect(textOf(rejected, 6)[1]).toMatch(/: 192\.0\.2\.254 sent an ICMP error instead\.$/);
    expect(textOf(rejected, 8)[0]).toMatch(/\(admin-prohibited from 192\.0\.2\.254\)$/);
    expect(stepsOf(rejected)[6].fields).toBeUndefined();
    expect(textOf(rejected, 9)).toEqual(["No ACK goes back", "why"]);
    expect(textOf(rejected, 10)[1]).toMatch(
      /^Linux's connect would return: EHOSTUNREACH, after 0\.009 ms\. This attempt waited until 300\.500 ms, /,
    );
    expect(textOf({ ...silent, reason: "unproved-reset" }, 6)[1]).toMatch(/^What came back is a RST /);
    expect(textOf({ ...silent, reason: "unproved-syn" }, 6)[1]).toMatch(/^What came back is a SYN, /);
    expect(textOf({ ...silent, reason: "host-unreach" }, 6)[1]).toMatch(/: a router sent an ICMP error/);
  });

  it("of a SYN that the kernel refuses, the first or one that was to follow", () => {
    const refused = { ...syn, direction: "refused", error: "EPERM" } as const;
    const record: TraceRecord = { ...silent, packets: [refused], reason: "send-eperm" };
    expect(textOf(record, 5)[0]).toBe("The kernel refuses to send it: EPERM");
    expect(textOf(record, 6)[1]).toBe("Nothing shows: this machine's kernel refused to send the SYN.");
    expect(textOf(record, 8)[0]).toBe("The socket's row after it: the port is filtered (send-eperm)");
    expect(textOf(record, 10)[1]).toBe("connect would return: EPERM, after 300.500 ms.");
    const later: TraceRecord = { ...record, packets: [syn, { ...refused, atUs: 150_000 }] };
    expect(textOf(later, 5).slice(2)).toEqual(["to be sent again at 150.000 ms: the kernel refused, EPERM"]);
    expect(textOf(later, 6)[1]).toMatch(/refused to send the SYN again\.$/);
  });

  it("of a packet that is refused when the port has answered", () => {
    const answer = { direction: "received", atUs: 1234, bytes: golden("syn-ack.ipv4"), step: 7 } as const;
    const refused = { ...syn, direction: "refused", error: "EPERM" } as const;
    const record: TraceRecord = {
      ...silent,
      packets: [syn, answer, { ...refused, step: 9 }, { ...refused, atUs: 1300, step: 10 }],
      state: "open",
      reason: "syn-ack",
      establishedUs: 1234,
    };
    expect(textOf(record, 9)[1]).toMatch(/: the kernel refused to send it, EPERM$/);
    expect(textOf(record, 9)[0]).toBe("No ACK goes back");
    expect(textOf(record, 10)[1]).toMatch(/after the SYN left; what would close it was refused:$/);
    expect(textOf(record, 10)[2]).toMatch(/^-x 1\.300 ms .*: the kernel refused to send it, EPERM$/);
  });

  it("of an attempt that was interrupted: the port is not decided", () => {
    const { state: _, reason: __, ...record } = { ...silent, interrupted: true };
    expect(textOf(record, 6)[1]).toBe("Nothing shows: it was interrupted before an answer came.");
    expect(textOf(record, 7)[1]).toBe("Nothing came within 300.500 ms, when it was interrupted.");
    expect(textOf(record, 8)[0]).toBe("The socket's row after it: interrupted, the port is not decided");
    expect(textOf(record, 10)[1]).toBe("connect would still wait: interrupted after 300.500 ms.");
  });

  it("have times with three digits of a millisecond", () => {
    expect([0, 1, 1_234_567].map(milliseconds)).toEqual(["0.000 ms", "0.001 ms", "1234.567 ms"]);
  });
});
