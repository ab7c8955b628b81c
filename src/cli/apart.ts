/**
 * What a plain probe does not need is bundled apart, so that it starts no slower: loaded here when it is asked for. Which parts
 * there are is said in build/bundle.ts. Tested by test/cli/commands/diff.test.ts and test/cli/start.test.ts.
 */
import { createRequire } from "node:module";

export function loadApart<T>(
  part:
    | "check"
    | "demo"
    | "diff"
    | "history"
    | "lab"
    | "path"
    | "report"
    | "earlier-results"
    | "store-reporter"
    | "watch",
): T {
  return createRequire(import.meta.url)(`./commands/${part}.cjs`) as T;
}
