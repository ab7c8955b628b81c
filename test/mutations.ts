/**
 * Small mistakes drawn by chance, for `npm run mutants -- sample …` (mutants.ts): every place in a source where an operator, a
 * condition, a number or a whole statement can be changed so that the compiled program differs. Not here: those chosen by hand,
 * and what runs the tests.
 */
import { transformSync } from "esbuild";

export interface Mutation {
  /** Offset in the source, and what stands there instead. */
  readonly at: number;
  readonly from: string;
  readonly to: string;
}

/** With spaces around them operators are no type arguments, signs or arrows. */
const OPERATORS: Readonly<Record<string, readonly string[]>> = {
  "<": ["<=", ">="],
  "<=": ["<", ">"],
  ">": [">=", "<="],
  ">=": [">", "<"],
  "===": ["!=="],
  "!==": ["==="],
  "&&": ["||"],
  "||": ["&&"],
  "??": ["&&"],
  "+": ["-"],
  "-": ["+"],
  "*": ["/"],
  "/": ["*"],
  "%": ["*"],
  "&": ["|"],
  "|": ["&"],
  "^": ["|"],
  "<<": [">>>"],
  ">>": ["<<"],
  ">>>": ["<<"],
  "+=": ["-="],
  "-=": ["+="],
  "|=": ["&="],
  "&=": ["|="],
};

/** Texts of one line, which are for people mostly, and what of templates is text. */
const LITERAL = /"(?:[^"\\\n]|\\.)*"|`[^`$\n]*`/g;

function* candidates(source: string): Generator<Mutation> {
  const code = source.replace(LITERAL, (text) => " ".repeat(text.length));
  for (const { index, 1: operator } of code.matchAll(/(?<= )([-+*/%&|^<>=!?]{1,3})(?=[ \n])/g))
    for (const to of OPERATORS[operator] ?? []) yield { at: index, from: operator, to };
  for (const { index, 0: word } of code.matchAll(/\b(?:true|false)\b/g))
    yield { at: index, from: word, to: String(word === "false") };
  for (const { index, 0: number } of code.matchAll(/(?<![\w.$])(?:0x[\da-f_]+|\d[\d_]*)(?![\w.n])/g))
    yield { at: index, from: number, to: `${Number(number.replaceAll("_", "")) + 1}` };
  for (const { index, 0: mark } of code.matchAll(/!(?=[\w(])/g)) yield { at: index, from: mark, to: "" };
  for (const { index, 1: head, 2: condition } of code.matchAll(/(\bif \()([^\n]+)(?=\) )/g)) {
    const at = index + head.length;
    const from = source.slice(at, at + condition.length);
    for (const to of ["true", "false"]) yield { at, from, to };
  }
  for (const { index, 1: indent, 2: statement } of code.matchAll(
    /^( +)([\w.]+(?:\[[^\n]*\])?(?:\([^\n]*\)|(?:\+\+|--)| [-+*|&^]?= [^\n]*)|continue|break|return);$/gm,
  )) {
    const at = index + indent.length;
    yield { at, from: source.slice(at, at + statement.length), to: "" };
  }
}

export const mutated = (source: string, { at, from, to }: Mutation): string =>
  source.slice(0, at) + to + source.slice(at + from.length);

/** What runs: without types and comments, and with constants joined. Undefined for what is no program. */
function compiled(source: string): string | undefined {
  try {
    return transformSync(source, {
      loader: "ts",
      minifySyntax: true,
      minifyWhitespace: true,
      logLevel: "silent",
    }).code;
  } catch {
    return undefined;
  }
}

/** All mutations that make another program of it. */
export function mutationsOf(source: string): Mutation[] {
  const original = compiled(source);
  return [...candidates(source)].filter((mutation) => {
    const code = compiled(mutated(source, mutation));
    return code !== undefined && code !== original;
  });
}
