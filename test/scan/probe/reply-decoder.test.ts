/**
 * From a received packet to the 4-tuple that it may answer: real packets of both versions, taken apart as this side sees them;
 * every one of them cut at every length and with every byte changed, of which none may pass for an answer.
 */
import { describe, expect, it } from "vitest";
import { createReplyDecoder } from "../../../src/scan/probe/reply-decoder.ts";
import { storeAddress } from "../../../src/socket/table.ts";
import { formatAddress } from "../../../src/wire/address.ts";
import { golden } from "../../golden/golden.ts";
import { embed, guard } from "../../wire/oracle.ts";

const decoder = createReplyDecoder();
/** Decodes a packet in a buffer that does not let itself be read elsewhere. */
function decode(packet: Uint8Array) {
  const [b, at, end] = embed(packet);
  const what = decoder.decode(guard(b, at, end), at, end);
  const { reply } = decoder;
  const address = (words: Uint32Array): string =>
    formatAddress(storeAddress(words, 0, packet[0] >> 4 === 4 ? 4 : 16));
  return {
    what,
    ends: `${address(reply.local)} ${reply.localPort} < ${address(reply.peer)} ${reply.peerPort}`,
    responder: what === "icmp-error" ? formatAddress(b, reply.responderAt, reply.responderLength) : undefined,
    at,
    reply: { ...reply },
  };
}

describe("a segment", () => {
  it.each([
    ["syn-ack.ipv4", "192.0.2.1 33518 < 192.0.2.2 80", 0x12, 1460750125, 207471956],
    ["rst-ack.ipv6", "2001:db8::1 50346 < 2001:db8::2 81", 0x14, 0, 1813983414],
  ])("%s comes from its source to us", (name, ends, flags, sequence, acknowledgement) => {
    const packet = golden(name);
    const found = decode(packet);
    expect(found).toMatchObject({ what: "segment", ends });
    expect(found.reply).toMatchObject({ flags, sequence, acknowledgement, ttl: 64 });
    const header = packet[0] >> 4 === 4 ? 20 : 40;
    expect(found.reply.segmentAt - found.at).toBe(header);
    expect(found.reply.segmentEnd - found.at).toBe(packet.length);
  });

  it("is found behind options and extension headers", () => {
    expect(decode(golden("syn-ack-record-route.ipv4")).what).toBe("segment");
    expect(decode(golden("syn-destination-options.ipv6")).what).toBe("segment");
  });

  it("whose checksum is a card's to fill in is taken", () => {
    expect(decode(golden("syn-ack-offloaded.ipv6")).what).toBe("segment");
  });
});

describe("an ICMP error", () => {
  it.each([
    ["host-unreach.ipv4", "192.0.2.1 35438 < 192.0.2.101 80", "host-unreach", "192.0.2.2", 3968387513],
    ["addr-unreach.ipv6", "2001:db8::1 45448 < 2001:db8::104 80", "addr-unreach", "2001:db8::2", 0x784c43e6],
  ])("%s is about the probe that it quotes: its source is us", (name, ends, reason, responder, sequence) => {
    const found = decode(golden(name));
    expect(found).toMatchObject({ what: "icmp-error", ends, responder });
    expect(found.reply).toMatchObject({ reason, sequence });
  });

  it("about a datagram is nobody's", () => {
    expect(decode(golden("port-unreach.ipv4")).what).toBe("foreign");
  });

  it("that is none, but news of multicast, is nobody's", () => {
    expect(decode(golden("mld-report.ipv6")).what).toBe("foreign");
  });
});

const ANSWERS = ["syn-ack.ipv4", "rst-ack.ipv6", "host-unreach.ipv4", "addr-unreach.ipv6"];

it.each(ANSWERS)("%s cut short anywhere is malformed", (name) => {
  const packet = golden(name);
  for (let length = 0; length < packet.length; length++) {
    expect(decode(packet.subarray(0, length)).what, `${length} bytes`).toBe("malformed");
  }
});

it.each(ANSWERS)("%s with any bit changed is no answer, but for bits that no checksum covers", (name) => {
  const packet = golden(name);
  const whole = decode(packet);
  for (let at = 0; at < packet.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const changed = Uint8Array.from(packet);
      changed[at] ^= 1 << bit;
      const found = decode(changed);
      if (found.what !== whole.what) continue;
      // IPv6 has no checksum of its header: traffic class, flow label and hop limit may change.
      expect(packet[0] >> 4, `byte ${at}, bit ${bit}`).toBe(6);
      expect([0, 1, 2, 3, 7], `byte ${at}, bit ${bit}`).toContain(at);
      expect(found.ends).toBe(whole.ends);
    }
  }
});

it("a fragment tells nothing, the first one neither", () => {
  const packet = golden("syn-ack.ipv4");
  // "More fragments", and the header's checksum less by as much.
  packet[6] |= 0x20;
  packet[6] &= ~0x40;
  const sum = ((packet[10] << 8) | packet[11]) + 0x2000;
  packet[10] = (sum >> 8) & 0xff;
  packet[11] = sum & 0xff;
  expect(decode(packet).what).toBe("fragment");
});
