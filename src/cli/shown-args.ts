/**
 * A command line as reports, journals, stores and messages show it: without the secrets that its URLs carry. What runs again is the
 * command line itself.
 */

/** With `…` for the password of each URL, and for the whole of a webhook's, whose path is often its secret. */
export const shownArgs = (argv: readonly string[]): string[] =>
  argv.map((word, i) =>
    argv[i - 1] === "--webhook"
      ? "…"
      : word.replace(/^--webhook=.*/s, "--webhook=…").replace(/(:\/\/[^/?#\s:@]*:)[^/?#\s]*@/g, "$1…@"),
  );
