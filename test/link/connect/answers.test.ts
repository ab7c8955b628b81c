/**
 * The packets that stand for what came of a connect: each proves to the engine's decoder what a real answer to the SYN proves, for
 * any SYN of either IP version, and says nothing of a TTL.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createAnswerWriter, MOST_TEXT } from "../../../src/link/connect/answers.ts";
import { createReplyDecoder } from "../../../src/scan/probe/reply-decoder.ts";
import { createSynTemplate } from "../../../src/scan/probe/syn-template.ts";
import { ADDRESS_WORDS, loadAddress } from "../../../src/socket/table.ts";
import { FLAGS } from "../../../src/wire/tcp.ts";

const ports = fc.integer({ min: 1, max: 65_535 });
const addresses = fc.constantFrom(4, 16).chain((length) => {
  const address = fc.uint8Array({ minLength: length, maxLength: length });
  return fc.record({ local: address, peer: address });
});
const syns = fc.record({
  ends: addresses,
  localPort: ports,
  peerPort: ports,
  iss: fc.integer({ min: 0, max: 0xffff_ffff }),
  before: fc.integer({ min: 0, max: 9 }),
});

function synOf({ ends: { local, peer }, localPort, peerPort, iss, before }: SynSpec) {
  const words = { local: new Uint32Array(ADDRESS_WORDS), peer: new Uint32Array(ADDRESS_WORDS) };
  loadAddress(words.local, 0, local, 0, local.length);
  loadAddress(words.peer, 0, peer, 0, peer.length);
  const template = createSynTemplate(local, 64);
  const bytes = new Uint8Array(before + template.length).fill(0xa5);
  template.write(bytes, before, words.peer, 0, localPort, peerPort, iss, 7);
  return { bytes, words };
}
type SynSpec = typeof syns extends fc.Arbitrary<infer T> ? T : never;

describe("an answer", () => {
  const writer = createAnswerWriter();
  const { decode, reply } = createReplyDecoder();

  it.each([
    ["SYN-ACK", FLAGS.SYN | FLAGS.ACK],
    ["RST", FLAGS.RST | FLAGS.ACK],
  ])("%s comes from whom the SYN went to, and acknowledges it", (_, flags) => {
    fc.assert(
      fc.property(syns, fc.uint8Array({ maxLength: MOST_TEXT }), (spec, text) => {
        const { bytes, words } = synOf(spec);
        writer.bytes.fill(0xa5);
        const end = writer.segment(bytes, spec.before, flags, 9, (spec.iss + 1) >>> 0, text);
        expect(decode(writer.bytes, 0, end)).toBe("segment");
        const { localPort, peerPort, iss } = spec;
        expect(reply).toMatchObject({ ...words, localPort, peerPort, flags, sequence: 9, ttl: 0 });
        expect(reply.acknowledgement).toBe((iss + 1) >>> 0);
        expect(writer.bytes.slice(reply.segmentEnd - text.length, reply.segmentEnd)).toEqual(text);
      }),
    );
  });

  it("of a router quotes the SYN, and names the router, or nobody", () => {
    fc.assert(
      fc.property(syns, fc.boolean(), (spec, isKnown) => {
        const { bytes, words } = synOf(spec);
        const isV4 = spec.ends.peer.length === 4;
        const responder = new Uint8Array(spec.ends.peer.length).fill(77);
        const error = { type: isV4 ? 3 : 1, code: 1, ...(isKnown ? { responder } : {}) };
        writer.bytes.fill(0xa5);
        const end = writer.unreachable(bytes, spec.before, error);
        expect(decode(writer.bytes, 0, end)).toBe("icmp-error");
        const { localPort, peerPort, iss } = spec;
        const reason = isV4 ? "host-unreach" : "admin-prohibited";
        expect(reply).toMatchObject({ ...words, localPort, peerPort, sequence: iss, reason, ttl: 0 });
        const sender = writer.bytes.slice(reply.responderAt, reply.responderAt + reply.responderLength);
        expect(sender).toEqual(isKnown ? responder : new Uint8Array(responder.length));
      }),
    );
  });
});
