/**
 * The exit status of a run, from how it ended and what it found, and the last words that go with it.
 */
import type { ScanSummary, TargetFault } from "../../scan/probe/result.ts";
import { EXIT, type ExitStatus, exitStatus } from "../exit.ts";
import type { RunContext } from "./context.ts";
import type { Messages } from "./terminal.ts";

/** @param isReaderGone results could not be handed to whoever reads standard output */
export function finalStatus(
  summary: ScanSummary,
  { options, messages, interruption, purpose }: RunContext,
  isReaderGone: boolean,
): ExitStatus {
  // Cut short by a signal, or because the reader of the results went away.
  if (interruption.signalled || summary.unfinished > 0) {
    const journal = options.journal ?? options.resume;
    if (journal !== undefined) messages.note(`--resume ${journal} goes on`);
    // A fleet may leave pairs over that no worker could or may probe.
    return interruption.status ?? (summary.interrupted ? EXIT.readerGone : EXIT.interrupted);
  }
  // What follows would tell of results that nobody has.
  if (isReaderGone) return EXIT.readerGone;
  const refusals = Object.keys(summary.sendErrors);
  if (summary.sent === 0 && refusals.length > 0) return nothingSent(refusals, messages);
  const own = purpose?.status?.();
  if (own === EXIT.notOpen) return own;
  if (summary.faults.length > 0) return EXIT.partial;
  if (own !== undefined) return own;
  const allOpen = summary.closed + summary.filtered === 0;
  return options.requireOpen === true && !allOpen ? EXIT.notOpen : EXIT.complete;
}

/** @param refusals what the kernel said to all that was to be sent, as errno names */
export function nothingSent(refusals: readonly string[], messages: Messages): ExitStatus {
  messages.error(
    `nothing could be sent: the kernel says ${refusals.join(", ")}; "synprobe doctor TARGET" shows the way`,
  );
  return EXIT.network;
}

/** The status of a run that has nothing to probe, from the gravest fault: usage before network. */
export function statusOfFaults(faults: readonly TargetFault[]): ExitStatus {
  let gravest: ExitStatus | undefined;
  for (const { code } of faults) {
    const status = exitStatus(code as Parameters<typeof exitStatus>[0]);
    if (gravest === undefined || status < gravest) gravest = status;
  }
  return gravest ?? EXIT.complete;
}
