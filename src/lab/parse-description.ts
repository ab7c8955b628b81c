/**
 * A description's way from JSON, checked. Errors are one line, and name the place in the file: "hosts[2].ports[0].is: …".
 */
import { type ParseError, parseTree, printParseErrorCode } from "jsonc-parser";
import * as v from "valibot";
import { ERROR_CODES, SynprobeError } from "../errors.ts";
import { type Fault, findContradiction } from "./contradictions.ts";
import { LAB_DESCRIPTION, type LabDescription } from "./description.ts";

/**
 * Reads a description.
 * @param file its name, for messages
 * @throws {SynprobeError} `ERR_LAB`, naming the place in the file
 */
export function parseDescription(json: string, file: string): LabDescription {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new SynprobeError(ERROR_CODES.lab, `${file}:${syntaxFault(json)}`, { cause: error });
  }
  const { success, output, issues } = v.safeParse(LAB_DESCRIPTION, value, { abortEarly: true });
  const fail = (fault: Fault): never => {
    throw new SynprobeError(ERROR_CODES.lab, `${file}: ${textOf(fault)}`);
  };
  if (!success) return fail(faultOf(issues[0]));
  const fault = findContradiction(output);
  return fault === undefined ? output : fail(fault);
}

/** The line and the fault of a text that is not JSON: `3: not JSON: value expected`. */
function syntaxFault(json: string): string {
  const errors: ParseError[] = [];
  try {
    parseTree(json, errors, { disallowComments: true });
  } catch {
    return " nested too deeply to be a description";
  }
  const [first] = errors;
  if (first === undefined) return " not JSON";
  const what = printParseErrorCode(first.error)
    .replace(/(?<=[a-z])(?=[A-Z])/g, " ")
    .toLowerCase();
  return `${json.slice(0, first.offset).split("\n").length}: not JSON: ${what}`;
}

const faultOf = ({ path, message }: v.BaseIssue<unknown>): Fault => ({
  at: (path ?? []).map(({ key }) => key as string | number),
  says: message,
});

/** "hosts[2].ports[0].is: …" */
function textOf({ at, says }: Fault): string {
  const place = at.map((key) => (typeof key === "number" ? `[${key}]` : `.${key}`)).join("");
  return place === "" ? says : `${place.slice(1)}: ${says}`;
}
