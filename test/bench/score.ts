/** What probers said against the truth: every answer is judged, and what was not said is missed. */

export type State = "open" | "closed" | "filtered";

/** Keyed by "198.18.0.1:80". */
export type Truth = ReadonlyMap<string, State>;

export interface Answer {
  readonly pair: string;
  readonly state: State;
  /** It says that it stands in the place of the one before it. */
  readonly corrects?: boolean;
}

/** Pairs that are in one state, and what was said of them. */
export interface Told {
  readonly of: number;
  readonly right: number;
  /** Said to be in each of the states: one of them is what is right. */
  readonly as: Readonly<Record<State, number>>;
  readonly untold: number;
}

export interface Score {
  readonly open: Told;
  readonly closed: Told;
  readonly filtered: Told;
  /** Closed and filtered pairs said to be open; pairs that nobody asked about too. */
  readonly falseOpen: number;
  /** Answers about a pair that had one already, and do not say that they correct it; the first counts. */
  readonly twice: number;
  /** Answers that correct one; the last counts. */
  readonly corrected: number;
  /** Answers about pairs that nobody asked about. */
  readonly foreign: number;
  /** Pairs of which what is true was not said. */
  readonly wrong: number;
  /** Every pair said once, corrections aside, and as it is, and nothing else. */
  readonly allRight: boolean;
}

export function score(truth: Truth, answers: Iterable<Answer>): Score {
  const said = new Map<string, State>();
  let twice = 0;
  let corrected = 0;
  let foreign = 0;
  let foreignOpen = 0;
  for (const { pair, state, corrects = false } of answers) {
    if (!truth.has(pair)) {
      foreign++;
      if (state === "open") foreignOpen++;
      continue;
    }
    const before = said.get(pair);
    if (before !== undefined && corrects) corrected++;
    else if (before !== undefined) {
      twice++;
      continue;
    }
    said.set(pair, state);
  }
  const tell = (is: State): Told => {
    const as = { open: 0, closed: 0, filtered: 0 };
    let of = 0;
    let untold = 0;
    for (const [pair, state] of truth) {
      if (state !== is) continue;
      of++;
      const told = said.get(pair);
      if (told === undefined) untold++;
      else as[told]++;
    }
    return { of, right: as[is], as, untold };
  };
  const [open, closed, filtered] = [tell("open"), tell("closed"), tell("filtered")];
  const wrong = truth.size - open.right - closed.right - filtered.right;
  return {
    open,
    closed,
    filtered,
    falseOpen: closed.as.open + filtered.as.open + foreignOpen,
    twice,
    corrected,
    foreign,
    wrong,
    allRight: wrong === 0 && twice === 0 && foreign === 0,
  };
}
