/**
 * A policy: which ports have to be what, read from YAML or JSON. Every mistake is told with its place, `policy.yaml:12:5`, and what
 * was probably meant.
 *
 * Pure: text in, values out. Not here: which rule holds for an address (expectations.ts), what a result is by it (judge.ts).
 */
import { safeParse } from "valibot";
import { ERROR_CODES, SynprobeError } from "../errors.ts";
import { escapeText } from "../report/escape.ts";
import { PORT_STATES, type PortState } from "../scan/probe/result.ts";
import { type AnyTargetSpec, parseTargets } from "../scan/targets/grammar.ts";
import { MAX_PORT, parsePorts } from "../scan/targets/port-list.ts";
import type { Services } from "../scan/targets/services.ts";
import { didYouMean } from "../suggest.ts";
import { type Fault, type Place, type PolicyDocument, readDocument } from "./document.ts";
import { EXPECTATIONS, policySchema, type UnknownKey } from "./schema.ts";

/** What some ports of a group's targets have to be. */
export interface Rule extends Place {
  /** Its number among the policy's rules, from 0. */
  readonly number: number;
  readonly group: Group;
  /** As they were written; of the ports that targets name, "ports of targets". */
  readonly portsText: string;
  /** Ascending, each once; undefined for those that each target names itself. */
  readonly ports?: Uint16Array;
  /** Any of these will do. */
  readonly states: readonly PortState[];
  /** The same in words: "open", "not open", "closed or filtered". */
  readonly expected: string;
  /** Reasons that pass whatever the state. */
  readonly tolerate: readonly string[];
  /** Of `nothing-else-open`: any other rule goes before it. */
  readonly isElse: boolean;
}

export interface Group extends Place {
  /** As it is called, or "group N". */
  readonly name: string;
  /** Their origins are `file:line:column`, and `list:line` of those from a list. */
  readonly targets: readonly AnyTargetSpec[];
  readonly rules: readonly Rule[];
  readonly why?: string;
  readonly owner?: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The last day on which it counts, YYYY-MM-DD in UTC. */
  readonly until?: string;
  /** The places of a fleet from which it has to be so; undefined for all that probe. */
  readonly from?: readonly string[];
}

export interface Policy {
  /** The file's name. */
  readonly file: string;
  /** Those that count, in their order: where several say something of a port, the last does. */
  readonly groups: readonly Group[];
  /** Those whose last day is over: as if they were not there. */
  readonly expired: readonly Group[];
  /** Of all groups that count. */
  readonly rules: readonly Rule[];
}

/** What has to be probed to check a policy: its targets, each with all ports that a rule of its group is about. */
export function* targetsToProbe({ groups }: Policy): Generator<AnyTargetSpec> {
  /** Groups with the same ports share a list. */
  const unions = new Map<string, Uint16Array>();
  for (const { targets, rules } of groups) {
    const key = rules.map(({ ports, portsText }) => (ports === undefined ? "" : portsText)).join(" ");
    const ofRules = unions.get(key) ?? unionOf(rules.flatMap(({ ports }) => ports ?? []));
    unions.set(key, ofRules);
    for (const target of targets) {
      const { ports: own } = target;
      const ports = own === undefined ? ofRules : unionOf([ofRules, own]);
      if (ports.length > 0) yield { ...target, ports };
    }
  }
}

/**
 * The places from which something has to be so, each once.
 * @param probing those that probe, as far as that is known
 * @throws {SynprobeError} `ERR_POLICY` when a group names another
 */
export function placesOf({ file, groups }: Policy, probing: readonly string[] | undefined): string[] {
  const places = groups.flatMap(({ from = [] }) => from);
  for (const { line, column, name, from = [] } of groups) {
    const other = from.find((place) => probing?.includes(place) === false);
    if (other === undefined) continue;
    const says = `${name} is about what is so from ${other}, and nothing probes from there: check it with --fleet, and ${other} in --from`;
    throw policyError(file, [{ line, column, says }]);
  }
  return [...new Set(places)];
}

const unionOf = (lists: readonly Uint16Array[]): Uint16Array =>
  lists.length === 1 ? lists[0] : Uint16Array.from(new Set(lists.flatMap((list) => [...list]))).sort();

/** What a list has, in its order. */
export interface ListedTargets {
  /** Their origins are `list:line`. */
  readonly targets: readonly AnyTargetSpec[];
  /** The first bad ones, with `list:line` in their messages, and how many more there are. */
  readonly faults: readonly SynprobeError[];
  readonly untold: number;
}

/** A group as a file has it, checked by the schema. */
interface Written {
  readonly name?: unknown;
  readonly targets?: string | readonly string[];
  readonly "targets-from"?: string | readonly string[];
  readonly is?: string | readonly string[];
  readonly ports?: Readonly<Record<string, WrittenRule>>;
  readonly "nothing-else-open"?: string;
  readonly tolerate?: string | readonly string[];
  readonly until?: string;
  readonly from?: string | readonly string[];
  readonly why?: unknown;
  readonly owner?: unknown;
  readonly labels?: Readonly<Record<string, unknown>>;
}
type WrittenRule =
  | string
  | readonly string[]
  | { readonly is: string | readonly string[]; readonly tolerate?: string | readonly string[] };

/** So many mistakes of a file are told one by one. */
const MOST_TOLD = 20;

/**
 * Reads a policy.
 * @param file its name, for messages
 * @param today YYYY-MM-DD in UTC: what ended before it does not count
 * @param listed what a list has that groups take targets from; throws a SynprobeError. Without it lists are left out
 * @throws {SynprobeError} `ERR_POLICY`, whose message has the first mistake, and whose advice the others
 */
export function readPolicy(
  text: string,
  file: string,
  services: Services,
  today: string,
  listed?: (list: string) => ListedTargets,
): Policy {
  const document = readDocument(text.replace(/^\uFEFF/, ""));
  const faults = [...document.faults];
  if (faults.length === 0) faults.push(...schemaFaults(document));
  const groups: Group[] = [];
  const expired: Group[] = [];
  const portsOf = new Map<string, Uint16Array>();
  const ownerOf = new Uint32Array(MAX_PORT + 1);
  const keys = { count: 0 };
  if (faults.length === 0) {
    const { groups: written } = document.value as { readonly groups: readonly Written[] };
    let rules = 0;
    for (const [index, each] of written.entries()) {
      const isOver = each.until !== undefined && each.until < today;
      const next = isOver ? 0 : rules;
      const group = readGroup(each, index, {
        document,
        file,
        services,
        faults,
        next,
        portsOf,
        ownerOf,
        keys,
        // The list of an exception that has ended may be gone.
        listed: isOver ? undefined : listed,
      });
      if (!isOver) rules += group.rules.length;
      (isOver ? expired : groups).push(group);
    }
  }
  if (faults.length > 0) throw policyError(file, faults);
  return { file, groups, expired, rules: groups.flatMap((group) => group.rules) };
}

const byPlace = (a: Place, b: Place): number => a.line - b.line || a.column - b.column;

function policyError(file: string, faults: readonly Fault[]): SynprobeError {
  const lines = [...faults]
    .sort(byPlace)
    .map(({ line, column, says }) => `${file}:${line}:${column}: ${escapeText(says, 500)}`);
  const [first, ...others] = lines.slice(0, MOST_TOLD);
  const more = lines.length - MOST_TOLD;
  return new SynprobeError(ERROR_CODES.policy, first, {
    advice: more > 0 ? [...others, `and ${more} more mistakes in ${file}`] : others,
  });
}

function schemaFaults({ value, placeOf, placeOfValue }: PolicyDocument): Fault[] {
  const { issues = [] } = safeParse(policySchema(), value);
  return issues.flatMap(({ path, expected, message }) => {
    const last = path?.at(-1);
    const container = last?.input;
    const key = last?.key as string | number;
    if (typeof container !== "object" || container === null)
      return { ...(typeof value === "object" && value !== null ? placeOf(value) : START), says: message };
    if (expected !== "never") return { ...placeOfValue(container, key), says: message };
    const unknown: readonly UnknownKey[] = JSON.parse(message);
    return unknown.map(([each, says]) => ({ ...placeOf(container, each), says }));
  });
}
const START: Place = { line: 1, column: 1 };

interface Reading {
  readonly document: PolicyDocument;
  readonly file: string;
  readonly services: Services;
  readonly faults: Fault[];
  /** The number of the group's first rule. */
  readonly next: number;
  /** Lists of ports that were read, by their text: many groups have the same. */
  readonly portsOf: Map<string, Uint16Array>;
  /** By port, the last key of `ports` that named it, counted over all groups from 1. */
  readonly ownerOf: Uint32Array;
  readonly keys: { count: number };
  /** Undefined when lists are not to be read. */
  readonly listed: ((list: string) => ListedTargets) | undefined;
}

function readGroup(written: Written, index: number, reading: Reading): Group {
  const { document, services, faults, next, portsOf, ownerOf } = reading;
  const { placeOf, placeOfValue } = document;
  const { is, ports = {}, until, from, why, owner, labels = {} } = written;
  const place = placeOf(written);
  const found = targetsOf(written, reading);
  const targets = found.map(({ target }) => target);
  const rules: Rule[] = [];
  const group: Group = {
    ...place,
    name: written.name === undefined ? `group ${index + 1}` : String(written.name),
    targets,
    rules,
    labels: Object.fromEntries(Object.entries(labels).map(([key, value]) => [key, String(value)])),
    ...(why === undefined ? {} : { why: String(why) }),
    ...(owner === undefined ? {} : { owner: String(owner) }),
    ...(until === undefined ? {} : { until }),
    ...(from === undefined ? {} : { from: [from].flat() }),
  };
  const fault = (at: Place, says: string): void => {
    faults.push({ ...at, says });
  };
  const add = (
    at: Place,
    portsText: string,
    rule: WrittenRule,
    list: Uint16Array | undefined,
    isElse = false,
  ) => {
    const { is: wanted, tolerate = [] } =
      typeof rule === "object" && "is" in rule ? rule : { is: rule, tolerate: [] };
    const words = [wanted].flat();
    rules.push({
      ...at,
      number: next + rules.length,
      group,
      portsText,
      ...(list === undefined ? {} : { ports: list }),
      states: PORT_STATES.filter((state) => words.some((word) => EXPECTATIONS[word].includes(state))),
      expected: words.join(" or "),
      tolerate: [...new Set([...[written.tolerate ?? []].flat(), ...[tolerate].flat()])],
      isElse,
    });
  };
  const portsAt = (at: Place, list: string): Uint16Array | undefined => {
    try {
      const ports = portsOf.get(list) ?? parsePorts(list, services);
      portsOf.set(list, ports);
      return ports;
    } catch (error) {
      if (!(error instanceof SynprobeError)) throw error;
      // Of more mistakes than are told nobody reads what was meant.
      fault(at, `${error.message}${faults.length < MOST_TOLD ? serviceMeant(list, services) : ""}`);
      return undefined;
    }
  };

  if (until !== undefined && !isDay(until))
    fault(placeOfValue(written, "until"), `${until} is no day of the calendar`);
  // JavaScript has keys that are numbers first.
  const inOrder = Object.entries(ports)
    .map(([key, rule]) => ({ key, rule, at: placeOf(ports, key) }))
    .sort((a, b) => byPlace(a.at, b.at));
  const before = reading.keys.count;
  reading.keys.count += inOrder.length;
  for (const [i, { key, rule, at }] of inOrder.entries()) {
    const list = portsAt(at, key);
    if (list === undefined) continue;
    const twice = list.find((port) => ownerOf[port] > before);
    if (twice !== undefined) {
      const { key: owner } = inOrder[ownerOf[twice] - before - 1];
      fault(at, `port ${twice} stands in "${owner}" already: each port of a group stands once`);
    }
    for (const port of list) ownerOf[port] = before + i + 1;
    add(at, key, rule, list);
  }
  const namesPorts = targets.some((target) => target.ports !== undefined);
  if (is !== undefined) {
    if (!namesPorts && targets.length > 0)
      fault(
        placeOf(written, "is"),
        "no target names a port, as host:22 does: what ports are stands in ports",
      );
    add(placeOf(written, "is"), "ports of targets", is, undefined);
  } else if (namesPorts) {
    const [{ place: at, where }] = found.filter(({ target }) => target.ports !== undefined);
    fault(at, `${where}it names ports, and nothing says what they have to be: add is, or name them in ports`);
  }
  const nothingElse = written["nothing-else-open"];
  if (nothingElse !== undefined) {
    const list = portsAt(placeOfValue(written, "nothing-else-open"), nothingElse);
    const at = placeOf(written, "nothing-else-open");
    if (list !== undefined) add(at, `all else of ${nothingElse}`, "not open", list, true);
  }
  if (is === undefined && nothingElse === undefined && Object.keys(ports).length === 0 && !namesPorts)
    fault(place, "the group says nothing of any port: add ports, or nothing-else-open");
  else if (is !== undefined && targets.some((target) => target.ports === undefined)) {
    const rest = nothingElse !== undefined || Object.keys(ports).length > 0;
    const [{ place: at, where }] = found.filter(({ target }) => target.ports === undefined);
    if (!rest) fault(at, `${where}it names no port, and nor does the group: write host:PORT, or add ports`);
  }
  if (written.targets === undefined && written["targets-from"] === undefined)
    fault(place, "the group has no targets: add targets, or targets-from with the name of a list");
  return group;
}

/** "; did you mean https?", of the first name among ports that no service has. */
function serviceMeant(list: string, services: Services): string {
  const name = list.split(",").find((part) => /[a-z]/i.test(part) && services.portOf(part) === undefined);
  return name === undefined ? "" : didYouMean(name, services.names());
}

interface Found {
  readonly target: AnyTargetSpec;
  /** Of the word in the policy, or of the list's name. */
  readonly place: Place;
  /** `list:line: `; nothing in the policy itself. */
  readonly where: string;
}

function targetsOf(written: Written, { document, file, services, faults, listed }: Reading): Found[] {
  const { targets = [], "targets-from": lists = [] } = written;
  function attempt<T>(place: Place, act: () => T): T | undefined {
    try {
      return act();
    } catch (error) {
      if (!(error instanceof SynprobeError)) throw error;
      faults.push({ ...place, says: error.message });
      return undefined;
    }
  }
  const textsOf = (key: "targets" | "targets-from", value: string | readonly string[]) =>
    typeof value === "string"
      ? [{ text: value, place: document.placeOfValue(written, key) }]
      : value.map((text, i) => ({ text, place: document.placeOf(value, i) }));
  const own = textsOf("targets", targets).flatMap(({ text, place }) =>
    text
      .split(/\s+/)
      .filter((word) => word !== "")
      .flatMap((word): Found[] => {
        const target = attempt(place, () => parseTargets(word, services));
        const origin = `${file}:${place.line}:${place.column}`;
        return target === undefined ? [] : [{ target: { ...target, origin }, place, where: "" }];
      }),
  );
  if (listed === undefined) return own;
  const others = textsOf("targets-from", lists).flatMap(({ text: list, place }) => {
    const found = attempt(place, () => listed(list));
    if (found === undefined) return [];
    for (const { message } of found.faults) faults.push({ ...place, says: message });
    if (found.untold > 0) faults.push({ ...place, says: `${list} has ${found.untold} more bad targets` });
    if (found.targets.length + found.faults.length === 0)
      faults.push({ ...place, says: `${list} has no target` });
    return found.targets.map((target) => ({ target, place, where: `${target.origin}: ` }));
  });
  return own.concat(others);
}

/** Whether YYYY-MM-DD is a day of the calendar. */
function isDay(text: string): boolean {
  const time = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(text);
}
