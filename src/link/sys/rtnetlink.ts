/**
 * Numbers of rtnetlink(7): messages, the lengths of their headers, and attributes, each stated once (linux/rtnetlink.h,
 * if_link.h, if_addr.h, neighbour.h, fib_rules.h). What they are for is said where they are used.
 */

export const RTM = {
  newLink: 16,
  getLink: 18,
  setLink: 19,
  newAddress: 20,
  getAddress: 22,
  newRoute: 24,
  getRoute: 26,
  getNeighbour: 30,
  newRule: 32,
  deleteRule: 33,
  getRule: 34,
  getQueueingDiscipline: 38,
  getAddressLabel: 74,
} as const;

/** Bytes of the header before the attributes: struct rtmsg, fib_rule_hdr, ifinfomsg, ifaddrmsg, ndmsg, tcmsg, ifaddrlblmsg. */
export const HEADER_LENGTH = {
  route: 12,
  rule: 12,
  link: 16,
  address: 8,
  neighbour: 12,
  queueingDiscipline: 20,
  addressLabel: 12,
} as const;

/** Of a route. */
export const RTA = {
  destination: 1,
  source: 2,
  outInterface: 4,
  gateway: 5,
  preferredSource: 7,
  metrics: 8,
  multipath: 9,
  via: 18,
  nextHopId: 30,
} as const;
export const RTAX_MTU = 2;

/** Of an interface. */
export const IFLA = {
  address: 1,
  name: 3,
  mtu: 4,
  linkInfo: 18,
  familySpecific: 26,
  gsoMaxSegments: 40,
  alternativeName: 53,
} as const;

/** Of an address. */
export const IFA = { address: 1, local: 2 } as const;

/** Of a neighbour. */
export const NDA = { destination: 1, linkLayer: 2, interfaceIndex: 8 } as const;

/** Of a policy rule. */
export const FRA = {
  destination: 1,
  inputInterface: 3,
  priority: 6,
  mark: 10,
  users: 20,
  protocol: 21,
  ipProtocol: 22,
  sourcePorts: 23,
  destinationPorts: 24,
} as const;
