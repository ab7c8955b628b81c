/**
 * What a policy may say: one schema, from which come the check of a file (policy.ts) and policy.schema.json for editors. What a
 * text means, such as which ports `22,https` are, is for its own grammar.
 *
 *     groups:
 *       - name: web
 *         targets: [198.18.0.1, www.example.net]
 *         ports: { "80,443": open, 22: [closed, filtered] }
 *         nothing-else-open: 1-1024
 */
import * as v from "valibot";
import type { PortState } from "../scan/probe/result.ts";
import { didYouMean } from "../suggest.ts";

/** What a port may have to be. */
export const EXPECTATIONS: Readonly<Record<string, readonly PortState[]>> = {
  open: ["open"],
  closed: ["closed"],
  filtered: ["filtered"],
  "not open": ["closed", "filtered"],
};

/**
 * Reasons that may be tolerated: those that something has answered, and silence. A probe that was not sent, or not to its end, is
 * no answer.
 */
export const TOLERABLE = [
  "syn-ack",
  "split-handshake-syn",
  "reset",
  "conn-refused",
  "no-response",
  "unproved-reset",
  "unproved-syn",
  "net-unreach",
  "host-unreach",
  "proto-unreach",
  "port-unreach",
  "net-prohibited",
  "host-prohibited",
  "admin-prohibited",
  "time-exceeded",
  "no-route",
  "beyond-scope",
  "addr-unreach",
  "policy-fail",
  "reject-route",
  "param-problem",
] as const;

/** A value for a message. Lists and objects are not gone into. */
function show(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "an object";
  if (value === null || value === undefined) return "nothing";
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

const refuse =
  (what: string) =>
  ({ input }: { readonly input: unknown }): string =>
    `${show(input)} stands where ${what} is wanted`;

/** One schema for a text, for a list, and for an object, where several may stand. */
export type Either = (kinds: {
  readonly text: v.GenericSchema;
  readonly list: v.GenericSchema;
  readonly object?: v.GenericSchema;
}) => v.GenericSchema;

/** Chooses by what is there, so that what is wrong in it is named at its place. */
const byKind: Either = ({ text, list, object = text }) =>
  v.lazy((input) =>
    Array.isArray(input) ? list : typeof input === "object" && input !== null ? object : text,
  );

const oneOf = (words: readonly string[]) =>
  v.picklist(words, ({ input }) => {
    // { 22,80: open } is two keys, of which the first has no value.
    if (input === null)
      return `no value stands here: one of ${words.join(", ")}; in braces, a key with a comma stands in quotes`;
    const meant = typeof input === "string" ? didYouMean(input, words, JSON.stringify) : "";
    return `${show(input)} is none of ${words.join(", ")}${meant}`;
  });

const listOf = (entry: v.GenericSchema) =>
  v.pipe(v.array(entry, refuse("a list")), v.minLength(1, "the list is empty"));

/** An object, which to valibot a list is too. */
const mapping = (schema: v.GenericSchema<object>, what: string) =>
  v.pipe(
    v.custom<object>(
      (input) => typeof input === "object" && input !== null && !Array.isArray(input),
      refuse(what),
    ),
    schema,
  );

/** What the message of an issue that expects "never" is a list of, in JSON: each key that should not be there, and what is said of it. */
export type UnknownKey = readonly [key: string, says: string];

/** An object with these keys and no others. */
function object(entries: v.ObjectEntries) {
  // Without a prototype, in which any object's methods would be keys.
  const known: v.ObjectEntries = Object.assign(Object.create(null), entries);
  const keys = Object.keys(entries).filter((key) => !key.startsWith("$"));
  const shown = (key: string): string => JSON.stringify(key).slice(0, 60);
  const schema = v.strictObject(known, ({ expected, path }) => {
    const { key, input } = path?.at(-1) ?? {};
    if (expected !== "never") return `the key ${shown(String(key))} is missing`;
    // valibot stops at the first.
    const unknown = Object.keys(input ?? {}).filter((each) => !(each in known));
    return JSON.stringify(
      unknown.map((each): UnknownKey => {
        const meant = didYouMean(each, keys, JSON.stringify);
        return [each, `there is no key ${shown(each)}${meant || `: there are ${keys.join(", ")}`}`];
      }),
    );
  });
  return mapping(schema, `an object with ${keys.slice(0, 2).join(" and ")}`);
}

const describe = (schema: v.GenericSchema, description: string) => v.pipe(schema, v.description(description));
const optional = (schema: v.GenericSchema, description: string) =>
  v.exactOptional(describe(schema, description));

const text = v.pipe(v.string(refuse("a text")), v.minLength(1, "the text is empty"));

const place = v.pipe(
  v.string(refuse("the name of a place")),
  v.regex(/^[A-Za-z0-9][A-Za-z0-9-]{0,30}$/, refuse("the name of a place, such as fra,")),
);

/**
 * The schema that a file is checked against, whose numbers are texts (document.ts).
 * @param either for a JSON Schema: valibot's `union`
 * @param scalar for a JSON Schema: texts and numbers
 */
export function policySchema(either: Either = byKind, scalar: v.GenericSchema = text) {
  const state = oneOf(Object.keys(EXPECTATIONS));
  const tolerate = optional(
    either({ text: oneOf(TOLERABLE), list: listOf(oneOf(TOLERABLE)) }),
    "Results with one of these reasons pass, whatever was wanted.",
  );
  const is = either({ text: state, list: listOf(state) });
  const rule = either({
    text: state,
    list: listOf(state),
    object: object({ is: describe(is, "What these ports have to be: one, or one of several."), tolerate }),
  });
  const group = object({
    name: optional(scalar, "What the group is called in reports."),
    targets: optional(
      either({ text, list: listOf(text) }),
      'Hosts, as the command line has them: "198.18.0.1", "198.18.0.0/24", "198.18.1-3.*", "www.example.net", "[2001:db8::1]:443".',
    ),
    "targets-from": optional(
      either({ text, list: listOf(text) }),
      "Lists of targets, as --input-list has them: files, by their names from the policy's folder on.",
    ),
    is: optional(is, "What the ports have to be that targets name themselves: host:22,80."),
    ports: optional(
      mapping(v.record(v.string(), rule), "an object of ports, such as { 22: open },"),
      'What ports of every target have to be: { "22": "open", "80,443": ["open", "filtered"], "8000-8010": "not open" }.',
    ),
    "nothing-else-open": optional(
      scalar,
      'Ports, such as "1-1024" or "-" for all, none of which may be open, but for those that a group names.',
    ),
    tolerate,
    from: optional(
      either({ text: place, list: listOf(place) }),
      "Places of a fleet from which it has to be so: fra, or a list. By default every place that probes.",
    ),
    until: optional(
      v.pipe(
        v.string(refuse("a date, such as 2027-01-31,")),
        v.regex(/^\d{4}-\d\d-\d\d$/, refuse("a date, such as 2027-01-31,")),
      ),
      "The last day, in UTC, on which the group counts: it is an exception to what groups before it say.",
    ),
    why: optional(scalar, "Why it is so, for whoever reads a report."),
    owner: optional(scalar, "Who is to be asked."),
    labels: optional(
      mapping(v.record(v.string(), scalar), "an object of labels, such as { env: prod },"),
      "For programs that read reports.",
    ),
  });
  return object({
    $schema: optional(text, "Where this schema is, for editors."),
    groups: describe(listOf(group), "Where several say something of a port, the last counts."),
  });
}
