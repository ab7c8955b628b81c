/**
 * Addresses for the formats: sort order, and counting distinct ones.
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

export interface AddressCount {
  add(ip: string): void;
  /** Number of distinct addresses. */
  readonly count: number;
  /** False when there were more than could be told apart; `count` is then a lower bound. */
  readonly exact: boolean;
}

/** Limits of what is counted exactly: /16 networks of IPv4, 8 KiB each, and IPv6 addresses, about 100 bytes each. */
const MOST_NETWORKS = 4096;
const MOST_IPV6 = 1 << 18;

/** Counts distinct addresses in bounded memory: at most 60 MB, and 8 KiB in most runs. */
export function countAddresses(mostNetworks = MOST_NETWORKS, mostIpv6 = MOST_IPV6): AddressCount {
  const networks = new Map<number, Uint8Array>();
  const others = new Set<string>();
  let count = 0;
  let exact = true;

  function addIpv4(value: number): void {
    const network = value >>> 16;
    let seen = networks.get(network);
    if (seen === undefined) {
      if (networks.size === mostNetworks) {
        exact = false;
        return;
      }
      seen = new Uint8Array(8192);
      networks.set(network, seen);
    }
    const at = (value & 0xffff) >>> 3;
    const bit = 1 << (value & 7);
    if ((seen[at] & bit) !== 0) return;
    seen[at] |= bit;
    count++;
  }

  return {
    add(ip) {
      const value = ipv4Value(ip);
      if (value >= 0) return addIpv4(value);
      if (others.has(ip)) return;
      if (others.size === mostIpv6) {
        exact = false;
        return;
      }
      others.add(ip);
      count++;
    },
    get count() {
      return count;
    },
    get exact() {
      return exact;
    },
  };
}
