/**
 * What a plain probe does not need is bundled apart, so that it starts no slower: loaded here when it is asked for. Which parts
 * there are is said in build/bundle.ts. Tested by test/cli/commands/diff.test.ts and test/cli/start.test.ts.
 */
import { createRequire } from "node:module";

type Part =
  | "demo"
  | "diff"
  | "earlier-results"
  | "fleet-run"
  | "history"
  | "lab"
  | "path"
  | "report"
  | "store-reporter"
  | "watch";

let hasLoaded = false;

/** Whether any part has been loaded. */
export const hasLoadedApart = (): boolean => hasLoaded;

export function loadApart<T>(part: Part): T {
  hasLoaded = true;
  return createRequire(import.meta.url)(`./commands/${part}.cjs`) as T;
}

/** The same file, for a thread. */
export function apartUrl(part: Part): URL {
  hasLoaded = true;
  return new URL(`./commands/${part}.cjs`, import.meta.url);
}
