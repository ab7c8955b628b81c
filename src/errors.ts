/**
 * Every error that synprobe raises on purpose: a caller's or a machine's fault, with a stable code and one line that
 * says what is wrong and what to do.
 *
 * Not here: a port's fate in a scan (a refused port, an unreachable host, a timeout are results, see scan/probe/result.ts; to
 * the caller of `connect` they are errors), and exit statuses (cli/exit.ts maps codes to them).
 */

/** Stable codes; a program may switch on them. */
export const ERROR_CODES = {
  /** The command line, or a call of the library, contradicts itself or asks for what does not exist. */
  usage: "ERR_USAGE",
  /** A target that does not follow the grammar. */
  targetSyntax: "ERR_TARGET_SYNTAX",
  /** A port outside 1-65535, a reversed range, or an unknown service name. */
  port: "ERR_PORT",
  /** A list file that cannot be read. */
  listFile: "ERR_LIST_FILE",
  /** Nothing left to probe. */
  noTargets: "ERR_NO_TARGETS",
  /** A host name that does not resolve. */
  unknownHost: "ERR_UNKNOWN_HOST",
  /** A host name without an address of the wanted family. */
  noAddress: "ERR_NO_ADDRESS",
  /** A broadcast, multicast, unspecified or reserved address: no TCP answer can come from it. */
  notUnicast: "ERR_NOT_UNICAST",
  /** The kernel has no route to a target. */
  noRoute: "ERR_NO_ROUTE",
  /** No network interface of that name. */
  noInterface: "ERR_NO_INTERFACE",
  /** The interface exists but is down. */
  interfaceDown: "ERR_INTERFACE_DOWN",
  /** No usable source address, or one that is not this machine's. */
  noSource: "ERR_NO_SOURCE",
  /** Raw sockets are not allowed to this process. */
  privilege: "ERR_PRIVILEGE",
  /** Completing handshakes is not allowed to this process. */
  privilegeAdmin: "ERR_PRIVILEGE_ADMIN",
  /** This operating system cannot probe with raw sockets. */
  platform: "ERR_PLATFORM",
  /** A lab description that cannot be read, or says what cannot be. */
  lab: "ERR_LAB",
  /** A connection to one of this machine's own addresses, where the kernel's RST cannot be held back. */
  ownAddress: "ERR_OWN_ADDRESS",
  /** The peer refused the connection with RST. */
  refused: "ERR_REFUSED",
  /** The peer did not answer, or stopped answering. */
  timedOut: "ERR_TIMED_OUT",
  /** An ICMP error, or this machine's own kernel, says that the peer cannot be reached. */
  unreachable: "ERR_UNREACHABLE",
  /** The peer ended the connection with RST. */
  connectionReset: "ERR_CONNECTION_RESET",
  /** The connection was closed or aborted at this end. */
  closed: "ERR_CLOSED",
  /** An output file that cannot be opened or written. */
  output: "ERR_OUTPUT",
  /** A journal that cannot be made, written or resumed. */
  journal: "ERR_JOURNAL",
  /** A fleet whose Redis does not answer, or not as is needed, or that takes no run of this one's. */
  fleet: "ERR_FLEET",
  /** A file of results that cannot be read, or is not what it should be. */
  results: "ERR_RESULTS",
  /** A policy that cannot be read, or says what cannot be. */
  policy: "ERR_POLICY",
  /** A store that cannot be opened, read or written, or is none. */
  store: "ERR_STORE",
  /** A system call failed in a way that no other code names. */
  system: "ERR_SYSTEM",
} as const;

export type ErrorCode = (typeof ERROR_CODES)[keyof typeof ERROR_CODES];

/** An `Error` whose `code` is stable and whose `message` is one line for a person. */
export class SynprobeError extends Error {
  readonly code: ErrorCode;
  /** What to do, where that takes more than a line: lines to show after the message. */
  readonly advice: readonly string[];

  constructor(
    code: ErrorCode,
    message: string,
    options?: ErrorOptions & { readonly advice?: readonly string[] },
  ) {
    super(oneLine(message), options);
    this.name = "SynprobeError";
    this.code = code;
    this.advice = (options?.advice ?? []).map(oneLine);
  }
}

/** Controls, and marks that break a line or turn its direction: what messages quote may hold any of them. */
const CONTROLS = /[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g;

/** A message stays one line, whatever it quotes. */
const oneLine = (message: string): string =>
  message.replace(CONTROLS, (char) => {
    const code = char.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`;
  });

/**
 * Whether an error is one of these. A command that is loaded from a file of its own has its own copy of the class, which
 * `instanceof` does not know.
 */
export function isSynprobeError(error: unknown): error is SynprobeError {
  return error instanceof SynprobeError || (error instanceof Error && error.name === "SynprobeError");
}
