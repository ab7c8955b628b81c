/**
 * A Connector: something that connects sockets and says what came of it. The kernel's calls (kernel-connector.ts) or node:net
 * (node-connector.ts). It knows slots, addresses and errors; packets are connect-link.ts's business.
 */
import type { Address } from "../../wire/address.ts";

/** What a connect in a slot came to. A slot is told one of the first four; then, if it is connected, the last. */
export interface Outcomes {
  connected(slot: number): void;
  /** The peer reset it: nothing listens. */
  refused(slot: number): void;
  /** The kernel was told, or knows, that there is no way: as an ICMP message of the slot's IP version. */
  unreachable(slot: number, error: UnreachableError): void;
  /** Nothing is known: the kernel has given up by itself. */
  lost(slot: number): void;
  /** A connected slot may have something to read, or its FIN may have been acknowledged. */
  changed(slot: number): void;
}

export interface UnreachableError {
  readonly type: number;
  readonly code: number;
  /** Who said so; absent when that is not known. */
  readonly responder?: Address;
}

/** What `read` returns in place of a length. */
export const READ = { nothing: -1, reset: -2 } as const;

export interface Connector {
  /**
   * Begins to connect a slot that is at nothing, to the address `bytes[at]`.
   * @returns "" when it is under way, else the errno name of the refusal: the slot is at nothing then
   */
  begin(slot: number, family: 4 | 6, bytes: Uint8Array, at: number, port: number): string;
  /** Whether a slot can begin without a new descriptor. */
  has(slot: number, family: 4 | 6): boolean;
  /** Ends whatever a slot is at: no SYN is sent again, a connection is reset. */
  end(slot: number): void;
  /** Tells outcomes. @returns true when none is left waiting */
  poll(outcomes: Outcomes): boolean;
  onReadable(handler: () => void): void;
  /** Reads what the peer of a connected slot has sent. @returns its length, 0 at its end, or one of READ */
  read(slot: number, into: Uint8Array): number;
  /** Sends FIN. */
  finish(slot: number): void;
  /** Whether that has been acknowledged, as far as it can be known. */
  isFinished(slot: number): boolean;
  close(): void;
}

/** ICMP errors by the errno that the kernel makes of them (icmp_err_convert of net/ipv4/icmp.c, icmpv6_err_convert of net/ipv6/icmp.c). */
const UNREACHABLE_4: Readonly<Record<string, UnreachableError>> = {
  ENETUNREACH: { type: 3, code: 0 },
  EHOSTUNREACH: { type: 3, code: 1 },
  EHOSTDOWN: { type: 3, code: 1 },
  ENOPROTOOPT: { type: 3, code: 2 },
  ENONET: { type: 3, code: 1 },
  EACCES: { type: 3, code: 13 },
  EPERM: { type: 3, code: 13 },
};
const UNREACHABLE_6: Readonly<Record<string, UnreachableError>> = {
  ENETUNREACH: { type: 1, code: 0 },
  EACCES: { type: 1, code: 1 },
  EPERM: { type: 1, code: 1 },
  EHOSTUNREACH: { type: 1, code: 3 },
  EHOSTDOWN: { type: 1, code: 3 },
  EPROTO: { type: 4, code: 1 },
};

/** Tells what a connect's error means, when there is nothing but the error. */
export function tellError(outcomes: Outcomes, slot: number, family: 4 | 6, errno: string): void {
  const error = (family === 4 ? UNREACHABLE_4 : UNREACHABLE_6)[errno];
  if (error !== undefined) outcomes.unreachable(slot, error);
  else if (errno === "ECONNREFUSED") outcomes.refused(slot);
  // Reset after the handshake, before anybody looked.
  else if (errno === "ECONNRESET" || errno === "EPIPE") outcomes.connected(slot);
  else outcomes.lost(slot);
}
