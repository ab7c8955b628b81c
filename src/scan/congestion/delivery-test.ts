/**
 * Tests whether the share of SYNs answered has fallen, and whether slowing down raised it again: how congestion is told from loss
 * and missing hosts that have nothing to do with the rate.
 *
 * The usual share rises by itself. It falls by more than a negligible part only after a slow-down that did not help; otherwise a
 * rate that is slightly too high for a long time would make its own loss usual. Pure numbers.
 */

export interface Share {
  answered: number;
  total: number;
}

export type Judgement =
  /** Too little evidence. */
  | "unclear"
  /** As usual, or better. */
  | "usual"
  /** Fewer are answered than usual: slow down, and call `suspect`. */
  | "fallen"
  /** Slowing down did not help: the rate is not the cause. */
  | "not-the-rate";

export interface DeliveryTest {
  /**
   * Takes the fates of SYNs that left at `sentRate` SYNs per second since the last slow-down.
   * @param isUnlikely other evidence speaks against congestion: a fall must then be much clearer
   */
  judge(answered: number, total: number, sentRate: number, isUnlikely?: boolean): Judgement;
  /** Share answered since the last slow-down, and usually; 0 to 1. */
  recentShare(): number;
  usualShare(): number;
  /** The rate was lowered because of a "fallen"; `sentRate` is what it was. */
  suspect(sentRate: number): void;
  /** Whether it is still open if that slow-down helped. */
  isSuspicious(): boolean;
  /** Adds fates of SYNs that left at about the suspected rate and became known later. */
  addEvidence(answered: number, total: number, sentRate: number): void;
  /** Whether too few SYNs have left since the last slow-down for a judgement. */
  lacksEvidence(): boolean;
  /** Other evidence has settled the suspicion. */
  dismiss(): void;
  /** The rate was lowered: SYNs that left before tell nothing of those that leave from now on. */
  restart(): void;
}

export interface DeliveryTestOptions {
  /** What is assumed before anything is known. */
  readonly prior?: Share;
  /** A share below this never becomes usual. */
  readonly floor: number;
  /** A fall by less than this part of the usual share is ignored, 0 to 1. */
  readonly negligible: number;
}

/** Standard errors that a fall must exceed: the test is repeated often. */
const STANDARD_ERRORS = 4;
/** SYNs that a judgement needs; recent ones count half beyond the second number. */
const MIN_SYNS = 16;
const MAX_RECENT = 400;
/** Log-likelihood ratio that decides between hypotheses, and SYNs after which the likeliest is taken anyway. */
const DECISIVE = 3;
const ENOUGH_SYNS = 200;
/** Log-likelihood ratio of "fallen" against "unchanged", normally and when other evidence speaks against it. */
const FALLEN = 5;
const FALLEN_IF_UNLIKELY = 16;
/** SYNs after a slow-down that must have left before the rate may be restored. */
const MIN_SYNS_TO_RESTORE = 64;
/** Rates that differ by less than this part are the same. */
const SAME_RATE = 0.2;
/** A rate this many times as high is judged by its own SYNs only. */
const NEW_RATE = 1.5;
/** SYNs that the usual share rests on; more count half. */
const MAX_USUAL = 4000;

export function createDeliveryTest({ prior, floor, negligible }: DeliveryTestOptions): DeliveryTest {
  const usual: Share = { answered: prior?.answered ?? 0, total: prior?.total ?? 0 };
  const recent: Share = { answered: 0, total: 0 };
  /** Mean rate at which the recent SYNs left. */
  let recentRate = 0;
  /** The best share that was ever usual: shares slightly below it still count as usual. */
  let ceiling = shareOf(usual);
  let suspicion: (Share & { readonly sentRate: number }) | undefined;

  function judge(answered: number, total: number, sentRate: number, isUnlikely = false): Judgement {
    if (total === 0) return "unclear";
    // SYNs that left much more slowly would hide what becomes of those at this rate.
    if (sentRate > NEW_RATE * recentRate) clear(recent);
    recentRate = (recentRate * recent.total + sentRate * total) / (recent.total + total);
    recent.answered += answered;
    recent.total += total;
    if (recent.total < MIN_SYNS) return "unclear";
    if (usual.total < MIN_SYNS) {
      add(usual, recent);
      clear(recent);
      return "usual";
    }
    const now = shareOf(recent);
    const before = shareOf(usual);
    if (suspicion !== undefined) {
      const helped = hasHelped(before, sentRate);
      if (helped === undefined) return "unclear";
      suspicion = undefined;
      if (!helped) {
        usual.answered = recent.answered;
        usual.total = recent.total;
        ceiling = now;
        return "not-the-rate";
      }
    }
    const pooled = (recent.answered + usual.answered) / (recent.total + usual.total);
    const error = Math.sqrt(pooled * (1 - pooled) * (1 / recent.total + 1 / usual.total));
    if (before - now > Math.max(negligible * before, STANDARD_ERRORS * error)) {
      // Where nearly all are answered, standard errors are too small: a few losses then look like many.
      const both = { answered: recent.answered + usual.answered, total: recent.total + usual.total };
      const ratio = likelihood(recent, now) + likelihood(usual, before) - likelihood(both, shareOf(both));
      if (ratio > (isUnlikely ? FALLEN_IF_UNLIKELY : FALLEN)) return "fallen";
    }
    ceiling = Math.max(ceiling, shareOf(usual));
    if (now >= (1 - negligible) * ceiling) add(usual, { answered, total });
    halve(usual, MAX_USUAL);
    halve(recent, MAX_RECENT);
    return "usual";
  }

  /** Compares three hypotheses. @returns undefined while the difference may be chance */
  function hasHelped(before: number, sentRate: number): boolean | undefined {
    if (suspicion === undefined) return undefined;
    const all = { answered: recent.answered + suspicion.answered, total: recent.total + suspicion.total };
    // Not the rate: the share is what it was before the slow-down.
    const unchanged = likelihood(all, shareOf(all));
    // It was the rate: the share is the usual one again.
    const recovered = likelihood(suspicion, shareOf(suspicion)) + likelihood(recent, before);
    // It still is the rate: as many SYNs per second arrive as before, which is a greater share of fewer.
    let limited = Number.NEGATIVE_INFINITY;
    for (let then = 0.02; then < 1; then += 0.02) {
      const now = Math.min(before, (then * suspicion.sentRate) / sentRate);
      limited = Math.max(limited, likelihood(suspicion, then) + likelihood(recent, now));
    }
    const evidence = unchanged - Math.max(recovered, limited);
    if (evidence < -DECISIVE) return true;
    // Restoring the rate needs more evidence.
    if (evidence > DECISIVE && recent.total >= MIN_SYNS_TO_RESTORE) return shareOf(all) < floor;
    if (recent.total < ENOUGH_SYNS) return undefined;
    return evidence < 0 || shareOf(all) < floor;
  }

  return {
    judge,
    recentShare: () => shareOf(recent),
    usualShare: () => shareOf(usual),
    suspect: (sentRate) => {
      suspicion = { ...recent, sentRate };
    },
    isSuspicious: () => suspicion !== undefined,
    addEvidence: (answered, total, sentRate) => {
      if (suspicion !== undefined && Math.abs(sentRate / suspicion.sentRate - 1) < SAME_RATE) {
        add(suspicion, { answered, total });
      }
    },
    lacksEvidence: () => recent.total < MIN_SYNS,
    dismiss: () => {
      suspicion = undefined;
    },
    restart: () => clear(recent),
  };
}

/** Log-likelihood of the share when each SYN is answered with probability `p`, up to a constant. */
function likelihood({ answered, total }: Share, p: number): number {
  const bounded = Math.min(1 - 1e-3, Math.max(1e-3, p));
  return answered * Math.log(bounded) + (total - answered) * Math.log(1 - bounded);
}

const shareOf = ({ answered, total }: Share): number => (total === 0 ? 0 : answered / total);

function add(to: Share, from: Share): void {
  to.answered += from.answered;
  to.total += from.total;
}

function clear(share: Share): void {
  share.answered = 0;
  share.total = 0;
}

/** Halves a share that rests on more than `max` SYNs, so that it follows changes. */
function halve(share: Share, max: number): void {
  if (share.total <= max) return;
  share.answered /= 2;
  share.total /= 2;
}
