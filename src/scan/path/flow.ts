/**
 * The flows of a walk: SYNs that differ in nothing but their TTL and a mark, so that a load balancer sends all of them one way, and
 * what has come back to them.
 *
 * The mark names the SYN in the quote of an ICMP error: it is the IPv4 identification, and for both versions also what the window
 * has above its usual size, because IPv6 has no identification. An answer as of the host has no mark: which of a flow's SYNs it
 * answers cannot be told, so where that matters a SYN has a flow of its own.
 * Tested by test/scan/path/walk.test.ts.
 */
import type { Address } from "../../wire/address.ts";
import type { MplsLabel } from "../../wire/icmp-extensions.ts";
import type { Reason } from "../probe/result.ts";

/** Of a SYN's hop and try: 6 bits of TTL below the number of the try. */
export const markOf = (ttl: number, attempt: number): number => (attempt << 6) | ttl;
/** Largest TTL that a mark holds. */
export const MOST_HOPS = 63;
/** Tries that a mark counts in the window, which stays a plausible one. */
export const MOST_TRIES = 32;

/** What answered a SYN. */
export interface Answer {
  /**
   * `router`: its TTL was used up; `reject`: another ICMP error, or this machine's own refusal to send it; the others are segments,
   * as of the host.
   */
  readonly kind: "router" | "reject" | "syn-ack" | "reset";
  readonly from: Address;
  readonly atUs: number;
  /** TTL or hop limit of the answer as it came in. */
  readonly ttl: number;
  readonly reason: Reason;
  readonly labels: readonly MplsLabel[];
  /** Whether the quote has other addresses or another port than were sent. */
  readonly translated: boolean;
}

export const isFinal = ({ kind }: Answer): boolean => kind === "syn-ack" || kind === "reset";

/** One SYN, sent or to be sent. */
export interface Probe {
  readonly flow: Flow;
  readonly ttl: number;
  readonly attempt: number;
  /** Not before so long after the others of its batch, in microseconds. */
  readonly afterUs: number;
  /** Asked when its turn has come: whether it is still of use. */
  readonly wanted: () => boolean;
  sentUs: number | undefined;
  skipped: boolean;
  answer: Answer | undefined;
}

export interface Flow {
  readonly port: number;
  readonly sourcePort: number;
  readonly iss: number;
  /** By mark. */
  readonly probes: Map<number, Probe>;
  /** Answers as of the host: the first of each kind. */
  readonly finals: Answer[];
  /** The highest TTL that had been sent when the first came: the host, or a box, is no further; Infinity when none has. */
  cap: number;
  /** When the last of them came; -Infinity when none has. */
  lastFinalUs: number;
}

/** The highest TTL at which a router answered one of these flows; 0 for none. */
export const seenAt = (flows: readonly Flow[]): number =>
  Math.max(
    0,
    ...flows.flatMap(({ probes }) =>
      [...probes.values()].map(({ answer, ttl }) => (answer?.kind === "router" ? ttl : 0)),
    ),
  );

export const answersOf = (flows: readonly Flow[], kind: Answer["kind"]): { ttl: number; answer: Answer }[] =>
  flows.flatMap(({ probes }) =>
    [...probes.values()].flatMap(({ ttl, answer }) => (answer?.kind === kind ? [{ ttl, answer }] : [])),
  );
