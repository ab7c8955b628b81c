/**
 * IP addresses as bytes: text in, text out, and the special address blocks that a prober must know.
 *
 * Names, zones ("%eth0"), brackets, prefixes and ports belong to the target grammar, not here. An IPv4-mapped
 * IPv6 address (::ffff:192.0.2.1) is an IPv6 address throughout: the predicates below judge it as 16 bytes.
 */
import { u16 } from "./bytes.ts";

/** 4 bytes (IPv4) or 16 bytes (IPv6), network order. */
export type Address = Uint8Array;

/**
 * The address that `text` spells, or undefined when it spells none.
 * IPv4: four decimal numbers, no leading zeros (which elsewhere mean octal), no short forms.
 * IPv6: RFC 4291 2.2 in all three forms; "::" stands for at least one group of zeros.
 */
export function parseAddress(text: string): Address | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

/** An address or name, in text, and a port: `192.0.2.1:80`, `[2001:db8::1]:80`. */
export const formatEndpoint = (host: string, port: number): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;

const DOT = 0x2e;
const ZERO = 0x30;

function parseIpv4(text: string): Address | undefined {
  const bytes = new Uint8Array(4);
  let field = 0;
  let digits = 0;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === DOT) {
      if (digits === 0 || field === 3) return undefined;
      bytes[field++] = value;
      digits = 0;
      value = 0;
      continue;
    }
    const digit = c - ZERO;
    if (digit < 0 || digit > 9 || (digits > 0 && value === 0)) return undefined;
    digits++;
    value = value * 10 + digit;
    if (value > 255) return undefined;
  }
  if (digits === 0 || field !== 3) return undefined;
  bytes[3] = value;
  return bytes;
}

const LONGEST_IPV6_TEXT = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".length;

function parseIpv6(text: string): Address | undefined {
  if (text.length > LONGEST_IPV6_TEXT) return undefined;
  const gap = text.indexOf("::");
  const head = parseGroups(gap < 0 ? text : text.slice(0, gap), gap < 0);
  const tail = parseGroups(gap < 0 ? "" : text.slice(gap + 2), true);
  if (head === undefined || tail === undefined) return undefined;
  const known = head.length + tail.length;
  if (gap < 0 ? known !== 16 : known > 14) return undefined;
  const bytes = new Uint8Array(16);
  bytes.set(head);
  bytes.set(tail, 16 - tail.length);
  return bytes;
}

/**
 * The bytes of colon-separated groups on one side of "::"; a dotted quad may stand last when nothing follows
 * it.
 */
function parseGroups(text: string, isLast: boolean): number[] | undefined {
  const bytes: number[] = [];
  if (text === "") return bytes;
  const groups = text.split(":");
  for (const [i, group] of groups.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(group)) {
      const word = Number.parseInt(group, 16);
      bytes.push(word >>> 8, word & 0xff);
      continue;
    }
    const quad = isLast && i === groups.length - 1 ? parseIpv4(group) : undefined;
    if (quad === undefined) return undefined;
    bytes.push(...quad);
  }
  return bytes;
}

/**
 * The canonical text of the `length` (4 or 16) bytes at `at`: dotted quad, or RFC 5952 with IPv4-mapped
 * addresses in the mixed notation of its section 5. Give `length` whenever the address is only a part of `b`.
 */
export function formatAddress(b: Uint8Array, at = 0, length = b.length): string {
  return length === 4 ? formatIpv4(b, at) : formatIpv6(b, at);
}

/** An IPv4 address, as a number of 32 bits, in text. */
export const ipv4Text = (value: number): string =>
  `${value >>> 24}.${(value >>> 16) & 0xff}.${(value >>> 8) & 0xff}.${value & 0xff}`;

function formatIpv4(b: Uint8Array, at: number): string {
  return `${b[at]}.${b[at + 1]}.${b[at + 2]}.${b[at + 3]}`;
}

function formatIpv6(b: Uint8Array, at: number): string {
  if (hasMappedPrefix(b, at)) return `::ffff:${formatIpv4(b, at + 12)}`;
  const groups: string[] = [];
  let runStart = 0;
  let longestStart = 0;
  let longest = 1; // a single zero group is written out (RFC 5952 4.2.2)
  for (let i = 0; i < 8; i++) {
    const word = u16(b, at + 2 * i);
    groups.push(word.toString(16));
    if (word !== 0) runStart = i + 1;
    if (i + 1 - runStart > longest) {
      longest = i + 1 - runStart;
      longestStart = runStart;
    }
  }
  if (longest === 1) return groups.join(":");
  return `${groups.slice(0, longestStart).join(":")}::${groups.slice(longestStart + longest).join(":")}`;
}

/** Whether the `length` bytes at `aAt` in `a` and at `bAt` in `b` are the same address. */
export function sameAddress(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number, length: number): boolean {
  for (let i = 0; i < length; i++) {
    if (a[aAt + i] !== b[bAt + i]) return false;
  }
  return true;
}

/** 224.0.0.0/4 (RFC 5771) or ff00::/8 (RFC 4291 2.7). */
export function isMulticast(a: Address): boolean {
  return a.length === 4 ? a[0] >>> 4 === 0xe : a[0] === 0xff;
}

/** 255.255.255.255 (RFC 919). A subnet's own broadcast address takes its prefix to know. */
export function isLimitedBroadcast(a: Address): boolean {
  return a.length === 4 && (a[0] & a[1] & a[2] & a[3]) === 255;
}

/** 0.0.0.0 or :: exactly. */
export function isUnspecified(a: Address): boolean {
  return isZero(a, 0, a.length);
}

/** 127.0.0.0/8 (RFC 1122 3.2.1.3) or ::1. */
export function isLoopback(a: Address): boolean {
  if (a.length === 4) return a[0] === 127;
  return a[15] === 1 && isZero(a, 0, 15);
}

/** 169.254.0.0/16 (RFC 3927) or fe80::/10 (RFC 4291 2.5.6). */
export function isLinkLocal(a: Address): boolean {
  if (a.length === 4) return a[0] === 169 && a[1] === 254;
  return a[0] === 0xfe && a[1] >>> 6 === 0b10;
}

/** 0.0.0.0/8 or 240.0.0.0/4 (RFC 6890), less 255.255.255.255; nothing in IPv6. */
export function isReserved(a: Address): boolean {
  return a.length === 4 && (a[0] === 0 || (a[0] >= 240 && !isLimitedBroadcast(a)));
}

/** ::ffff:0:0/96 (RFC 4291 2.5.5.2). */
export function isV4Mapped(a: Address): boolean {
  return a.length === 16 && hasMappedPrefix(a, 0);
}

function hasMappedPrefix(b: Uint8Array, at: number): boolean {
  return b[at + 10] === 0xff && b[at + 11] === 0xff && isZero(b, at, at + 10);
}

function isZero(b: Uint8Array, at: number, end: number): boolean {
  for (let i = at; i < end; i++) {
    if (b[i] !== 0) return false;
  }
  return true;
}
