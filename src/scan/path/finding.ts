/**
 * What a survey is asked for, and what it knows of each port while the walk goes on.
 * Tested by test/sim/path.test.ts.
 */
import type { Flow } from "./flow.ts";
import type { Where } from "./result.ts";
import type { Surveyed } from "./walk.ts";

/** What a walk does when it is not told; rates are in SYNs per second. */
export const PATH_DEFAULTS = { flows: 1, maxHops: 30, tries: 3, maxRate: 200 } as const;

export interface SurveyOptions {
  readonly ports: readonly number[];
  /** The port to compare with; without one, common ports are tried where no port of `ports` answers. */
  readonly reference?: number;
  /** Another port of the host that was answered with a RST before the walk, and is not walked. */
  readonly closed?: number;
  /** Whether common ports are tried then; they are by default. */
  readonly search?: boolean;
  /** Whether the host's router is waited for where nobody answers, until it has given up looking for it; it is where common ports are tried. */
  readonly awaitsRouter?: boolean;
  /** Ports that must not be. */
  readonly excluded?: Uint16Array;
  /** Flows walked of each port. */
  readonly flows: number;
  readonly maxHops: number;
  /** SYNs of each flow and TTL, at most. */
  readonly tries: number;
}

/** What is known of one port, filled in as the walk goes on. */
export interface Finding {
  readonly port: number;
  readonly reference: boolean;
  /** The flows that were walked from the first hop on. */
  readonly main: readonly Flow[];
  /** The least TTL with which it is answered as by the host. */
  reach?: number;
  where?: Where;
  doubt?: number;
  /** Of each of `main`: SYNs that reach the host and answers to them, where flows are counted. */
  counted?: { sent: number; answered: number }[];
}

export const flowsTo = (walk: Surveyed, port: number): Flow[] =>
  walk.flows.filter((flow) => flow.port === port);

/** Whether an answer as of the host has come from the port. */
export const isAnswered = (walk: Surveyed, port: number): boolean =>
  flowsTo(walk, port).some(({ finals }) => finals.length > 0);

/** Whether the port was answered with RSTs alone, which a host may limit as it limits no SYN-ACKs. */
export const isClosed = (walk: Surveyed, port: number): boolean => {
  const finals = flowsTo(walk, port).flatMap((flow) => flow.finals);
  return finals.length > 0 && finals.every(({ kind }) => kind === "reset");
};

/** SYNs to one port before its last comparison: as many as its walk may take. The port compared with is asked each time. */
export const mostSyns = ({ maxHops, tries, flows }: SurveyOptions): number => maxHops * tries * flows;
