/** The documents that say what synprobe does, for the tests that hold them true. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./cli/process.ts";

export interface Document {
  /** From the top of the checkout. */
  readonly path: string;
  readonly text: string;
}

const documents = (...paths: readonly string[]): Document[] =>
  paths.map((path) => ({ path, text: readFileSync(join(ROOT, path), "utf8") }));

const markdownBelow = (folder: string): string[] =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".md"))
    .sort()
    .map((file) => join(folder, file));

export const [README] = documents("README.md");
export const [LIBRARY] = documents("src/cli/help/topics/library.md");
export const [CONFIG] = documents("src/cli/help/topics/config.md");
export const [CHECK] = documents("src/cli/help/topics/commands/check.md");
export const [LAB] = documents("src/lab/README.md");

/** What users read, with sessions that anybody can repeat. */
export const FOR_USERS: readonly Document[] = [
  README,
  ...documents(...markdownBelow("src/cli/help/topics")),
  LAB,
];

/** Everything that is written in Markdown. */
export const ALL: readonly Document[] = [
  ...FOR_USERS,
  ...documents(
    ...["test/README.md", "test/bench/README.md", ".github/CONTRIBUTING.md"].filter((path) =>
      existsSync(join(ROOT, path)),
    ),
    ...markdownBelow("native-notes"),
  ),
];

/** The fenced blocks in a language; "" for those that name none. */
export const blocksOf = ({ text }: Document, language: string): string[] =>
  [...text.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)]
    .filter(([, named]) => named === language)
    .map(([, , block]) => block);
