/**
 * Addresses as the formats need them: their order, and their canonical text.
 */
import ipaddr from "ipaddr.js";

/** The value of an IPv4 address in canonical text, 0 to 2^32 - 1; -1 for anything else. */
function ipv4Value(ip: string): number {
  let value = 0;
  let octet = 0;
  let dots = 0;
  for (let i = 0; i < ip.length; i++) {
    const code = ip.charCodeAt(i);
    if (code === 0x2e) {
      value = value * 256 + octet;
      octet = 0;
      dots++;
    } else if (code >= 0x30 && code <= 0x39) octet = octet * 10 + code - 0x30;
    else return -1;
  }
  return dots === 3 ? value * 256 + octet : -1;
}

/** Texts that were looked at lately: to parse one takes as long as to read its line. */
const canonical = new Map<string, string>();
const MOST_KEPT = 1 << 16;

/** An address in its canonical text (RFC 5952), by which it is known, whoever wrote it; what is read as none stays. */
export function canonicalAddress(ip: string): string {
  if (!ip.includes(":")) return ip;
  const known = canonical.get(ip);
  if (known !== undefined) return known;
  if (canonical.size >= MOST_KEPT) canonical.clear();
  const text = textOf(ip);
  canonical.set(ip, text);
  return text;
}

function textOf(ip: string): string {
  if (ip.includes("%") || !ipaddr.IPv6.isValid(ip)) return ip;
  const address = ipaddr.IPv6.parse(ip);
  return address.isIPv4MappedAddress() ? `::ffff:${address.toIPv4Address()}` : address.toRFC5952String();
}

/** A text that sorts like the address: IPv4 by value, then IPv6 by value, then anything else. */
export function sortKey(ip: string): string {
  const v4 = ipv4Value(ip);
  if (v4 >= 0) return `4${v4.toString(16).padStart(8, "0")}`;
  if (!ipaddr.IPv6.isValid(ip)) return `9${ip}`;
  const bytes = ipaddr.IPv6.parse(ip).toByteArray();
  return `6${bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** Texts by their units, as sort keys are to be compared: a locale's order would be another. */
export const compareKeys = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
