/**
 * Packets as real stacks sent them, IP header first. One file per packet: `#` lines say where it came from
 * and what another decoder makes of it, the rest is hex.
 */
import { readdirSync, readFileSync } from "node:fs";

const directory = new URL(".", import.meta.url);

/** Every packet there is, by file name without ".hex": "syn-ack.ipv4". */
export const GOLDEN_NAMES: readonly string[] = readdirSync(directory)
  .filter((file) => file.endsWith(".hex"))
  .map((file) => file.slice(0, -".hex".length))
  .sort();

/** The bytes of one packet, in fresh memory. */
export function golden(name: string): Uint8Array {
  return fromHex(readFileSync(new URL(`${name}.hex`, directory), "utf8"));
}

/** Bytes from hex with white space and `#` comment lines. */
export function fromHex(text: string): Uint8Array {
  const digits = text.replace(/^#.*$/gm, "").replace(/\s+/g, "");
  if (!/^([0-9a-f]{2})*$/i.test(digits)) throw new Error(`not hex: ${digits}`);
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
