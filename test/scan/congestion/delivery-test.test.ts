/** Whether the share of SYNs answered has fallen, and whether the rate is the cause: on simulated paths, with seeds. */
import { describe, expect, it } from "vitest";
import {
  createDeliveryTest,
  type DeliveryTest,
  type Judgement,
} from "../../../src/scan/congestion/delivery-test.ts";
import { createSeededRandom } from "../../sim/random.ts";

const PILOTS = { prior: { answered: 49.5, total: 50 }, floor: 0.5, negligible: 0.03 };
const FIRST_SYNS = { floor: 0, negligible: 0.15 };
const SEEDS = Array.from({ length: 40 }, (_, i) => i + 1);

/** How many of `total` SYNs are answered, each with the probability `share`. */
const draw = (random: (below: number) => number, total: number, share: number): number => {
  let answered = 0;
  for (let i = 0; i < total; i++) if (random(2 ** 30) < share * 2 ** 30) answered++;
  return answered;
};

function accustom(
  delivery: DeliveryTest,
  random: (below: number) => number,
  share: number,
  sent = 1000,
): void {
  for (let i = 0; i < 100; i++) delivery.judge(draw(random, 20, share), 20, sent);
}

/** Judges 20 SYNs at a time until the judgement is `said`. @returns SYNs until then; Infinity when never */
function until(
  delivery: DeliveryTest,
  random: (below: number) => number,
  share: number,
  sent: number,
  said: Judgement,
  most = 10_000,
): number {
  for (let syns = 20; syns <= most; syns += 20) {
    if (delivery.judge(draw(random, 20, share), 20, sent) === said) return syns;
  }
  return Number.POSITIVE_INFINITY;
}

describe("a share that falls", () => {
  it("is measured at the rate at which it fell: earlier SYNs at a lower rate do not hide how far", () => {
    for (const seed of SEEDS) {
      const random = createSeededRandom(seed);
      const delivery = createDeliveryTest(FIRST_SYNS);
      accustom(delivery, random, 0.6, 16_000);
      // Five times the capacity: a fifth arrives.
      expect(delivery.judge(draw(random, 1000, 0.12), 1000, 250_000)).toBe("fallen");
      expect(delivery.recentShare() / delivery.usualShare()).toBeLessThan(0.3);
    }
  });

  it("is found soon, for all seeds", () => {
    for (const seed of SEEDS) {
      for (const [usual, now, within] of [
        [0.999, 0.8, 160],
        [0.99, 0.7, 500],
        [0.94, 0.6, 800],
      ]) {
        const random = createSeededRandom(seed);
        const delivery = createDeliveryTest(PILOTS);
        accustom(delivery, random, usual);
        const took = until(delivery, random, now, 1000, "fallen");
        expect(took, `seed ${seed}, from ${usual} to ${now}`).toBeLessThanOrEqual(within);
        expect(delivery.recentShare()).toBeLessThan(delivery.usualShare());
      }
    }
  });

  it("is not seen in a few chance losses where nearly all are answered, and seldom in any chance losses", () => {
    let alarms = 0;
    for (const seed of SEEDS) {
      for (const usual of [0.999, 0.98]) {
        const random = createSeededRandom(seed);
        const delivery = createDeliveryTest(PILOTS);
        accustom(delivery, random, usual);
        for (let anew = 0; anew < 20; anew++) {
          delivery.restart();
          if (until(delivery, random, usual, 1000, "fallen", 400) <= 400) alarms++;
        }
      }
    }
    expect(alarms).toBeLessThanOrEqual(0.005 * SEEDS.length * 2 * 20);
  });

  it("must be much clearer where something else says that it cannot be the rate, and is found then, too", () => {
    for (const seed of SEEDS) {
      const took = [false, true].map((isOdd) => {
        const random = createSeededRandom(seed);
        const delivery = createDeliveryTest(PILOTS);
        accustom(delivery, random, 0.98);
        let syns = 0;
        do syns += 20;
        while (delivery.judge(draw(random, 20, 0.8), 20, 1000, isOdd) !== "fallen" && syns < 2000);
        return syns;
      });
      expect(took[1], `seed ${seed}`).toBeGreaterThan(took[0]);
      expect(took[1], `seed ${seed}`).toBeLessThan(1000);
    }
  });

  it("is found at the very beginning, too, where something is believed", () => {
    for (const seed of SEEDS) {
      const random = createSeededRandom(seed);
      expect(until(createDeliveryTest(PILOTS), random, 0.6, 1000, "fallen")).toBeLessThanOrEqual(100);
    }
  });

  it("is found where most of the space is silent", () => {
    for (const seed of SEEDS) {
      const random = createSeededRandom(seed);
      const delivery = createDeliveryTest(FIRST_SYNS);
      accustom(delivery, random, 0.2);
      expect(until(delivery, random, 0.04, 1000, "fallen"), `seed ${seed}`).toBeLessThanOrEqual(1000);
    }
  });

  it("is not seen in chance losses", () => {
    for (const seed of SEEDS) {
      for (const share of [0.99, 0.9, 0.7]) {
        const random = createSeededRandom(seed);
        const delivery = createDeliveryTest(FIRST_SYNS);
        accustom(delivery, random, share);
        // Five hundred judgements, each at four standard errors.
        expect(until(delivery, random, share, 1000, "fallen", 10_000), `seed ${seed}`).toBe(
          Number.POSITIVE_INFINITY,
        );
      }
    }
  });

  it("is found before a fifth is gone, however slowly it falls: it does not become usual", () => {
    for (const seed of SEEDS) {
      const random = createSeededRandom(seed);
      const delivery = createDeliveryTest(PILOTS);
      accustom(delivery, random, 0.99);
      let share = 0.99;
      let said: Judgement = "usual";
      for (; share > 0.5 && said !== "fallen"; share -= 0.0002) {
        said = delivery.judge(draw(random, 20, share), 20, 1000);
        expect(delivery.usualShare()).toBeGreaterThan(0.97);
      }
      expect(share, `seed ${seed}`).toBeGreaterThan(0.8);
    }
  });
});

describe("a share that fell", () => {
  /** Answers each fall with a lower rate, as scan/congestion/controller.ts does. @returns the last judgement */
  function slowDown(seed: number, share: (sent: number) => number) {
    const random = createSeededRandom(seed);
    const delivery = createDeliveryTest(PILOTS);
    let sent = 10_000;
    let judgement: Judgement = "unclear";
    let slowest = sent;
    for (let syns = 0; syns < 6000 && judgement !== "not-the-rate"; syns += 20) {
      judgement = delivery.judge(draw(random, 20, share(sent)), 20, sent);
      if (judgement !== "fallen") continue;
      delivery.suspect(sent);
      // SYNs that had left before the fall was seen.
      delivery.addEvidence(draw(random, 200, share(sent)), 200, sent);
      sent *= (0.8 * delivery.recentShare()) / delivery.usualShare();
      slowest = Math.min(slowest, sent);
      delivery.restart();
      expect([delivery.isSuspicious(), delivery.lacksEvidence()]).toEqual([true, true]);
    }
    return { judgement, slowest, delivery, random };
  }

  it("becomes usual when slowing down did not help: random loss is no congestion", () => {
    for (const seed of SEEDS) {
      for (const loss of [0.3, 0.4]) {
        const { judgement, slowest, delivery, random } = slowDown(seed, () => 1 - loss);
        expect(judgement, `seed ${seed}, loss ${loss}`).toBe("not-the-rate");
        expect(slowest, `seed ${seed}, loss ${loss}`).toBeGreaterThan(1500);
        expect(delivery.isSuspicious()).toBe(false);
        expect(Math.abs(delivery.usualShare() - (1 - loss)), `seed ${seed}`).toBeLessThan(0.2);
        // It raises no further alarm.
        expect(until(delivery, random, delivery.usualShare(), 5000, "fallen", 2000)).toBe(
          Number.POSITIVE_INFINITY,
        );
      }
    }
  });

  it("never becomes usual when slowing down helped: the loss was the bottleneck's", () => {
    for (const seed of SEEDS) {
      const { judgement, slowest, delivery } = slowDown(seed, (sent) => 0.99 * Math.min(1, 6000 / sent));
      expect(judgement, `seed ${seed}`).not.toBe("not-the-rate");
      expect(slowest).toBeGreaterThan(3000);
      expect(delivery.usualShare()).toBeGreaterThan(0.95);
      expect(delivery.isSuspicious()).toBe(false);
    }
  });

  it("never becomes usual below the floor: such a path is down", () => {
    for (const seed of SEEDS)
      expect(slowDown(seed, () => 0.15).judgement, `seed ${seed}`).not.toBe("not-the-rate");
  });

  it("is no longer suspected once other evidence has settled it", () => {
    const delivery = createDeliveryTest(PILOTS);
    expect(delivery.judge(60, 100, 1000)).toBe("fallen");
    delivery.suspect(1000);
    expect(delivery.isSuspicious()).toBe(true);
    delivery.dismiss();
    expect(delivery.isSuspicious()).toBe(false);
  });
});

describe("little evidence", () => {
  it("is unclear, however bad; and SYNs that left before a slow-down do not count", () => {
    const delivery = createDeliveryTest(PILOTS);
    for (let i = 0; i < 10; i++) expect(delivery.judge(0, 1, 1000)).toBe("unclear");
    expect(delivery.lacksEvidence()).toBe(true);
    delivery.restart();
    for (let i = 0; i < 10; i++) expect(delivery.judge(0, 1, 1000)).toBe("unclear");
    for (let i = 0; i < 20; i++) delivery.judge(0, 1, 1000);
    expect([delivery.lacksEvidence(), delivery.recentShare()]).toEqual([false, 0]);
  });

  it("makes the first share usual, where nothing was assumed", () => {
    const delivery = createDeliveryTest(FIRST_SYNS);
    expect(delivery.judge(2, 40, 1000)).toBe("usual");
    expect(delivery.usualShare()).toBe(0.05);
  });

  it("at another rate does not count for the suspected one", () => {
    const delivery = createDeliveryTest(PILOTS);
    delivery.judge(60, 100, 1000);
    delivery.suspect(1000);
    delivery.restart();
    // Had these counted, the share would not have risen, and slowing down would not have helped.
    delivery.addEvidence(100_000, 100_000, 400);
    expect(delivery.judge(99, 100, 640)).toBe("usual");
  });
});
