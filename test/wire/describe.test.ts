/** A packet in one line: every real packet, and what it says of those that are odd, wrong or cut off. */
import { describe, expect, it } from "vitest";
import { putU16 } from "../../src/wire/bytes.ts";
import { pseudoSum4, pseudoSum6 } from "../../src/wire/checksum.ts";
import { describePacket } from "../../src/wire/describe.ts";
import * as icmp from "../../src/wire/icmp.ts";
import * as icmpv6 from "../../src/wire/icmpv6.ts";
import * as ipv4 from "../../src/wire/ipv4.ts";
import * as ipv6 from "../../src/wire/ipv6.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { fromHex, GOLDEN_NAMES, golden } from "../golden/golden.ts";
import { dirty, embed } from "./oracle.ts";

/** Every golden packet, as another decoder reads it too (see the comment in its file). */
const LINES: Readonly<Record<string, string>> = {
  "addr-unreach.ipv6":
    "2001:db8::2 > 2001:db8::1 ICMPv6 addr-unreach for [2001:db8::1]:45448 > [2001:db8::104]:80 TCP seq=2018264038 hlim=64 len=128",
  "admin-prohibited-destination-options.ipv6":
    "2001:db8::2 > 2001:db8::1 ICMPv6 admin-prohibited for [2001:db8::1]:42124 > [2001:db8::102]:80 TCP seq=4115156903 hlim=64 len=136",
  "admin-prohibited.ipv4":
    "192.0.2.2 > 192.0.2.1 ICMP admin-prohibited for 192.0.2.1:57338 > 192.0.2.102:80 TCP seq=2401888589 ttl=64 len=88",
  "admin-prohibited.ipv6":
    "2001:db8::2 > 2001:db8::1 ICMPv6 admin-prohibited for [2001:db8::1]:42112 > [2001:db8::102]:80 TCP seq=1191009461 hlim=64 len=128",
  "fin-ack.ipv4":
    "192.0.2.1:33518 > 192.0.2.2:80 TCP FIN,ACK seq=207471956 ack=1460750126 win=63 <nop, nop, ts 2826087364 4197949627> ttl=64 len=52",
  "host-unreach.ipv4":
    "192.0.2.2 > 192.0.2.1 ICMP host-unreach for 192.0.2.1:35438 > 192.0.2.101:80 TCP seq=3968387513 ttl=64 len=88",
  "mld-report.ipv6": "fe80::e09b:c5ff:fef5:4e7b > ff02::16 ICMPv6 type-143-code-0 hlim=1 len=96",
  "no-route.ipv6":
    "2001:db8::2 > 2001:db8::1 ICMPv6 no-route for [2001:db8::1]:53292 > [2001:db8::101]:80 TCP seq=2292053936 hlim=64 len=128",
  "port-unreach.ipv4":
    "192.0.2.2 > 192.0.2.1 ICMP port-unreach for 192.0.2.1:34361 > 192.0.2.2:9 UDP ttl=64 len=64",
  "port-unreach.ipv6":
    "2001:db8::2 > 2001:db8::1 ICMPv6 port-unreach for [2001:db8::1]:43205 > [2001:db8::2]:9 UDP hlim=64 len=104",
  "rst-ack.ipv4": "192.0.2.2:81 > 192.0.2.1:50032 TCP RST,ACK seq=0 ack=1198882011 win=0 ttl=64 len=40",
  "rst-ack.ipv6":
    "[2001:db8::2]:81 > [2001:db8::1]:50346 TCP RST,ACK seq=0 ack=1813983414 win=0 hlim=64 len=60",
  "syn-ack-nmap.ipv4":
    "192.0.2.2:80 > 192.0.2.1:47099 TCP SYN,ACK seq=828622961 ack=3464668021 win=64240 <mss 1460> ttl=64 len=44",
  "syn-ack-offloaded.ipv6":
    "[2001:db8::2]:80 > [2001:db8::1]:50600 TCP SYN,ACK seq=1738571417 ack=1265344353 win=64260 <mss 1440, sack-permitted, ts 1100356759 1107790226, nop, wscale 10> hlim=64 len=80",
  "syn-ack-record-route.ipv4":
    "192.0.2.2:80 > 192.0.2.1:41445 TCP SYN,ACK seq=835437964 ack=1846283193 win=64240 <mss 1460> ttl=64 len=84",
  "syn-ack.ipv4":
    "192.0.2.2:80 > 192.0.2.1:33518 TCP SYN,ACK seq=1460750125 ack=207471956 win=65160 <mss 1460, sack-permitted, ts 4197949627 2826087364, nop, wscale 10> ttl=64 len=60",
  "syn-ack.ipv6":
    "[2001:db8::2]:80 > [2001:db8::1]:50616 TCP SYN,ACK seq=1509456617 ack=161066672 win=64260 <mss 1440, sack-permitted, ts 2375840536 3200024338, nop, wscale 10> hlim=64 len=80",
  "syn-destination-options.ipv6":
    "[2001:db8::1]:36362 > [2001:db8::2]:80 TCP SYN seq=931617781 win=64800 <mss 1440, sack-permitted, ts 1515813793 0, nop, wscale 10> hlim=64 len=88",
  "syn-nmap.ipv4": "192.0.2.1:47099 > 192.0.2.2:80 TCP SYN seq=3464668020 win=1024 <mss 1460> ttl=52 len=44",
  "syn-offloaded.ipv4":
    "192.0.2.1:33512 > 192.0.2.2:80 TCP SYN seq=1390597334 win=64240 <mss 1460, sack-permitted, ts 834601100 0, nop, wscale 10> ttl=64 len=60",
  "syn.ipv4":
    "192.0.2.1:33518 > 192.0.2.2:80 TCP SYN seq=207471955 win=64240 <mss 1460, sack-permitted, ts 2826087364 0, nop, wscale 10> ttl=64 len=60",
  "syn.ipv6":
    "[2001:db8::1]:50616 > [2001:db8::2]:80 TCP SYN seq=161066671 win=64800 <mss 1440, sack-permitted, ts 3200024338 0, nop, wscale 10> hlim=64 len=80",
  "time-exceeded.ipv4":
    "192.0.2.2 > 192.0.2.1 ICMP time-exceeded for 192.0.2.1:47174 > 192.0.2.103:80 TCP seq=1914027545 ttl=64 len=88",
  "time-exceeded.ipv6":
    "2001:db8::2 > 2001:db8::1 ICMPv6 time-exceeded for [2001:db8::1]:34892 > [2001:db8::103]:80 TCP seq=2421928284 hlim=64 len=128",
};

function line(b: Uint8Array, end = b.length): string {
  return describePacket(b, 0, end);
}

/** A packet from 192.0.2.1 to 192.0.2.2 with this payload. */
function packet4(protocol: number, payload: Uint8Array, header: Partial<ipv4.Ipv4Header> = {}): Uint8Array {
  const b = dirty(20 + payload.length);
  const at = ipv4.emit(b, 0, {
    tos: 0,
    totalLength: b.length,
    identification: 0,
    dontFragment: false,
    moreFragments: false,
    fragmentOffset: 0,
    ttl: 9,
    protocol,
    source: Uint8Array.of(192, 0, 2, 1),
    destination: Uint8Array.of(192, 0, 2, 2),
    options: new Uint8Array(0),
    ...header,
  });
  b.set(payload, at);
  return b;
}

/** A packet from 2001:db8::1 to 2001:db8::2 with this payload. */
function packet6(nextHeader: number, payload: Uint8Array): Uint8Array {
  const b = Uint8Array.of(...golden("syn.ipv6").subarray(0, 40), ...payload);
  putU16(b, ipv6.PAYLOAD_LENGTH, payload.length);
  b[ipv6.NEXT_HEADER] = nextHeader;
  return b;
}

/** nmap's SYN with other TCP bytes from `offset` on, checksum filled in. */
function segment(offset: number, hex: string): Uint8Array {
  const b = golden("syn-nmap.ipv4");
  b.set(fromHex(hex), 20 + offset);
  tcp.fillChecksum(b, 20, b.length, pseudoSum4(b, ipv4.SOURCE, ipv4.DESTINATION, 6, b.length - 20));
  return b;
}

describe("describePacket", () => {
  it("has a line for every golden packet", () => {
    expect(Object.keys(LINES).sort()).toEqual([...GOLDEN_NAMES]);
  });

  it.each(Object.entries(LINES))("%s", (name, expected) => {
    const [b, at, end] = embed(golden(name));
    expect(describePacket(b, at, end)).toBe(expected);
    expect(describePacket(b, at, b.length), "with bytes after the packet").toBe(expected);
  });

  it("says what is odd in a segment", () => {
    expect(line(segment(tcp.DATA_OFFSET, "60 00"))).toContain("TCP none seq=3464668020 win=1024 <");
    expect(line(segment(tcp.DATA_OFFSET, "61 ff"))).toContain("FIN,SYN,RST,PSH,ACK,URG,ECE,CWR,AE");
    expect(line(segment(tcp.DATA_OFFSET, "50 02"))).toContain("win=1024 data=4 ttl=");
    expect(line(segment(tcp.OPTIONS, "01 01 02 05"))).toContain("<nop, nop, malformed>");
    expect(line(segment(tcp.OPTIONS, "fd 04 be ef"))).toContain("<kind-253[2]>");
    expect(line(segment(tcp.OPTIONS, "01 01 00 00"))).toContain("<nop, nop>");
  });

  it("writes SACK blocks out", () => {
    const b = dirty(32);
    const h = tcp.parse(golden("fin-ack.ipv4"), 20, 52);
    if (h === undefined) throw new Error("no header");
    tcp.emit(b, 0, { ...h, options: fromHex("0101 050a 00000001 ffffffff") });
    expect(line(packet4(6, b))).toContain("<nop, nop, sack 1-4294967295>");
  });

  it("says which checksum is wrong", () => {
    const b = golden("syn-nmap.ipv4");
    b[ipv4.TTL] = 53;
    expect(line(b)).toMatch(/ttl=53 len=44 \(bad IPv4 checksum\)$/);
    const s = golden("syn-nmap.ipv4");
    s[20 + tcp.WINDOW] ^= 1;
    expect(line(s)).toContain("<mss 1460> (bad TCP checksum) ttl=");
    const e = golden("host-unreach.ipv4");
    e[e.length - 1] ^= 1;
    expect(line(e)).toContain("(bad ICMP checksum) ttl=");
    const six = golden("no-route.ipv6");
    six[six.length - 1] ^= 1;
    expect(line(six)).toContain("(bad ICMPv6 checksum) hlim=");
  });

  it("says how much of a packet is missing", () => {
    const b = golden("syn-nmap.ipv4");
    expect(line(b, 0)).toBe("empty packet");
    expect(line(b, 19)).toBe("truncated IPv4 header: 19 bytes");
    expect(line(b, 40)).toBe("192.0.2.1 > 192.0.2.2 truncated IPv4 packet: 40 bytes ttl=52 len=44");
    const six = golden("syn.ipv6");
    expect(line(six, 39)).toBe("truncated IPv6 header: 39 bytes");
    expect(line(six, 79)).toBe("2001:db8::1 > 2001:db8::2 truncated IPv6 packet: 79 bytes hlim=64 len=80");
    expect(line(packet4(6, new Uint8Array(19)))).toBe(
      "192.0.2.1 > 192.0.2.2 truncated TCP header: 19 bytes ttl=9 len=39",
    );
    expect(line(packet4(1, new Uint8Array(7)))).toContain(
      "192.0.2.1 > 192.0.2.2 truncated ICMP header: 7 bytes",
    );
    expect(line(packet6(58, new Uint8Array(7)))).toContain("truncated ICMPv6 header: 7 bytes");
  });

  it("says which length is wrong", () => {
    const b = golden("syn-nmap.ipv4");
    b[ipv4.VERSION_IHL] = 0x44;
    expect(line(b)).toBe("192.0.2.1 > 192.0.2.2 bad IPv4 header length 16 ttl=52 len=44");
    b[ipv4.VERSION_IHL] = 0x46;
    b[ipv4.TOTAL_LENGTH + 1] = 23;
    expect(line(b)).toBe("192.0.2.1 > 192.0.2.2 bad IPv4 total length, header 24 ttl=52 len=23");
    b[ipv4.TOTAL_LENGTH + 1] = 24;
    expect(line(b, 23)).toBe("192.0.2.1 > 192.0.2.2 truncated IPv4 packet: 23 bytes ttl=52 len=24");
    expect(line(segment(tcp.DATA_OFFSET, "40 02"))).toContain("192.0.2.2 bad TCP data offset 16 ttl=");
    expect(line(segment(tcp.DATA_OFFSET, "00 02"))).toContain("192.0.2.2 bad TCP data offset 0 ttl=");
    expect(line(packet4(6, new Uint8Array(20)))).toContain("192.0.2.2 bad TCP data offset 0 ttl=");
    expect(line(segment(tcp.DATA_OFFSET, "70 02"))).toContain(
      "192.0.2.2 truncated TCP header: 24 bytes ttl=",
    );
    const cutExtension = packet6(0, fromHex("06 01 00 00 00000000"));
    expect(line(cutExtension)).toBe("2001:db8::1 > 2001:db8::2 bad IPv6 extension headers hlim=64 len=48");
  });

  it("says what is not TCP or ICMP", () => {
    expect(describePacket(fromHex("45 f0 00"), 1, 3)).toBe("IP version 15 len=2");
    expect(line(packet4(255, new Uint8Array(0)))).toBe("192.0.2.1 > 192.0.2.2 protocol-255 ttl=9 len=20");
    expect(line(packet4(17, new Uint8Array(8)))).toBe("192.0.2.1 > 192.0.2.2 UDP ttl=9 len=28");
    expect(line(packet6(59, new Uint8Array(0)))).toBe("2001:db8::1 > 2001:db8::2 protocol-59 hlim=64 len=40");
  });

  it("does not look into fragments", () => {
    const payload = new Uint8Array(40);
    expect(line(packet4(6, payload, { moreFragments: true }))).toBe(
      "192.0.2.1 > 192.0.2.2 TCP fragment at 0 ttl=9 len=60",
    );
    expect(line(packet4(6, payload, { fragmentOffset: 1480 }))).toContain("TCP fragment at 1480 ttl=9");
    const six = packet6(44, fromHex("06 00 0009 12345678 0000000000000000"));
    expect(line(six)).toBe("2001:db8::1 > 2001:db8::2 TCP fragment hlim=64 len=56");
  });

  it("reads the rest of ICMP", () => {
    const b = dirty(8 + 28);
    icmp.emitError(b, 0, { type: 3, code: 4, rest: 0x1234_0578 }, golden("syn-nmap.ipv4").subarray(0, 28));
    expect(line(packet4(1, b))).toBe(
      "192.0.2.1 > 192.0.2.2 ICMP fragmentation-needed mtu=1400 for " +
        "192.0.2.1:47099 > 192.0.2.2:80 TCP seq=3464668020 ttl=9 len=56",
    );
    icmp.emitError(b, 0, { type: 3, code: 1 }, packet4(47, new Uint8Array(8)));
    expect(line(packet4(1, b))).toContain("host-unreach for 192.0.2.1 > 192.0.2.2 protocol-47 ttl=");
    icmp.emitError(b, 0, { type: 3, code: 1 }, new Uint8Array(28));
    expect(line(packet4(1, b))).toContain("host-unreach for an unreadable quote ttl=");
    icmp.emitError(b, 0, { type: 8, code: 0 }, new Uint8Array(28));
    expect(line(packet4(1, b))).toContain("ICMP echo-request ttl=");
  });

  it("reads the rest of ICMPv6", () => {
    const six = packet6(58, new Uint8Array(56));
    const pseudoSum = pseudoSum6(six, ipv6.SOURCE, ipv6.DESTINATION, 58, 56);
    icmpv6.emitError(
      six,
      40,
      { type: 2, code: 0, rest: 1280 },
      golden("syn.ipv6").subarray(0, 48),
      pseudoSum,
    );
    expect(line(six)).toBe(
      "2001:db8::1 > 2001:db8::2 ICMPv6 packet-too-big mtu=1280 for " +
        "[2001:db8::1]:50616 > [2001:db8::2]:80 TCP seq=161066671 hlim=64 len=96",
    );
  });
});
