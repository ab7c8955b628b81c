/**
 * How likely it is that a silence is chance: of two ports asked in turn at the same hop, one is answered and the other never.
 *
 * Pure arithmetic; which SYNs count is compare.ts's business.
 */

/**
 * The chance that `asked` SYNs in a row are not answered although each would be as likely as those of a port of which
 * `answered` of `sent` were. Whatever keeps answers away (loss, a router's ICMP limit, a silent branch) is one unknown share,
 * before the first SYN as likely to be any as any other: after it, Beta(answered + 1, sent - answered + 1).
 *
 * E[(1-s)^asked] = the product of (b + i) / (a + b + i), i below `asked`
 */
export function chanceOfSilence(answered: number, sent: number, asked: number): number {
  const a = answered + 1;
  const b = sent - answered + 1;
  let chance = 1;
  for (let i = 0; i < asked; i++) chance *= (b + i) / (a + b + i);
  return chance;
}
