/**
 * The library's public face. Importing it has no side effect: no socket, no native code.
 */
export { ERROR_CODES, type ErrorCode, SynprobeError } from "./errors.ts";
export { type ConnectOptions, connect } from "./runtime/connect.ts";
export type { Connection, Endpoint, Opened } from "./runtime/connection.ts";
export { probe, type Scan, scan } from "./runtime/library.ts";
export type { ProbeOptions, ScanOptions } from "./runtime/library-options.ts";
export type { FailedAttempt } from "./runtime/stack.ts";
export { parsePorts } from "./scan/port-list.ts";
export type {
  Ending,
  Established,
  IgnoredCounts,
  PathFindings,
  PortResult,
  PortState,
  Reason,
  ScanProgress,
  ScanSummary,
  TargetFault,
} from "./scan/result.ts";
export { parseServices, type Services } from "./scan/services.ts";
export { parseTarget, type TargetSpec } from "./scan/target.ts";
export type { TcpState } from "./socket/control-block.ts";
export type { TcpOption } from "./wire/tcp-options.ts";
