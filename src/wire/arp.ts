/**
 * ARP over Ethernet for IPv4 (RFC 826).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+-------------------------------+
 *   0 |      Hardware Type (1)        |     Protocol Type (0x0800)    |
 *     +---------------+---------------+-------------------------------+
 *   4 |  HW Length 6  |  Prot Len 4   |           Operation           |
 *     +---------------+---------------+-------------------------------+
 *   8 |                  Sender Hardware Address                      |
 *     +                               +-------------------------------+
 *  12 |                               |   Sender Protocol Address     |
 *     +-------------------------------+-------------------------------+
 *  16 |  Sender Protocol Address      |                               |
 *     +-------------------------------+                               +
 *  20 |                  Target Hardware Address                      |
 *     +---------------------------------------------------------------+
 *  24 |                  Target Protocol Address                      |
 *     +---------------------------------------------------------------+
 *
 * Other hardware and other protocols are not modelled: `checkLength` refuses them.
 */
import type { Address } from "./address.ts";
import { copy, putU16, putU32, u16, u32 } from "./bytes.ts";

/** Bytes in a packet; Ethernet pads its frame, so more may follow. */
export const PACKET_LENGTH = 28;

export const OPERATION_FIELD = 6;
export const SENDER_HARDWARE = 8;
export const SENDER_PROTOCOL = 14;
export const TARGET_HARDWARE = 18;
export const TARGET_PROTOCOL = 24;

/** Hardware type 1 (Ethernet) and protocol type 0x0800 (IPv4) in one word, and the two address lengths in the next. */
const ETHERNET_IPV4 = 0x0001_0800;
const LENGTHS = 0x0604;

export const OPERATION = { REQUEST: 1, REPLY: 2 } as const;

/** 28, or 0 when `[at, end)` is too short or of other hardware or another protocol. */
export function checkLength(b: Uint8Array, at: number, end: number): number {
  if (at + PACKET_LENGTH > end) return 0;
  return u32(b, at) === ETHERNET_IPV4 && u16(b, at + 4) === LENGTHS ? PACKET_LENGTH : 0;
}

export function operation(b: Uint8Array, at: number): number {
  return u16(b, at + OPERATION_FIELD);
}

/** A packet as a value. */
export interface ArpPacket {
  /** 0 … 65535; see `OPERATION`. */
  readonly operation: number;
  /** 6 bytes. */
  readonly senderHardware: Uint8Array;
  readonly senderProtocol: Address;
  /** 6 bytes, meaningless in a request. */
  readonly targetHardware: Uint8Array;
  readonly targetProtocol: Address;
}

/** The packet at `at`, in memory of its own, or undefined when `checkLength` refuses it. */
export function parse(b: Uint8Array, at: number, end: number): ArpPacket | undefined {
  if (checkLength(b, at, end) === 0) return undefined;
  return {
    operation: operation(b, at),
    senderHardware: copy(b, at + SENDER_HARDWARE, at + SENDER_PROTOCOL),
    senderProtocol: copy(b, at + SENDER_PROTOCOL, at + TARGET_HARDWARE),
    targetHardware: copy(b, at + TARGET_HARDWARE, at + TARGET_PROTOCOL),
    targetProtocol: copy(b, at + TARGET_PROTOCOL, at + PACKET_LENGTH),
  };
}

/** Bytes that `emit` will write: always 28. */
export function bufferLength(_p: ArpPacket): number {
  return PACKET_LENGTH;
}

/** Writes every byte of the packet and returns its length. */
export function emit(b: Uint8Array, at: number, p: ArpPacket): number {
  putU32(b, at, ETHERNET_IPV4);
  putU16(b, at + 4, LENGTHS);
  putU16(b, at + OPERATION_FIELD, p.operation);
  b.set(p.senderHardware, at + SENDER_HARDWARE);
  b.set(p.senderProtocol, at + SENDER_PROTOCOL);
  b.set(p.targetHardware, at + TARGET_HARDWARE);
  b.set(p.targetProtocol, at + TARGET_PROTOCOL);
  return PACKET_LENGTH;
}
