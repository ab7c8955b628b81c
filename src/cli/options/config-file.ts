/**
 * A configuration file: JSON with comments, whose keys are the long options (config-schema.ts). Read under sudo with the invoking
 * user's permissions, checked, and turned into settings. What counts beside the environment and the command line is config.ts's
 * business.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type Node, type ParseError, parseTree, printParseErrorCode } from "jsonc-parser";
import { safeParse } from "valibot";
import { SynprobeError } from "../../errors.ts";
import { whyUnreadable } from "../../runtime/plan/list-file.ts";
import { asInvoker } from "../../runtime/system/invoker.ts";
import { readServices } from "../../runtime/system/system.ts";
import { configurationSchema } from "./config-schema.ts";
import { BY_KEY, NAMES, type Names, type Setting, settingOf } from "./setting.ts";
import { usage } from "./table.ts";

/** Largest file that is read, in bytes. */
const MOST_BYTES = 1 << 20;

/** The text of a file, read with the invoking user's permissions under sudo. @throws {SynprobeError} `ERR_USAGE` */
export function readConfiguration(file: string, drop: boolean): string {
  try {
    const fd = asInvoker(drop, () => openSync(file, "r"));
    try {
      if (fstatSync(fd).isDirectory()) throw Object.assign(new Error(), { code: "EISDIR" });
      const bytes = Buffer.alloc(MOST_BYTES + 1);
      let length = 0;
      for (let read = -1; read !== 0 && length < bytes.length; length += read) {
        read = readSync(fd, bytes, length, bytes.length - length, null);
      }
      if (length > MOST_BYTES) throw usage(`the configuration ${file} is larger than ${MOST_BYTES} bytes`);
      return bytes.toString("utf8", 0, length).replace(/^\uFEFF/, "");
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (error instanceof SynprobeError) throw error;
    throw usage(`cannot read the configuration ${file}: ${whyUnreadable(error)}`);
  }
}

export function fileSettings(file: string, text: string): [Names, Setting][] {
  const where = ({ offset }: { readonly offset: number }): string =>
    `${file}:${text.slice(0, offset).split("\n").length}`;
  const root = parseJson(text, file, where);
  checkConfiguration(root, where);
  const services = readServices();
  return (root.children ?? []).flatMap((property): [Names, Setting][] => {
    const [name, node] = property.children ?? [];
    const names = BY_KEY.get(String(name.value));
    if (names === undefined) return [];
    const origin = where(property);
    return textsOf(names, node, text).map((written) => {
      // A relative name is relative to the configuration.
      const isFile = /<file>/.test(names.spec.flags) && written !== "-";
      return [
        names,
        settingOf(names, isFile ? resolve(dirname(file), written) : written, 1, origin, services),
      ];
    });
  });
}

/** @throws {SynprobeError} `ERR_USAGE` for an unknown or repeated key, and for a value of the wrong type */
function checkConfiguration(root: Node, where: (at: { readonly offset: number }) => string): void {
  const properties = new Map<string, Node>();
  // Of more keys than there are options one is unknown, or stands twice, among the first of them.
  for (const property of (root.children ?? []).slice(0, NAMES.length + 2)) {
    const key = String(property.children?.[0].value);
    const before = properties.get(key);
    if (before !== undefined)
      throw usage(`${where(property)}: "${key}" is set twice: first in ${where(before)}`);
    properties.set(key, property);
  }
  const values = Object.fromEntries(
    [...properties].map(([key, { children = [] }]) => [key, shallowValue(children[1])]),
  );
  const faults = (safeParse(configurationSchema(), values).issues ?? [])
    .map(({ path, message }) => ({ property: properties.get(String(path?.[0].key)) ?? root, message }))
    .sort((a, b) => a.property.offset - b.property.offset);
  if (faults.length > 0) throw usage(`${where(faults[0].property)}: ${faults[0].message}`);
}

/** A scalar or a list; deeper nesting is no option's value, and could exhaust the stack. */
function shallowValue({ type, value, children = [] }: Node, isEntry = false): unknown {
  if (type === "array" && !isEntry) return children.map((child) => shallowValue(child, true));
  return type === "array" || type === "object" ? {} : value;
}

function parseJson(text: string, file: string, where: (at: { readonly offset: number }) => string): Node {
  const errors: ParseError[] = [];
  let root: Node | undefined;
  try {
    root = parseTree(text, errors, { allowTrailingComma: true });
  } catch (error) {
    if (error instanceof RangeError) throw usage(`${file}: nested too deeply to be a configuration`);
    throw error;
  }
  const [error] = errors;
  if (error !== undefined && text.trim() !== "") {
    const what = printParseErrorCode(error.error)
      .replace(/(?<=[a-z])(?=[A-Z])/g, " ")
      .toLowerCase();
    throw usage(`${where(error)}: not JSON with comments: ${what}`);
  }
  if (root?.type !== "object") throw usage(`${file}: write an object of options: { "max-rate": 2000 }`);
  return root;
}

/** A checked value as the option's argument would be written; several texts where an option that adds up has a list. */
function textsOf({ spec }: Names, node: Node, text: string): string[] {
  if (spec.bare !== undefined && node.value === true) return [spec.bare];
  // A number's source text: 64 bits are more than a JavaScript number holds.
  const texts = (node.type === "array" ? (node.children ?? []) : [node]).map(
    ({ type, value, offset, length }) =>
      type === "number" ? text.slice(offset, offset + length) : String(value),
  );
  return spec.commas === true ? [texts.join(",")] : texts;
}
