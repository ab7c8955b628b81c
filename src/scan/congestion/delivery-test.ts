/**
 * Which share of some kind of SYN is answered, and whether it has fallen: the test by which congestion is told from loss, and
 * from silence, that have nothing to do with the rate.
 *
 * What is usual rises by itself. It falls by more than is negligible only when the share has stayed low although the rate was lowered for it: else a rate
 * that is a little too high, for long, would become usual itself. Pure numbers.
 */

export interface Share {
  answered: number;
  total: number;
}

export type Judgement =
  /** Too little is known. */
  | "unclear"
  /** As usual, or better. */
  | "usual"
  /** Fewer are answered than usual: slow down, and say so with `suspect`. */
  | "fallen"
  /** Slowing down has not helped: it is not the rate. */
  | "usual-after-all";

export interface DeliveryTest {
  /**
   * Takes `answered` of `total` SYNs, which left at `sent` a second since the last slow-down.
   * @param isOdd whether something else says that it cannot be the rate: then a fall must be much clearer
   */
  judge(answered: number, total: number, sent: number, isOdd?: boolean): Judgement;
  /** Shares now and usually, 0 to 1. */
  now(): number;
  usual(): number;
  /** The rate was lowered for what `judge` has said; `sent` is what it was. */
  suspect(sent: number): void;
  isSuspicious(): boolean;
  /** More of what left at about the rate that is suspected. */
  addEvidence(answered: number, total: number, sent: number): void;
  /** Whether too little has left for a judgement since the last slow-down. */
  isIdle(): boolean;
  /** Something else has shown what it was: the suspicion is over. */
  acquit(): void;
  /** The rate was lowered: what left before says nothing of what leaves from now on. */
  startAnew(): void;
}

export interface DeliveryTestOptions {
  /** What is believed before anything is known. */
  readonly prior?: Share;
  /** A share below this is never taken for usual. */
  readonly floor: number;
  /** A share so much below the usual is worth no reaction: of the usual, 0 to 1. */
  readonly negligible: number;
}

/** Standard errors away from chance: there are many looks. */
const SURE = 4;
/** SYNs that a judgement must rest on, and after which one is forced. */
const FEWEST = 16;
const MOST = 400;
/** Logarithm of how much likelier one story must be than the others, and SYNs after which the likeliest is taken anyway. */
const DECISIVE = 3;
const ENOUGH = 200;
/** The same logarithm for a share that has fallen, against one that has not: there are many looks. */
const UNLIKELY = 5;
const UNLIKELY_IF_ODD = 16;
const FEWEST_TO_RISE = 64;
/** Rates that differ by less are the same. */
const SAME_RATE = 0.2;
/** A rate so many times as high is judged by itself. */
const FASTER = 1.5;
/** So many SYNs are remembered as usual. */
const KEPT = 4000;

export function createDeliveryTest({ prior, floor, negligible }: DeliveryTestOptions): DeliveryTest {
  const usual: Share = { answered: prior?.answered ?? 0, total: prior?.total ?? 0 };
  const recent: Share = { answered: 0, total: 0 };
  /** The rate, SYNs per second, at which these left. */
  let recentSent = 0;
  /** The best that was ever usual: what is not far below it is more of the usual. */
  let ceiling = shareOf(usual);
  let suspicion: (Share & { readonly sent: number }) | undefined;

  function judge(answered: number, total: number, sent: number, isOdd = false): Judgement {
    if (total === 0) return "unclear";
    // What left much more slowly would hide what becomes of SYNs at this rate.
    if (sent > FASTER * recentSent) clear(recent);
    recentSent = (recentSent * recent.total + sent * total) / (recent.total + total);
    recent.answered += answered;
    recent.total += total;
    if (recent.total < FEWEST) return "unclear";
    if (usual.total < FEWEST) {
      add(usual, recent);
      clear(recent);
      return "usual";
    }
    const now = shareOf(recent);
    const before = shareOf(usual);
    if (suspicion !== undefined) {
      const helped = hasHelped(before, sent);
      if (helped === undefined) return "unclear";
      suspicion = undefined;
      if (!helped) {
        usual.answered = recent.answered;
        usual.total = recent.total;
        ceiling = now;
        return "usual-after-all";
      }
    }
    const pooled = (recent.answered + usual.answered) / (recent.total + usual.total);
    const error = Math.sqrt(pooled * (1 - pooled) * (1 / recent.total + 1 / usual.total));
    if (before - now > Math.max(negligible * before, SURE * error)) {
      // Standard errors are too small where nearly all are answered: a few losses then look like many.
      const both = { answered: recent.answered + usual.answered, total: recent.total + usual.total };
      const apart = likelihood(recent, now) + likelihood(usual, before) - likelihood(both, shareOf(both));
      if (apart > (isOdd ? UNLIKELY_IF_ODD : UNLIKELY)) return "fallen";
    }
    ceiling = Math.max(ceiling, shareOf(usual));
    if (now >= (1 - negligible) * ceiling) add(usual, { answered, total });
    halve(usual, KEPT);
    halve(recent, MOST);
    return "usual";
  }

  /** Which of three stories is the likeliest; undefined while chance may have made the difference. */
  function hasHelped(before: number, sent: number): boolean | undefined {
    if (suspicion === undefined) return undefined;
    const all = { answered: recent.answered + suspicion.answered, total: recent.total + suspicion.total };
    // It is not the rate: the share is the same as then.
    const same = likelihood(all, shareOf(all));
    // It was the rate: the share is the usual one again.
    const again = likelihood(suspicion, shareOf(suspicion)) + likelihood(recent, before);
    // It still is the rate: as many arrive as did then, so that the share of fewer is greater.
    let still = Number.NEGATIVE_INFINITY;
    for (let then = 0.02; then < 1; then += 0.02) {
      const now = Math.min(before, (then * suspicion.sent) / sent);
      still = Math.max(still, likelihood(suspicion, then) + likelihood(recent, now));
    }
    const evidence = same - Math.max(again, still);
    if (evidence < -DECISIVE) return true;
    // What would raise the rate again must rest on more.
    if (evidence > DECISIVE && recent.total >= FEWEST_TO_RISE) return shareOf(all) < floor;
    if (recent.total < ENOUGH) return undefined;
    return evidence < 0 || shareOf(all) < floor;
  }

  return {
    judge,
    now: () => shareOf(recent),
    usual: () => shareOf(usual),
    suspect: (sent) => {
      suspicion = { ...recent, sent };
    },
    isSuspicious: () => suspicion !== undefined,
    addEvidence: (answered, total, sent) => {
      if (suspicion !== undefined && Math.abs(sent / suspicion.sent - 1) < SAME_RATE) {
        add(suspicion, { answered, total });
      }
    },
    isIdle: () => recent.total < FEWEST,
    acquit: () => {
      suspicion = undefined;
    },
    startAnew: () => clear(recent),
  };
}

/** Logarithm of the chance of so many answers when each comes with the chance `p`, but for a constant. */
function likelihood({ answered, total }: Share, p: number): number {
  const sure = Math.min(1 - 1e-3, Math.max(1e-3, p));
  return answered * Math.log(sure) + (total - answered) * Math.log(1 - sure);
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

/** Halves what has grown beyond `most`, so that it follows when the world changes. */
function halve(share: Share, most: number): void {
  if (share.total <= most) return;
  share.answered /= 2;
  share.total /= 2;
}
