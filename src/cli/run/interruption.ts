/**
 * SIGINT, SIGTERM and SIGHUP: the first asks for an orderly end, the second ends at once. Watched before anything
 * is acquired that has to be released.
 */
import { EXIT } from "../exit.ts";

export interface Interruption {
  readonly signalled: boolean;
  /** Calls `handler` at the first signal, even if that has already come. */
  onSignal(handler: () => void): void;
  /** Calls `handler` at the second signal, before the process ends: it must not wait for anything. */
  onExit(handler: () => void): void;
  /** Restores the default handling of signals. */
  ignore(): void;
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export function watchSignals(): Interruption {
  let signalled = false;
  let handler: (() => void) | undefined;
  let lastWords: (() => void) | undefined;
  const onSignal = (): void => {
    if (signalled) {
      try {
        lastWords?.();
      } finally {
        process.exit(EXIT.interrupted);
      }
    }
    signalled = true;
    handler?.();
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  return {
    get signalled() {
      return signalled;
    },
    onSignal: (wanted) => {
      handler = wanted;
      if (signalled) wanted();
    },
    onExit: (wanted) => {
      lastWords = wanted;
    },
    ignore: () => {
      for (const signal of SIGNALS) process.off(signal, onSignal);
    },
  };
}
