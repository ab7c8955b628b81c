/** pcapng, read back by a reader that shares nothing with the writer. */
import { expect } from "vitest";

/** Blocks of a capture: type and body, lengths checked at both ends. */
export function blocks(bytes: Uint8Array): { type: number; body: Uint8Array }[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = [];
  for (let at = 0; at < bytes.length; ) {
    const length = view.getUint32(at + 4, true);
    expect(length % 4).toBe(0);
    expect(view.getUint32(at + length - 4, true)).toBe(length);
    found.push({ type: view.getUint32(at, true), body: bytes.subarray(at + 8, at + length - 4) });
    at += length;
  }
  return found;
}

export interface CapturedPacket {
  readonly timeNs: bigint;
  readonly hex: string;
  readonly comment: string;
}

/** The packets among the blocks of a capture. */
export function packetsOf(bytes: Uint8Array): CapturedPacket[] {
  return blocks(bytes)
    .filter(({ type }) => type === 6)
    .map(({ body }) => {
      const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
      const length = view.getUint32(12, true);
      const options = 20 + ((length + 3) & ~3);
      const comment =
        options < body.length
          ? new TextDecoder().decode(
              body.subarray(options + 4, options + 4 + view.getUint16(options + 2, true)),
            )
          : "";
      return {
        timeNs: (BigInt(view.getUint32(4, true)) << 32n) | BigInt(view.getUint32(8, true)),
        hex: Buffer.from(body.subarray(20, 20 + length)).toString("hex"),
        comment,
      };
    });
}
