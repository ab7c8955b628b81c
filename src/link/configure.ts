/**
 * Makes what a network namespace of our own needs: a pair of virtual Ethernet interfaces, addresses, routes. Through
 * rtnetlink(7), so that a system without iproute2 does. Reading what
 * exists already is route.ts's business.
 *
 * Everything here needs CAP_NET_ADMIN in the namespace, and throws `ERR_SYSTEM` with the kernel's errno when refused.
 */
import { ERROR_CODES, SynprobeError } from "../errors.ts";
import type { Address } from "../wire/address.ts";
import type { Mac } from "../wire/ethernet.ts";
import { LITTLE_ENDIAN } from "./sys/libc.ts";
import { AF_INET6, familyOf } from "./sys/linux.ts";
import { type Attribute, fromU32, netlinkRequest, packAttributes, type RequestKind } from "./sys/netlink.ts";
import { IFA, IFLA, RTA, RTM } from "./sys/rtnetlink.ts";

const IFLA_INFO = { kind: 1, data: 2 } as const;
const VETH_INFO_PEER = 1;
const IFLA_INET6_ADDR_GEN_MODE = 8;
const IN6_ADDR_GEN_MODE_NONE = 1;
const IFA_F_NODAD = 0x02;
const RT_TABLE_MAIN = 254;
const RTPROT_STATIC = 4;
const RTN_UNICAST = 1;
const IFF_UP = 1;

const text = (value: string): Uint8Array => new TextEncoder().encode(`${value}\0`);
const nested = (type: number, ...attributes: Attribute[]): Attribute => ({
  type,
  value: packAttributes(attributes),
});

/** struct ifinfomsg: family, type, index, flags, and which of the flags are meant. */
function interfaceHeader(index: number, flags = 0): Uint8Array {
  const header = new Uint8Array(16);
  const view = new DataView(header.buffer);
  view.setInt32(4, index, LITTLE_ENDIAN);
  view.setUint32(8, flags, LITTLE_ENDIAN);
  view.setUint32(12, flags, LITTLE_ENDIAN);
  return header;
}

function request(
  what: string,
  type: number,
  header: Uint8Array,
  attributes: readonly Attribute[],
  kind: RequestKind,
): void {
  const answer = netlinkRequest(type, header, attributes, kind);
  if (!answer.ok) throw new SynprobeError(ERROR_CODES.system, `cannot ${what}: ${answer.errno}`);
}

/**
 * Makes a pair of interfaces, both down; each receives what the other sends. The kernel segments what it sends through
 * `name` to the MTU, as for a real cable.
 */
export function addVethPair(name: string, mac: Mac, peerName: string): void {
  const peer = packAttributes([{ type: IFLA.name, value: text(peerName) }]);
  request(
    `make the interfaces ${name} and ${peerName}`,
    RTM.newLink,
    interfaceHeader(0),
    [
      { type: IFLA.name, value: text(name) },
      { type: IFLA.address, value: mac },
      { type: IFLA.gsoMaxSegments, value: fromU32(1) },
      nested(
        IFLA.linkInfo,
        { type: IFLA_INFO.kind, value: text("veth") },
        nested(IFLA_INFO.data, {
          type: VETH_INFO_PEER,
          value: Uint8Array.of(...interfaceHeader(0), ...peer),
        }),
      ),
    ],
    "create",
  );
}

/** Brings an interface up. */
export function bringUp(index: number): void {
  request(`bring interface ${index} up`, RTM.setLink, interfaceHeader(index, IFF_UP), [], "change");
}

/** Keeps an interface from making its own IPv6 address, announcing it and soliciting routers. Does nothing without IPv6. */
export function withoutLinkLocal(index: number): void {
  const mode = { type: IFLA_INET6_ADDR_GEN_MODE, value: Uint8Array.of(IN6_ADDR_GEN_MODE_NONE) };
  netlinkRequest(
    RTM.setLink,
    interfaceHeader(index),
    [nested(IFLA.familySpecific, nested(AF_INET6, mode))],
    "change",
  );
}

/** Gives an interface an address, usable at once: an IPv6 one without duplicate address detection. */
export function addAddress(index: number, address: Address, prefixLength: number): void {
  const header = new Uint8Array(8);
  header.set([familyOf(address), prefixLength, address.length === 4 ? 0 : IFA_F_NODAD]);
  header.set(fromU32(index), 4);
  const attributes = [
    { type: IFA.local, value: address },
    { type: IFA.address, value: address },
  ];
  request("add an address", RTM.newAddress, header, attributes, "create");
}

/** Adds a route through a gateway. */
export function addRoute(index: number, destination: Address, prefixLength: number, gateway: Address): void {
  const header = new Uint8Array(12);
  header.set([familyOf(destination), prefixLength, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, 0, RTN_UNICAST]);
  const attributes = [
    { type: RTA.destination, value: destination },
    { type: RTA.outInterface, value: fromU32(index) },
    { type: RTA.gateway, value: gateway },
  ];
  request("add a route", RTM.newRoute, header, attributes, "create");
}
