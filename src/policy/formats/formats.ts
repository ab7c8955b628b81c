/** The formats of a check's report, by the word that --format takes. Tested by test/policy/formats.test.ts. */
import type { CheckReport } from "../check.ts";
import { checkGithub } from "./github.ts";
import { checkJson } from "./json.ts";
import { checkJunit } from "./junit.ts";
import { checkTap } from "./tap.ts";
import { checkText } from "./text.ts";

/** A report as text, piece by piece. @param colour only the one for people has it */
export const FORMATS: Readonly<Record<string, (report: CheckReport, colour: boolean) => Iterable<string>>> = {
  text: checkText,
  tap: checkTap,
  junit: checkJunit,
  json: checkJson,
  github: checkGithub,
};
