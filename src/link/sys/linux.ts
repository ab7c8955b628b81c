/**
 * Numbers of Linux's socket interface (socket(7), ip(7), ipv6(7), packet(7), raw(7)), each stated once. Those of rtnetlink are
 * in rtnetlink.ts; what only one file needs, such as the layout of a ring, stands there.
 */
import type { Address } from "../../wire/address.ts";

export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;
export const AF_PACKET = 17;

export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;

export const IPPROTO_TCP = 6;
export const IPPROTO_RAW = 255;

export const SOL_IP = 0;
export const SOL_SOCKET = 1;
export const SOL_IPV6 = 41;
export const SOL_RAW = 255;
export const SOL_PACKET = 263;

export const SO_ERROR = 4;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_BINDTODEVICE = 25;
export const SO_ATTACH_FILTER = 26;
export const SO_RCVBUFFORCE = 33;
export const SO_TIMESTAMPNS = 35;
export const SO_MEMINFO = 55;
export const SO_COOKIE = 57;

export const IP_PKTINFO = 8;
export const IP_RECVERR = 11;
export const IPV6_CHECKSUM = 7;
export const IPV6_RECVERR = 25;
export const IPV6_RECVPKTINFO = 49;
export const IPV6_PKTINFO = 50;
export const IPV6_RECVHOPLIMIT = 51;
export const IPV6_HOPLIMIT = 52;

export const MSG_TRUNC = 0x20;
export const MSG_ERRQUEUE = 0x2000;
export const MSG_DONTWAIT = 0x40;

/** The address family of an IP version. */
export const familyNumber = (version: 4 | 6): number => (version === 4 ? AF_INET : AF_INET6);

/** The address family of an address. */
export const familyOf = (address: Address): number => (address.length === 4 ? AF_INET : AF_INET6);
