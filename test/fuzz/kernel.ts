/**
 * Every reader of the kernel's answers by netlink, fed with any bytes instead: the four system calls they are made of are
 * replaced while it lasts. What a reader makes of an answer must have its form, and nothing but `SynprobeError` may be thrown.
 */
import { isSynprobeError } from "../../src/errors.ts";
import { routingBounds } from "../../src/link/fib.ts";
import { createNeighbourTable, lookUpNeighbours } from "../../src/link/neighbour.ts";
import { findPassedBy } from "../../src/link/passed-by.ts";
import { localAddresses, lookUpInterface, lookUpRoute } from "../../src/link/route.ts";
import { listRstRules } from "../../src/link/rst-rule.ts";
import { LITTLE_ENDIAN, libc } from "../../src/link/sys/libc.ts";
import { type Attribute, fromU32, packAttributes } from "../../src/link/sys/netlink.ts";
import { IFA, IFLA, NDA, RTA, RTM } from "../../src/link/sys/rtnetlink.ts";
import type { Address } from "../../src/wire/address.ts";

const HEADER = 16;
const DONE = 3;
const ERROR = 2;
const FD = 1 << 20;

/** One message as the kernel frames it. */
export function framed(type: number, body: Uint8Array, attributes: readonly Attribute[] = []): Uint8Array {
  const packed = packAttributes(attributes);
  const bytes = new Uint8Array(HEADER + ((body.length + 3) & ~3) + packed.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, LITTLE_ENDIAN);
  view.setUint16(4, type, LITTLE_ENDIAN);
  bytes.set(body, HEADER);
  bytes.set(packed, bytes.length - packed.length);
  return bytes;
}

/** A refusal: the errno, negated. */
const refusal = (errno: number): Uint8Array => framed(ERROR, fromU32(-errno >>> 0));

/** Runs what asks the kernel, which answers each question with these bytes and then says that it is done. */
export function answeredBy<Result>(bytes: Uint8Array, ask: () => Result): Result {
  const real = { ...libc };
  let said = false;
  Object.assign(libc, {
    socket: () => FD,
    close: () => 0,
    send: (_fd: number, _bytes: Uint8Array, length: number) => {
      said = false;
      return length;
    },
    recv: (_fd: number, into: Uint8Array, room: number) => {
      const answer = said ? framed(DONE, new Uint8Array(4)) : bytes.subarray(0, room);
      said = true;
      into.set(answer);
      return answer.length;
    },
  });
  try {
    return ask();
  } finally {
    Object.assign(libc, real);
  }
}

function holds(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

const LINK = 2;
const V4 = Uint8Array.of(198, 18, 0, 9);
const V6 = Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9);
const last = (first: Address): Address => Uint8Array.from(first, (byte, i) => (i < 2 ? byte : 255));
const isAddressOf = (destination: Address, address: Address): boolean =>
  address.length === destination.length;

/** Every reader on the same answer. */
export function readAnswer(bytes: Uint8Array): void {
  const readers: readonly (() => void)[] = [
    ...[V4, V6].map((destination) => () => {
      const answer = lookUpRoute(destination);
      if (!answer.ok) return holds(/^E[A-Z0-9-]+$/.test(answer.errno), `errno ${answer.errno}`);
      const { source, gateway, interfaceIndex, mtu } = answer.route;
      holds(isAddressOf(destination, source), `a source of ${source.length} bytes`);
      holds(
        gateway === undefined || [4, 16].includes(gateway.length),
        `a gateway of ${gateway?.length} bytes`,
      );
      for (const number of [interfaceIndex, mtu ?? 0])
        holds(Number.isInteger(number), `the number ${number}`);
    }),
    () => {
      const found = lookUpInterface(LINK);
      if (found !== undefined)
        for (const number of [found.index, found.mtu])
          holds(Number.isInteger(number), `the number ${number} of an interface`);
    },
    ...([4, 6] as const).flatMap((family) => [
      () => {
        for (const { address, interfaceIndex, prefixLength } of localAddresses(family)) {
          holds(address.length === (family === 4 ? 4 : 16), `an address of ${address.length} bytes`);
          holds(prefixLength <= 8 * address.length, `a prefix of ${prefixLength} bits`);
          holds(Number.isInteger(interfaceIndex), `the interface ${interfaceIndex}`);
        }
      },
      () => {
        const neighbours = lookUpNeighbours(LINK, family);
        for (const { address } of neighbours)
          holds(address.length === (family === 4 ? 4 : 16), `a neighbour of ${address.length} bytes`);
        createNeighbourTable({ reachableUs: 30e6 }).learn(neighbours, 0);
      },
      () => {
        for (const { first, last: end } of listRstRules(family))
          holds(Number.isInteger(first) && Number.isInteger(end), "a rule without ports");
      },
    ]),
    ...[V4, V6].map((first) => () => {
      const bounds = routingBounds(first, last(first));
      for (const bound of bounds) holds(isAddressOf(first, bound), `a bound of ${bound.length} bytes`);
    }),
    () =>
      findPassedBy(
        LINK,
        [V4, V6].map((first) => ({ first, last: last(first) })),
      ),
  ];
  for (const read of readers) {
    try {
      answeredBy(bytes, read);
    } catch (error) {
      if (!isSynprobeError(error)) throw error;
    }
  }
}

/** A route, an interface, an address, a neighbour, a chain of a firewall, a queueing discipline, a refusal; several in one. */
export function answers(): Uint8Array[] {
  const text = (name: string): Uint8Array => new TextEncoder().encode(`${name}\0`);
  const on = (...bytes: number[]): Uint8Array => Uint8Array.of(...bytes);
  const route = framed(RTM.newRoute, on(2, 32, 0, 0, 254, 2, 0, 1, 0, 0, 0, 0), [
    { type: RTA.destination, value: V4 },
    { type: RTA.outInterface, value: fromU32(LINK) },
    { type: RTA.preferredSource, value: on(198, 18, 0, 1) },
    { type: RTA.gateway, value: on(198, 18, 0, 2) },
    { type: RTA.metrics, value: packAttributes([{ type: 2, value: fromU32(1400) }]) },
  ]);
  const rule = framed(RTM.newRule, on(2, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0), [
    { type: 6, value: fromU32(5300) },
    { type: 3, value: text("lo") },
    { type: 22, value: on(6) },
    { type: 21, value: on(83) },
    { type: 23, value: on(0, 0xc0, 0xff, 0xc0) },
  ]);
  const link = framed(RTM.newLink, on(0, 0, 1, 0, 2, 0, 0, 0, 0x41, 0, 0, 0, 0, 0, 0, 0), [
    { type: IFLA.name, value: text("eth0") },
    { type: IFLA.mtu, value: fromU32(1500) },
    { type: IFLA.address, value: on(2, 0, 0x5e, 0, 0x53, 1) },
  ]);
  const address = framed(RTM.newAddress, on(10, 64, 0, 0, 2, 0, 0, 0), [{ type: IFA.address, value: V6 }]);
  const neighbour = framed(28, on(2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 1), [
    { type: NDA.destination, value: V4 },
    { type: NDA.linkLayer, value: on(2, 0, 0x5e, 0, 0x53, 2) },
  ]);
  const chain = framed((10 << 8) | 3, on(1, 0, 0, 0), [
    { type: 1, value: text("filter") },
    { type: 4, value: packAttributes([{ type: 1, value: on(0, 0, 0, 3) }]) },
    { type: 5, value: on(0, 0, 0, 1) },
    { type: 6, value: on(0, 0, 0, 2) },
  ]);
  const discipline = framed(36, on(0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), [
    { type: 1, value: text("htb") },
  ]);
  return [
    route,
    link,
    rule,
    address,
    neighbour,
    chain,
    discipline,
    refusal(101),
    Buffer.concat([route, rule, address, neighbour, framed(DONE, new Uint8Array(4))]),
  ];
}
