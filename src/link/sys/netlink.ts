/**
 * rtnetlink(7): one question to the kernel, its answer, and the attributes inside. Message framing only; what is asked
 * and what the numbers mean is link/route.ts's business.
 *
 * Synchronous: the kernel puts its answer into the socket before send(2) returns.
 */
import { errno, errnoName, LITTLE_ENDIAN, libc, nativeMemory, systemError } from "./libc.ts";
import { AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW } from "./linux.ts";

const NETLINK_ROUTE = 0;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_DUMP = 0x300;
const NLM_F_CREATE_EXCLUSIVE = 0x600;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const HEADER = 16;
const ATTRIBUTE_HEADER = 4;
const RECEIVE_LENGTH = 65_536;
const align4 = (n: number): number => (n + 3) & ~3;

export interface Attribute {
  readonly type: number;
  readonly value: Uint8Array;
}

/** One message: its family-specific header and the attributes after it. */
export interface NetlinkMessage {
  readonly type: number;
  readonly body: Uint8Array;
  /** Attributes after a family-specific header of `headerLength` bytes. */
  attributes(headerLength: number): Map<number, Uint8Array>;
}

export type NetlinkAnswer =
  | { readonly ok: true; readonly messages: readonly NetlinkMessage[] }
  | { readonly ok: false; readonly errno: string };

/** Host-order integers, as netlink has them. */
export const hostU32 = (bytes: Uint8Array, at = 0): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, LITTLE_ENDIAN);
export const hostU16 = (bytes: Uint8Array, at = 0): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint16(at, LITTLE_ENDIAN);
export function fromU32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, LITTLE_ENDIAN);
  return bytes;
}

/** What a request wants: one object, all of them, or a change that is acknowledged. */
export type RequestKind = "get" | "dump" | "create" | "change" | "delete";

const FLAGS: Readonly<Record<RequestKind, number>> = {
  get: NLM_F_REQUEST,
  dump: NLM_F_REQUEST | NLM_F_DUMP,
  create: NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE_EXCLUSIVE,
  change: NLM_F_REQUEST | NLM_F_ACK,
  delete: NLM_F_REQUEST | NLM_F_ACK,
};

/**
 * Sends one request and reads all of its answer.
 * @throws {SynprobeError} `ERR_SYSTEM` when netlink itself fails; a refused request is an answer with `ok: false`.
 */
export function netlinkRequest(
  type: number,
  header: Uint8Array,
  attributes: readonly Attribute[],
  kind: RequestKind = "get",
): NetlinkAnswer {
  const fd = libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) throw systemError("socket(AF_NETLINK)");
  try {
    const request = encode(type, header, attributes, FLAGS[kind]);
    if (libc.send(fd, request, request.length, 0) < 0) throw systemError("send to netlink");
    return receive(fd, kind === "dump");
  } finally {
    libc.close(fd);
  }
}

function encode(
  type: number,
  header: Uint8Array,
  attributes: readonly Attribute[],
  flags: number,
): Uint8Array {
  const packed = packAttributes(attributes);
  const length = HEADER + align4(header.length) + packed.length;
  const bytes = nativeMemory(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, length, LITTLE_ENDIAN);
  view.setUint16(4, type, LITTLE_ENDIAN);
  view.setUint16(6, flags, LITTLE_ENDIAN);
  view.setUint32(8, 1, LITTLE_ENDIAN);
  bytes.set(header, HEADER);
  bytes.set(packed, HEADER + align4(header.length));
  return bytes;
}

/** Attributes one after the other: what a message ends with, and what a nested attribute's value is. */
export function packAttributes(attributes: readonly Attribute[]): Uint8Array {
  const length = attributes.reduce((sum, { value }) => sum + align4(ATTRIBUTE_HEADER + value.length), 0);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const { type, value } of attributes) {
    view.setUint16(at, ATTRIBUTE_HEADER + value.length, LITTLE_ENDIAN);
    view.setUint16(at + 2, type, LITTLE_ENDIAN);
    bytes.set(value, at + ATTRIBUTE_HEADER);
    at += align4(ATTRIBUTE_HEADER + value.length);
  }
  return bytes;
}

function receive(fd: number, dump: boolean): NetlinkAnswer {
  const messages: NetlinkMessage[] = [];
  for (;;) {
    const bytes = nativeMemory(RECEIVE_LENGTH);
    const received = libc.recv(fd, bytes, bytes.length, 0);
    if (received < 0) {
      const name = errno();
      if (name === "EINTR") continue;
      throw systemError("recv from netlink", name);
    }
    const view = new DataView(bytes.buffer);
    for (let at = 0; at + HEADER <= received; ) {
      const length = view.getUint32(at, LITTLE_ENDIAN);
      if (length < HEADER || at + length > received) return { ok: false, errno: "EBADMSG" };
      const type = view.getUint16(at + 4, LITTLE_ENDIAN);
      if (type === NLMSG_DONE) return { ok: true, messages };
      if (type === NLMSG_ERROR) {
        const error = view.getInt32(at + HEADER, LITTLE_ENDIAN);
        if (error !== 0) return { ok: false, errno: errnoName(-error) };
      } else {
        messages.push(message(type, bytes.subarray(at + HEADER, at + length)));
      }
      at += align4(length);
    }
    if (!dump) return { ok: true, messages };
  }
}

const message = (type: number, body: Uint8Array): NetlinkMessage => ({
  type,
  body,
  attributes: (headerLength) => readAttributes(body, align4(headerLength)),
});

/** Attributes by type, from `at` to the end of `bytes`; of two with the same type the last. Nested ones likewise. */
export function readAttributes(bytes: Uint8Array, at = 0): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  while (at + ATTRIBUTE_HEADER <= bytes.length) {
    const length = hostU16(bytes, at);
    if (length < ATTRIBUTE_HEADER || at + length > bytes.length) break;
    // The two top bits are flags (nested, network byte order).
    found.set(hostU16(bytes, at + 2) & 0x3fff, bytes.subarray(at + ATTRIBUTE_HEADER, at + length));
    at += align4(length);
  }
  return found;
}
