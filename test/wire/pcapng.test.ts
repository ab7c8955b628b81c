/** pcapng files: their blocks, lengths, times and comments. */
import { describe, expect, it } from "vitest";
import { packetBlockLength, pcapngPacket, pcapngStart, putPacketBlock } from "../../src/wire/pcapng.ts";
import { blocks } from "./pcapng-blocks.ts";

describe("pcapng", () => {
  it("starts with a section and an interface of raw IP in nanoseconds", () => {
    const [section, description, ...rest] = blocks(pcapngStart("synprobe test"));
    expect(rest).toEqual([]);
    expect(section.type).toBe(0x0a0d0d0a);
    expect([...section.body.subarray(0, 8)]).toEqual([0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0]);
    expect(new TextDecoder().decode(section.body)).toContain("synprobe test");
    expect(description.type).toBe(1);
    expect([...description.body.subarray(0, 2)]).toEqual([101, 0]);
    // if_tsresol, one byte, 10^-9
    expect([...description.body.subarray(8, 13)]).toEqual([9, 0, 1, 0, 9]);
  });

  it.each([0, 1, 2, 3, 4, 41])("holds a packet of %i bytes, its time and its comment", (length) => {
    const packet = Uint8Array.from({ length }, (_, i) => i + 1);
    const time = 1_795_220_000_123_456_789n;
    const [block, ...rest] = blocks(pcapngPacket(packet, time, "step 5: sent"));
    expect(rest).toEqual([]);
    expect(block.type).toBe(6);
    const view = new DataView(block.body.buffer, block.body.byteOffset, block.body.byteLength);
    expect((BigInt(view.getUint32(4, true)) << 32n) | BigInt(view.getUint32(8, true))).toBe(time);
    expect([view.getUint32(12, true), view.getUint32(16, true)]).toEqual([length, length]);
    expect(block.body.slice(20, 20 + length)).toEqual(packet);
    const options = block.body.subarray(20 + ((length + 3) & ~3));
    expect([...options.subarray(0, 4)]).toEqual([1, 0, 12, 0]);
    expect(new TextDecoder().decode(options.subarray(4, 16))).toBe("step 5: sent");
  });

  it("writes every byte of a packet's block, whatever was there", () => {
    const packet = Uint8Array.of(1, 2, 3, 4, 5);
    for (const comment of ["", "a", "four", "a long one, which needs padding"]) {
      const length = packetBlockLength(packet.length, comment);
      const [zeros, junk] = [0, 0xa5].map((fill) => new Uint8Array(length + 8).fill(fill));
      for (const out of [zeros, junk]) putPacketBlock(out, 4, packet, 0, packet.length, 1, 2, comment);
      expect(junk.slice(4, -4)).toEqual(zeros.slice(4, -4));
      // And not a byte more.
      expect([...junk.slice(0, 4), ...junk.slice(-4)]).toEqual(Array(8).fill(0xa5));
    }
  });
});
