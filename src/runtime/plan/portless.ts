/**
 * What is said of a target that names no port, where its last number may be meant as one. Tested by test/runtime/plan/plan.test.ts.
 */
import type { AnyTargetSpec, LiteralHost } from "../../scan/targets/grammar.ts";
import { parseAddress } from "../../wire/address.ts";

/** A target without a port whose last number may be meant as one. */
export interface Doubted {
  readonly text: string;
  readonly is: string;
  readonly meant: string;
  readonly port: string;
}

/** 2001:db8::1:22 may be meant as port 22 of 2001:db8::1, and 198.18.0.1,22 as 198.18.0.1:22. */
export function orLastGroup(host: AnyTargetSpec["host"], text: string): Doubted | undefined {
  const [, address, port] = /^([^[]*):([1-9]\d{1,3})$/.exec(text) ?? [];
  const [, ipv4, number] = /^(\d+\.\d+\.\d+\.\d+),(\d+)$/.exec(text) ?? [];
  if (ipv4 !== undefined) return { text, is: "two addresses", meant: `${ipv4}:${number}`, port: number };
  const meant = host.kind === "address" && address !== undefined && parseAddress(address) !== undefined;
  return meant && port !== undefined
    ? { text, is: "an address", meant: `[${address}]:${port}`, port }
    : undefined;
}

export const ifMeant = (doubted: Doubted | undefined): string =>
  doubted === undefined ? "" : `or ${doubted.meant} if ${doubted.port} is the port, `;

/** How a target is written when a port follows: IPv6 in brackets. */
export function withPort(host: AnyTargetSpec["host"] | LiteralHost, text: string): string {
  const v6 = host.kind === "address" && host.address.length === 16;
  return v6 && !text.startsWith("[") ? `[${text}]` : text;
}
