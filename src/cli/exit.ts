/**
 * Exit statuses: part of the interface, for scripts.
 */
import { ERROR_CODES, type ErrorCode, type SynprobeError } from "../errors.ts";

export const EXIT = {
  /** The run is complete. */
  complete: 0,
  /** Complete, but with --require-open some port was not open; of diff: the runs differ; of check: some port is not as written. */
  notOpen: 1,
  /**
   * Nothing was probed. Usage: an option, every target, a list, an output file, a journal or a file of results. Or output
   * could not be written to its end: then the run has stopped, or lacks that file.
   */
  usage: 2,
  /** Privilege or platform: probing cannot work here. */
  privilege: 3,
  /** Nothing was probed: no route, no such interface, no source address; of check: some port could not be told surely. */
  network: 4,
  /** Some targets could not be probed, but the run is complete; or it began, and what it needs went away. */
  partial: 5,
  /** A fault of synprobe or of the system under it (EX_SOFTWARE). */
  internal: 70,
  /** 128 and the signal's number, as shells have it: SIGHUP, SIGINT, SIGTERM. What was found is printed first. */
  hungUp: 129,
  interrupted: 130,
  /** As of SIGPIPE: nobody reads standard output any more, and not all results could be handed over. */
  readerGone: 141,
  terminated: 143,
} as const;
export type ExitStatus = (typeof EXIT)[keyof typeof EXIT];

const STATUS: Readonly<Record<ErrorCode, ExitStatus>> = {
  [ERROR_CODES.usage]: EXIT.usage,
  [ERROR_CODES.targetSyntax]: EXIT.usage,
  [ERROR_CODES.port]: EXIT.usage,
  [ERROR_CODES.listFile]: EXIT.usage,
  [ERROR_CODES.noTargets]: EXIT.usage,
  [ERROR_CODES.unknownHost]: EXIT.usage,
  [ERROR_CODES.noAddress]: EXIT.usage,
  [ERROR_CODES.notUnicast]: EXIT.usage,
  [ERROR_CODES.lab]: EXIT.usage,
  [ERROR_CODES.output]: EXIT.usage,
  [ERROR_CODES.journal]: EXIT.usage,
  [ERROR_CODES.results]: EXIT.usage,
  [ERROR_CODES.policy]: EXIT.usage,
  [ERROR_CODES.store]: EXIT.usage,
  [ERROR_CODES.fleet]: EXIT.network,
  [ERROR_CODES.noRoute]: EXIT.network,
  [ERROR_CODES.noInterface]: EXIT.network,
  [ERROR_CODES.interfaceDown]: EXIT.network,
  [ERROR_CODES.noSource]: EXIT.network,
  [ERROR_CODES.ownAddress]: EXIT.network,
  [ERROR_CODES.refused]: EXIT.network,
  [ERROR_CODES.timedOut]: EXIT.network,
  [ERROR_CODES.unreachable]: EXIT.network,
  [ERROR_CODES.connectionReset]: EXIT.network,
  [ERROR_CODES.closed]: EXIT.network,
  [ERROR_CODES.privilege]: EXIT.privilege,
  [ERROR_CODES.privilegeAdmin]: EXIT.privilege,
  [ERROR_CODES.platform]: EXIT.privilege,
  [ERROR_CODES.system]: EXIT.internal,
};

export const exitStatus = (code: ErrorCode): ExitStatus => STATUS[code];

/** On errors that came after packets had left. Parts that are bundled apart have a copy of this module: they share the name. */
const BEGUN = Symbol.for("synprobe.begun");

/** @returns the error, marked when packets had left before it came: then it is not so that nothing was probed */
export function afterSending<E>(error: E, sent: number): E {
  return sent > 0 && error instanceof Error ? Object.assign(error, { [BEGUN]: true }) : error;
}

export function errorStatus(error: SynprobeError): ExitStatus {
  const status = exitStatus(error.code);
  const saysNothing = status === EXIT.privilege || status === EXIT.network;
  return saysNothing && BEGUN in error ? EXIT.partial : status;
}
