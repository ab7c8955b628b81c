/**
 * Which share of some kind of SYN is answered, and whether it has fallen: the test by which congestion is told from loss, and
 * from silence, that have nothing to do with the rate.
 *
 * What is usual rises by itself. It falls only when the share has stayed low although the rate was lowered for it: else a rate
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

export interface Delivery {
  /** Takes `answered` of `total` SYNs, which left at `sent` a second since the last slow-down. */
  judge(answered: number, total: number, sent: number): Judgement;
  /** Shares now and usually, 0 to 1. */
  now(): number;
  usual(): number;
  /** The rate was lowered for what `judge` has said; `sent` is what it was. */
  suspect(sent: number): void;
  suspects(): boolean;
  /** The rate was lowered: what left before says nothing of what leaves from now on. */
  startAnew(): void;
}

export interface DeliveryOptions {
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
/** So many SYNs are remembered as usual. */
const KEPT = 4000;

export function createDelivery({ prior, floor, negligible }: DeliveryOptions): Delivery {
  const usual: Share = { answered: prior?.answered ?? 0, total: prior?.total ?? 0 };
  const recent: Share = { answered: 0, total: 0 };
  let suspicion: { readonly share: number; readonly sent: number } | undefined;

  function judge(answered: number, total: number, sent: number): Judgement {
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
      const helped = hasHelped(now, before, sent);
      if (helped === undefined) return "unclear";
      suspicion = undefined;
      if (!helped) {
        usual.answered = recent.answered;
        usual.total = recent.total;
        return "usual-after-all";
      }
    }
    const pooled = (recent.answered + usual.answered) / (recent.total + usual.total);
    const error = Math.sqrt(pooled * (1 - pooled) * (1 / recent.total + 1 / usual.total));
    if (before - now > Math.max(negligible * before, SURE * error)) return "fallen";
    if (now >= before) add(usual, { answered, total });
    halve(usual, KEPT);
    halve(recent, MOST);
    return "usual";
  }

  /** Undefined while chance may have made what is seen. */
  function hasHelped(now: number, before: number, sent: number): boolean | undefined {
    if (suspicion === undefined) return undefined;
    // Not the rate: the share is what it was. Too fast still: as many arrive as did then. Else: as usual.
    const still = Math.min(before, (suspicion.share * suspicion.sent) / sent);
    const middle = (suspicion.share + still) / 2;
    const chance = 2 * Math.sqrt((middle * (1 - middle)) / recent.total);
    if (now > middle + chance || recent.total > MOST) return true;
    return now < middle - chance && now >= floor ? false : undefined;
  }

  return {
    judge,
    now: () => shareOf(recent),
    usual: () => shareOf(usual),
    suspect: (sent) => {
      suspicion = { share: shareOf(recent), sent };
    },
    suspects: () => suspicion !== undefined,
    startAnew: () => clear(recent),
  };
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
