/**
 * The pcapng capture format (IETF draft-ietf-opsawg-pcapng): one section, one interface of raw IP packets, nanosecond time
 * stamps, a comment on each packet that has one. Blocks as bytes; writing the file is the caller's business.
 */

const BLOCK = { section: 0x0a0d0d0a, interface: 1, enhancedPacket: 6 } as const;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const LINKTYPE_RAW = 101;
const OPTION = { end: 0, comment: 1, hardwareOrApplication: 4, timeResolution: 9 } as const;
/** Powers of ten per second. */
const NANOSECONDS = 9;

/** The section header and the interface that every packet refers to. @param application who wrote the file */
export function pcapngStart(application: string): Uint8Array {
  const section = new Uint8Array(16);
  const view = new DataView(section.buffer);
  view.setUint32(0, BYTE_ORDER_MAGIC, true);
  view.setUint16(4, 1, true);
  view.setBigInt64(8, -1n, true);
  const description = new Uint8Array(8);
  new DataView(description.buffer).setUint16(0, LINKTYPE_RAW, true);
  return concat([
    block(BLOCK.section, section, [[OPTION.hardwareOrApplication, text(application)]]),
    block(BLOCK.interface, description, [[OPTION.timeResolution, Uint8Array.of(NANOSECONDS)]]),
  ]);
}

/** One packet. @param timeNs nanoseconds since the Unix epoch */
export function pcapngPacket(packet: Uint8Array, timeNs: bigint, comment?: string): Uint8Array {
  const body = new Uint8Array(20 + pad4(packet.length));
  const view = new DataView(body.buffer);
  view.setUint32(4, Number(timeNs >> 32n), true);
  view.setUint32(8, Number(timeNs & 0xffff_ffffn), true);
  view.setUint32(12, packet.length, true);
  view.setUint32(16, packet.length, true);
  body.set(packet, 20);
  return block(BLOCK.enhancedPacket, body, comment === undefined ? [] : [[OPTION.comment, text(comment)]]);
}

type Option = readonly [code: number, value: Uint8Array];

function block(type: number, body: Uint8Array, options: readonly Option[]): Uint8Array {
  const tail =
    options.length === 0
      ? new Uint8Array(0)
      : concat([...options, [OPTION.end, new Uint8Array(0)] as const].map(option));
  const length = 12 + body.length + tail.length;
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, length, true);
  bytes.set(body, 8);
  bytes.set(tail, 8 + body.length);
  view.setUint32(length - 4, length, true);
  return bytes;
}

function option([code, value]: Option): Uint8Array {
  const bytes = new Uint8Array(4 + pad4(value.length));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, code, true);
  view.setUint16(2, value.length, true);
  bytes.set(value, 4);
  return bytes;
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const pad4 = (length: number): number => (length + 3) & ~3;

function concat(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
