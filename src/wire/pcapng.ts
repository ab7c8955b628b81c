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

/** The section header and the interface that every packet refers to. @param application the program that writes the file */
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
export function pcapngPacket(packet: Uint8Array, timeNs: bigint, comment = ""): Uint8Array {
  const block = new Uint8Array(packetBlockLength(packet.length, comment));
  const high = Number(timeNs >> 32n);
  putPacketBlock(block, 0, packet, 0, packet.length, high, Number(timeNs & 0xffff_ffffn), comment);
  return block;
}

/** Of an enhanced packet block without packet and options: type, length, interface, time, two lengths, and length again. */
const PACKET_BLOCK = 32;
const OPTION_HEADER = 4;

/** Bytes that `putPacketBlock` writes. */
export function packetBlockLength(packetLength: number, comment: string): number {
  const options = comment === "" ? 0 : OPTION_HEADER + pad4(comment.length) + OPTION_HEADER;
  return PACKET_BLOCK + pad4(packetLength) + options;
}

/**
 * Writes the packet `bytes[from, end)` at `out[at]`, where `packetBlockLength` bytes have room. Allocates nothing.
 * @param high @param low the time in nanoseconds since the Unix epoch, its upper and lower 32 bits
 * @param comment ASCII; empty for none
 */
export function putPacketBlock(
  out: Uint8Array,
  at: number,
  bytes: Uint8Array,
  from: number,
  end: number,
  high: number,
  low: number,
  comment: string,
): void {
  const length = end - from;
  const whole = packetBlockLength(length, comment);
  put32(out, at, BLOCK.enhancedPacket);
  put32(out, at + 4, whole);
  put32(out, at + 8, 0);
  put32(out, at + 12, high);
  put32(out, at + 16, low);
  put32(out, at + 20, length);
  put32(out, at + 24, length);
  let next = at + 28;
  for (let i = from; i < end; i++) out[next++] = bytes[i];
  for (let i = length; i < pad4(length); i++) out[next++] = 0;
  if (comment !== "") {
    put32(out, next, OPTION.comment | (comment.length << 16));
    next += OPTION_HEADER;
    for (let i = 0; i < comment.length; i++) out[next++] = comment.charCodeAt(i);
    for (let i = comment.length; i < pad4(comment.length); i++) out[next++] = 0;
    put32(out, next, OPTION.end);
  }
  put32(out, at + whole - 4, whole);
}

/** Little-endian, as the section header says. */
function put32(out: Uint8Array, at: number, value: number): void {
  out[at] = value;
  out[at + 1] = value >>> 8;
  out[at + 2] = value >>> 16;
  out[at + 3] = value >>> 24;
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
