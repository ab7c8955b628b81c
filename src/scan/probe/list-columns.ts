/**
 * The columns whose values are lists: what each place has found, of a run from several, and an address's other names. Lists in NDJSON,
 * words in CSV (report/places.ts, report/formats/csv.ts).
 * Tested by test/report/formats/ndjson.test.ts.
 */
import type { PlaceVerdict, PortResult } from "./result.ts";

/** What one place has found, in a line of output. */
export type PlaceLine = Omit<PlaceVerdict, "rttMs"> & { readonly rtt_ms: number | null };

export const toThousandths = (ms: number): number => Math.round(ms * 1000) / 1000;

function placeLine({ place, state, reason, rttMs, ttl, tries, doubt }: PlaceVerdict): PlaceLine {
  return {
    place,
    state,
    reason,
    rtt_ms: rttMs === null ? null : toThousandths(rttMs),
    ttl,
    tries,
    ...(doubt === undefined ? {} : { doubt: Number(doubt.toPrecision(3)) }),
  };
}

export const FROM = {
  key: "from",
  schema: {
    type: "array",
    items: { $ref: "#/$defs/from" },
    description:
      "What each place has found, of a run from several. The line itself is the one's that got furthest.",
  },
  line: ({ from }: PortResult): readonly PlaceLine[] | undefined => from?.map(placeLine),
};

export const ALIASES = {
  key: "aliases",
  schema: {
    type: "array",
    items: { type: "string" },
    description: "Other names that the user gave for the same address and port.",
  },
  line: ({ aliases }: PortResult): readonly string[] | undefined => aliases,
  read: "texts",
} as const;
