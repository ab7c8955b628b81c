/**
 * How much of a long test is done: a part every day (`npm test`), all of it in `npm run test:all`. What a test guards is
 * the same; what differs is how many seeds, sizes or ways it is tried on. Files that import this one, or fast-check, are
 * run again by `npm run test:more`.
 */
const { SYNPROBE_TEST_ALL: all } = process.env;

/** True in `test:all` and `test:more`. */
export const ALL = all !== undefined && all !== "";

/** The everyday amount, or the full one. */
export function everyday<Amount>(few: Amount, full: Amount): Amount {
  return ALL ? full : few;
}

/** Of many cases that are alike and take long, each a process or a network: the first and every so many-th, or all. */
export function someOf<Case>(every: number, cases: readonly Case[]): readonly Case[] {
  return ALL ? cases : cases.filter((_, i) => i % every === 0);
}
