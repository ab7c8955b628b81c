/**
 * The library's public face. Importing it has no side effect: no socket, no native code.
 */
export { ERROR_CODES, type ErrorCode, SynprobeError } from "./errors.ts";
export { probe, type Scan, scan } from "./runtime/api/library.ts";
export type { ProbeOptions, ScanOptions } from "./runtime/api/library-options.ts";
export { type PathOptions, path } from "./runtime/api/path.ts";
export { type ConnectOptions, connect } from "./runtime/connect/connect.ts";
export type { Connection, Endpoint, Opened } from "./runtime/connect/connection.ts";
export type { FailedAttempt } from "./runtime/connect/handshake.ts";
export type {
  PathFlow,
  PathPort,
  PathReport,
  PathRouter,
  PathWhere,
} from "./runtime/path/report.ts";
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
} from "./scan/probe/result.ts";
export { parseTarget, type TargetSpec } from "./scan/targets/grammar.ts";
export { parsePorts } from "./scan/targets/port-list.ts";
export { parseServices, type Services } from "./scan/targets/services.ts";
export type { TcpState } from "./socket/connection.ts";
export type { TcpOption } from "./wire/tcp-options.ts";
