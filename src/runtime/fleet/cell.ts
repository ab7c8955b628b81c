/**
 * What a worker is told of one cell: its pairs and how they are to be probed, signed, as a job of the queue carries it. Whoever can
 * write to Redis alone cannot make one up.
 *
 * Which pairs are in which cell: ledger.ts. Where jobs go: coordinator.ts, courier.ts.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { deflateRawSync, inflateRawSync } from "node:zlib";
import * as v from "valibot";
import { portRanges } from "../../report/figures.ts";
import { VERIFY } from "../../scan/measure/recapture.ts";
import { compareAddresses } from "../../scan/targets/address-range.ts";
import { parsePorts } from "../../scan/targets/port-list.ts";
import type { PairSpan } from "../../scan/targets/prefixes.ts";
import { parseServices } from "../../scan/targets/services.ts";
import { formatAddress, parseAddress } from "../../wire/address.ts";

const whole = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const positive = v.pipe(v.number(), v.minValue(0));

/** How a cell is probed: what ScanOptions and a plan need, of one cell. */
const Settings = v.strictObject({
  retries: whole,
  confidence: v.optional(positive),
  verify: v.optional(v.picklist(VERIFY)),
  waitMs: v.strictObject({ initial: positive, least: positive, most: positive }),
  minRate: positive,
  maxRate: v.optional(positive),
  ratePerHost: v.optional(positive),
  ratePerPrefix: v.optional(positive),
  hostTimeoutMs: v.optional(positive),
  controls: v.boolean(),
  /** To which no control SYN goes, as -p takes them. */
  excludePorts: v.optional(v.string()),
  syn: v.optional(v.picklist(["linux", "minimal"])),
  bannerMs: v.optional(whole),
  ttl: whole,
});
export type CellSettings = v.InferOutput<typeof Settings>;

const CellShape = v.strictObject({
  run: v.string(),
  /** The stretch of places that it is: from the first on, without the last. */
  from: whole,
  to: whole,
  pairs: whole,
  /** Ports as -p takes them, and first and last address of each span that has them. */
  targets: v.array(v.strictObject({ ports: v.string(), spans: v.array(v.tuple([v.string(), v.string()])) })),
  settings: Settings,
});
export type Cell = v.InferOutput<typeof CellShape>;

/** A job's data. */
export interface SignedCell {
  readonly cell: string;
  readonly signature: string;
}
const Signed = v.object({ cell: v.string(), signature: v.string() });

/** No job's data becomes larger than this when it is unpacked, in bytes. */
const MOST_BYTES = 1 << 28;

/** A cell's job: no `:` may be in it. */
export const jobOf = ({ from, to }: Pick<Cell, "from" | "to">): string => `cell-${from}-${to}`;

/** HMAC-SHA256 over texts that cannot run into each other. */
export function sign(key: string, ...texts: readonly string[]): string {
  return createHmac("sha256", key).update(JSON.stringify(texts)).digest("base64");
}

export function isSigned(signature: string, key: string, ...texts: readonly string[]): boolean {
  const [given, wanted] = [signature, sign(key, ...texts)].map((text) => Buffer.from(text));
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

export function sealCell(cell: Cell, key: string): SignedCell {
  const text = deflateRawSync(JSON.stringify(cell)).toString("base64");
  return { cell: text, signature: sign(key, "cell", text) };
}

/** @returns the cell; or why there is none, in a sentence */
export function openCell(data: unknown, key: string): Cell | string {
  if (!v.is(Signed, data)) return "it is no cell of synprobe's";
  if (!isSigned(data.signature, key, "cell", data.cell)) return OTHER_KEY;
  const json = inflateRawSync(Buffer.from(data.cell, "base64"), { maxOutputLength: MOST_BYTES });
  const parsed = v.safeParse(CellShape, JSON.parse(json.toString()));
  return parsed.success ? parsed.output : "it is of another version of synprobe";
}

export const OTHER_KEY = "it is signed with another key: give coordinator and workers the same --fleet-key";

/** Spans as text, those with the same ports together. */
export function targetsOf(spans: readonly PairSpan[]): Cell["targets"] {
  const byPorts = new Map<string, [string, string][]>();
  for (const { first, last, ports } of spans) {
    const text = portRanges(ports);
    const known = byPorts.get(text);
    const span: [string, string] = [formatAddress(first), formatAddress(last)];
    if (known === undefined) byPorts.set(text, [span]);
    else known.push(span);
  }
  return Array.from(byPorts, ([ports, spans]) => ({ ports, spans }));
}

/** @throws {SynprobeError} `ERR_PORT`; {RangeError} for what is no span */
export function spansOf(targets: Cell["targets"]): Omit<PairSpan, "pairs">[] {
  return targets.flatMap(({ ports: text, spans }) => {
    const ports = parsePorts(text, NO_NAMES);
    return spans.map(([low, high]) => {
      const [first, last] = [parseAddress(low), parseAddress(high)];
      if (first === undefined || last?.length !== first.length || compareAddresses(first, last) > 0)
        throw new RangeError(`${low}-${high} is no span`);
      return { first, last, ports };
    });
  });
}

/** @throws {SynprobeError} `ERR_PORT` */
export const excludedBy = ({ excludePorts }: CellSettings): Uint16Array =>
  excludePorts === undefined ? new Uint16Array(0) : parsePorts(excludePorts, NO_NAMES);

/** Ports come as numbers. */
const NO_NAMES = parseServices("");
