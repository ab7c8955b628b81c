/**
 * TCP options (RFC 9293 3.2): a list of kinds, read leniently and written exactly.
 *
 *     kind 0, 1             one byte: end of list, no-operation
 *     kind | length | ...   everything else; the length counts all three parts
 *
 * What is agreed on with them (scaling, SACK, timestamps) is for the socket; only their bytes are here.
 */
import { copy, putU16, putU32, u16, u32 } from "./bytes.ts";

export const KIND = {
  END_OF_LIST: 0,
  NOP: 1,
  MSS: 2,
  WINDOW_SCALE: 3,
  SACK_PERMITTED: 4,
  SACK: 5,
  TIMESTAMPS: 8,
} as const;

/** A range of sequence numbers that arrived: from `left` up to, not including, `right` (RFC 2018 3). */
export interface SackBlock {
  readonly left: number;
  readonly right: number;
}

export type TcpOption =
  /** The largest segment the sender takes, in bytes of data (RFC 9293 3.7.1). */
  | { readonly kind: "mss"; readonly value: number }
  /** The sender's windows count units of 2^shift bytes (RFC 7323 2). */
  | { readonly kind: "window-scale"; readonly shift: number }
  | { readonly kind: "sack-permitted" }
  | { readonly kind: "sack"; readonly blocks: readonly SackBlock[] }
  /** The sender's clock and its echo of the other's, in ticks of unknown length (RFC 7323 3). */
  | { readonly kind: "timestamps"; readonly value: number; readonly echo: number }
  | { readonly kind: "nop" }
  /**
   * An unknown kind, or a known one of the wrong length: `data` is what followed the length
   * byte.
   */
  | { readonly kind: "unknown"; readonly code: number; readonly data: Uint8Array };

export interface ParsedOptions {
  readonly options: TcpOption[];
  /** Whether some length was wrong: less than 2, beyond the header, or not that of its kind. */
  readonly malformed: boolean;
}

/**
 * The options in `[at, end)`, up to the end-of-list option or `end`. Never throws: an option that is cut off
 * ends the list; the options before it are kept.
 */
export function parseOptions(b: Uint8Array, at: number, end: number): ParsedOptions {
  const options: TcpOption[] = [];
  let malformed = false;
  let i = at;
  while (i < end && b[i] !== KIND.END_OF_LIST) {
    if (b[i] === KIND.NOP) {
      options.push({ kind: "nop" });
      i++;
      continue;
    }
    const length = i + 1 < end ? b[i + 1] : 0;
    if (length < 2 || i + length > end) return { options, malformed: true };
    const known = parseKnown(b, i, length);
    options.push(known ?? { kind: "unknown", code: b[i], data: copy(b, i + 2, i + length) });
    if (known === undefined && isKnownKind(b[i])) malformed = true;
    i += length;
  }
  return { options, malformed };
}

function parseKnown(b: Uint8Array, at: number, length: number): TcpOption | undefined {
  switch (b[at]) {
    case KIND.MSS:
      return length === 4 ? { kind: "mss", value: u16(b, at + 2) } : undefined;
    case KIND.WINDOW_SCALE:
      return length === 3 ? { kind: "window-scale", shift: b[at + 2] } : undefined;
    case KIND.SACK_PERMITTED:
      return length === 2 ? { kind: "sack-permitted" } : undefined;
    case KIND.SACK:
      return length > 2 && length % 8 === 2
        ? { kind: "sack", blocks: parseBlocks(b, at + 2, at + length) }
        : undefined;
    case KIND.TIMESTAMPS:
      return length === 10 ? { kind: "timestamps", value: u32(b, at + 2), echo: u32(b, at + 6) } : undefined;
    default:
      return undefined;
  }
}

function parseBlocks(b: Uint8Array, at: number, end: number): SackBlock[] {
  const blocks: SackBlock[] = [];
  for (let i = at; i < end; i += 8) {
    blocks.push({ left: u32(b, i), right: u32(b, i + 4) });
  }
  return blocks;
}

function isKnownKind(code: number): boolean {
  return Object.values<number>(KIND).includes(code);
}

/** Bytes that `emitOptions` will write: a multiple of 4. A header has room for 40. */
export function optionsLength(options: readonly TcpOption[]): number {
  const length = options.reduce((total, option) => total + optionLength(option), 0);
  return Math.ceil(length / 4) * 4;
}

function optionLength(option: TcpOption): number {
  switch (option.kind) {
    case "nop":
      return 1;
    case "sack-permitted":
      return 2;
    case "window-scale":
      return 3;
    case "mss":
      return 4;
    case "timestamps":
      return 10;
    case "sack":
      return 2 + option.blocks.length * 8;
    case "unknown":
      return 2 + option.data.length;
  }
}

/**
 * Writes the options in the order given, padded with end-of-list bytes to a multiple of 4, and returns the
 * length.
 */
export function emitOptions(b: Uint8Array, at: number, options: readonly TcpOption[]): number {
  let i = at;
  for (const option of options) {
    emitOption(b, i, option);
    i += optionLength(option);
  }
  const length = optionsLength(options);
  b.fill(KIND.END_OF_LIST, i, at + length);
  return length;
}

function emitOption(b: Uint8Array, at: number, option: TcpOption): void {
  if (option.kind === "nop") {
    b[at] = KIND.NOP;
    return;
  }
  b[at + 1] = optionLength(option);
  switch (option.kind) {
    case "mss":
      b[at] = KIND.MSS;
      putU16(b, at + 2, option.value);
      break;
    case "window-scale":
      b[at] = KIND.WINDOW_SCALE;
      b[at + 2] = option.shift;
      break;
    case "sack-permitted":
      b[at] = KIND.SACK_PERMITTED;
      break;
    case "sack":
      b[at] = KIND.SACK;
      for (const [n, block] of option.blocks.entries()) {
        putU32(b, at + 2 + n * 8, block.left);
        putU32(b, at + 6 + n * 8, block.right);
      }
      break;
    case "timestamps":
      b[at] = KIND.TIMESTAMPS;
      putU32(b, at + 2, option.value);
      putU32(b, at + 6, option.echo);
      break;
    case "unknown":
      b[at] = option.code;
      b.set(option.data, at + 2);
      break;
  }
}
