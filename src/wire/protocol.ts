/**
 * Protocol numbers (IANA) that a prober meets in the IPv4 protocol field or the IPv6 next-header field.
 *
 * Tested by test/wire/ipv6.test.ts.
 */
export const PROTOCOL = {
  HOP_BY_HOP: 0,
  ICMP: 1,
  TCP: 6,
  UDP: 17,
  ROUTING: 43,
  FRAGMENT: 44,
  AH: 51,
  ICMPV6: 58,
  DESTINATION_OPTIONS: 60,
} as const;
