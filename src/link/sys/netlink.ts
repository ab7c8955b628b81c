/**
 * netlink(7): questions to the kernel, its answers, and the attributes inside. Message framing only; what is asked is the
 * callers' business, and the numbers of rtnetlink are in rtnetlink.ts.
 *
 * Synchronous: the kernel puts its answer into the socket before send(2) returns.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { errno, errnoName, LITTLE_ENDIAN, libc, nativeMemory, systemError } from "./libc.ts";
import { AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW } from "./linux.ts";

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
  /** One of them, without looking at the others. */
  attribute(headerLength: number, type: number): Uint8Array | undefined;
}

export type NetlinkAnswer =
  | { readonly ok: true; readonly messages: readonly NetlinkMessage[] }
  | { readonly ok: false; readonly errno: string };

/** Host-order integers, as netlink has them. */
export const hostU32 = (bytes: Uint8Array, at = 0): number =>
  LITTLE_ENDIAN
    ? (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0
    : (bytes[at + 3] | (bytes[at + 2] << 8) | (bytes[at + 1] << 16) | (bytes[at] << 24)) >>> 0;
export const hostU16 = (bytes: Uint8Array, at = 0): number =>
  LITTLE_ENDIAN ? bytes[at] | (bytes[at + 1] << 8) : bytes[at + 1] | (bytes[at] << 8);
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

/** The parts of the kernel that are asked here (netlink(7)). */
export const NETLINK = { route: 0, xfrm: 6, netfilter: 12 } as const;
export type NetlinkProtocol = (typeof NETLINK)[keyof typeof NETLINK];

/** A socket for many questions, one after the other. */
export interface NetlinkSocket {
  request(
    type: number,
    header: Uint8Array,
    attributes: readonly Attribute[],
    kind?: RequestKind,
  ): NetlinkAnswer;
  /** Shows each message of a dump, which is valid until `visit` returns. @returns the errno's name when it was refused */
  visit(
    type: number,
    header: Uint8Array,
    attributes: readonly Attribute[],
    visit: (message: NetlinkMessage) => void,
  ): string | undefined;
  close(): void;
}

/**
 * @throws {SynprobeError} `ERR_PLATFORM` where this process may have no such socket; its methods `ERR_SYSTEM` when netlink itself
 *   fails. A refused request is an answer with `ok: false`.
 */
export function openNetlink(protocol: NetlinkProtocol = NETLINK.route): NetlinkSocket {
  const fd = libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0) throw noNetlink(errno());
  const buffer = nativeMemory(RECEIVE_LENGTH);
  const ask = (
    type: number,
    header: Uint8Array,
    attributes: readonly Attribute[],
    kind: RequestKind,
    visit: (message: NetlinkMessage) => void,
  ): string | undefined => {
    const request = encode(type, header, attributes, FLAGS[kind]);
    if (libc.send(fd, request, request.length, 0) < 0) throw systemError("send to netlink");
    return receive(fd, buffer, kind === "dump", visit);
  };
  return {
    request: (type, header, attributes, kind = "get") => {
      const messages: NetlinkMessage[] = [];
      const refused = ask(type, header, attributes, kind, ({ type: answered, body }) => {
        messages.push(message(answered, body.slice()));
      });
      return refused === undefined ? { ok: true, messages } : { ok: false, errno: refused };
    },
    visit: (type, header, attributes, visit) => ask(type, header, attributes, "dump", visit),
    close: () => {
      libc.close(fd);
    },
  };
}

/** A sandbox that hides the socket family hides all that is known of routes. */
const noNetlink = (cause: string): SynprobeError =>
  cause === "EMFILE" || cause === "ENFILE"
    ? systemError("socket(AF_NETLINK)", cause)
    : new SynprobeError(
        ERROR_CODES.platform,
        `this process may not ask the kernel for routes and interfaces (socket AF_NETLINK: ${cause}): a sandbox forbids it; in a ` +
          "systemd unit RestrictAddressFamilies= must allow AF_NETLINK, in a container the seccomp profile",
      );

/** One question with a socket of its own. @throws {SynprobeError} as openNetlink and its methods do */
export function netlinkRequest(
  type: number,
  header: Uint8Array,
  attributes: readonly Attribute[],
  kind: RequestKind = "get",
): NetlinkAnswer {
  const socket = openNetlink();
  try {
    return socket.request(type, header, attributes, kind);
  } finally {
    socket.close();
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

/** A sequence of attributes: the end of a message, and the value of a nested attribute. */
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

/** @returns the errno's name when the request was refused */
function receive(
  fd: number,
  bytes: Uint8Array,
  dump: boolean,
  visit: (message: NetlinkMessage) => void,
): string | undefined {
  for (;;) {
    const received = libc.recv(fd, bytes, bytes.length, 0);
    if (received < 0) {
      const name = errno();
      if (name === "EINTR") continue;
      throw systemError("recv from netlink", name);
    }
    for (let at = 0; at + HEADER <= received; ) {
      const length = hostU32(bytes, at);
      if (length < HEADER || at + length > received) return "EBADMSG";
      const type = hostU16(bytes, at + 4);
      if (type === NLMSG_DONE) return undefined;
      if (type === NLMSG_ERROR) {
        const error = hostU32(bytes, at + HEADER) | 0;
        if (error !== 0) return errnoName(-error);
      } else {
        visit(message(type, bytes.subarray(at + HEADER, at + length)));
      }
      at += align4(length);
    }
    if (!dump) return undefined;
  }
}

const message = (type: number, body: Uint8Array): NetlinkMessage => ({
  type,
  body,
  attributes: (headerLength) => readAttributes(body, align4(headerLength)),
  attribute: (headerLength, wanted) => findAttribute(body, align4(headerLength), wanted),
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

/** The first attribute of a type, from `at` on. */
function findAttribute(bytes: Uint8Array, at: number, wanted: number): Uint8Array | undefined {
  for (let next = at; next + ATTRIBUTE_HEADER <= bytes.length; ) {
    const length = hostU16(bytes, next);
    if (length < ATTRIBUTE_HEADER || next + length > bytes.length) break;
    if ((hostU16(bytes, next + 2) & 0x3fff) === wanted)
      return bytes.subarray(next + ATTRIBUTE_HEADER, next + length);
    next += align4(length);
  }
  return undefined;
}
