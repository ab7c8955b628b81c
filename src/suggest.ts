/**
 * "Did you mean …?": the known word nearest to an unknown one. Stands beside errors.ts because messages of the command line
 * and of the lab both end with it.
 *
 * Of the libraries, fastest-levenshtein and leven count two exchanged letters as two mistakes, the commonest slip of all, and
 * damerau-levenshtein stops counting at five.
 */

/**
 * The candidate with the fewest typing mistakes: a letter too many, missing, wrong, or two neighbours exchanged. Undefined
 * when none is near. A third of the letters may be wrong, at least one; case does not count.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let fewest = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    // So many letters are missing or too many at least: a word of a megabyte is like none.
    const apart = Math.abs(word.length - candidate.length);
    if (apart > Math.max(1, Math.min(word.length, candidate.length) / 3)) continue;
    const mistakes = distance(word.toLowerCase(), candidate.toLowerCase());
    const allowed = Math.max(1, Math.floor(Math.min(word.length, candidate.length) / 3));
    if (candidate === word || mistakes > allowed || mistakes >= fewest) continue;
    best = candidate;
    fewest = mistakes;
  }
  return best;
}

/** "; did you mean X?", or nothing. */
export function didYouMean(
  word: string,
  candidates: Iterable<string>,
  show: (best: string) => string = String,
): string {
  const best = nearest(word, candidates);
  return best === undefined ? "" : `; did you mean ${show(best)}?`;
}

/** Optimal string alignment: Levenshtein's distance, with an exchange of neighbours as one step. */
function distance(a: string, b: string): number {
  const rows = Array.from({ length: a.length + 1 }, (_, i) => [i, ...Array<number>(b.length).fill(0)]);
  for (let j = 0; j <= b.length; j++) rows[0][j] = j;
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const wrong = a[i - 1] === b[j - 1] ? 0 : 1;
      rows[i][j] = Math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + wrong);
      const exchanged = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (exchanged) rows[i][j] = Math.min(rows[i][j], rows[i - 2][j - 2] + 1);
    }
  }
  return rows[a.length][b.length];
}
