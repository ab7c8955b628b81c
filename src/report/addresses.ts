/**
 * Addresses as the formats need them: their order.
 */
import ipaddr from "ipaddr.js";

/** The value of an IPv4 address in canonical text, 0 to 2^32 - 1; -1 for anything else. */
export function ipv4Value(ip: string): number {
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

/** Sort key of an address: IPv4 by value, then IPv6 by value, then anything else. */
export interface AddressKey {
  /** -1 for all but IPv4. */
  readonly v4: number;
  readonly text: string;
}

export function addressKey(ip: string): AddressKey {
  const v4 = ipv4Value(ip);
  if (v4 >= 0) return { v4, text: "" };
  if (!ipaddr.isValid(ip)) return { v4, text: `z${ip}` };
  const hex = ipaddr
    .parse(ip)
    .toByteArray()
    .map((byte) => byte.toString(16).padStart(2, "0"));
  return { v4, text: hex.join("") };
}

export function compareAddresses(a: AddressKey, b: AddressKey): number {
  if (a.v4 >= 0 && b.v4 >= 0) return a.v4 - b.v4;
  if (a.v4 >= 0 || b.v4 >= 0) return a.v4 >= 0 ? -1 : 1;
  return a.text < b.text ? -1 : a.text > b.text ? 1 : 0;
}
