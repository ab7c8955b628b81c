/**
 * What is to be done when this thread ends by itself, by an exception or by `process.exit`. One listener does all of it: many of them are
 * a leak to Node, which would print a warning. Not when the process is killed, or the thread terminated from outside.
 *
 * Loads nothing, as every run that takes a lease needs it. Tested by test/runtime/system/exit-actions.test.ts.
 */
const actions = new Set<() => void>();
function doAll(): void {
  // What was opened last is closed first. One may forget another, which is then done.
  for (const action of [...actions].reverse()) if (actions.delete(action)) action();
}

/**
 * The action runs before other listeners, one of which may end the process (cli/run/interruption.ts).
 * @returns forgets it
 */
export function atExit(action: () => void): () => void {
  if (actions.size === 0) process.prependListener("exit", doAll);
  actions.add(action);
  return () => {
    if (actions.delete(action) && actions.size === 0) process.off("exit", doAll);
  };
}
