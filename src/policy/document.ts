/**
 * YAML, or JSON, which is YAML too, as values that know where they stand: `policy.yaml:12:5`. Numbers, true and false stay the
 * text that was written: of 1.10 a number would be 1.1. Aliases and tags are refused: a policy says what it means where it stands.
 *
 * Not here: what a policy may say (schema.ts), what it means (policy.ts).
 * Tested by test/policy/policy.test.ts.
 */
import { Composer, isMap, isScalar, isSeq, Lexer, LineCounter, type Node, Parser } from "yaml";

/** Where something is in a file, from 1; columns in UTF-16 units. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** Something wrong at a place. */
export interface Fault extends Place {
  readonly says: string;
}

export interface PolicyDocument {
  /** Texts, null, arrays, and objects without a prototype; undefined when there are faults. */
  readonly value: unknown;
  readonly faults: readonly Fault[];
  /** Of an object or a list: where it begins; of one of its keys: where the key stands, or the list's entry. */
  placeOf(container: object, key?: string | number): Place;
  /** Where the value of a key begins. */
  placeOfValue(container: object, key: string | number): Place;
}

/** Offsets of a container, of its keys, and of their values. */
interface Offsets {
  readonly at: number;
  readonly keys: Map<string | number, readonly [key: number, value: number]>;
}

/** Levels of lists and objects: a policy has five. The parser's own stack has up to three entries for each. */
const DEEPEST = 30;

export function readDocument(text: string): PolicyDocument {
  const lines = new LineCounter();
  const offsets = new WeakMap<object, Offsets>();
  const faults: Fault[] = [];
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const fault = (offset: number, says: string): undefined => {
    faults.push({ ...placeAt(offset), says });
  };

  function valueAt(node: Node | null | undefined, from: number): unknown {
    const [at] = node?.range ?? [from];
    if (node?.tag !== undefined && !/^tag:yaml\.org,2002:(?:map|seq|str|int|float|bool|null)$/.test(node.tag))
      return fault(at, "tags (!) are not read: leave it out");
    if (isMap<Node, Node | null>(node)) {
      const object: Record<string, unknown> = Object.create(null);
      const keys: Offsets["keys"] = new Map();
      offsets.set(object, { at, keys });
      for (const { key, value } of node.items) {
        const [keyAt] = key.range ?? [at];
        if (!isScalar(key) || key.value === null) {
          fault(keyAt, "a key is one word, or several in quotes");
          continue;
        }
        const name = textOf(key.value, key.source);
        const first = keys.get(name);
        if (first !== undefined) {
          fault(keyAt, `${JSON.stringify(name)} stands twice: first in line ${placeAt(first[0]).line}`);
          continue;
        }
        keys.set(name, [keyAt, value?.range?.[0] ?? keyAt]);
        object[name] = valueAt(value, keyAt);
      }
      return object;
    }
    if (isSeq<Node>(node)) {
      const list: unknown[] = [];
      const keys: Offsets["keys"] = new Map();
      offsets.set(list, { at, keys });
      for (const item of node.items) {
        const [itemAt] = item?.range ?? [at];
        keys.set(list.length, [itemAt, itemAt]);
        list.push(valueAt(item, itemAt));
      }
      return list;
    }
    if (isScalar(node))
      return node.value === null || typeof node.value === "string"
        ? node.value
        : textOf(node.value, node.source);
    return node == null ? null : fault(at, "aliases (*) are not read: write the value out");
  }

  /** Token by token, as what is nested deeply would take all memory when it is composed. */
  function contentsOf(): Node | null | undefined {
    const parser = new Parser(lines.addNewLine);
    const tokens: Parameters<Composer["next"]>[0][] = [];
    lines.addNewLine(0);
    for (const lexeme of new Lexer().lex(text)) {
      for (const token of parser.next(lexeme)) tokens.push(token);
      if (parser.stack.length > 3 * DEEPEST) return fault(parser.offset, "nested too deeply for a policy");
    }
    for (const token of parser.end()) tokens.push(token);
    // Keys that stand twice are looked for above, where it takes less than the square of the time.
    const composer = new Composer({ uniqueKeys: false });
    const [document, second] = composer.compose(tokens, true, text.length);
    if (second !== undefined) fault(second.range[0], "a policy is one document: leave out this ---");
    for (const { message, pos } of [...document.errors, ...document.warnings])
      fault(pos[0], `not YAML: ${message.replace(/\.$/, "")}`);
    return document.contents as Node | null;
  }

  const contents = contentsOf();
  const value = faults.length === 0 ? valueAt(contents, 0) : undefined;
  const offsetsOf = (container: object): Offsets => offsets.get(container) ?? { at: 0, keys: new Map() };
  return {
    value,
    faults,
    placeOf: (container, key) => {
      const { at, keys } = offsetsOf(container);
      return placeAt((key === undefined ? undefined : keys.get(key)?.[0]) ?? at);
    },
    placeOfValue: (container, key) => {
      const { at, keys } = offsetsOf(container);
      return placeAt(keys.get(key)?.[1] ?? at);
    },
  };
}

const textOf = (value: unknown, source: string | undefined): string => source ?? String(value);
