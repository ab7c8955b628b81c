/**
 * The system as doctor sees it: an interface. linux.ts implements it; tests have made-up systems.
 */
import type { ErrorCode } from "../../errors.ts";
import type { PortRange } from "../../link/filter.ts";
import type { Interface, RouteAnswer } from "../../link/route.ts";
import type { Address } from "../../wire/address.ts";
import type { Resolution } from "../system/resolve.ts";

/** One raw TCP socket, opened as a run opens its own, and closed at once. */
export type RawTrial =
  /** `receiveBuffer` is SO_RCVBUF as read back: twice the bytes granted (socket(7)). */
  { readonly ok: true; readonly receiveBuffer: number } | RawRefusal;

export interface RawRefusal {
  readonly ok: false;
  readonly code: ErrorCode;
  /** openRawSocket's: what is wrong, and often what to do. */
  readonly message: string;
  /** The system's own: "Operation not permitted". */
  readonly text: string;
}

export interface System {
  /** Kernel release: "6.18.44". */
  readonly release: string;
  /** Effective ids. */
  readonly uid: number;
  readonly gid: number;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** A file's text; undefined when it is missing or may not be read. */
  readFile(path: string): string | undefined;
  exists(path: string): boolean;
  openRaw(family: 4 | 6): RawTrial;
  /** Why there are no packet sockets: the errno's name; undefined when there are. */
  packetSocketRefusal(): string | undefined;
  /** What frames to an address through an interface would pass by (link/passed-by.ts). */
  passedBy(interfaceIndex: number, destination: Address): readonly string[];
  /** The source ports of a run; `shared` when the kernel gives out the same ones. */
  sourcePorts(): { readonly first: number; readonly last: number; readonly shared: boolean };
  /** This machine's addresses. */
  addresses(family: 4 | 6): readonly { readonly address: Address; readonly interfaceIndex: number }[];
  interface(which: string | number): Interface | undefined;
  route(destination: Address, interfaceIndex?: number): RouteAnswer;
  resolve(name: string): Promise<Resolution>;
  /** Blocks of ports for which a killed run still holds the kernel's RST back. */
  staleBlocks(): readonly PortRange[];
  /** Removes those rules. @throws {SynprobeError} without CAP_NET_ADMIN */
  sweepStaleBlocks(): void;
}
