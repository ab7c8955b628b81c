/**
 * The chapters of the documentation: which topics there are, and the Markdown of each, read when somebody asks for it.
 * topics/ has a file a topic, topics/commands/ one for each command with more to say than its options. The build puts
 * copies beside the program.
 */
import { readFileSync } from "node:fs";
import { COMMANDS, type Group } from "../options/table.ts";
import { type Block, parseMarkdown } from "./markdown.ts";

/** In the order in which help and the man page have them. */
export const TOPIC_NAMES = [
  "targets",
  "options",
  "config",
  "results",
  "confidence",
  "outputs",
  "timing",
  "large-scans",
  "journal",
  "handshakes",
  "links",
  "privileges",
  "exit",
  "library",
  "examples",
] as const;
export type TopicName = (typeof TOPIC_NAMES)[number];

/** Topics that end with a list of options, beside `options`, which has them all. */
export const OPTIONS_OF: Partial<Readonly<Record<TopicName, Group>>> = {
  targets: "Targets",
  config: "Other",
  outputs: "Output",
  timing: "Timing",
  "large-scans": "Order",
  links: "Probing",
};

/** Commands of which their options say all. */
const WITHOUT_CHAPTER: readonly string[] = ["demo", "help", "completion"];

export const isTopic = (name: string): name is TopicName => (TOPIC_NAMES as readonly string[]).includes(name);

export const hasChapter = (command: string): boolean =>
  (COMMANDS as readonly string[]).includes(command) && !WITHOUT_CHAPTER.includes(command);

export const readTopic = (name: TopicName): readonly Block[] => read(`${name}.md`);

/** What there is to say of a command beside its options; nothing of most. */
export const readChapter = (command: string): readonly Block[] =>
  hasChapter(command) ? read(`commands/${command}.md`) : [];

const read = (file: string): readonly Block[] =>
  parseMarkdown(readFileSync(new URL(`./topics/${file}`, import.meta.url), "utf8"));
